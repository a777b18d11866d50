import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../errors/mod.ts";
import { Unreached, type Access, type Asked, type Connection } from "./connection.ts";
import { Refusal } from "./failures.ts";
import { Following } from "./follow.ts";
import { objectOf, recordOf, textOf } from "./json.ts";
import type {
  AtOptions,
  CallOptions,
  Cluster,
  Follower,
  FollowOptions,
  Kind,
  KubeObject,
  PatchOptions,
  SelectOptions,
} from "./mod.ts";
import { pages } from "./pages.ts";

const attempts = 4;
const firstWaitMs = 100;
const longestWaitMs = 10_000;
const never = new AbortController().signal;

const onlyMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const patchTypes = {
  merge: "application/merge-patch+json",
  json: "application/json-patch+json",
  apply: "application/apply-patch+yaml",
} as const;

/** A cluster by a way to its server. */
export class ApiCluster implements Cluster {
  readonly #connection: Connection;
  readonly #authorization: Access["authorization"];
  /** Whether the connection is ours to close. */
  readonly #own: boolean;

  constructor(connection: Connection, authorization?: Access["authorization"]) {
    this.#connection = connection;
    this.#authorization = authorization ?? connection.access.authorization;
    this.#own = authorization === undefined;
  }

  get server(): string {
    return this.#connection.access.server.href;
  }

  get namespace(): string {
    return this.#connection.access.namespace;
  }

  async get(kind: Kind, name: string, at: AtOptions = {}): Promise<KubeObject> {
    return this.#object({ method: "GET", path: this.#path(kind, at, name), signal: of(at) });
  }

  async list(
    kind: Kind,
    select: SelectOptions = {},
  ): Promise<{ readonly items: readonly KubeObject[]; readonly resourceVersion: string }> {
    const path = listPath(kind, select.namespace);
    const items: KubeObject[] = [];
    let resourceVersion = "";
    const ask = (query: URLSearchParams): Promise<unknown> =>
      this.#again({ method: "GET", path, query, signal: of(select) });
    for await (const page of pages(ask, () => selection(select))) {
      items.push(...page.items);
      ({ resourceVersion } = page);
    }
    return { items, resourceVersion };
  }

  async create(
    kind: Kind,
    object: KubeObject,
    at: AtOptions & { readonly dryRun?: boolean } = {},
  ): Promise<KubeObject> {
    const namespace = at.namespace ?? object.metadata.namespace;
    const path = this.#path(kind, namespace === undefined ? {} : { namespace });
    const query = new URLSearchParams(at.dryRun ? { dryRun: "All" } : {});
    return this.#object({
      method: "POST",
      path,
      query,
      body: JSON.stringify(object),
      signal: of(at),
    });
  }

  async patch(
    kind: Kind,
    name: string,
    patch: unknown,
    options: PatchOptions = {},
  ): Promise<KubeObject> {
    const { type = "merge", subresource, fieldManager, force, metadataOnly } = options;
    const path = this.#path(kind, options, name);
    const query = new URLSearchParams();
    if (fieldManager !== undefined) query.set("fieldManager", fieldManager);
    if (force) query.set("force", "true");
    return this.#object({
      method: "PATCH",
      path: subresource === undefined ? path : `${path}/${subresource}`,
      query,
      contentType: patchTypes[type],
      ...(metadataOnly ? { accept: onlyMetadata } : {}),
      body: JSON.stringify(patch),
      signal: of(options),
    });
  }

  async delete(
    kind: Kind,
    name: string,
    options: AtOptions & {
      readonly propagation?: "Background" | "Foreground" | "Orphan";
      readonly uid?: string;
    } = {},
  ): Promise<void> {
    const { propagation = "Background", uid } = options;
    const body = JSON.stringify({
      apiVersion: "v1",
      kind: "DeleteOptions",
      propagationPolicy: propagation,
      ...(uid === undefined ? {} : { preconditions: { uid } }),
    });
    try {
      await this.#again({
        method: "DELETE",
        path: this.#path(kind, options, name),
        body,
        signal: of(options),
      });
    } catch (thrown) {
      if (!(thrown instanceof Failure && thrown.code === "cluster-missing")) throw thrown;
    }
  }

  async raw(
    method: string,
    path: string,
    body?: unknown,
    options: CallOptions = {},
  ): Promise<unknown> {
    return this.#again({
      method,
      path,
      signal: of(options),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  async token(
    serviceAccount: string,
    options: AtOptions & { readonly audiences?: readonly string[]; readonly seconds?: number },
  ): Promise<{ readonly token: string; readonly expires: Date }> {
    const { audiences, seconds = 3600 } = options;
    const answer = await this.#again({
      method: "POST",
      path: `${this.#path(serviceAccounts, options, serviceAccount)}/token`,
      body: JSON.stringify({
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { expirationSeconds: seconds, ...(audiences ? { audiences } : {}) },
      }),
      signal: of(options),
    });
    const status = recordOf(recordOf(answer)["status"]);
    const token = textOf(status["token"]);
    if (token === undefined) {
      throw new Failure(
        "cluster-unavailable",
        `There is no token for "${serviceAccount}" in the answer`,
      );
    }
    return { token, expires: new Date(textOf(status["expirationTimestamp"]) ?? 0) };
  }

  as(token: (signal: AbortSignal) => Promise<string>): Cluster {
    return new ApiCluster(this.#connection, async (signal) => `Bearer ${await token(signal)}`);
  }

  follow<T = KubeObject>(kind: Kind, options: FollowOptions<T>): Follower<T> {
    return new Following(
      {
        list: (query, signal) =>
          this.#again({ method: "GET", path: listPath(kind, options.namespace), query, signal }),
        watch: (query, signal) =>
          this.#connection.stream(
            { method: "GET", path: listPath(kind, options.namespace), query, signal },
            this.#authorization,
          ),
        selection: () => selection(options),
      },
      options,
    );
  }

  async #object(asked: Asked): Promise<KubeObject> {
    return objectOf(await this.#again(asked));
  }

  /**
   * What can be asked twice without harm is, after a while. What was turned away before anything came of it (429) can be said again
   * whatever it is; and a change of what is there also when the connection was closed just then, as its outcome is the same.
   */
  async #again(asked: Asked): Promise<unknown> {
    for (let attempt = 1, waitMs = firstWaitMs; ; attempt += 1, waitMs *= 4) {
      try {
        return await this.#connection.json(asked, this.#authorization);
      } catch (thrown) {
        asked.signal.throwIfAborted();
        const after = afterMs(thrown, asked.method);
        if (after === undefined || attempt === attempts) throw thrown;
        const wait = Math.min(longestWaitMs, Math.max(after, waitMs * (0.5 + Math.random())));
        await sleep(after === 0 && attempt === 1 && isStale(thrown) ? 0 : wait, undefined, {
          signal: asked.signal,
        }).catch(() => asked.signal.throwIfAborted());
      }
    }
  }

  #path(kind: Kind, at: { readonly namespace?: string }, name?: string): string {
    const list = listPath(kind, kind.namespaced ? (at.namespace ?? this.namespace) : undefined);
    return name === undefined ? list : `${list}/${segment(name)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#own) await this.#connection[Symbol.asyncDispose]();
  }
}

const serviceAccounts: Kind = {
  group: "",
  version: "v1",
  plural: "serviceaccounts",
  namespaced: true,
};

function listPath({ group, version, plural }: Kind, namespace: string | undefined): string {
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  return namespace === undefined
    ? `${root}/${plural}`
    : `${root}/namespaces/${segment(namespace)}/${plural}`;
}

/** A name in a path. Names of objects have no slash; one that has is no way into another path. */
function segment(name: string): string {
  if (name !== "" && name !== "." && name !== "..") return encodeURIComponent(name);
  throw new Failure("cluster-invalid", `"${name}" is no name of an object`);
}

function selection({ labelSelector, fieldSelector }: SelectOptions): URLSearchParams {
  const query = new URLSearchParams();
  if (labelSelector !== undefined) query.set("labelSelector", labelSelector);
  if (fieldSelector !== undefined) query.set("fieldSelector", fieldSelector);
  return query;
}

function of({ signal }: CallOptions): AbortSignal {
  return signal ?? never;
}

function isStale(thrown: unknown): boolean {
  return thrown instanceof Unreached && thrown.stale;
}

/** How long to wait before it is asked again; undefined for never. */
function afterMs(thrown: unknown, method: string): number | undefined {
  const harmless = method === "GET" || method === "DELETE";
  if (thrown instanceof Unreached)
    return harmless || (thrown.stale && method !== "POST") ? 0 : undefined;
  if (!(thrown instanceof Refusal)) return undefined;
  if (thrown.status === 429) return thrown.afterMs ?? 0;
  if (thrown.status === 410) return undefined;
  return harmless && thrown.status >= 500 ? (thrown.afterMs ?? 0) : undefined;
}

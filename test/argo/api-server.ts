// The part of Kubernetes' API that an agent meets, over real HTTP: lists and watches, merge patches with their preconditions, the status as a place of its own, sizes. It is
// here for the bad days that a real server cannot be brought to have; everything else is tried with a real one in test/cluster.
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { recordOf, textOf, type KubeObject } from "../../src/kubernetes/mod.ts";

type Json = Readonly<Record<string, unknown>>;

interface Change {
  readonly version: number;
  readonly plural: string;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: KubeObject;
}

export interface Asked {
  readonly method: string;
  readonly plural: string;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly watch: boolean;
  readonly body: Json;
}

export interface Answer {
  readonly status: number;
  readonly reason?: string;
  readonly message?: string;
  readonly retryAfter?: number;
}

interface Watch {
  readonly plural: string;
  readonly response: ServerResponse;
  readonly selects: (object: KubeObject) => boolean;
}

/** What etcd takes. */
const objectBytes = 1.5 * 1024 * 1024;
const bodyBytes = 3 * 1024 * 1024;

export class ApiServer implements AsyncDisposable {
  readonly asked: Asked[] = [];
  /** An answer in place of the real one, or a wait before it. */
  instead: ((asked: Asked) => Answer | Promise<Answer | undefined> | undefined) | undefined;
  /** How far its clock is from ours. */
  clockMs = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #watches = new Set<Watch>();
  #changes: Change[] = [];
  #version = 1;
  #oldest = 0;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch((thrown: unknown) => {
        if (!response.headersSent) refuse(response, { status: 500, message: String(thrown) });
      });
    });
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  static async start(): Promise<ApiServer> {
    const made = new ApiServer();
    made.#server.listen(0, "127.0.0.1");
    await once(made.#server, "listening");
    return made;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  get watching(): number {
    return this.#watches.size;
  }

  /** Every connection breaks off. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** What was before is forgotten. */
  compact(): void {
    this.#oldest = this.#version;
    this.#changes = [];
  }

  get(plural: string, name: string, namespace = "team"): KubeObject | undefined {
    return this.#objects.get(plural)?.get(`${namespace}/${name}`);
  }

  list(plural: string): readonly KubeObject[] {
    return [...(this.#objects.get(plural)?.values() ?? [])];
  }

  put(plural: string, object: KubeObject): KubeObject {
    const { namespace = "team", name = "" } = object.metadata;
    const key = `${namespace}/${name}`;
    const before = this.#objects.get(plural)?.get(key);
    const uid = object.metadata.uid ?? before?.metadata.uid ?? randomUUID();
    const made = {
      ...object,
      metadata: {
        creationTimestamp: this.#time(),
        ...object.metadata,
        namespace,
        uid,
        resourceVersion: String((this.#version += 1)),
        managedFields: [{ manager: "test", operation: "Update", time: this.#time() }],
      },
    };
    const kinds = this.#objects.get(plural) ?? new Map<string, KubeObject>();
    this.#objects.set(plural, kinds.set(key, made));
    this.#changed({
      version: this.#version,
      plural,
      type: before ? "MODIFIED" : "ADDED",
      object: made,
    });
    return made;
  }

  /** A merge patch by somebody else. */
  merge(plural: string, name: string, patch: Json, namespace = "team"): KubeObject {
    const object = this.get(plural, name, namespace);
    if (!object) throw new Error(`there is no ${name}`);
    const merged = mergePatch(object, patch);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is patched stays an object
    return this.put(plural, merged as KubeObject);
  }

  delete(plural: string, name: string, namespace = "team"): void {
    const key = `${namespace}/${name}`;
    const object = this.#objects.get(plural)?.get(key);
    if (!object) return;
    this.#objects.get(plural)?.delete(key);
    this.#version += 1;
    this.#changed({
      version: this.#version,
      plural,
      type: "DELETED",
      object: {
        ...object,
        metadata: { ...object.metadata, resourceVersion: String(this.#version) },
      },
    });
  }

  #time(): string {
    return `${new Date(Date.now() + this.clockMs).toISOString().slice(0, 19)}Z`;
  }

  #changed(change: Change): void {
    this.#changes.push(change);
    for (const watch of this.#watches) send(watch, change);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://api");
    const [, namespace, plural = "", name, subresource] =
      /^\/apis?(?:\/[^/]+)?\/v[^/]+(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(
        url.pathname,
      ) ?? [];
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const body = text === "" ? {} : recordOf(JSON.parse(text));
    const method = request.method ?? "";
    const watch = url.searchParams.get("watch") === "true";
    const asked: Asked = { method, plural, name, subresource, watch, body };
    this.asked.push(asked);
    const instead = await this.instead?.(asked);
    if (instead) return refuse(response, instead);
    if (text.length > bodyBytes)
      return refuse(response, { status: 413, message: "limit is 3145728" });
    if (method === "GET" && name === undefined)
      return this.#select(response, url, plural, namespace);
    const object = this.get(plural, name ?? "", namespace);
    if (method === "POST") {
      const { name: asName = "" } = recordOf(body["metadata"]);
      const metadata = { ...recordOf(body["metadata"]), namespace: namespace ?? "team" };
      if (this.get(plural, String(asName), namespace))
        return refuse(response, { status: 409, reason: "AlreadyExists" });
      return answer(response, this.put(plural, { ...body, metadata }), 201);
    }
    if (!object) return refuse(response, { status: 404, reason: "NotFound" });
    if (method === "GET") return answer(response, object);
    if (method === "DELETE") {
      this.delete(plural, name ?? "", namespace);
      return answer(response, object);
    }
    this.#patch(response, asked, object, namespace);
  }

  #patch(
    response: ServerResponse,
    { plural, subresource, body }: Asked,
    object: KubeObject,
    namespace = "team",
  ): void {
    const { uid, resourceVersion } = recordOf(body["metadata"]);
    if (uid !== undefined && uid !== object.metadata.uid)
      return refuse(response, { status: 409, message: "Precondition failed: UID" });
    if (resourceVersion !== undefined && resourceVersion !== object.metadata.resourceVersion)
      return refuse(response, { status: 409, message: "the object has been modified" });
    const isStatus = subresource === "status";
    const part = isStatus ? { status: body["status"] } : { ...body, status: undefined };
    const merged = recordOf(mergePatch(object, part));
    const status = isStatus || plural !== "workflowtasksets" ? merged["status"] : object["status"];
    const { metadata } = object;
    const made = {
      ...merged,
      metadata: { ...recordOf(merged["metadata"]), ...(isStatus ? metadata : {}) },
      status,
    };
    if (Buffer.byteLength(JSON.stringify(made)) + noted(made) > objectBytes)
      return refuse(response, { status: 500, message: "etcdserver: request is too large" });
    const isSame = JSON.stringify(made) === JSON.stringify(object);
    const now = isSame
      ? object
      : this.put(plural, { ...made, metadata: { ...made.metadata, namespace } });
    answer(response, { metadata: now.metadata });
  }

  #select(response: ServerResponse, url: URL, plural: string, namespace: string | undefined): void {
    const labels = (url.searchParams.get("labelSelector") ?? "").split(",").filter(Boolean);
    const selects = ({ metadata }: KubeObject): boolean =>
      (namespace === undefined || metadata.namespace === namespace) &&
      labels.every((label) => {
        const [key = "", value] = label.split("=");
        const has = metadata.labels?.[key.replace("!", "")];
        return key.startsWith("!") ? has === undefined : has === value;
      });
    if (url.searchParams.get("watch") !== "true") {
      const items = this.list(plural).filter(selects);
      return answer(response, {
        kind: "List",
        metadata: { resourceVersion: String(this.#version) },
        items,
      });
    }
    const from = Number(url.searchParams.get("resourceVersion") ?? "0");
    if (from < this.#oldest) return refuse(response, { status: 410, reason: "Expired" });
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    const watch = { plural, response, selects };
    this.#watches.add(watch);
    response.once("close", () => this.#watches.delete(watch));
    for (const change of this.#changes) if (change.version > from) send(watch, change);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

function send({ response, plural, selects }: Watch, { type, object, plural: of }: Change): void {
  if (of === plural && selects(object)) response.write(`${JSON.stringify({ type, object })}\n`);
}

/** What a server notes of the writers of an object. */
function noted(object: Json): number {
  const tasks = Object.keys(recordOf(recordOf(object["spec"])["tasks"])).length;
  const nodes = Object.keys(recordOf(recordOf(object["status"])["nodes"])).length;
  return tasks * 229 + nodes * 129;
}

/** RFC 7386. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const merged = new Map(Object.entries(recordOf(target)));
  for (const [key, value] of Object.entries(patch)) {
    if (value === undefined) continue;
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}

function answer(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function refuse(response: ServerResponse, { status, reason, message, retryAfter }: Answer): void {
  if (retryAfter !== undefined) response.setHeader("retry-after", String(retryAfter));
  const told = { kind: "Status", code: status, reason: reason ?? "", message: message ?? reason };
  answer(response, told, status);
}

export function phaseIn(taskSet: KubeObject | undefined, id: string): string | undefined {
  const nodes = recordOf(recordOf(taskSet?.["status"])["nodes"]);
  return textOf(recordOf(nodes[id])["phase"]);
}

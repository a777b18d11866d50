import { Failure } from "../errors/mod.ts";
import type { CallDispatcher } from "../dispatch/mod.ts";
import type { Deployments, Performer } from "../functions/mod.ts";
import { callRoutes } from "./calls.ts";
import { deploymentRoutes } from "./deployments.ts";
import { invokeRoutes } from "./invoke.ts";
import { BrokenStreams, KnownModules } from "./known.ts";
import type { Metrics } from "./metrics.ts";
import type { Access, Api, ApiRequest, ApiResponse, Scope } from "./mod.ts";
import { openApi } from "./openapi.ts";
import { problem } from "./problem.ts";

export interface ApiOptions {
  readonly dispatcher: CallDispatcher;
  readonly deployments: Deployments;
  /** Looks up digests and descriptions; it need not be the one that runs the calls. */
  readonly performer: Performer;
  readonly access: Access;
  readonly metrics?: Metrics;
  /** Whether a module file of this machine stands for an image. */
  readonly isLocal?: (image: string) => boolean;
  /** The file that a name of a module means, where whoever calls owns this process; absent: none. */
  readonly files?: (name: string) => string | undefined;
  /** Bytes of a request that is read whole; default 32 MiB. */
  readonly requestBytes?: number;
  /** Further routes, such as those of workflows. */
  readonly routes?: readonly Route[];
  /** Whether it takes calls; absent: always. */
  readonly isReady?: () => boolean;
  /** Told of what is a bug. */
  readonly onBug?: (thrown: unknown) => void;
}

/** With what all routes share. */
export interface ApiParts extends ApiOptions {
  readonly modules: KnownModules;
  readonly broken: BrokenStreams;
}

/** One path below `/v1/namespaces/{namespace}`; `{name}` stands for one segment. */
export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly scope: Scope;
  readonly handle: (request: ApiRequest, at: Found) => Promise<ApiResponse>;
}

export interface Found {
  readonly namespace: string;
  /** What stands in the path's places, decoded, in their order. */
  readonly words: readonly string[];
  readonly query: URLSearchParams;
}

interface Node {
  readonly words: Map<string, Node>;
  any: Node | undefined;
  readonly routes: Map<string, Route>;
}

const noQuery = new URLSearchParams();
const prefix = "/v1/namespaces/";
const namespacePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** The HTTP API (docs/functions.md has it for people, `/openapi.json` for programs). It never throws: every failure is a response. */
export function createApi(options: ApiOptions): Api {
  const root = tree(allRoutes(options));
  return {
    async handle(request) {
      try {
        return await (request.path.startsWith(prefix)
          ? routed(root, request, options)
          : general(request, options));
      } catch (thrown) {
        if (!(thrown instanceof Failure) || thrown.code === "internal") options.onBug?.(thrown);
        return problem(thrown);
      }
    },
  };
}

/** The table of routes, for the description of the API and its test. */
export function allRoutes(options: ApiOptions): readonly Route[] {
  const parts = {
    ...options,
    modules: new KnownModules(options.files),
    broken: new BrokenStreams(),
  };
  return [
    ...invokeRoutes(parts),
    ...callRoutes(parts),
    ...deploymentRoutes(parts),
    ...(options.routes ?? []),
  ];
}

async function routed(root: Node, request: ApiRequest, options: ApiOptions): Promise<ApiResponse> {
  const segments = request.path.slice(prefix.length).split("/");
  const namespace = segments[0] ?? "";
  if (!namespacePattern.test(namespace)) {
    throw new Failure("invalid-argument", `"${namespace.slice(0, 100)}" is no namespace`, {
      hint: "It has small letters, digits and -, and at most 63 of them.",
    });
  }
  const words: string[] = [];
  let node: Node | undefined = root;
  for (let at = 1; at < segments.length && node; at++) {
    const segment = segments[at] ?? "";
    const fixed: Node | undefined = node.words.get(segment);
    if (!fixed) words.push(decoded(segment));
    node = fixed ?? node.any;
  }
  if (!node || node.routes.size === 0) throw nothingAt(request.path);
  const route = node.routes.get(request.method);
  if (!route) {
    return problem(
      new Failure(
        "method-not-allowed",
        `${request.method} is not for ${request.path.slice(0, 200)}`,
      ),
      ["allow", [...node.routes.keys()].join(", ")],
    );
  }
  const checked = options.access.check(request, { namespace, scope: route.scope });
  if (checked instanceof Promise) await checked;
  return route.handle(request, {
    namespace,
    words,
    query: request.query === "" ? noQuery : new URLSearchParams(request.query),
  });
}

async function general(request: ApiRequest, options: ApiOptions): Promise<ApiResponse> {
  const { path, method } = request;
  const json = (status: number, value: unknown): ApiResponse => ({
    status,
    headers: ["content-type", "application/json"],
    body: JSON.stringify(value),
  });
  if (method !== "GET" && method !== "HEAD") throw nothingAt(path);
  if (path === "/healthz") return json(200, { status: "ok" });
  if (path === "/readyz") {
    const ready = options.isReady?.() ?? true;
    return json(ready ? 200 : 503, { status: ready ? "ready" : "not ready" });
  }
  if (path === "/openapi.json") return json(200, openApi());
  const checked = options.access.check(request, { namespace: "*", scope: "read" });
  if (checked instanceof Promise) await checked;
  if (path === "/metrics" && options.metrics) {
    return {
      status: 200,
      headers: ["content-type", options.metrics.contentType],
      body: await options.metrics.text(),
    };
  }
  if (path === "/v1/load") {
    return json(200, { targets: options.dispatcher.load(), warm: options.performer.warm() });
  }
  throw nothingAt(path);
}

function tree(routes: readonly Route[]): Node {
  const root = empty();
  for (const route of routes) {
    let node = root;
    for (const segment of route.path.split("/").filter(Boolean)) {
      if (segment.startsWith("{")) node = node.any ??= empty();
      else {
        const next = node.words.get(segment) ?? empty();
        node.words.set(segment, next);
        node = next;
      }
    }
    node.routes.set(route.method, route);
  }
  return root;
}

function empty(): Node {
  return { words: new Map(), any: undefined, routes: new Map() };
}

function decoded(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Failure("invalid-argument", `"${segment.slice(0, 100)}" is no part of a path`);
  }
}

function nothingAt(path: string): Failure {
  return new Failure("not-found", `There is nothing at ${path.slice(0, 200)}`, {
    hint: "/openapi.json lists what there is.",
  });
}

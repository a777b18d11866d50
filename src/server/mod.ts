export { openAccess } from "./access/access.ts";
export { openOidc } from "./access/oidc.ts";
export { makeToken, Tokens } from "./access/tokens.ts";
export { allRoutes, createApi, type Route } from "./api.ts";
export { bodyTooLarge } from "./body.ts";
export { listen } from "./listen.ts";
export { Metrics } from "./metrics.ts";
export { workflowRoutes } from "./workflows/routes.ts";
export { Runs } from "./workflows/runs.ts";

/** One request, whatever brought it: a socket, or a client in the same process. */
export interface ApiRequest {
  readonly method: string;
  /** Without the query, as it came. */
  readonly path: string;
  readonly query: string;
  /** Names in lower case. */
  readonly header: (name: string) => string | undefined;
  /** The whole body. Throws `request-too-large`. Either this or `pieces` is used, and once. */
  readonly read: (mostBytes: number) => Promise<Uint8Array>;
  readonly pieces: () => AsyncIterator<Uint8Array, unknown, undefined>;
  /** The caller has left. */
  readonly signal: AbortSignal;
  /** Whether whoever sends it needs no token: it is in this process. */
  readonly trusted?: boolean;
}

export interface ApiResponse {
  readonly status: number;
  /** Names and values in turns, as node:http takes them. */
  readonly headers: readonly string[];
  readonly body?: Uint8Array | string;
  /** Writes a body that comes in pieces; what it throws breaks the response off. */
  readonly stream?: (write: Sink) => Promise<void>;
}

/** A promise says when there is room for more. */
export type Sink = (bytes: Uint8Array | string) => void | Promise<void>;

export interface Api {
  handle(request: ApiRequest): Promise<ApiResponse>;
}

/** What a request needs to be allowed to do. */
export type Scope = "call" | "deploy" | "read" | "workflows" | "admin";

/** Who may do what. Throws `unauthenticated`, `forbidden` or `rate-limited`. */
export interface Access {
  check(
    request: Pick<ApiRequest, "header" | "trusted">,
    need: { readonly namespace: string; readonly scope: Scope },
  ): Principal | Promise<Principal>;
}

export interface Principal {
  readonly name: string;
}

import type { Limits } from "../limits/mod.ts";
import type { Resolve } from "./names.ts";
import type { AskedHost } from "./rules.ts";
import type { Secret, SecretReference } from "./secrets.ts";

/** The gate for HTTP requests of guests: nobody gets through whom two lists do not both allow; and secrets go in here. */
export { createGate } from "./gate.ts";
export { endpointEntry, isFor, parseEndpoint, type Endpoint } from "./endpoints.ts";
export { parseRules, type AllowedHost, type AskedHost } from "./rules.ts";
export type { Secret, SecretReference } from "./secrets.ts";
/** For clients of ours that go where a document names: which addresses they may connect to. */
export {
  addressRules,
  loopbackAddresses,
  privateAddresses,
  type AddressRuleOptions,
  type AddressRules,
} from "./connecting.ts";
export { isLoopback, proxiesFrom, type ProxyFor } from "./proxies.ts";
export { connectionProblem, type ConnectionProblem } from "./problems.ts";
export { listening } from "./listening.ts";
export { readAll } from "./reading.ts";
export { orAborted } from "./waiting.ts";
export type { Resolve } from "./names.ts";

export interface GateOptions {
  /** The operator's side. */
  readonly permissions: {
    readonly allowedHosts: readonly AskedHost[];
    /** Addresses and ranges that are not public and may be connected to all the same, e.g. `127.0.0.1`, `10.0.0.0/8`. */
    readonly allowedAddresses?: readonly string[];
  };
  /** By `name/key`. */
  readonly secrets?: ReadonlyMap<string, Secret>;
  /** How names become addresses; default: the system's way. */
  readonly resolve?: Resolve;
  /** Certificates (PEM) of authorities to trust instead of Node's own. */
  readonly authorities?: readonly string[];
  /** Responses of all guests that are open at once (default 2,000); further requests wait. */
  readonly openAtOnce?: number;
  /** How long a guest may leave a response unread; default a minute. */
  readonly unreadMs?: number;
}

/** The step's side. */
export interface Step {
  readonly allowedHosts: readonly AskedHost[];
  readonly secrets: readonly SecretReference[];
  readonly limits: Limits;
}

export interface Gate {
  /** Opens it for one invocation. Throws when the step's list is wrong or a secret is not there. */
  open(step: Step): Promise<Passage>;
}

/** The way of one invocation. */
export interface Passage extends Disposable {
  /** Placeholders of the step's secrets, by variable. */
  readonly environment: ReadonlyMap<string, string>;
  readonly http: (
    request: GateRequest,
    options: { readonly signal: AbortSignal },
  ) => Promise<GateResponse>;
  readonly usage: readonly HostUsage[];
  /** What was refused or failed first, in words. */
  readonly refusals: readonly string[];
}

/** Bytes of heads and bodies, as they were before and after any encoding for the way. */
export interface HostUsage {
  readonly host: string;
  readonly requests: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

/** As the engine's `HttpRequest`. */
export interface GateRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
  readonly timeoutMs?: number;
  readonly redirects: number;
}

/** As the engine's `HttpResponse`. */
export interface GateResponse {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: AsyncIterator<Uint8Array, unknown, undefined>;
}

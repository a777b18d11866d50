import type { FailureRecord } from "../errors/mod.ts";
import type { AskedLimits } from "../limits/mod.ts";
import type { Trust } from "../runner/mod.ts";
import type { ModuleDescription } from "./description.ts";

/**
 * Functions of modules: how a module says which it has, how one is called, and the names under which modules are deployed. It knows
 * nothing of HTTP and of brokers; docs/functions.md has the calling convention.
 */
export { checkArguments, checkFunctionName } from "./convention.ts";
export {
  describeFunction,
  parseDescription,
  type FunctionDescription,
  type ModuleDescription,
} from "./description.ts";
export { changed, imageOf, openDeployments, parseDeployment } from "./deployments.ts";
export { createPerformer } from "./perform.ts";
export { typesOf } from "./types.ts";

/** What a function runs in. */
export interface Program {
  /** An OCI reference; with its digest where it was looked up. A module file only for who runs it on his own machine. */
  readonly module: { readonly image: string; readonly digest?: string } | { readonly path: string };
  readonly limits: AskedLimits;
  readonly trust?: Trust;
  readonly environment?: Readonly<Record<string, string>>;
  readonly permissions?: {
    readonly http?: { readonly allowedHosts: readonly string[] };
    /** Deployments of its own namespace that it may call; `*` stands for all of them. */
    readonly call?: { readonly functions: readonly string[] };
  };
}

/** One invocation of a function. */
export interface FunctionCall {
  readonly id: string;
  /** The namespace. Guests of one owner may share a process. */
  readonly owner: string;
  readonly program: Program;
  readonly function: string;
  /** A JSON array; `null` stands where the bytes argument is. */
  readonly arguments: string;
  /** The bytes argument, or the first of it where the rest comes in pieces. */
  readonly input?: Uint8Array;
  /** The caller's idempotency key, for a guest that does something to the world. */
  readonly key?: string;
  readonly traceparent?: string;
}

/** What a guest threw. */
export interface Thrown {
  readonly name: string;
  readonly message: string;
  readonly data?: unknown;
  /** The guest's functions, innermost first. */
  readonly stack?: readonly string[];
}

/** How a call ended; there is exactly one for each call. */
export type Outcome =
  | { readonly kind: "returned"; readonly type: ResultType; readonly body: Uint8Array }
  | { readonly kind: "threw"; readonly error: Thrown }
  | {
      readonly kind: "failed";
      readonly failure: FailureRecord;
      readonly stack?: readonly string[];
    };

/** `none`: it returned nothing. */
export type ResultType = "json" | "bytes" | "none";

export interface Performance {
  readonly outcome: Outcome;
  /** What it wrote to stderr, its end when it was long. */
  readonly log: Uint8Array;
  readonly usage: {
    /** Whether its module had to be loaded for it. */
    readonly cold: boolean;
    readonly loadMs: number;
    readonly runMs: number;
    readonly cpuMs: number;
    readonly memoryBytes: number;
  };
}

export interface PerformOptions {
  readonly signal?: AbortSignal;
  /** The rest of the bytes argument. */
  readonly input?: AsyncIterator<Uint8Array, unknown, undefined>;
  /** Takes the result piece by piece; the outcome's body is empty then. */
  readonly pour?: (bytes: Uint8Array) => void | Promise<void>;
  /** What the guest writes to stderr, as it comes. */
  readonly onLog?: (bytes: Uint8Array) => void;
  /** Answers calls of the guest to other functions. Absent: it may call none. */
  readonly call?: CallHandler;
}

/** Calls another function for a guest; `name` is a deployment of its namespace. */
export type CallHandler = (
  asked: {
    readonly name: string;
    readonly function: string;
    readonly arguments: string;
    readonly input?: Uint8Array;
    readonly key?: string;
  },
  options: { readonly signal: AbortSignal },
) => Promise<Outcome>;

/** Runs functions in this process's runners. */
export interface Performer extends AsyncDisposable {
  /** Rejects only for bugs. */
  perform(call: FunctionCall, options?: PerformOptions): Promise<Performance>;
  /** Which functions a module has. Throws a `Failure` when it cannot be had or says nothing. */
  describe(
    asked: Pick<FunctionCall, "owner" | "program">,
    options?: { readonly signal?: AbortSignal },
  ): Promise<ModuleDescription & { readonly digest: string }>;
  /** Makes a module ready. `text` is what it says of itself, when it says something. */
  load(
    asked: Pick<FunctionCall, "owner" | "program">,
    options?: { readonly signal?: AbortSignal },
  ): Promise<{ readonly text: string | undefined; readonly digest: string }>;
  /** The digest that an image has now. */
  resolve(image: string, options?: { readonly signal?: AbortSignal }): Promise<string>;
  /** Modules that lie ready, by image digest or path. */
  warm(): readonly string[];
}

/** A module under a name of a namespace. */
export interface Deployment {
  readonly namespace: string;
  readonly name: string;
  readonly program: Program;
  /** How its calls are repeated when they fail for a reason that a repetition may cure. */
  readonly retry: RetryPolicy;
  /** Functions without effects on the world: a slow call of theirs may be sent a second time, and the first answer counts. */
  readonly pure: readonly string[];
  /** What the module says of its functions, as JSON. */
  readonly functions?: string;
  /** Calls that run at once, on each machine. */
  readonly concurrency?: number;
  readonly deployedAt: string;
  /** Changes with each deployment; also its entity tag. */
  readonly version: string;
}

export interface RetryPolicy {
  /** Attempts in all, the first included; 1 is no repetition. */
  readonly attempts: number;
  /** Codes of failures, or names of thrown errors; absent: every failure that the table of failures calls retryable. */
  readonly on?: readonly string[];
  readonly backoffMs: number;
  readonly mostBackoffMs: number;
}

/** Where deployments are kept. */
export interface Deployments extends AsyncDisposable {
  get(namespace: string, name: string): Promise<Deployment | undefined>;
  /** `ifVersion`: only when that is the version now; `null`: only when there is none. Throws `conflict`. */
  put(deployment: Deployment, ifVersion?: string | null): Promise<void>;
  list(namespace: string): Promise<readonly Deployment[]>;
  remove(namespace: string, name: string, ifVersion?: string): Promise<boolean>;
}

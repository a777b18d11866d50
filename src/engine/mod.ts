import type { FailureRecord } from "../errors/mod.ts";
import type { LimitKey, Limits } from "../limits/mod.ts";
import type { Collected, HttpRequest, HttpResponse, Mount } from "../wasi/mod.ts";
import type { ModuleSource } from "./source.ts";

export { describe, type Description } from "./describe.ts";
export { createEngine } from "./engine.ts";
export { functionsOf, KeptModules, tooMany } from "./kept.ts";
export { aborted, endedBy } from "./results.ts";
export { nameOf, type ModuleSource } from "./source.ts";
export { isStaging, removeLeftovers, stagingFolder, temporaryFolder } from "./staging.ts";
export type {
  Collected,
  HostBytes,
  HttpRequest,
  HttpResponse,
  Mount,
  TreeEntry,
} from "../wasi/mod.ts";

/** A compiled module, shared by all invocations of one digest. */
export interface Module {
  /** `sha256:` and 64 hexadecimal digits, of the bytes as they were given. */
  readonly digest: string;
  readonly name: string;
  readonly compileMs: number;
  readonly sizeBytes: number;
  /** `module.field` of every import. */
  readonly imports: readonly string[];
  readonly exports: readonly string[];
  /** What its custom section `atalanta:functions` says of its functions. */
  readonly functions?: string;
}

/** One request to run a module in a fresh sandbox. */
export interface Invocation {
  /** argv; the first is the program's name. */
  readonly arguments: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  readonly stdin?: Uint8Array;
  /** An exported function without parameters that is called instead of `_start`, after `_initialize`, where the module has such a one. */
  readonly entry?: string;
  /** Laid into one writable tree with root `/`, in order. */
  readonly mounts: readonly Mount[];
  /** Directories of that tree which the guest gets as preopens; `/` when absent. */
  readonly preopens?: readonly string[];
  /** Paths of the tree to hand out after the guest ended, whatever way it ended. */
  readonly collect: readonly string[];
  readonly limits: Limits;
  /** Whom it belongs to: groups take turns, and none keeps the threads of the others. All without one are a group. */
  readonly group?: string;
}

export interface Usage {
  /** Time on the thread from the start of instantiation, in milliseconds. */
  readonly instantiateMs: number;
  readonly runMs: number;
  /** Time that the guest computed on its thread, in milliseconds; what V8 compiles and collects beside it is not in it. */
  readonly cpuMs: number;
  /** Linear memory at the end, in bytes (it never shrinks). */
  readonly memoryBytes: number;
  /** Files, folders and links. */
  readonly filesCreated: number;
  readonly filesBytesWritten: number;
}

/** How an invocation ended. */
export type Result = {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly collected: readonly Collected[];
  readonly usage: Usage;
  /** Ceilings that the guest got an error for, whatever it made of that. */
  readonly limitsReached: readonly LimitKey[];
} & (
  | { readonly kind: "exited"; readonly exitCode: number }
  /** `message` is the trap's reason; `stack` names the guest's functions, innermost first. */
  | { readonly kind: "trapped"; readonly message: string; readonly stack: readonly string[] }
  /** A ceiling or the caller's signal ended it. */
  | { readonly kind: "stopped"; readonly failure: FailureRecord }
  /** It never began, e.g. a missing import. */
  | { readonly kind: "failed"; readonly failure: FailureRecord }
);

/**
 * Answers a guest's HTTP requests. What it throws is told to the guest as an error with its text; a failure of a ceiling
 * (`limit-…`) stops the guest. The signal says that the guest has ended.
 */
export type HttpHandler = (
  request: HttpRequest,
  options: { readonly signal: AbortSignal },
) => Promise<HttpResponse>;

export interface RunOptions {
  readonly signal?: AbortSignal;
  /** Absent: every request of the guest is denied. */
  readonly http?: HttpHandler;
  /** What comes on stdin after `Invocation.stdin`, asked for when the guest reads; a guest that waits for it keeps no thread. */
  readonly input?: AsyncIterator<Uint8Array, unknown, undefined>;
  /**
   * Takes stdout piece by piece instead of the result, without a ceiling: while what was taken is not done with, the guest waits. What
   * it throws stops the guest.
   */
  readonly pour?: (bytes: Uint8Array) => void | Promise<void>;
  /** Called while the guest runs, with what it wrote; also part of the result. */
  readonly onOutput?: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
}

export interface EngineOptions {
  /** Threads on which guests of one group run at once; default: the number of processors. */
  readonly threads?: number;
  /** Threads of all groups; default: four times `threads`. */
  readonly mostThreads?: number;
  /** Memory of guests that wait, and of the process while many do, in bytes, above which no further one is started; default: half of what the machine or container has. */
  readonly parkedBytes?: number;
  /** Folder for spill files, owned by the engine; default: a new one below the system's temporary folder. */
  readonly stagingFolder?: string;
}

/** Compiles and runs modules on a pool of threads. */
export interface Engine extends AsyncDisposable {
  /** Compiles once per digest. Throws a `Failure` that says what is wrong with the bytes. */
  load(
    source: ModuleSource,
    options?: { readonly signal?: AbortSignal; readonly limits?: Limits },
  ): Promise<Module>;
  /** Runs a fresh instance. Rejects only for bugs; everything a guest does is a `Result`. */
  run(module: Module, invocation: Invocation, options?: RunOptions): Promise<Result>;
}

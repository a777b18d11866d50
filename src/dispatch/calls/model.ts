import type { FunctionCall, Performance, RetryPolicy } from "../../functions/mod.ts";

/** A call of a function on its way to whoever runs it. */
export interface Call extends FunctionCall {
  /** It is a task of a workflow: its arguments are the task, and its result is the task's. */
  readonly task?: true;
  /** What it is counted under: a deployment as `namespace/name`, or the image. */
  readonly target: string;
  /** Of arguments and input, when there is an idempotency key: another call with the same key is none. */
  readonly fingerprint?: string;
  readonly retry: RetryPolicy;
  /** Whether it may be run more than once although it has not failed. */
  readonly pure: boolean;
  /** Calls of this target that run at once; absent: no ceiling but the machine's. */
  readonly concurrency?: number;
  /** How long its caller waits, in milliseconds; absent: as long as its limits let it run. */
  readonly budgetMs?: number;
  /** Who called whom until here, as `target/function`, the first caller first. */
  readonly chain?: readonly string[];
  /** How many calls the first caller's call has led to, over all; shared by them on one machine. */
  readonly family?: string;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** The rest of the bytes argument. Such a call is run once and never repeated. */
  readonly input?: AsyncIterator<Uint8Array, unknown, undefined>;
  /** Takes the result piece by piece. Such a call is run once and never repeated. */
  readonly pour?: (bytes: Uint8Array) => void | Promise<void>;
  readonly onLog?: (bytes: Uint8Array) => void;
}

/** A call with its one outcome. */
export interface Ended extends Performance {
  readonly attempts: number;
  readonly queueMs: number;
  /** It was called before with the same key, and this is the outcome of then. */
  readonly repeated: boolean;
}

type CallState = "waiting" | "running" | "ended";

/** What is known of a call that does not wait for its answer, or that has a key. */
export interface CallRecord {
  readonly id: string;
  readonly owner: string;
  readonly target: string;
  readonly function: string;
  readonly state: CallState;
  readonly createdAt: string;
  readonly endedAt?: string;
  readonly ended?: Ended;
}

/** Brings calls to those who run functions, and each to one outcome. */
export interface CallDispatcher extends AsyncDisposable {
  /**
   * Runs a call and waits for it. With a key it is written down first, and answered once however often it comes. Rejects with a `Failure` only
   * when it was not run: `queue-full`, `shutting-down`, `idempotency-mismatch`, `deadline` before it began, `broker-unavailable`.
   */
  run(call: Call, options?: CallOptions): Promise<Ended>;
  /** Writes a call down and comes back; it is run although its caller, or this process, goes away. */
  submit(call: Call): Promise<void>;
  find(owner: string, id: string): Promise<CallRecord | undefined>;
  /** Resolves when a call that was submitted has ended; undefined when there is none. */
  wait(owner: string, id: string, signal: AbortSignal): Promise<CallRecord | undefined>;
  /** False when there is no such call or it has ended. */
  cancel(owner: string, id: string): Promise<boolean>;
  /** Calls that wait and run, by target. */
  load(): readonly Load[];
  /** Takes no further calls and waits for those that run, at most so long. */
  drain(mostMs: number): Promise<void>;
}

export interface Load {
  readonly target: string;
  readonly waiting: number;
  readonly running: number;
}

/** A call in a trace. */
export interface CallSpan {
  /** For the guest, which may go on with the trace (W3C Trace Context). */
  readonly traceparent: string;
  /** `error` is absent when it returned. */
  end(about: {
    readonly error?: string;
    readonly queueMs: number;
    readonly attempts: number;
    readonly cold: boolean;
  }): void;
}

/** What happened to one attempt of a call, for those who count. */
export interface Attempt {
  readonly target: string;
  readonly function: string;
  /** `returned`, `threw`, or the code of its failure. */
  readonly end: string;
  readonly cold: boolean;
  readonly queueMs: number;
  readonly loadMs: number;
  readonly runMs: number;
  readonly attempt: number;
}

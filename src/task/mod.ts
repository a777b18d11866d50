import type { FailureRecord } from "../errors/mod.ts";
import type { StoredArtifact } from "../artifacts/mod.ts";
import type { AskedLimits } from "../limits/mod.ts";

export { createTaskRunner } from "./runner.ts";
export type { StoredArtifact } from "../artifacts/mod.ts";

/** Where an input artifact comes from. */
export type ArtifactSource =
  | { readonly kind: "stored"; readonly artifact: StoredArtifact; readonly subPath?: string }
  | { readonly kind: "raw"; readonly data: string };

export interface InputArtifact {
  readonly name: string;
  /** Absolute path in the sandbox. */
  readonly path: string;
  /** Absent only when the artifact is optional and was not given. */
  readonly source?: ArtifactSource;
}

interface OutputArtifact {
  readonly name: string;
  readonly path: string;
  readonly optional: boolean;
}

interface OutputParameter {
  readonly name: string;
  readonly path: string;
  /** Used when the file is missing. */
  readonly default?: string;
}

/** What runs in the sandbox. */
interface Program {
  /** An OCI reference, or a module file for local runs. */
  readonly module: { readonly image: string } | { readonly path: string };
  /** Arguments after argv[0]. */
  readonly arguments: readonly string[];
  readonly limits: AskedLimits;
}

/** One unit of work, shared by every front door. */
export interface Task {
  /** Names the attempt: the same key is the same piece of work. */
  readonly key: string;
  readonly program: Program;
  readonly environment: readonly { readonly name: string; readonly value: string }[];
  readonly stdin?: string;
  readonly inputs: readonly InputArtifact[];
  readonly outputs: {
    readonly parameters: readonly OutputParameter[];
    readonly artifacts: readonly OutputArtifact[];
    /** Whether stdout becomes `outputs.result` (at most 256 KiB). */
    readonly result: boolean;
  };
}

/** Where the time went, in milliseconds. */
interface Timings {
  readonly queueMs: number;
  readonly pullMs: number;
  readonly compileMs: number;
  readonly instantiateMs: number;
  readonly runMs: number;
  /** Inputs made ready and outputs stored. */
  readonly artifactsMs: number;
}

/** How a task ended. `Failed` is the program's fault and `Error` everything else, as in Argo. */
export interface TaskResult {
  readonly phase: "Succeeded" | "Failed" | "Error";
  readonly message?: string;
  readonly exitCode?: number;
  readonly outputs: {
    readonly result?: string;
    readonly parameters: readonly { readonly name: string; readonly value: string }[];
    readonly artifacts: readonly { readonly name: string; readonly artifact: StoredArtifact }[];
  };
  /** stdout and stderr as they came, stored; absent when nothing was written. */
  readonly log?: StoredArtifact;
  /** The last lines of stderr of a task that did not succeed. */
  readonly stderrTail?: string;
  /** The guest's functions at a trap, innermost first. */
  readonly stack?: readonly string[];
  readonly failure?: FailureRecord;
  readonly timings: Timings;
  readonly memoryBytes?: number;
}

export interface RunTaskOptions {
  readonly signal?: AbortSignal;
  readonly onOutput?: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
}

/** Runs tasks. Never rejects for what a task does: that is a `TaskResult`. */
export interface TaskRunner extends AsyncDisposable {
  run(task: Task, options?: RunTaskOptions): Promise<TaskResult>;
}

import type { Collected, Mount } from "../engine/mod.ts";
import type { FailureRecord } from "../errors/mod.ts";
import type { Trust } from "../runner/mod.ts";
import type { StoredArtifact } from "../artifacts/mod.ts";
import type { AskedLimits } from "../limits/mod.ts";
import type { AskedHost, HostUsage, SecretReference } from "../network/mod.ts";
import type { Place } from "../places/mod.ts";

export { makeReady, type ReadyProgram } from "./program.ts";
export { createDepot } from "./depot.ts";
export { createTaskRunner } from "./runner.ts";
export type { StoredArtifact } from "../artifacts/mod.ts";

/** Where an input artifact comes from. `subPath` names a file or folder inside it. */
export type ArtifactSource =
  | {
      readonly kind: "stored";
      readonly artifact: StoredArtifact;
      readonly subPath?: string;
      /** For when it is no longer here. */
      readonly copy?: Copy;
    }
  /** In a store outside. */
  | { readonly kind: "store"; readonly place: Place; readonly subPath?: string }
  | { readonly kind: "raw"; readonly data: string }
  /** An object of the artifact repository: the one of this name, or a folder of all whose names begin with `key/`. */
  | { readonly kind: "key"; readonly key: string; readonly subPath?: string };

/** When what a run sent to a store is deleted there; absent: never. */
type Collect = "OnWorkflowCompletion" | "OnWorkflowDeletion";

/** What a step sent to a store. */
export interface Copy {
  readonly place: Place;
  readonly packed: "none" | "tar" | "zip";
  readonly collect?: Collect;
  /** It is not there any more. */
  readonly deleted?: true;
}

/** How an artifact is packed for a store; `name` is that of its content in the archive. */
export interface Packing {
  readonly kind: "none" | "tar" | "zip";
  readonly name: string;
  readonly level?: number;
}

export interface TransferOptions {
  readonly signal?: AbortSignal;
  /** All bytes that went so far. */
  readonly onProgress?: (bytes: number) => void;
}

/** The way to stores outside, with the operator's secrets. */
export interface Depot extends AsyncDisposable {
  /** Throws when the place may not be used: a secret is missing, or not for its host. */
  check(place: Place): void;
  /** Brings what lies there, as it lies there. What is on its way already is waited for. */
  bring(place: Place, options?: TransferOptions): Promise<StoredArtifact>;
  /** Brings back what was sent, as it was before it was packed. */
  restore(copy: Copy, artifact: StoredArtifact, options?: TransferOptions): Promise<StoredArtifact>;
  send(
    place: Place,
    artifact: StoredArtifact,
    packing: Packing,
    options?: TransferOptions,
  ): Promise<void>;
  /** Deletes what was sent, and nothing beside it. That it is not there any more is fine. */
  remove(
    copy: Copy,
    artifact: StoredArtifact,
    options?: { readonly signal?: AbortSignal },
  ): Promise<void>;
}

/** Where an output goes, beside the folder of artifacts. */
export interface OutputStore {
  readonly place: Place;
  readonly collect?: Collect;
}

export interface InputArtifact {
  readonly name: string;
  /** Absolute path in the sandbox. */
  readonly path: string;
  /** Absent only when the artifact is optional and was not given. */
  readonly source?: ArtifactSource;
  /** Permission bits laid on the file or folder, and with `recurseMode` on everything below it. */
  readonly mode?: number;
  readonly recurseMode?: boolean;
  /**
   * How bytes from outside (a user's file, raw data) are packed. Absent: a gzip'd tarball is unpacked, anything else is
   * left as it is, as Argo does. What a step stored is never looked into.
   */
  readonly archive?: "none" | "tar" | "zip";
  /** Whether the task runs without it when its key or `subPath` is not there. */
  readonly optional?: boolean;
}

export interface OutputArtifact {
  readonly name: string;
  readonly path: string;
  readonly optional: boolean;
  /** Also published under this name of the artifact repository. */
  readonly key?: string;
  /** Also sent there, packed. */
  readonly store?: OutputStore;
  /** How it is packed for a store. In the folder of artifacts it stays unpacked; only `none` is told apart, see `InputArtifact.archive`. */
  readonly archive?:
    | { readonly kind: "none" }
    | { readonly kind: "tar"; readonly level?: number }
    | { readonly kind: "zip" };
  readonly mode?: number;
}

interface OutputParameter {
  readonly name: string;
  readonly path: string;
  /** Used when the file is missing. */
  readonly default?: string;
}

/** A module that runs in a sandbox. */
export interface WasmProgram {
  readonly kind: "wasm";
  /** An OCI reference, with its digest when it was looked up before, or a module file for local runs. */
  readonly module:
    | {
        readonly image: string;
        readonly digest?: string;
        readonly pullPolicy?: "Always" | "IfNotPresent" | "Never";
      }
    | { readonly path: string };
  /** Arguments after argv[0]. */
  readonly arguments: readonly string[];
  /** Whether they come behind those of the image's entry point; without any, the image's own command does. */
  readonly afterEntrypoint?: boolean;
  readonly limits: AskedLimits;
  /** How far it is to be kept from others; a host may have a stronger class for all. */
  readonly trust?: Trust;
  /** Where it may send HTTP requests, if the operator allows that too; nowhere when absent. */
  readonly allowedHosts?: readonly AskedHost[];
  /** Absent: it runs once. */
  readonly map?: MapProgram;
}

/** A program that runs once for each item of a list, as one task. */
export interface MapProgram {
  /** A list, or text that is a JSON list. */
  readonly items?: string | readonly unknown[];
  /** Instead: the input artifact that has the items, as a JSON list or a JSON value a line. */
  readonly artifact?: string;
  /** Items at once; default 8, at most 64. */
  readonly parallelism?: number;
  /** Items that may fail; default none. */
  readonly maxFailures?: number;
  /** The output artifact that gets a line of JSON for each item; also for results that are too large for `outputs.result`. */
  readonly results?: string;
}

/** An image that a container runtime runs. */
export interface ContainerProgram {
  readonly kind: "container";
  readonly image: string;
  /** Absent: the image's entry point. */
  readonly command?: readonly string[];
  readonly arguments: readonly string[];
  /** Source of a script template: laid into a file whose path becomes the last argument. */
  readonly script?: string;
  readonly workingDir?: string;
  readonly pullPolicy?: "Always" | "IfNotPresent" | "Never";
  readonly memoryBytes?: number;
  readonly cpus?: number;
}

type Program = WasmProgram | ContainerProgram;

/** A secret is a reference: what the program gets is a placeholder, and the gate puts the value in on the way to its hosts. */
type Variable =
  | { readonly name: string; readonly value: string }
  | { readonly name: string; readonly secret: Omit<SecretReference, "variable"> };

/** One unit of work, shared by every front door. */
export interface Task {
  /** Names the attempt: the same key is the same piece of work. */
  readonly key: string;
  /** Whose it is: programs of two owners never share a process of the class `process`. Absent: the user of this machine. */
  readonly owner?: string;
  readonly program: Program;
  readonly environment: readonly Variable[];
  readonly stdin?: string;
  readonly inputs: readonly InputArtifact[];
  readonly outputs: {
    readonly parameters: readonly OutputParameter[];
    readonly artifacts: readonly OutputArtifact[];
    /** Where the log goes as well, as the artifact `main-logs`. */
    readonly log?: OutputStore;
    /** Whether stdout becomes `outputs.result` (at most 256 KiB). */
    readonly result: boolean;
  };
  /** Wall time of the program: the smaller one of this and `limits.time` of a module counts. */
  readonly timeoutMs?: number;
}

/** What a container runtime is asked to run: the program with its files laid in, and the paths to hand out. */
interface ContainerRequest extends Omit<ContainerProgram, "kind"> {
  /** The task's key. */
  readonly key: string;
  readonly environment: ReadonlyMap<string, string>;
  readonly stdin?: Uint8Array;
  readonly inputs: readonly { readonly path: string; readonly content: Mount["content"] }[];
  /** Absolute paths, collected whatever way the program ended. */
  readonly collect: readonly string[];
  readonly timeMs: number;
}

interface ContainerResult {
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  /** Slices of it lie in a folder of the runtime's; the receiver moves or removes them. */
  readonly collected: readonly Collected[];
  /** Why it ended with this exit code, when that was not the program's own doing. */
  readonly reason?: "OOMKilled";
  /** Time to get the image. */
  readonly pullMs?: number;
}

/** Runs containers for the task runner. Rejects with a `Failure` when the program did not come to an exit code of its own. */
export interface ContainerRunner {
  run(request: ContainerRequest, options: RunTaskOptions): Promise<ContainerResult>;
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

/** What a module took. */
export interface Usage {
  readonly cpuMs: number;
  readonly wallMs: number;
  /** Linear memory at its highest. */
  readonly memoryBytes: number;
  /** Files, folders and links. */
  readonly filesCreated: number;
  readonly filesBytesWritten: number;
  /** HTTP requests that went out, by host; absent when there were none. */
  readonly http?: readonly HostUsage[];
  /** Of a map. */
  readonly items?: { readonly count: number; readonly failed: number };
}

/** How a task ended. `Failed` is the program's fault and `Error` everything else, as in Argo. */
export interface TaskResult {
  readonly phase: "Succeeded" | "Failed" | "Error";
  readonly message?: string;
  readonly exitCode?: number;
  readonly outputs: {
    readonly result?: string;
    readonly parameters: readonly { readonly name: string; readonly value: string }[];
    readonly artifacts: readonly {
      readonly name: string;
      readonly artifact: StoredArtifact;
      readonly copy?: Copy;
    }[];
  };
  /** stdout and stderr as they came, stored; absent when nothing was written. */
  readonly log?: StoredArtifact;
  /** The last lines of stderr of a task that did not succeed. */
  readonly stderrTail?: string;
  /** The guest's functions at a trap, innermost first. */
  readonly stack?: readonly string[];
  readonly failure?: FailureRecord;
  readonly timings: Timings;
  /** Of a module that ran. */
  readonly usage?: Usage;
  /** Ceilings that the program got an error for, whatever it made of that, each with the key that raises it. */
  readonly limitsReached?: readonly FailureRecord[];
  /** Digest of the module that ran, so that a change between two steps is seen. */
  readonly moduleDigest?: string;
  /** Digest of the image that it came from: `NAME@DIGEST` is the same one at any time. */
  readonly imageDigest?: string;
}

/** An artifact on its way from or to a store, or an image from its registry. */
interface TaskTransfer {
  /** Its name. */
  readonly artifact: string;
  readonly way: "from" | "to";
  /** So far; absent when it is over. */
  readonly bytes?: number;
}

export interface RunTaskOptions {
  readonly signal?: AbortSignal;
  readonly onTransfer?: (transfer: TaskTransfer) => void;
  readonly onOutput?: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
}

/** Runs tasks. Never rejects for what a task does: that is a `TaskResult`. */
export interface TaskRunner extends AsyncDisposable {
  run(task: Task, options?: RunTaskOptions): Promise<TaskResult>;
}

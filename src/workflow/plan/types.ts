import type { Bundle, Container, Repository, Wasm } from "../../document/mod.ts";
import type { Place } from "../../places/mod.ts";
import type {
  ArtifactSource,
  InputArtifact,
  StoredArtifact,
  Task,
  TaskResult,
} from "../../task/mod.ts";

/** What a run is begun with; kept as the first record of its journal. */
export interface Begin {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly bundle: Bundle;
  /** Values given at the start, instead of the document's. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly artifacts: Readonly<Record<string, StoredArtifact>>;
  /** Where artifacts lie of which nothing more than a key is said, and outputs of which nothing is said; absent: in the folder of artifacts alone. */
  readonly repository?: Repository;
}

/**
 * Everything that happens to a run. The state is the fold of these: the same events give the same state and the same effects, so a
 * journal of them is all that has to be kept. `at` is in milliseconds since 1970 and never goes back within a run.
 */
export type RunEvent =
  | { readonly type: "begun"; readonly at: number }
  /** The work of a leaf ended, whatever way. `startedAt` is when its program really began. */
  | {
      readonly type: "ended";
      readonly at: number;
      readonly node: string;
      /** Of the work that ended: what is left of an earlier one changes nothing. */
      readonly attempt: number;
      readonly startedAt: number;
      readonly result: TaskResult;
    }
  /** Time has passed; asked for by a `wake` effect. */
  | { readonly type: "woke"; readonly at: number }
  /** A suspended run, or suspended nodes, go on. */
  | {
      readonly type: "resumed";
      readonly at: number;
      /** Ids of suspend nodes; all of them and the run when absent. */
      readonly nodes?: readonly string[];
      /** For `valueFrom.supplied`. */
      readonly parameters?: Readonly<Record<string, string>>;
    }
  | { readonly type: "suspended"; readonly at: number }
  | {
      readonly type: "shutdown";
      readonly at: number;
      readonly strategy: "Stop" | "Terminate";
      readonly message?: string;
    }
  /** A finished run is taken up again (Argo's `retry`): what failed runs again, and what is named beside it. */
  | {
      readonly type: "retried";
      readonly at: number;
      readonly restartSuccessful: boolean;
      /** Ids of nodes to run again although they succeeded; with `restartSuccessful`. */
      readonly nodes: readonly string[];
      readonly parameters: Readonly<Record<string, string>>;
    }
  | { readonly type: "locked"; readonly at: number; readonly node: string }
  /** What nodes had sent to stores was deleted there. */
  | {
      readonly type: "collected";
      readonly at: number;
      readonly artifacts: readonly {
        readonly node: string;
        readonly name: string;
        readonly place: Place;
      }[];
    }
  /** Answer to `recall`: outputs that were remembered, or null. */
  | {
      readonly type: "recalled";
      readonly at: number;
      readonly node: string;
      readonly outputs: NodeOutputs | null;
    };

/** What the planner wants done. Nothing of it is done before the events that led to it are in the journal. */
export type Effect =
  | { readonly type: "start"; readonly work: Work }
  /** Stop the work of a leaf; its end arrives as an `ended` event that changes nothing any more. */
  | { readonly type: "cancel"; readonly node: string; readonly reason: string }
  /** Send `woke` when this time has come; a later one replaces an earlier wish only by being an additional one. */
  | { readonly type: "wake"; readonly at: number }
  /**
   * Take these locks for the node, all or none, in the order of asking; `locked` follows. Locks hold over all runs of the journal.
   * The node is empty for the locks of the run itself.
   */
  | { readonly type: "lock"; readonly node: string; readonly locks: readonly Lock[] }
  /** Give back what the node holds, or withdraw what it asked for. */
  | { readonly type: "unlock"; readonly node: string }
  | {
      readonly type: "recall";
      readonly node: string;
      readonly cache: string;
      readonly key: string;
      readonly maxAgeMs?: number;
    }
  | {
      readonly type: "remember";
      readonly node: string;
      readonly cache: string;
      readonly key: string;
      readonly outputs: NodeOutputs;
    }
  /** The run has ended; nothing follows but `retried`. */
  | { readonly type: "finish" };

export interface Lock {
  /** `namespace/Mutex/name` or `namespace/ConfigMap/name/key`, as Argo shows it. */
  readonly key: string;
  /** How many may hold it at once; 1 for a mutex. */
  readonly limit: number;
}

/** A leaf that is ready to run: every tag resolved, every `valueFrom` of the environment a value. The run loop makes a `Task` of it. */
export interface Work {
  /** Id of the node; with the attempt of a taken-up run it names the piece of work. */
  readonly node: string;
  readonly nodeName: string;
  readonly attempt: number;
  readonly program: Wasm | (Container & { readonly source?: string });
  readonly kind: "wasm" | "container";
  readonly inputs: readonly InputArtifact[];
  /** `result` is asked for only when something reads it. */
  readonly outputs: Task["outputs"];
  /** Absolute, in milliseconds since 1970, from `timeout`, `activeDeadlineSeconds` of the template and of the run. */
  readonly deadlineAt?: number;
}

export type Phase =
  | "Pending"
  | "Running"
  | "Succeeded"
  | "Skipped"
  | "Failed"
  | "Error"
  | "Omitted";

export type NodeType =
  | "Plugin"
  | "Pod"
  | "Steps"
  | "StepGroup"
  | "DAG"
  | "TaskGroup"
  | "Retry"
  | "Skipped"
  | "Suspend";

/**
 * One node of the tree, in Argo's words (`NodeStatus`). It is a view that changes with the run: read its properties when they are
 * needed; a spread or `JSON.stringify` does not see all of them.
 */
export interface RunNode {
  readonly id: string;
  readonly name: string;
  readonly displayName: string;
  readonly type: NodeType;
  /** Name of the template, or `LIBRARY/TEMPLATE`; absent for groups without one. Also the key into `Bundle.places`. */
  readonly template?: string | undefined;
  /** Id of the Steps or DAG node it belongs to. */
  readonly boundary?: string | undefined;
  readonly phase: Phase;
  readonly message?: string | undefined;
  readonly startedAt: number;
  readonly finishedAt?: number | undefined;
  readonly children: readonly string[];
  readonly inputs?: NodeInputs | undefined;
  readonly outputs?: NodeOutputs | undefined;
  /** stdout and stderr of a leaf. */
  readonly log?: StoredArtifact | undefined;
  readonly stderrTail?: string | undefined;
  readonly stack?: readonly string[] | undefined;
  readonly failure?: TaskResult["failure"] | undefined;
  readonly limitsReached?: TaskResult["limitsReached"] | undefined;
  /** Of a leaf that ran. */
  readonly timings?: TaskResult["timings"] | undefined;
  readonly usage?: TaskResult["usage"] | undefined;
  /** Of the image that ran. */
  readonly imageDigest?: TaskResult["imageDigest"] | undefined;
  readonly memoized?: boolean | undefined;
  /** Lock keys that it waits for. */
  readonly waitingFor?: readonly string[] | undefined;
}

export interface NodeInputs {
  readonly parameters: readonly { readonly name: string; readonly value: string }[];
  /** Without the optional ones that were not given. */
  readonly artifacts: readonly { readonly name: string; readonly artifact: ArtifactSource }[];
}

/** Plain data: goes into the journal and into the memory of `memoize`. */
export interface NodeOutputs {
  readonly result?: string;
  readonly exitCode?: number;
  readonly parameters: readonly { readonly name: string; readonly value: string }[];
  readonly artifacts: readonly { readonly name: string; readonly artifact: ArtifactSource }[];
}

/** What is known of a run, read-only for everyone but the planner. */
export interface RunState {
  readonly begin: Begin;
  readonly phase: Phase;
  readonly message?: string | undefined;
  readonly startedAt: number;
  readonly finishedAt?: number | undefined;
  /** Waits for `resume`, as a whole. */
  readonly suspended: boolean;
  readonly shutdown?: "Stop" | "Terminate" | undefined;
  /** Values that were given instead of the document's; `retry` may have given others than the run began with. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly nodes: ReadonlyMap<string, RunNode>;
  /** Leaves that ended and leaves that are known, as Argo's progress. */
  readonly progress: { readonly done: number; readonly total: number };
  /** Parameters and artifacts with a globalName, and the entry node's. */
  readonly outputs: NodeOutputs;
}

export interface Planner {
  readonly state: RunState;
  /** Folds one event into the state and returns what is to be done now. No clock, no chance, no I/O. */
  apply(event: RunEvent): readonly Effect[];
  /** Ids of nodes that began, changed or ended since the last call, for progress. */
  changed(): readonly string[];
}

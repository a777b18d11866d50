import type { StoredArtifact, TaskResult } from "../task/mod.ts";
import type { Workflow } from "./model.ts";

/** How a leaf node's work ended, as the planner sees it; it is what the journal keeps. */
export type Outcome = TaskResult;

export interface Lock {
  readonly kind: "mutex" | "semaphore";
  readonly key: string;
  readonly limit: number;
}

/** Everything that happens to a workflow. The state is the fold of these, so a replay gives the same state. `at` is in ms since 1970. */
export type WorkflowEvent =
  | { readonly type: "begun"; readonly at: number }
  | {
      readonly type: "finished";
      readonly at: number;
      readonly node: string;
      readonly startedAt: number;
      readonly outcome: Outcome;
    }
  | { readonly type: "woke"; readonly at: number }
  | {
      readonly type: "resumed";
      readonly at: number;
      readonly node?: string;
      readonly parameters?: Readonly<Record<string, string>>;
    }
  | { readonly type: "suspended"; readonly at: number }
  | {
      readonly type: "shutdown";
      readonly at: number;
      readonly strategy: "Stop" | "Terminate";
      readonly message?: string;
    }
  | {
      readonly type: "retried";
      readonly at: number;
      readonly restartSuccessful: boolean;
      readonly nodes: readonly string[];
    }
  | { readonly type: "acquired"; readonly at: number; readonly node: string }
  | {
      readonly type: "looked";
      readonly at: number;
      readonly node: string;
      readonly hit: TaskResult["outputs"] | null;
    };

/** A leaf whose template is fully substituted and ready to run. */
export interface PlannedTask {
  readonly node: string;
  readonly name: string;
  readonly attempt: number;
  /** Substituted leaf template (wasm, container or script), plain data of the model. */
  readonly template: import("./model.ts").Template;
  readonly parameters: Readonly<Record<string, string>>;
  /** Input artifacts by name; absent ones are optional and not given. */
  readonly artifacts: Readonly<Record<string, import("../task/mod.ts").ArtifactSource>>;
  /** Whether someone reads `outputs.result`. */
  readonly result: boolean;
  readonly deadlineAt?: number;
}

/** What the planner asks the run loop to do. */
export type Effect =
  | { readonly type: "start"; readonly task: PlannedTask }
  | { readonly type: "cancel"; readonly node: string; readonly reason: string }
  | { readonly type: "wake"; readonly at: number }
  | { readonly type: "acquire"; readonly node: string; readonly locks: readonly Lock[] }
  | { readonly type: "release"; readonly node: string }
  | {
      readonly type: "lookup";
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
      readonly outputs: TaskResult["outputs"];
    };

export interface Begin {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly workflow: Workflow;
  readonly parameters: Readonly<Record<string, string>>;
  readonly artifacts: Readonly<Record<string, StoredArtifact>>;
}

/** The shared agent: executes what the task sets of a cluster's workflows ask for. */
import type { Cluster } from "../../kubernetes/mod.ts";
import type { NodeResult, Step, StepExecutor } from "../model.ts";
import type { Ceilings } from "./queue.ts";
import type { TaskSetView } from "./view.ts";

export { createAgent } from "./agent.ts";
export { StepEvents } from "./events.ts";

/** What the agent does, as it does it: for logs, metrics and events. Nothing of it may throw or wait. */
export interface AgentObserver {
  /** Whose turn has not come yet. */
  readonly seen?: (step: Step) => void;
  readonly ended?: (
    step: Step,
    result: NodeResult,
    times: { readonly waitedMs: number; readonly ranMs: number },
    taskSet: TaskSetView,
  ) => void;
  /** The API server has the result; `totalMs` counts from when the step was seen. */
  readonly written?: (
    step: Step,
    times: { readonly totalMs: number; readonly patchMs: number },
  ) => void;
  /** The engine has it, so long after it was written. */
  readonly taken?: (step: Step, times: { readonly afterMs: number }) => void;
  readonly cancelled?: (step: Step) => void;
  /** An entry that kept the engine from reading results was taken away. */
  readonly healed?: (view: TaskSetView) => void;
  /** Somebody else had changed the task set. */
  readonly conflict?: () => void;
  /** A task set cannot be written; it is tried again. */
  readonly trouble?: (view: TaskSetView, failure: Error) => void;
  /** The cluster cannot be followed, or replicas not be counted; it is tried again. */
  readonly lost?: (failure: Error) => void;
}

export interface AgentOptions {
  readonly cluster: Cluster;
  /** The first that accepts a template executes it; what nobody accepts is left alone. */
  readonly executors: readonly StepExecutor[];
  /** Absent: all of them. */
  readonly namespaces?: readonly string[];
  /** Of the controller; absent: the one that has none. */
  readonly instanceId?: string;
  readonly ceilings?: Partial<Ceilings>;
  /** Default 30 s. */
  readonly runningAfterMs?: number;
  /** How often a workflow is asked whether it still wants steps that take long; default 10 s. */
  readonly lookEveryMs?: number;
  /** Shares the work with the replicas of this group; absent: it is alone. */
  readonly replicas?: {
    readonly namespace: string;
    readonly group: string;
    readonly identity: string;
    readonly seconds?: number;
  };
  readonly observer?: AgentObserver;
}

export interface Agent extends AsyncDisposable {
  /** Every task set that is there has been seen. */
  readonly ready: Promise<void>;
  readonly waiting: number;
  readonly running: number;
  /** Whether this replica does the work of a workflow now. */
  isOurs(workflowUid: string): boolean;
  /** Begins nothing any more, and resolves when what runs has ended and is written down, at the latest when the signal comes. */
  drain(signal: AbortSignal): Promise<void>;
}

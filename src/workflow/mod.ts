/** The embedded engine for Argo's YAML: begins runs, carries them to their end over a journal, and answers Argo's verbs. */
export { beginRun, type BeginOptions } from "./begin.ts";
export {
  openJournal,
  type Claim,
  type Journal,
  type JournalOptions,
  type Requested,
  type RunSummary,
} from "./journal/mod.ts";
export type {
  Begin,
  NodeInputs,
  NodeOutputs,
  NodeType,
  Phase,
  RunNode,
  RunState,
} from "./plan/mod.ts";
export { collectArtifacts } from "./collect.ts";
export { summaryJson, workflowJson } from "./json.ts";
export { usageSum } from "./usage.ts";
export { liveArtifacts } from "./live.ts";
export { runWorkflow, type RunWorkflowOptions } from "./run.ts";
export {
  deleteRun,
  getRun,
  listRuns,
  logsOf,
  resumeRun,
  retryRun,
  stopRun,
  suspendRun,
  terminateRun,
  type NodeLog,
  type NodeSelector,
  type Outcome,
  type ResumeOptions,
  type RetryOptions,
  type Target,
} from "./verbs.ts";

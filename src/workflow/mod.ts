/** The embedded engine for Argo's YAML. */
export { parseWorkflow, type Parsed } from "./document.ts";
export { runWorkflow, type NodeStatus, type WorkflowResult } from "./run.ts";

import { logArtifact } from "../../places/mod.ts";
import type { Plan } from "./plan.ts";
import type { NodeOutputs, RunState } from "./types.ts";

/** The run as everyone else may see it: a view that changes with it. */
export function stateOf(plan: Plan): RunState {
  return {
    begin: plan.begin,
    nodes: plan.nodes,
    get phase() {
      return plan.phase;
    },
    get message() {
      return plan.message;
    },
    get startedAt() {
      return plan.startedAt;
    },
    get finishedAt() {
      return plan.finishedAt;
    },
    get suspended() {
      return plan.suspended;
    },
    get shutdown() {
      return plan.shutdown;
    },
    get parameters() {
      return plan.parameters;
    },
    get progress() {
      return { done: plan.leavesDone, total: plan.leavesKnown + plan.waiting };
    },
    get outputs() {
      return outputsOf(plan);
    },
  };
}

/** Outputs of the entry node, and those with a globalName. */
function outputsOf(plan: Plan): NodeOutputs {
  const { outputs, outputArtifacts } = plan.globals;
  const entry = plan.nodes.get(plan.begin.name)?.outputs;
  const parameters = new Map(entry?.parameters.map(({ name, value }) => [name, value]));
  for (const [name, value] of outputs) parameters.set(name, value);
  const artifacts = new Map(entry?.artifacts.map(({ name, artifact }) => [name, artifact]));
  // The log of a step that is the whole run is no output of it.
  artifacts.delete(logArtifact);
  for (const [name, artifact] of outputArtifacts) artifacts.set(name, artifact);
  return {
    ...(entry?.result === undefined ? {} : { result: entry.result }),
    ...(entry?.exitCode === undefined ? {} : { exitCode: entry.exitCode }),
    parameters: [...parameters].map(([name, value]) => ({ name, value })),
    artifacts: [...artifacts].map(([name, artifact]) => ({ name, artifact })),
  };
}

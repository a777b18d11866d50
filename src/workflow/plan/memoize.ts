import { Failure } from "../../errors/mod.ts";
import { parseDurationMs } from "../../limits/mod.ts";
import type { Frame } from "./frame.ts";
import type { Names } from "./names.ts";
import type { PlanNode } from "./node.ts";
import type { Plan } from "./plan.ts";
import { exportGlobals } from "./outputs.ts";
import type { Used } from "./templates.ts";
import { fill } from "./text.ts";
import type { NodeOutputs } from "./types.ts";

/** Where the outputs of a node are remembered; undefined when they are not. */
export function memoryOf(plan: Plan, node: PlanNode, used: Used, names: Names): Frame["memory"] {
  if (!used.template.memoize) return undefined;
  const { key, maxAge, cache } = fill(plan, used.template.memoize, names, `${node.name}/memory`);
  if (!/^[a-zA-Z0-9][-a-zA-Z0-9]*$/u.test(key)) {
    throw new Failure("workflow-invalid", `invalid cache key: ${key}`, {
      hint: "A key has letters, digits and dashes, and begins with a letter or a digit.",
    });
  }
  return {
    cache: cache.configMap.name,
    key,
    ...(maxAge === undefined ? {} : { maxAgeMs: parseDurationMs(maxAge) }),
  };
}

/** Asks for remembered outputs; goes on when there are none. */
export function askMemory(
  plan: Plan,
  node: PlanNode,
  memory: NonNullable<Frame["memory"]>,
  then: () => void,
): void {
  if (!node.frame || node.ended) return;
  node.frame.memory = memory;
  plan.waits.set(node.id, { for: "memory", go: then });
  plan.effects.push({ type: "recall", node: node.id, ...memory });
}

/** The answer: a node whose outputs are remembered has succeeded without running. */
export function recalled(plan: Plan, id: string, outputs: NodeOutputs | null): void {
  const wait = plan.waits.get(id);
  const node = plan.nodes.get(id);
  if (wait?.for !== "memory" || !node) return;
  plan.waits.delete(id);
  if (!outputs) {
    plan.later(wait.go);
    return;
  }
  // Of an earlier time, when it was not remembered.
  for (const child of node.children) {
    const below = plan.nodes.get(child);
    if (below) plan.remove(below);
  }
  node.keep(() => false);
  node.note({ memoized: true });
  node.outputs = outputs;
  exportGlobals(plan, node);
  plan.end(node, "Succeeded");
}

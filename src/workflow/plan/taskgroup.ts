import type { PlanNode } from "./node.ts";
import type { Plan } from "./plan.ts";
import { failFastMessage } from "./failfast.ts";
import type { Phase } from "./types.ts";

/** The rounds of a DAG task that is a loop. */
export interface TaskGroupBody {
  readonly kind: "taskgroup";
  /** Rounds whose end is awaited. */
  awaited: number;
  /** The last failure in the order of the items. */
  failed: { readonly phase: Phase; readonly index: number } | undefined;
  abandoned: boolean;
}

/** A round, with its hooks, is done. */
export function roundDone(plan: Plan, node: PlanNode, child: PlanNode): void {
  const body = node.frame?.body;
  if (body?.kind !== "taskgroup" || node.ended) return;
  body.awaited -= 1;
  if (child.failed) {
    const index = Number.parseInt(child.name.slice(node.name.length + 1), 10);
    if (!body.failed || index > body.failed.index) body.failed = { phase: child.phase, index };
  }
  if (body.awaited === 0) endRounds(plan, node, body);
}

/** All rounds are done. */
export function endRounds(plan: Plan, node: PlanNode, body: TaskGroupBody): void {
  if (node.ended) return;
  const stopped = plan.stopped(node.exit);
  if (body.abandoned) {
    plan.end(
      node,
      "Failed",
      stopped ? `Stopped with strategy '${plan.shutdown}'` : failFastMessage,
    );
  } else plan.end(node, body.failed?.phase ?? "Succeeded");
}

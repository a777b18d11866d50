import { isForgiven } from "./members.ts";
import type { PlanNode } from "./node.ts";
import { abandon } from "./parallelism.ts";
import type { Plan } from "./plan.ts";

/** What Argo says of a template whose `failFast` gave up the rest. */
export const failFastMessage = "template has failed or errored children and failFast enabled";

/** A step failed: a template with `failFast` gives up what has not begun, at once and whatever hooks follow. */
export function closeAfter(plan: Plan, node: PlanNode): void {
  const { frame, bound } = node;
  const step = frame?.site?.step;
  const body = bound?.frame?.body;
  if (!step || !bound?.used?.template.failFast || isForgiven(step, node.phase)) return;
  if (body?.kind === "dag") body.closed ??= "abandoned";
  if (body?.kind === "dag" || body?.kind === "steps") abandon(plan, body.door);
}

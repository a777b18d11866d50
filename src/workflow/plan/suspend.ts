import type { Parameter } from "../../document/mod.ts";
import { Failure, toFailure } from "../../errors/mod.ts";
import { parseDurationMs } from "../../limits/mod.ts";
import { checked, valueOf } from "./inputs.ts";
import type { PlanNode } from "./node.ts";
import { exportGlobals } from "./outputs.ts";
import type { Plan } from "./plan.ts";
import { fill } from "./text.ts";

export interface SuspendBody {
  readonly kind: "suspend";
  /** When it goes on by itself. */
  readonly until: number | undefined;
}

/** Waits for `resume`, or for its duration. */
export function enterSuspend(plan: Plan, node: PlanNode): void {
  const { frame, used } = node;
  if (!frame || !used) return;
  const { duration } = used.template.suspend ?? {};
  const written =
    duration === undefined || duration === ""
      ? undefined
      : fill(plan, String(duration), frame.names, `${node.name}/duration`);
  const until = written === undefined ? undefined : plan.now + parseDurationMs(written);
  frame.body = { kind: "suspend", until };
  plan.begun += 1;
  plan.run(node);
  if (until !== undefined) plan.timers.set(until, "resume", node);
}

/** Its duration is over: what was to be supplied takes its default. */
export function suspendOver(plan: Plan, node: PlanNode): void {
  const body = node.frame?.body;
  if (node.ended || body?.kind !== "suspend") return;
  const problem = resume(plan, node, {});
  if (problem) plan.fail(node, problem);
}

/** Goes on with the parameters supplied. Stays as it is, and says why, when one is missing. */
export function resumeNode(
  plan: Plan,
  node: PlanNode,
  supplied: Readonly<Record<string, string>>,
): void {
  if (node.ended || node.frame?.body?.kind !== "suspend") return;
  const problem = resume(plan, node, supplied);
  if (problem) plan.tell(node, problem.message);
}

function resume(
  plan: Plan,
  node: PlanNode,
  supplied: Readonly<Record<string, string>>,
): Failure | undefined {
  const template = node.used?.template;
  const names = node.frame?.names;
  if (!template || !names) return undefined;
  try {
    const parameters = (template.outputs?.parameters ?? []).map((item) => {
      const input = template.inputs?.parameters?.find((known) => known.name === item.name);
      const given = Object.hasOwn(supplied, item.name) ? supplied[item.name] : undefined;
      const value = item.valueFrom?.supplied
        ? (given ?? otherwise(item, input))
        : (valueOf(plan, item, names, `${node.name}/outputs`) ?? "");
      return { name: item.name, value: checked(item.enum ? item : (input ?? item), value) };
    });
    if (parameters.length > 0) node.outputs = { parameters, artifacts: [] };
  } catch (thrown) {
    return toFailure(thrown);
  }
  exportGlobals(plan, node);
  plan.end(node, "Succeeded");
  return undefined;
}

function otherwise(output: Parameter, input: Parameter | undefined): string {
  const value = output.valueFrom?.default ?? input?.default;
  if (value !== undefined) return String(value);
  throw new Failure(
    "invalid-argument",
    `raw output parameter '${output.name}' has not been set and does not have a default value`,
    { hint: `Resume it with -p ${output.name}=VALUE.` },
  );
}

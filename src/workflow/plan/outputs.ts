import type { Artifact, Parameter, Template } from "../../document/mod.ts";
import { Failure } from "../../errors/mod.ts";
import { sourceOf, valueOf } from "./inputs.ts";
import type { Names } from "./names.ts";
import type { PlanNode } from "./node.ts";
import type { Plan } from "./plan.ts";
import { pureName } from "./text.ts";
import type { NodeOutputs } from "./types.ts";

/** The outputs that a Steps or DAG template makes of those of its steps; undefined when it declares none. */
export function composed(plan: Plan, node: PlanNode, names: Names): NodeOutputs | undefined {
  const declared = node.used?.template.outputs;
  if (!declared?.parameters && !declared?.artifacts) return undefined;
  const seed = `${node.name}/outputs`;
  return {
    parameters: (declared.parameters ?? []).map((item) => ({
      name: item.name,
      value: parameter(plan, item, names, seed),
    })),
    artifacts: (declared.artifacts ?? []).flatMap((item) =>
      artifact(plan, item, names, seed, node.used?.template),
    ),
  };
}

/** Falls back to the declared default whatever is wrong with the source, as Argo does. */
function parameter(plan: Plan, declared: Parameter, names: Names, seed: string): string {
  const otherwise = declared.valueFrom?.default;
  try {
    const source = declared.valueFrom?.parameter;
    if (source !== undefined && names.get(pureName(source.trim()) ?? source) === null) {
      throw new Failure(
        "workflow-invalid",
        `output parameter "${declared.name}": "${source}" is an absent optional (skipped/omitted node output with no default)`,
        { hint: "Give it a valueFrom.default." },
      );
    }
    const value = valueOf(plan, declared, names, seed);
    if (value !== undefined) return value;
    throw new Failure("workflow-invalid", "output parameters must have a valueFrom specified");
  } catch (thrown) {
    if (otherwise === undefined || !(thrown instanceof Failure)) throw thrown;
    return String(otherwise);
  }
}

function artifact(
  plan: Plan,
  declared: Artifact,
  names: Names,
  seed: string,
  around: Template | undefined,
): NodeOutputs["artifacts"] {
  const source = sourceOf(plan, declared, names, seed, around);
  return source ? [{ name: declared.name, artifact: source }] : [];
}

/** Makes outputs with a globalName known to the whole run. */
export function exportGlobals(plan: Plan, node: PlanNode): void {
  const declared = node.used?.template.outputs;
  if (!declared || !node.outputs) return;
  for (const { name, globalName } of declared.parameters ?? []) {
    const value = node.outputs.parameters.find((item) => item.name === name)?.value;
    if (globalName !== undefined && value !== undefined)
      plan.globals.outputs.set(globalName, value);
  }
  for (const { name, globalName } of declared.artifacts ?? []) {
    const source = node.outputs.artifacts.find((item) => item.name === name)?.artifact;
    if (globalName !== undefined && source) plan.globals.outputArtifacts.set(globalName, source);
  }
}

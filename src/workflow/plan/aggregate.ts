import { itemFields, parseJson } from "./items.ts";
import type { PlanNode } from "./node.ts";

/**
 * Outputs of a loop as JSON lists in the order of its items, of those that succeeded: `result`, `parameters` (a list of maps) and
 * `parameters.NAME`. A result that is no JSON stays a string, where Argo gives up the whole template.
 */
export function aggregated(
  rounds: readonly (PlanNode | undefined)[],
  name: string,
): string | undefined {
  const outputs = rounds.flatMap((node) =>
    node?.phase === "Succeeded" && node.outputs ? [node.outputs] : [],
  );
  if (name === "result") {
    const results = outputs.flatMap((item) => (item.result === undefined ? [] : [item.result]));
    return JSON.stringify(results.map((text) => parsed(text)));
  }
  if (name === "parameters") {
    return JSON.stringify(
      outputs
        .filter((item) => item.parameters.length > 0)
        .map((item) => Object.fromEntries(item.parameters.map(({ name, value }) => [name, value]))),
    );
  }
  if (!name.startsWith("parameters.")) return undefined;
  const wanted = name.slice(11);
  const values = outputs.flatMap((item) =>
    item.parameters.filter((one) => one.name === wanted).map((one) => one.value),
  );
  if (values.length === 0 && !rounds.some((node) => declares(node, wanted))) return undefined;
  // Maps and lists are themselves only when all are; a number stays a string.
  const all = values.map((text) => parsed(text));
  const whole = all.every((item) => Array.isArray(item) || itemFields(item) !== undefined);
  return JSON.stringify(whole ? all : values);
}

function declares(node: PlanNode | undefined, name: string): boolean {
  return node?.used?.template.outputs?.parameters?.some((item) => item.name === name) ?? true;
}

function parsed(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return text;
  }
}

import type { Sequence, Step } from "../../document/mod.ts";
import { evaluateCondition } from "../../expression/mod.ts";
import { Failure, toFailure } from "../../errors/mod.ts";
import { itemLabel, parseJson, type Item } from "./items.ts";
import { sprintf } from "./format.ts";
import { joined } from "./name.ts";
import type { Names } from "./names.ts";
import type { Plan } from "./plan.ts";
import { fill } from "./text.ts";

/** Most items of one loop. */
export const itemsCeiling: number = 100_000;

/** Whether a step is a loop. */
export function isLoop(step: Step): boolean {
  return (
    step.withItems !== undefined || step.withParam !== undefined || step.withSequence !== undefined
  );
}

/** What a loop goes over. Throws when that is no list, unless `when` says already that nothing is to run. */
export function itemsOf(plan: Plan, step: Step, names: Names, seed: string): readonly Item[] {
  try {
    return expanded(plan, step, names, `${seed}/items`);
  } catch (thrown) {
    if (step.when === undefined || step.when.includes("{{item")) throw thrown;
    if (evaluateCondition(fill(plan, step.when, names, `${seed}/when`))) throw thrown;
    return [];
  }
}

function expanded(plan: Plan, step: Step, names: Names, seed: string): readonly Item[] {
  if (step.withItems) return checked(step.name, fill(plan, step.withItems, names, seed));
  if (step.withSequence) {
    return sequence(step.name, fill(plan, step.withSequence, names, seed));
  }
  const text = fill(plan, step.withParam ?? "", names, seed).trim();
  let list: unknown;
  let problem = "it is no list";
  try {
    list = parseJson(text);
  } catch (thrown) {
    problem = toFailure(thrown).message;
  }
  if (Array.isArray(list)) return checked(step.name, list);
  throw new Failure(
    "workflow-invalid",
    `withParam value could not be parsed as a JSON list: ${text.slice(0, 200)}: ${problem}`,
    { hint: 'The step before must give a list such as [1, 2] or [{"a": 1}].' },
  );
}

function checked(name: string, items: readonly unknown[]): readonly Item[] {
  checkCount(name, items.length);
  const at = items.findIndex((item) => item === null || item === undefined);
  if (at === -1) return items;
  throw new Failure(
    "workflow-invalid",
    `withItems[${at}] expected string, number, list, or map. received: null`,
  );
}

function checkCount(name: string, count: number): void {
  if (count <= itemsCeiling) return;
  throw new Failure("limit-plan", `The loop of "${name}" has ${count} items`, {
    hint: `A loop has at most ${itemsCeiling}; split it over several steps.`,
  });
}

function sequence(name: string, { count, start, end, format }: Sequence): readonly Item[] {
  const first = start === undefined ? 0 : whole(name, "start", start);
  let last = first;
  if (end !== undefined) last = whole(name, "end", end);
  else if (count !== undefined) {
    const amount = whole(name, "count", count);
    if (amount === 0) return [];
    last = first + amount - 1;
  } else {
    throw new Failure("workflow-invalid", "neither end nor count was specified in withSequence");
  }
  const step = first <= last ? 1 : -1;
  const length = Math.abs(last - first) + 1;
  checkCount(name, length);
  return Array.from({ length }, (_, index) => {
    const number = first + index * step;
    return format === undefined || format === "" ? String(number) : sprintf(format, number);
  });
}

function whole(name: string, field: string, value: string | number | boolean): number {
  const text = String(value);
  if (/^[+-]?\d+$/u.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw new Failure("workflow-invalid", `withSequence.${field} of "${name}" is "${text}"`, {
    hint: "Write a whole number.",
  });
}

/** The name of one round: `NAME(INDEX:ITEM)`. */
export function roundName(name: string, index: number, item: Item): string {
  return joined(name, "(", index, ":", itemLabel(item), ")");
}

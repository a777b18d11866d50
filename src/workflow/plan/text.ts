import { evaluate, substitute, type EvaluateOptions } from "../../expression/mod.ts";
import { Failure } from "../../errors/mod.ts";
import type { Names } from "./names.ts";
import type { Plan } from "./plan.ts";

/** Replaces the tags in every string of a value. `seed` names the place, so that chance differs between places and never between replays. */
export function fill<Value>(plan: Plan, value: Value, names: Names, seed: string): Value {
  return substitute(value, names, options(plan, seed));
}

/** The outcome of an `expression:`, which may also be written as a tag. */
export function outcome(plan: Plan, expression: string, names: Names, seed: string): unknown {
  const tag = /^\s*\{\{=([\s\S]*)\}\}\s*$/u.exec(expression)?.[1];
  return evaluate(tag ?? expression, names, options(plan, seed));
}

/** An `expression:` that decides something. */
export function holds(plan: Plan, expression: string, names: Names, seed: string): boolean {
  const value = outcome(plan, expression, names, seed);
  if (typeof value === "boolean") return value;
  throw new Failure(
    "workflow-invalid",
    `unable to cast expression result '${plain(value)}' to bool`,
    {
      hint: `The expression "${expression}" has to be true or false.`,
    },
  );
}

/** An outcome as the text that a parameter becomes. */
export function plain(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "bigint") return value.toString();
  return JSON.stringify(value) ?? "null";
}

/** The name inside a text that is one tag and nothing else. */
export function pureName(text: string): string | undefined {
  return /^\{\{([^={}][^{}]*)\}\}$/u.exec(text)?.[1]?.trim();
}

function options(plan: Plan, seed: string): EvaluateOptions {
  let random: (() => number) | undefined;
  return {
    now: plan.now,
    random: () => (random ??= generator(`${plan.begin.uid}/${plan.attempt}/${seed}`))(),
  };
}

/** Mulberry32: small, and the same everywhere. */
function generator(seed: string): () => number {
  let state = 0x811c9dc5;
  for (let index = 0; index < seed.length; index += 1) {
    state = Math.imul(state ^ seed.charCodeAt(index), 0x01000193);
  }
  return () => {
    state = Math.trunc(state + 0x6d2b79f5);
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

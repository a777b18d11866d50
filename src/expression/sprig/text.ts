import type { Budget } from "../budget.ts";
import { format, isList, type Value } from "../value.ts";

/** The text of a value, as most functions of sprig make one. */
export function textOf(value: Value, budget: Budget): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString() : format(value, budget);
}

/** The texts of an array without its nils; any other value is an array of itself. */
export function textsOf(value: Value, budget: Budget): readonly string[] {
  if (value === null) return [];
  if (!isList(value)) return [textOf(value, budget)];
  return value.filter((item) => item !== null).map((item) => textOf(item, budget));
}

import type { Budget } from "./budget.ts";
import { fault } from "./failure.ts";
import { isList, isMap, truncate, typeName, type Value } from "./value.ts";

/** What a function may use besides its arguments. */
export interface Context {
  readonly budget: Budget;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** At least 0 and below 1. */
  readonly random: () => number;
}

/** A function of the language with the number of its arguments. */
export interface Function {
  readonly least: number;
  readonly most: number;
  readonly call: (given: Arguments, context: Context) => Value;
}

export function define(
  least: number,
  most: number,
  call: (given: Arguments, context: Context) => Value,
): Function {
  return { least, most, call };
}

/** Any number of arguments. */
export const many: number = Number.POSITIVE_INFINITY;

/** Calls a function after checking how many arguments it got. */
export function callFunction(
  name: string,
  called: Function,
  values: readonly Value[],
  context: Context,
): Value {
  const { least, most } = called;
  if (values.length < least || values.length > most) {
    const range =
      least === most ? String(least) : most === many ? `at least ${least}` : `${least} to ${most}`;
    throw fault(`${name} takes ${range} argument${range === "1" ? "" : "s"}, not ${values.length}`);
  }
  context.budget.step(weight(values));
  return called.call(new Arguments(name, values), context);
}

/** Most functions read all of their arguments, or copy them. */
function weight(values: readonly Value[]): number {
  let sum = values.length;
  for (const value of values) {
    if (typeof value === "string") sum += value.length / 200;
    else if (isList(value)) sum += value.length / 50;
    else if (isMap(value)) sum += value.size / 20;
  }
  return Math.ceil(sum);
}

/** The arguments of a call, read by position with the type that is expected. */
export class Arguments {
  readonly name: string;
  readonly values: readonly Value[];

  constructor(name: string, values: readonly Value[]) {
    this.name = name;
    this.values = values;
  }

  get count(): number {
    return this.values.length;
  }

  value(index: number): Value {
    return this.values[index] ?? null;
  }

  text(index: number): string {
    const value = this.value(index);
    if (typeof value !== "string") throw this.wrong(index, "string");
    return value;
  }

  /** An int, or a float cut to one. */
  int(index: number): bigint {
    const value = this.value(index);
    if (typeof value === "bigint") return value;
    if (typeof value === "number") return truncate(value);
    throw this.wrong(index, "int");
  }

  /** An int that is small enough to count with. */
  whole(index: number): number {
    const value = this.int(index);
    return Number(value > 2n ** 53n ? 2n ** 53n : value < -(2n ** 53n) ? -(2n ** 53n) : value);
  }

  list(index: number): readonly Value[] {
    const value = this.value(index);
    if (!isList(value)) throw this.wrong(index, "array");
    return value;
  }

  mapping(index: number): ReadonlyMap<Value, Value> {
    const value = this.value(index);
    if (!isMap(value)) throw this.wrong(index, "map");
    return value;
  }

  wrong(index: number, wanted: string): Error {
    const found = typeName(this.value(index));
    const hint =
      found === "string" && wanted !== "string"
        ? "Parameters and results are strings; read them with asInt, asFloat or fromJSON."
        : undefined;
    return fault(`cannot use ${found} as ${wanted} in argument ${index + 1} of ${this.name}`, hint);
  }
}

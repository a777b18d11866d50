import type { Budget } from "../budget.ts";
import { Fault, fault } from "../failure.ts";
import { define, many, type Function } from "../functions.ts";
import { Duration, Time } from "../time.ts";
import {
  equal,
  fromJson,
  isList,
  isMap,
  isNumber,
  toJson,
  type JsonOptions,
  type Value,
} from "../value.ts";

/** What sprig takes for nothing: nil, false, zero, and whatever has no elements. */
export function isEmpty(value: Value): boolean {
  if (value === null || value === false || value === "" || value === 0 || value === 0n) return true;
  if (value instanceof Duration) return value.nanoseconds === 0n;
  if (value instanceof Uint8Array || isList(value)) return value.length === 0;
  return isMap(value) && value.size === 0;
}

/** Go's reflect.DeepEqual: unlike `==`, an int is never a float. */
export function identical(left: Value, right: Value, budget: Budget): boolean {
  budget.step();
  if (isNumber(left) || isNumber(right)) return left === right;
  if (isList(left) && isList(right)) {
    return (
      left.length === right.length &&
      left.every((item, index) => identical(item, right[index] ?? null, budget))
    );
  }
  if (isMap(left) && isMap(right)) {
    return (
      left.size === right.size &&
      left.entries().every(([key, item]) => {
        const other = right.get(key);
        return other !== undefined && identical(item, other, budget);
      })
    );
  }
  return equal(left, right, budget);
}

/** The name that Go gives a type. */
function goType(value: Value): string {
  if (value === null) return "<nil>";
  if (typeof value === "bigint") return "int";
  if (typeof value === "number") return "float64";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "string") return "string";
  if (value instanceof Uint8Array) return "[]uint8";
  if (value instanceof Time) return "time.Time";
  if (value instanceof Duration) return "time.Duration";
  if (isList(value)) return "[]interface {}";
  return isMap(value) ? "map[string]interface {}" : "*struct";
}

function goKind(value: Value): string {
  if (value === null) return "invalid";
  if (value instanceof Uint8Array || isList(value)) return "slice";
  if (value instanceof Time) return "struct";
  if (value instanceof Duration) return "int64";
  if (typeof value === "object") return isMap(value) ? "map" : "ptr";
  return goType(value);
}

function writing(options: JsonOptions): Function {
  return define(1, 1, (given, { budget }) => toJson(given.value(0), budget, options));
}

const same = define(1, 1, (given) => given.value(0));

export const values: ReadonlyMap<string, Function> = new Map([
  [
    "default",
    define(1, many, (given) =>
      given.count < 2 || isEmpty(given.value(1)) ? given.value(0) : given.value(1),
    ),
  ],
  ["empty", define(1, 1, (given) => isEmpty(given.value(0)))],
  ["coalesce", define(0, many, (given) => given.values.find((value) => !isEmpty(value)) ?? null)],
  ["all", define(0, many, (given) => !given.values.some(isEmpty))],
  ["any", define(0, many, (given) => given.values.some((value) => !isEmpty(value)))],
  [
    "ternary",
    define(3, 3, (given) => {
      const condition = given.value(2);
      if (typeof condition !== "boolean") throw given.wrong(2, "bool");
      return given.value(condition ? 0 : 1);
    }),
  ],
  [
    "fromJson",
    define(1, 1, (given, { budget }) => {
      const text = given.text(0);
      try {
        return fromJson(text, budget);
      } catch (error) {
        if (error instanceof Fault && error.problem === "value") return null;
        throw error;
      }
    }),
  ],
  ["mustFromJson", define(1, 1, (given, { budget }) => fromJson(given.text(0), budget))],
  ["toJson", writing({})],
  ["mustToJson", writing({})],
  ["toPrettyJson", writing({ indent: 2 })],
  ["mustToPrettyJson", writing({ indent: 2 })],
  ["toRawJson", writing({ raw: true })],
  ["mustToRawJson", writing({ raw: true })],
  ["deepCopy", same],
  ["mustDeepCopy", same],
  [
    "deepEqual",
    define(2, 2, (given, { budget }) => identical(given.value(0), given.value(1), budget)),
  ],
  ["typeOf", define(1, 1, (given) => goType(given.value(0)))],
  ["typeIs", define(2, 2, (given) => goType(given.value(1)) === given.text(0))],
  ["typeIsLike", define(2, 2, (given) => goType(given.value(1)) === given.text(0))],
  ["kindOf", define(1, 1, (given) => goKind(given.value(0)))],
  ["kindIs", define(2, 2, (given) => goKind(given.value(1)) === given.text(0))],
  [
    "fail",
    define(1, 1, (given) => {
      throw fault(given.text(0).slice(0, 1000));
    }),
  ],
]);

import type { Budget } from "./budget.ts";
import type { Context } from "./functions.ts";
import { fault } from "./failure.ts";
import { matches } from "./regex.ts";
import { byteAt, byteLength, byteSlice } from "./strings.ts";
import type { BinaryOperator } from "./syntax.ts";
import { Duration, Time } from "./time.ts";
import {
  compare,
  equal,
  int,
  isList,
  isMap,
  isNumber,
  mismatch,
  truncate,
  typeName,
  type Value,
} from "./value.ts";

/** Every operator but those that may leave out their right side (`and`, `or`, `??`). */
export type StrictOperator = Exclude<BinaryOperator, "and" | "or" | "??">;

/** What an operator makes of its operands, with Go's types: int with int is int, `/` and `**` are always float. */
export function operate(
  operator: StrictOperator,
  left: Value,
  right: Value,
  context: Context,
): Value {
  const { budget } = context;
  if (typeof left === "string" && typeof right === "string") {
    budget.step(Math.floor(Math.max(left.length, right.length) / 1000));
  }
  switch (operator) {
    case "==":
      return equal(left, right, budget);
    case "!=":
      return !equal(left, right, budget);
    case "<":
      return compare(left, right, operator) < 0;
    case ">":
      return compare(left, right, operator) > 0;
    case "<=":
      return compare(left, right, operator) <= 0;
    case ">=":
      return compare(left, right, operator) >= 0;
    case "in":
      return isIn(left, right, context);
    case "matches":
      return matches(...texts(operator, right, left), budget);
    case "contains": {
      const [text, part] = texts(operator, left, right);
      return text.includes(part);
    }
    case "startsWith": {
      const [text, part] = texts(operator, left, right);
      return text.startsWith(part);
    }
    case "endsWith": {
      const [text, part] = texts(operator, left, right);
      return text.endsWith(part);
    }
    case "..":
      return range(left, right, context);
    case "+":
      return add(left, right, context);
    case "-":
      return subtract(left, right);
    case "*":
      return multiply(left, right);
    case "/":
      if (isNumber(left) && isNumber(right)) return Number(left) / Number(right);
      throw mismatch(left, operator, right);
    case "%":
      return remainder(left, right);
    case "**":
      if (isNumber(left) && isNumber(right)) return Number(left) ** Number(right);
      throw mismatch(left, operator, right);
  }
}

function texts(operator: string, first: Value, second: Value): [string, string] {
  // An absent value holds nothing.
  if (typeof first === "string" && typeof second === "string") return [first, second];
  throw operator === "matches"
    ? mismatch(second, operator, first)
    : mismatch(first, operator, second);
}

export function isIn(item: Value, container: Value, { budget }: Context): boolean {
  if (container === null) return false;
  if (isList(container)) return container.some((other) => equal(other, item, budget));
  if (isMap(container)) return container.has(item);
  throw fault(`operator "in" is not defined on ${typeName(container)}`);
}

function range(left: Value, right: Value, { budget }: Context): Value {
  if (typeof left !== "bigint" || typeof right !== "bigint") throw mismatch(left, "..", right);
  const size = right - left + 1n;
  if (size <= 0n) return [];
  budget.allocate(Number(size));
  budget.step(Number(size));
  return Array.from({ length: Number(size) }, (_, index) => left + BigInt(index));
}

export function add(left: Value, right: Value, { budget }: Context): Value {
  if (typeof left === "string" && typeof right === "string") {
    budget.allocate(left.length + right.length);
    return left + right;
  }
  if (isNumber(left) && isNumber(right)) {
    return typeof left === "bigint" && typeof right === "bigint"
      ? int(left + right)
      : Number(left) + Number(right);
  }
  if (left instanceof Duration && right instanceof Duration) {
    return new Duration(left.nanoseconds + right.nanoseconds);
  }
  if (left instanceof Time && right instanceof Duration) return left.plus(right.nanoseconds);
  if (left instanceof Duration && right instanceof Time) return right.plus(left.nanoseconds);
  throw mismatch(left, "+", right);
}

function subtract(left: Value, right: Value): Value {
  if (isNumber(left) && isNumber(right)) {
    return typeof left === "bigint" && typeof right === "bigint"
      ? int(left - right)
      : Number(left) - Number(right);
  }
  if (left instanceof Duration && right instanceof Duration) {
    return new Duration(left.nanoseconds - right.nanoseconds);
  }
  if (left instanceof Time && right instanceof Duration) return left.plus(-right.nanoseconds);
  if (left instanceof Time && right instanceof Time) {
    return new Duration(left.nanoseconds - right.nanoseconds);
  }
  throw mismatch(left, "-", right);
}

function multiply(left: Value, right: Value): Value {
  if (isNumber(left) && isNumber(right)) {
    return typeof left === "bigint" && typeof right === "bigint"
      ? int(left * right)
      : Number(left) * Number(right);
  }
  if (left instanceof Duration && right instanceof Duration) {
    return new Duration(left.nanoseconds * right.nanoseconds);
  }
  if (left instanceof Duration && isNumber(right)) return scale(left, right);
  if (right instanceof Duration && isNumber(left)) return scale(right, left);
  throw mismatch(left, "*", right);
}

function scale(duration: Duration, factor: bigint | number): Duration {
  return new Duration(
    typeof factor === "bigint"
      ? duration.nanoseconds * factor
      : truncate(Number(duration.nanoseconds) * factor),
  );
}

function remainder(left: Value, right: Value): Value {
  if (typeof left !== "bigint" || typeof right !== "bigint") throw mismatch(left, "%", right);
  if (right === 0n) throw fault("integer divide by zero");
  return left % right;
}

/** An element of an array, a byte of a string, a value of a map. */
export function fetch(base: Value, key: Value, budget: Budget): Value {
  if (isMap(base)) return base.get(key) ?? null;
  if (isList(base) || base instanceof Uint8Array || typeof base === "string") {
    if (!isNumber(key)) {
      throw fault(`cannot fetch ${describe(key)} from ${typeName(base)}`);
    }
    // Finding the bytes of a string takes a look at all of it.
    if (typeof base === "string") budget.step(Math.floor(base.length / 200));
    const length = typeof base === "string" ? byteLength(base) : base.length;
    const asked = Number(typeof key === "bigint" ? key : truncate(key));
    const index = asked < 0 ? length + asked : asked;
    const found = typeof base === "string" ? byteAt(base, index) : base[index];
    if (index < 0 || index >= length || found === undefined) {
      throw fault(`index out of range: ${asked} (the length is ${length})`);
    }
    return typeof found === "number" && !isList(base) ? BigInt(found) : found;
  }
  throw fault(
    `cannot fetch ${describe(key)} from ${typeName(base)}`,
    base === null ? "Use ?. or ?? where a value may be missing." : undefined,
  );
}

function describe(key: Value): string {
  return typeof key === "string"
    ? `"${key.slice(0, 100)}"`
    : isNumber(key)
      ? String(key)
      : typeName(key);
}

/** `base[from:to]`, cut to what there is. */
export function slice(base: Value, from: Value, to: Value, budget: Budget): Value {
  if (!isList(base) && typeof base !== "string" && !(base instanceof Uint8Array)) {
    throw fault(`cannot slice ${typeName(base)}`);
  }
  if (typeof base === "string") budget.step(Math.floor(base.length / 200));
  const length = typeof base === "string" ? byteLength(base) : base.length;
  const bound = (value: Value, otherwise: number): number => {
    if (value === null) return otherwise;
    if (!isNumber(value)) throw fault(`cannot slice at a ${typeName(value)}`);
    const index = Number(typeof value === "bigint" ? value : truncate(value));
    return Math.min(Math.max(index < 0 ? length + index : index, 0), length);
  };
  const end = bound(to, length);
  const start = Math.min(bound(from, 0), end);
  return typeof base === "string" ? byteSlice(base, start, end) : base.slice(start, end);
}

export function negate(value: Value): Value {
  if (typeof value === "bigint") return int(-value);
  if (typeof value === "number") return -value;
  throw fault(`invalid operation: - ${typeName(value)}`);
}

/** A condition must be a bool; nil is false. */
export function truth(value: Value): boolean {
  if (value === null) return false;
  if (typeof value === "boolean") return value;
  throw fault(
    `invalid operation: a ${typeName(value)} is no bool`,
    typeof value === "string" ? "Compare it: == 'true'." : undefined,
  );
}

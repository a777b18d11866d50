import { ceilings, type Budget } from "./budget.ts";
import { fault } from "./failure.ts";
import { Duration, Time, Zone } from "./time.ts";
import { Version } from "./version.ts";

/** A value of an expression. A bigint is Go's int, a number its float64; a map's keys are plain values. */
export type Value =
  | null
  | boolean
  | bigint
  | number
  | string
  | Uint8Array
  | Time
  | Duration
  | Zone
  | Version
  | readonly Value[]
  | ReadonlyMap<Value, Value>;

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

export function isMap(value: Value): value is ReadonlyMap<Value, Value> {
  return value instanceof Map;
}

export function isNumber(value: Value): value is bigint | number {
  return typeof value === "bigint" || typeof value === "number";
}

/** The name of a value's type, as users of expr-lang meet it in messages. */
export function typeName(value: Value): string {
  if (value === null) return "nil";
  if (typeof value === "bigint") return "int";
  if (typeof value === "number") return "float";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "string") return "string";
  if (value instanceof Uint8Array) return "bytes";
  if (value instanceof Time) return "time.Time";
  if (value instanceof Duration) return "time.Duration";
  if (value instanceof Zone) return "time.Location";
  if (value instanceof Version) return "semver.Version";
  return isList(value) ? "array" : "map";
}

/** Wraps as Go's int does. */
export function int(value: bigint): bigint {
  return BigInt.asIntN(64, value);
}

/** An int of a float; Go leaves open what too large a float becomes, so it is a fault here. */
export function truncate(value: number): bigint {
  if (!(Math.abs(value) < 2 ** 63)) throw fault(`${formatFloat(value)} does not fit an int`);
  return BigInt(Math.trunc(value));
}

/** expr-lang's `==`: numbers by value whatever their type, everything else only within its type. */
export function equal(left: Value, right: Value, budget: Budget): boolean {
  budget.step();
  if (typeof left === "string" && typeof right === "string") {
    if (left.length !== right.length) return false;
    budget.step(Math.floor(left.length / 1000));
    return left === right;
  }
  if (isNumber(left) && isNumber(right)) {
    // Go converts the int to float64 first when the types differ.
    return typeof left === typeof right ? left === right : Number(left) === Number(right);
  }
  if (left instanceof Time) return right instanceof Time && left.nanoseconds === right.nanoseconds;
  if (left instanceof Duration) {
    return right instanceof Duration && left.nanoseconds === right.nanoseconds;
  }
  if (left instanceof Version) return right instanceof Version && left.compare(right) === 0;
  if (left instanceof Zone) return right instanceof Zone && left.name === right.name;
  if (left instanceof Uint8Array) {
    return right instanceof Uint8Array && Buffer.from(left).equals(right);
  }
  if (left !== null && typeof left === "object") {
    if (right === null || typeof right !== "object") return false;
    if (isList(left)) {
      return (
        isList(right) &&
        left.length === right.length &&
        left.every((item, index) => equal(item, right[index] ?? null, budget))
      );
    }
    if (!isMap(right) || left.size !== right.size) return false;
    for (const [key, item] of left) {
      const other = right.get(key);
      if (other === undefined || !equal(item, other, budget)) return false;
    }
    return true;
  }
  return left === right;
}

/** Go orders strings by their bytes, which is the order of code points and not that of UTF-16 units. */
export function compareStrings(left: string, right: string): number {
  if (left === right) return 0;
  const length = Math.min(left.length, right.length);
  let at = 0;
  while (at < length && left.charCodeAt(at) === right.charCodeAt(at)) at += 1;
  if (at === length) return left.length - right.length;
  const a = left.charCodeAt(at);
  const b = right.charCodeAt(at);
  const surrogate = (unit: number): number =>
    unit >= 0xd8_00 && unit <= 0xdf_ff ? unit + 0x1_00_00 : unit;
  return surrogate(a) - surrogate(b);
}

/** Negative, zero or positive; a fault for values that have no order, or none between them. NaN is not comparable. */
export function compare(left: Value, right: Value, operator = "<"): number {
  if (isNumber(left) && isNumber(right)) {
    if (typeof left === "bigint" && typeof right === "bigint") {
      if (left === right) return 0;
      return left < right ? -1 : 1;
    }
    return Number(left) - Number(right);
  }
  if (typeof left === "string" && typeof right === "string") return compareStrings(left, right);
  if (left instanceof Time && right instanceof Time) {
    return sign(left.nanoseconds - right.nanoseconds);
  }
  if (left instanceof Duration && right instanceof Duration) {
    return sign(left.nanoseconds - right.nanoseconds);
  }
  throw mismatch(left, operator, right);
}

export function mismatch(left: Value, operator: string, right: Value): Error {
  return fault(
    `invalid operation: ${typeName(left)} ${operator} ${typeName(right)}`,
    typeof left === "string" || typeof right === "string"
      ? "Parameters and results are strings; read them with asInt, asFloat or fromJSON."
      : undefined,
  );
}

function sign(value: bigint): number {
  if (value === 0n) return 0;
  return value < 0n ? -1 : 1;
}

/** Go's `%v` of a float64: the shortest digits, with an exponent below 1e-4 and from 1e6 on. */
export function formatFloat(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [digits = "", exponentText = "0"] = value.toExponential().split("e");
  const exponent = Number(exponentText);
  if (exponent >= -4 && exponent < 6) return String(value);
  const size = String(Math.abs(exponent)).padStart(2, "0");
  return `${digits}e${exponent < 0 ? "-" : "+"}${size}`;
}

/** Go's `%v`, what `string()` and joining by sprig make of a value. */
export function format(value: Value, budget: Budget, depth = 0): string {
  const text = formatted(value, budget, depth);
  budget.allocate(text.length);
  return text;
}

function formatted(value: Value, budget: Budget, depth: number): string {
  budget.step();
  guardDepth(depth);
  if (value === null) return "<nil>";
  if (typeof value === "string") return value;
  if (typeof value === "number") return formatFloat(value);
  if (typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (value instanceof Uint8Array) return `[${[...value].join(" ")}]`;
  if (
    value instanceof Time ||
    value instanceof Duration ||
    value instanceof Zone ||
    value instanceof Version
  ) {
    return value.toString();
  }
  if (isList(value)) return `[${value.map((item) => format(item, budget, depth + 1)).join(" ")}]`;
  const pairs = sortedEntries(value).map(
    ([key, item]) => `${format(key, budget, depth + 1)}:${format(item, budget, depth + 1)}`,
  );
  return `map[${pairs.join(" ")}]`;
}

/** Go prints and marshals maps in the order of their keys. */
function sortedEntries(map: ReadonlyMap<Value, Value>): readonly (readonly [Value, Value])[] {
  return [...map].toSorted(([left], [right]) =>
    typeof left === "string" && typeof right === "string"
      ? compareStrings(left, right)
      : typeof left === typeof right && isNumber(left) && isNumber(right)
        ? compare(left, right)
        : compareStrings(typeName(left), typeName(right)),
  );
}

export interface JsonOptions {
  /** Spaces a level; 0 for one line. */
  readonly indent?: number;
  /** Whether `<`, `>` and `&` are written as they are, and not as \u003c, \u003e and \u0026. */
  readonly raw?: boolean;
}

/** The JSON that Go's encoding/json writes: keys in order, and by default safe inside HTML. */
export function toJson(value: Value, budget: Budget, options: JsonOptions = {}): string {
  const { indent = 0, raw = false } = options;
  return write(value, 0);

  function write(item: Value, depth: number): string {
    const text = written(item, depth);
    budget.allocate(text.length);
    return text;
  }

  function written(item: Value, depth: number): string {
    budget.step();
    guardDepth(depth);
    if (item === null) return "null";
    if (typeof item === "string") return jsonString(item, raw);
    if (typeof item === "boolean" || typeof item === "bigint") return String(item);
    if (typeof item === "number") {
      if (!Number.isFinite(item)) throw fault(`${formatFloat(item)} cannot be written as JSON`);
      return jsonNumber(item);
    }
    if (item instanceof Uint8Array) return `"${Buffer.from(item).toString("base64")}"`;
    if (item instanceof Time) return `"${item.toRfc3339()}"`;
    if (item instanceof Duration) return String(item.nanoseconds);
    if (item instanceof Zone) return "{}";
    if (item instanceof Version) return `"${item.toString()}"`;
    if (isList(item)) {
      return bracket(
        "[",
        "]",
        item.map((part) => write(part, depth + 1)),
        depth,
      );
    }
    const colon = indent > 0 ? ": " : ":";
    const pairs = sortedEntries(item).map(([key, part]) => {
      if (typeof key !== "string" && typeof key !== "bigint") {
        throw fault(`a map with a ${typeName(key)} as key cannot be written as JSON`);
      }
      return `${jsonString(String(key), raw)}${colon}${write(part, depth + 1)}`;
    });
    return bracket("{", "}", pairs, depth);
  }

  function bracket(open: string, close: string, parts: readonly string[], depth: number): string {
    if (indent === 0 || parts.length === 0) return `${open}${parts.join(",")}${close}`;
    const inner = `\n${" ".repeat(indent * (depth + 1))}`;
    return `${open}${inner}${parts.join(`,${inner}`)}\n${" ".repeat(indent * depth)}${close}`;
  }
}

function jsonNumber(value: number): string {
  if (Object.is(value, -0)) return "-0";
  return String(value);
}

function jsonString(text: string, raw: boolean): string {
  // Go replaces what is no UTF-8, and escapes the two line separators always.
  const json = JSON.stringify(text.toWellFormed()).replaceAll(/[\u2028\u2029]/gu, escapeUnit);
  return raw ? json : json.replaceAll(/[<>&]/gu, escapeUnit);
}

function escapeUnit(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function guardDepth(depth: number): void {
  if (depth > ceilings.valueDepth) {
    throw fault(`a value is nested more than ${ceilings.valueDepth} deep`);
  }
}

/** Reads JSON as Go does into `any`: every number is a float. */
export function fromJson(text: string, budget: Budget): Value {
  budget.allocate(text.length);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw fault(
      `the text is no JSON: ${error instanceof Error ? error.message.slice(0, 200) : "it cannot be read"}`,
    );
  }
  return convert(parsed, budget, 0, (number) => number);
}

/** A value of the caller's (a string, or plain data) as a value of an expression; whole numbers become ints. */
export function fromPlain(plain: unknown, budget: Budget): Value {
  return convert(plain, budget, 0, (number) =>
    Number.isSafeInteger(number) ? BigInt(number) : number,
  );
}

function convert(
  plain: unknown,
  budget: Budget,
  depth: number,
  number: (value: number) => Value,
): Value {
  budget.step();
  guardDepth(depth);
  if (plain === null || plain === undefined) return null;
  if (typeof plain === "string" || typeof plain === "boolean" || typeof plain === "bigint") {
    return plain;
  }
  if (typeof plain === "number") return number(plain);
  if (plain instanceof Date) return Time.fromMilliseconds(plain.getTime(), Zone.utc);
  if (Array.isArray(plain)) {
    return plain.map((item: unknown) => convert(item, budget, depth + 1, number));
  }
  if (typeof plain === "object") {
    const map = new Map<Value, Value>();
    for (const [key, item] of Object.entries(plain)) {
      map.set(key, convert(item, budget, depth + 1, number));
    }
    return map;
  }
  throw fault(`a ${typeof plain} is no value of an expression`);
}

/** A value as plain data for the caller. Objects have no prototype, so that no key of a guest's means anything. */
export function toPlain(value: Value): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (value === null || typeof value !== "object") return value;
  if (value instanceof Time) return value.toRfc3339();
  if (value instanceof Duration || value instanceof Zone || value instanceof Version) {
    return value.toString();
  }
  if (value instanceof Uint8Array) return value;
  if (isList(value)) return value.map(toPlain);
  const object: Record<string, unknown> = Object.create(null);
  for (const [key, item] of value) {
    const name = key !== null && typeof key === "object" ? typeName(key) : String(key);
    object[name] = toPlain(item);
  }
  return object;
}

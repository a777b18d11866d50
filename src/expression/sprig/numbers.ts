import type { Budget } from "../budget.ts";
import { fault } from "../failure.ts";
import { define, many, type Arguments, type Context, type Function } from "../functions.ts";
import { parseFloat64, parseInt64 } from "../strings.ts";
import { Duration } from "../time.ts";
import { format, int, isNumber, truncate, type Value } from "../value.ts";
import { Decimal } from "./decimal.ts";

/** sprig's casts never fail: what is no number is 0. A string may be in any base that its prefix names. */
function castInt(value: Value): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Math.abs(value) < 2 ** 63 ? truncate(value) : 0n;
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (value instanceof Duration) return value.nanoseconds;
  if (typeof value !== "string") return 0n;
  const found =
    /^([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([1-9]\d*|0))(?:\.0*)?$/u.exec(
      value.slice(0, 100),
    );
  if (found === null) return 0n;
  const [, sign, hex, binary, octal, decimal = "0"] = found;
  let size = BigInt(decimal);
  if (hex !== undefined) size = BigInt(`0x${hex}`);
  if (binary !== undefined) size = BigInt(`0b${binary}`);
  if (octal !== undefined) size = BigInt(`0o${octal}`);
  const number = sign === "-" ? -size : size;
  return int(number) === number ? number : 0n;
}

function castFloat(value: Value): number {
  if (isNumber(value)) return Number(value);
  if (typeof value === "boolean") return value ? 1 : 0;
  if (value instanceof Duration) return Number(value.nanoseconds);
  return typeof value === "string" ? (parseFloat64(value) ?? 0) : 0;
}

function fold(operation: (left: bigint, right: bigint) => bigint): Function {
  return define(1, many, (given) =>
    given.values.map(castInt).reduce((left, right) => int(operation(left, right))),
  );
}

function foldFloat(operation: (left: number, right: number) => number): Function {
  return define(1, many, (given) =>
    given.values.map(castFloat).reduce((left, right) => operation(left, right)),
  );
}

function pair(operation: (left: bigint, right: bigint) => bigint): Function {
  return define(2, 2, (given) => int(operation(castInt(given.value(0)), castInt(given.value(1)))));
}

function decimals(
  least: number,
  start: (given: Arguments) => readonly Value[],
  operation: (left: Decimal, right: Decimal, budget: Budget) => Decimal,
): Function {
  return define(least, many, (given, { budget }) =>
    start(given)
      .map((value) => Decimal.of(castFloat(value)))
      .reduce((left, right) => operation(left, right, budget))
      .toNumber(),
  );
}

function divisor(value: bigint): bigint {
  if (value === 0n) throw fault("integer divide by zero");
  return value;
}

function steps(start: bigint, stop: bigint, step: bigint, { budget }: Context): readonly bigint[] {
  const down = stop < start;
  if (down ? step >= 0n : step <= 0n) return [];
  const size = down ? -step : step;
  const distance = down ? start - stop : stop - start;
  const count = Number((distance + size - 1n) / size);
  budget.step(count);
  budget.allocate(count);
  return Array.from({ length: count }, (_, index) => start + BigInt(index) * step);
}

function sequence(given: Arguments, context: Context): string {
  const bounds = given.values.map((_, index) => given.int(index));
  const [first = 1n, second = 1n, third] = bounds;
  let [start, step, end] = [1n, 1n, first];
  if (bounds.length === 2) [start, end] = [first, second];
  if (bounds.length === 3 && third !== undefined) [start, step, end] = [first, second, third];
  const direction = end < start ? -1n : 1n;
  if (bounds.length === 3) {
    if (direction < 0n && step > 0n) return "";
  } else {
    step = direction;
  }
  return steps(start, end + direction, step, context).join(" ");
}

function roundTo(value: number, places: number, from: number): number {
  const scale = 10 ** places;
  const digit = scale * value;
  const fraction = digit - Math.trunc(digit);
  return (fraction >= from ? Math.ceil(digit) : Math.floor(digit)) / scale;
}

export const numbers: ReadonlyMap<string, Function> = new Map([
  ["atoi", define(1, 1, (given) => parseInt64(given.text(0)) ?? 0n)],
  ["int", define(1, 1, (given) => castInt(given.value(0)))],
  ["int64", define(1, 1, (given) => castInt(given.value(0)))],
  ["float64", define(1, 1, (given) => castFloat(given.value(0)))],
  [
    "toDecimal",
    define(1, 1, (given, { budget }) => {
      const text = format(given.value(0), budget);
      const octal = /^([+-]?)([0-7]{1,21})$/u.exec(text);
      const value = BigInt(`0o${octal?.[2] ?? "0"}`);
      return int(value) === value ? (octal?.[1] === "-" ? -value : value) : 0n;
    }),
  ],
  ["add1", define(1, 1, (given) => int(castInt(given.value(0)) + 1n))],
  [
    "add",
    define(0, many, (given) =>
      int(given.values.map(castInt).reduce((sum, value) => sum + value, 0n)),
    ),
  ],
  ["sub", pair((left, right) => left - right)],
  ["div", pair((left, right) => left / divisor(right))],
  ["mod", pair((left, right) => left % divisor(right))],
  ["mul", fold((left, right) => left * right)],
  [
    "add1f",
    decimals(
      1,
      (given) => [given.value(0), 1n],
      (left, right) => left.plus(right),
    ),
  ],
  [
    "addf",
    decimals(
      0,
      (given) => [0n, ...given.values],
      (left, right) => left.plus(right),
    ),
  ],
  [
    "subf",
    decimals(
      1,
      (given) => given.values,
      (left, right) => left.minus(right),
    ),
  ],
  [
    "mulf",
    decimals(
      1,
      (given) => given.values,
      (left, right, budget) => left.times(right, budget),
    ),
  ],
  [
    "divf",
    decimals(
      1,
      (given) => given.values,
      (left, right, budget) => left.by(right, budget),
    ),
  ],
  ["max", fold((left, right) => (left > right ? left : right))],
  ["biggest", fold((left, right) => (left > right ? left : right))],
  ["min", fold((left, right) => (left < right ? left : right))],
  ["maxf", foldFloat(Math.max)],
  ["minf", foldFloat(Math.min)],
  ["ceil", define(1, 1, (given) => Math.ceil(castFloat(given.value(0))))],
  ["floor", define(1, 1, (given) => Math.floor(castFloat(given.value(0))))],
  [
    "round",
    define(2, 3, (given) =>
      roundTo(
        castFloat(given.value(0)),
        given.whole(1),
        given.count > 2 ? castFloat(given.value(2)) : 0.5,
      ),
    ),
  ],
  ["seq", define(0, 3, (given, context) => (given.count === 0 ? "" : sequence(given, context)))],
  [
    "until",
    define(1, 1, (given, context) => {
      const stop = given.int(0);
      return steps(0n, stop, stop < 0n ? -1n : 1n, context);
    }),
  ],
  [
    "untilStep",
    define(3, 3, (given, context) => steps(given.int(0), given.int(1), given.int(2), context)),
  ],
]);

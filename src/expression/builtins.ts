import { fault } from "./failure.ts";
import { define, many, type Arguments, type Context, type Function } from "./functions.ts";
import { add } from "./operators.ts";
import { predicateFunctions } from "./parser.ts";
import {
  byteIndex,
  lower,
  parseFloat64,
  parseInt64,
  repeat,
  replace,
  runeCount,
  split,
  splitAfter,
  trimCharacters,
  trimPrefix,
  trimSpace,
  trimSuffix,
  upper,
} from "./strings.ts";
import { Duration, Time, Zone } from "./time.ts";
import {
  compare,
  equal,
  format,
  fromJson,
  int,
  isList,
  isMap,
  isNumber,
  toJson,
  truncate,
  typeName,
  type Value,
} from "./value.ts";

/** `int()` of expr-lang and Argo's `asInt`. */
export const toInt: Function = define(1, 1, (given) => {
  const value = given.value(0);
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return truncate(value);
  if (value instanceof Duration) return value.nanoseconds;
  if (typeof value === "string") {
    const parsed = parseInt64(value);
    if (parsed === undefined) throw fault(`"${value.slice(0, 100)}" is no integer`);
    return parsed;
  }
  throw given.wrong(0, "number or string");
});

/** `float()` of expr-lang and Argo's `asFloat`. */
export const toFloat: Function = define(1, 1, (given) => {
  const value = given.value(0);
  if (isNumber(value)) return Number(value);
  if (typeof value === "string") {
    const parsed = parseFloat64(value);
    if (parsed === undefined) throw fault(`"${value.slice(0, 100)}" is no number`);
    return parsed;
  }
  throw given.wrong(0, "number or string");
});

function rounding(round: (value: number) => number): Function {
  return define(1, 1, (given) => {
    const value = given.value(0);
    if (!isNumber(value)) throw given.wrong(0, "number");
    return round(Number(value));
  });
}

/** Half away from zero, unlike Math.round. */
function roundHalf(value: number): number {
  return Math.sign(value) * Math.floor(Math.abs(value) + 0.5);
}

function bits(operation: (left: bigint, right: bigint) => bigint): Function {
  return define(2, 2, (given) => {
    const [left, right] = [given.value(0), given.value(1)];
    if (typeof left !== "bigint") throw given.wrong(0, "int");
    if (typeof right !== "bigint") throw given.wrong(1, "int");
    return int(operation(left, right));
  });
}

function shift(operation: (value: bigint, count: bigint) => bigint): Function {
  return bits((value, count) => {
    if (count < 0n) throw fault(`cannot shift by ${count}`);
    return operation(value, count > 64n ? 64n : count);
  });
}

/** All the numbers in arguments that may be arrays of arrays. */
function numbers(given: Arguments, { budget }: Context): readonly (bigint | number)[] {
  const found: (bigint | number)[] = [];
  const visit = (value: Value): void => {
    budget.step();
    if (isNumber(value)) found.push(value);
    else if (isList(value)) for (const item of value) visit(item);
    else throw fault(`${given.name} takes numbers, not ${typeName(value)}`);
  };
  for (const value of given.values) visit(value);
  return found;
}

function extreme(better: (candidate: bigint | number, best: bigint | number) => boolean): Function {
  return define(1, many, (given, context) => {
    let best: bigint | number | undefined;
    for (const candidate of numbers(given, context)) {
      if (best === undefined || better(candidate, best)) best = candidate;
    }
    return best ?? null;
  });
}

function flatten(list: readonly Value[], into: Value[], { budget }: Context): void {
  for (const item of list) {
    budget.step();
    if (isList(item)) flatten(item, into, { budget, now: 0, random: () => 0 });
    else into.push(item);
  }
  budget.allocate(list.length);
}

function parseDate(given: Arguments): Time {
  const first = given.value(0);
  const zone = first instanceof Zone ? first : Zone.utc;
  const rest = first instanceof Zone ? 1 : 0;
  const text = given.text(rest);
  if (given.count > rest + 1) {
    const layout = given.text(rest + 1);
    return Time.parse(
      layout,
      text,
      given.count > rest + 2 ? Zone.load(given.text(rest + 2)) : zone,
    );
  }
  for (const layout of dateLayouts) {
    try {
      return Time.parse(layout, text, zone);
    } catch {
      // The next layout may fit.
    }
  }
  throw fault(`invalid date "${text.slice(0, 100)}"`);
}

const dateLayouts = [
  "2006-01-02",
  "15:04:05",
  "2006-01-02 15:04:05",
  "2006-01-02T15:04:05Z07:00",
  "02 Jan 06 15:04 MST",
  "Monday, 02-Jan-06 15:04:05 MST",
  "Mon, 02 Jan 2006 15:04:05 MST",
];

// A group in a loop would need a stack as deep as the text is long.
const base64 = /^[A-Za-z0-9+/]*={0,2}$/u;

/** Strict, as Go's StdEncoding; it passes over line breaks. */
export function decodeBase64(text: string): string | undefined {
  const packed = text.replaceAll(/[\r\n]/gu, "");
  return packed.length % 4 === 0 && base64.test(packed)
    ? Buffer.from(packed, "base64").toString()
    : undefined;
}

/** The builtin functions of expr-lang (https://expr-lang.org/docs/language-definition). */
export const builtins: ReadonlyMap<string, Function | "predicate"> = new Map<
  string,
  Function | "predicate"
>([
  ...predicateFunctions.keys().map((name): [string, "predicate"] => [name, "predicate"]),
  [
    "count",
    define(1, 1, (given, { budget }) => {
      const list = given.list(0);
      budget.step(list.length);
      return BigInt(list.filter((item) => item === true).length);
    }),
  ],
  [
    "sum",
    define(1, 1, (given, context) => {
      const list = given.list(0);
      context.budget.step(list.length);
      return list.reduce((sum, item) => add(sum, item, context), 0n);
    }),
  ],
  [
    "len",
    define(1, 1, (given, { budget }) => {
      const value = given.value(0);
      if (typeof value === "string") {
        budget.step(Math.ceil(value.length / 1000));
        return BigInt(runeCount(value));
      }
      if (isList(value) || value instanceof Uint8Array) return BigInt(value.length);
      if (isMap(value)) return BigInt(value.size);
      throw fault(`invalid argument for len (type ${typeName(value)})`);
    }),
  ],
  ["type", define(1, 1, (given) => typeName(given.value(0)))],
  [
    "abs",
    define(1, 1, (given) => {
      const value = given.value(0);
      if (typeof value === "bigint") return value < 0n ? int(-value) : value;
      if (typeof value === "number") return Math.abs(value);
      throw given.wrong(0, "number");
    }),
  ],
  ["ceil", rounding(Math.ceil)],
  ["floor", rounding(Math.floor)],
  ["round", rounding(roundHalf)],
  ["int", toInt],
  ["float", toFloat],
  ["string", define(1, 1, (given, { budget }) => format(given.value(0), budget))],
  [
    "trim",
    define(1, 2, (given) =>
      given.count === 1 ? trimSpace(given.text(0)) : trimCharacters(given.text(0), given.text(1)),
    ),
  ],
  [
    "trimPrefix",
    define(1, 2, (given) => trimPrefix(given.text(0), given.count > 1 ? given.text(1) : " ")),
  ],
  [
    "trimSuffix",
    define(1, 2, (given) => trimSuffix(given.text(0), given.count > 1 ? given.text(1) : " ")),
  ],
  ["upper", define(1, 1, (given) => upper(given.text(0)))],
  ["lower", define(1, 1, (given) => lower(given.text(0)))],
  [
    "split",
    define(2, 3, (given, { budget }) =>
      split(given.text(0), given.text(1), given.count > 2 ? given.whole(2) : -1, budget),
    ),
  ],
  [
    "splitAfter",
    define(2, 3, (given, { budget }) =>
      splitAfter(given.text(0), given.text(1), given.count > 2 ? given.whole(2) : -1, budget),
    ),
  ],
  [
    "replace",
    define(3, 4, (given, { budget }) =>
      replace(
        given.text(0),
        given.text(1),
        given.text(2),
        given.count > 3 ? given.whole(3) : -1,
        budget,
      ),
    ),
  ],
  ["repeat", define(2, 2, (given, { budget }) => repeat(given.text(0), given.whole(1), budget))],
  [
    "join",
    define(1, 2, (given, { budget }) => {
      const list = given.list(0);
      const glue = given.count > 1 ? given.text(1) : "";
      const texts = list.map((item) => {
        if (typeof item === "string") return item;
        throw fault(
          `join takes an array of strings, not of ${typeName(item)}`,
          "map(…, string(#)) makes strings of it.",
        );
      });
      budget.step(texts.length);
      budget.allocate(texts.reduce((size, text) => size + text.length + glue.length, 0));
      return texts.join(glue);
    }),
  ],
  [
    "indexOf",
    define(2, 2, (given) => {
      const text = given.text(0);
      return BigInt(byteIndex(text, text.indexOf(given.text(1))));
    }),
  ],
  [
    "lastIndexOf",
    define(2, 2, (given) => {
      const text = given.text(0);
      return BigInt(byteIndex(text, text.lastIndexOf(given.text(1))));
    }),
  ],
  ["hasPrefix", define(2, 2, (given) => given.text(0).startsWith(given.text(1)))],
  ["hasSuffix", define(2, 2, (given) => given.text(0).endsWith(given.text(1)))],
  ["max", extreme((candidate, best) => compare(candidate, best) > 0)],
  ["min", extreme((candidate, best) => compare(candidate, best) < 0)],
  [
    "mean",
    define(1, many, (given, context) => {
      const all = numbers(given, context).map(Number);
      return all.length === 0 ? 0 : all.reduce((sum, value) => sum + value, 0) / all.length;
    }),
  ],
  [
    "median",
    define(1, many, (given, context) => {
      const all = numbers(given, context)
        .map(Number)
        .toSorted((left, right) => left - right);
      const half = all.length / 2;
      const upperHalf = all[Math.floor(half)] ?? 0;
      return all.length % 2 === 1 ? upperHalf : (upperHalf + (all[half - 1] ?? 0)) / 2;
    }),
  ],
  ["toJSON", define(1, 1, (given, { budget }) => toJson(given.value(0), budget, { indent: 2 }))],
  ["fromJSON", define(1, 1, (given, { budget }) => fromJson(given.text(0), budget))],
  [
    "toBase64",
    define(1, 1, (given, { budget }) => {
      const text = given.text(0);
      budget.allocate(text.length * 2);
      return Buffer.from(text).toString("base64");
    }),
  ],
  [
    "fromBase64",
    define(1, 1, (given, { budget }) => {
      const text = given.text(0);
      budget.allocate(text.length);
      const decoded = decodeBase64(text);
      if (decoded === undefined) throw fault(`"${text.slice(0, 100)}" is no base64`);
      return decoded;
    }),
  ],
  [
    "now",
    define(0, 1, (given, { now }) => {
      const zone = given.value(0);
      if (given.count > 0 && !(zone instanceof Zone)) throw given.wrong(0, "time.Location");
      return Time.fromMilliseconds(now, zone instanceof Zone ? zone : Zone.utc);
    }),
  ],
  ["duration", define(1, 1, (given) => Duration.parse(given.text(0)))],
  ["date", define(1, 4, (given) => parseDate(given))],
  ["timezone", define(1, 1, (given) => Zone.load(given.text(0)))],
  ["first", define(1, 1, (given) => given.list(0)[0] ?? null)],
  ["last", define(1, 1, (given) => given.list(0).at(-1) ?? null)],
  ["get", define(2, 2, (given) => given.value(0))],
  [
    "take",
    define(2, 2, (given) => {
      const count = given.value(1);
      if (typeof count !== "bigint") throw given.wrong(1, "int");
      if (count < 0n) throw fault(`cannot take ${count} elements`);
      return given.list(0).slice(0, given.whole(1));
    }),
  ],
  ["keys", define(1, 1, (given) => [...given.mapping(0).keys()])],
  ["values", define(1, 1, (given) => [...given.mapping(0).values()])],
  ["toPairs", define(1, 1, (given) => [...given.mapping(0)])],
  [
    "fromPairs",
    define(1, 1, (given, { budget }) => {
      const map = new Map<Value, Value>();
      for (const pair of given.list(0)) {
        budget.step();
        if (!isList(pair) || pair.length !== 2) throw fault("a pair is an array of two elements");
        const [key = null, value = null] = pair;
        if (key !== null && typeof key === "object") {
          throw fault(`the key of a map is a plain value, not ${typeName(key)}`);
        }
        map.set(key, value);
      }
      return map;
    }),
  ],
  ["reverse", define(1, 1, (given) => given.list(0).toReversed())],
  [
    "uniq",
    define(1, 1, (given, { budget }) => {
      const found: Value[] = [];
      for (const item of given.list(0)) {
        if (!found.some((other) => equal(item, other, budget))) found.push(item);
      }
      return found;
    }),
  ],
  [
    "concat",
    define(1, many, (given, { budget }) => {
      const all = given.values.flatMap((_, index) => given.list(index));
      budget.allocate(all.length);
      return all;
    }),
  ],
  [
    "flatten",
    define(1, 1, (given, context) => {
      const found: Value[] = [];
      flatten(given.list(0), found, context);
      return found;
    }),
  ],
  [
    "sort",
    define(1, 2, (given, { budget }) => {
      const list = given.list(0);
      const order = given.count > 1 ? given.text(1) : "asc";
      if (order !== "asc" && order !== "desc") {
        throw fault(`the order is "asc" or "desc", not "${order.slice(0, 50)}"`);
      }
      budget.step(list.length * 20);
      return list.toSorted((left, right) =>
        order === "desc" ? compare(right, left) : compare(left, right),
      );
    }),
  ],
  ["bitand", bits((left, right) => left & right)],
  ["bitor", bits((left, right) => left | right)],
  ["bitxor", bits((left, right) => left ^ right)],
  ["bitnand", bits((left, right) => left & ~right)],
  ["bitshl", shift((value, count) => value << count)],
  ["bitshr", shift((value, count) => value >> count)],
  ["bitushr", shift((value, count) => BigInt.asUintN(64, value) >> count)],
  [
    "bitnot",
    define(1, 1, (given) => {
      const value = given.value(0);
      if (typeof value !== "bigint") throw given.wrong(0, "int");
      return ~value;
    }),
  ],
]);

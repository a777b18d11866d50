import { Failure } from "../errors/mod.ts";
import { Budget, ceilings } from "./budget.ts";
import { Fault, fault } from "./failure.ts";
import { matches } from "./regex.ts";
import { Time } from "./time.ts";
import { compareStrings, formatFloat } from "./value.ts";

/** What a condition's parts are worth: govaluate knows numbers (all floats), strings, bools and lists. */
type Value = null | boolean | number | string | readonly Value[];

type Kind =
  | "prefix"
  | "number"
  | "bool"
  | "string"
  | "time"
  | "open"
  | "close"
  | "modifier"
  | "comparator"
  | "logical"
  | "ternary"
  | "separator";

interface Token {
  readonly kind: Kind;
  readonly text: string;
  readonly value: Value;
}

/**
 * Evaluates a `when:` whose tags have been replaced. Argo gives it to govaluate, with words as strings:
 * https://github.com/Knetic/govaluate/blob/master/MANUAL.md. An empty condition holds.
 */
export function evaluateCondition(text: string): boolean {
  if (text === "") return true;
  try {
    if (text.length > ceilings.textLength) {
      throw new Fault(
        "ceiling",
        `it has ${text.length} characters, more than ${ceilings.textLength}`,
      );
    }
    const value = new Condition(tokenize(text)).evaluate();
    if (typeof value === "boolean") return value;
    throw fault(
      `expected a bool, got ${show(value)}`,
      "A condition compares: {{steps.a.outputs.result}} == heads",
    );
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
    throw new Failure(
      error.problem === "ceiling" ? "limit-expression" : "workflow-invalid",
      `Invalid 'when' expression '${shown}': ${error.message}`,
      error.hint === undefined ? {} : { hint: error.hint },
    );
  }
}

const values: readonly Kind[] = ["number", "bool", "string", "time", "open"];
const afterValue: readonly Kind[] = [
  "modifier",
  "comparator",
  "logical",
  "close",
  "ternary",
  "separator",
];

/** What may follow a token; govaluate checks it before it looks at any meaning. */
const next: Readonly<Record<Kind | "start", readonly Kind[]>> = {
  start: ["prefix", ...values],
  open: ["prefix", ...values, "close"],
  close: afterValue,
  number: afterValue,
  bool: afterValue,
  string: afterValue,
  time: afterValue.filter((kind) => kind !== "ternary"),
  modifier: ["prefix", "number", "string", "bool", "open", "close"],
  comparator: ["prefix", ...values, "close"],
  logical: ["prefix", ...values, "close"],
  prefix: ["number", "bool", "open", "close"],
  ternary: ["prefix", ...values, "separator"],
  separator: ["prefix", ...values],
};

/** Whether a condition may end behind a token. */
const mayEnd = new Set<Kind | "start">(["close", "number", "bool", "string", "time"]);

const prefixes = new Set(["-", "!", "~"]);
const modifiers = new Set(["+", "-", "*", "/", "%", "**", "&", "|", "^", ">>", "<<"]);
const comparators = new Set(["==", "!=", ">", ">=", "<", "<=", "=~", "!~"]);
const ternaries = new Set(["?", ":", "??"]);

const quoteHint = 'Try wrapping the affected expression in quotes (").';

function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let open = 0;
  let state: Kind | "start" = "start";

  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };

  for (;;) {
    take(/\s+/uy);
    if (at >= text.length) break;
    const token = read();
    if (!next[state].includes(token.kind)) {
      throw fault(
        `unexpected ${token.kind} '${token.text}'${state === "start" ? " at the start" : ` behind ${state} '${tokens.at(-1)?.text ?? ""}'`}`,
        quoteHint,
      );
    }
    if (token.kind === "open") open += 1;
    if (token.kind === "close") open -= 1;
    if (open < 0) break;
    state = token.kind;
    tokens.push(token);
  }
  if (open !== 0) throw fault("unbalanced parenthesis");
  if (!mayEnd.has(state)) throw fault("unexpected end of expression");
  return tokens;

  function read(): Token {
    const hex = take(/0x[\p{Nd}a-fA-F]+/uy);
    if (hex !== undefined) return { kind: "number", text: hex, value: Number(hex) };
    const number = take(/[\p{Nd}.]+/uy);
    if (number !== undefined) {
      if (!/^(?:\d+(?:\.\d*)?|\.\d+)$/u.test(number))
        throw fault(`Unable to parse numeric value '${number}'`, quoteHint);
      return { kind: "number", text: number, value: Number(number) };
    }
    if (take(/,/uy) !== undefined) return { kind: "separator", text: ",", value: null };
    const bracketed = take(/\[(?:[^\]\\]|\\[\s\S])*\]/uy);
    if (bracketed !== undefined) {
      return { kind: "string", text: bracketed, value: unescape(bracketed.slice(1, -1)) };
    }
    const word = take(/\p{L}(?:[\p{L}\p{Nd}_.]|\\[\s\S])*/uy);
    if (word !== undefined) return readWord(unescape(word));
    if (/["']/u.test(text.charAt(at))) {
      // Either quote ends a string, whichever began it.
      const quoted = take(/["'](?:[^"'\\]|\\[\s\S])*["']/uy);
      if (quoted === undefined) throw fault("unclosed string literal");
      const value = unescape(quoted.slice(1, -1));
      const time = parseTime(value);
      return time === undefined
        ? { kind: "string", text: quoted, value }
        : { kind: "time", text: quoted, value: time };
    }
    if (take(/\(/uy) !== undefined) return { kind: "open", text: "(", value: null };
    if (take(/\)/uy) !== undefined) return { kind: "close", text: ")", value: null };
    const symbol = take(/[^\p{L}\p{Nd}()[\]"'\s]+/uy) ?? take(/[\s\S]/uy) ?? "";
    const kind = symbolKind(symbol);
    if (kind === undefined) throw fault(`Invalid token: '${symbol}'`, quoteHint);
    return { kind, text: symbol, value: null };
  }

  function symbolKind(symbol: string): Kind | undefined {
    if (next[state].includes("prefix") && prefixes.has(symbol)) return "prefix";
    if (modifiers.has(symbol)) return "modifier";
    if (symbol === "&&" || symbol === "||") return "logical";
    if (comparators.has(symbol)) return "comparator";
    return ternaries.has(symbol) ? "ternary" : undefined;
  }

  function readWord(word: string): Token {
    if (word === "true" || word === "false") {
      return { kind: "bool", text: word, value: word === "true" };
    }
    if (word === "in" || word === "IN") return { kind: "comparator", text: "in", value: null };
    if (word.includes(".")) {
      throw fault(
        `'${word}' cannot be looked up here`,
        `A text with a dot needs quotes: '${word}'.`,
      );
    }
    return { kind: "string", text: word, value: word };
  }
}

function unescape(text: string): string {
  return text.replaceAll(/\\([\s\S])/gu, "$1");
}

/** Quoted times are compared as seconds since 1970, so that `<` orders them. */
const timeLayouts = [
  "Mon Jan _2 15:04:05 2006",
  "Mon Jan _2 15:04:05 MST 2006",
  "Mon Jan 02 15:04:05 -0700 2006",
  "3:04PM",
  "2006-01-02T15:04:05Z07:00",
  "2006-01-02",
  "2006-01-02 15:04",
  "2006-01-02 15:04:05",
  "2006-01-02 15:04:05-07:00",
  "2006-01-02T15Z0700",
  "2006-01-02T15:04Z0700",
  "2006-01-02T15:04:05Z0700",
];

function parseTime(text: string): number | undefined {
  if (text.length > 40 || !/^(?:\d|[A-Z][a-z]{2} )/u.test(text)) return undefined;
  for (const layout of timeLayouts) {
    try {
      return Math.floor(Time.parse(layout, text).milliseconds / 1000);
    } catch {
      // The next layout may fit.
    }
  }
  return undefined;
}

const precedences: readonly (readonly string[])[] = [
  [","],
  ["?", ":", "??"],
  ["||"],
  ["&&"],
  ["==", "!=", ">", ">=", "<", "<=", "=~", "!~", "in"],
  ["^", "&", "|"],
  [">>", "<<"],
  ["+", "-"],
  ["*", "/", "%"],
  ["**"],
];

const precedence: ReadonlyMap<string, number> = new Map(
  precedences.flatMap((operators, level) => operators.map((operator) => [operator, level])),
);

/** A part that is worth something when it is asked, because `&&` and `||` may not ask. */
type Lazy = () => Value;

class Condition {
  readonly #tokens: readonly Token[];
  readonly #budget = new Budget();
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  evaluate(): Value {
    return this.#binary(0)();
  }

  /** Everything is evaluated from the left, the exponent too. */
  #binary(level: number): Lazy {
    let left = this.#operand();
    let length = 0;
    for (;;) {
      const token = this.#tokens[this.#at];
      if (token === undefined || token.kind === "close") return left;
      const found = precedence.get(token.text);
      if (found === undefined || found < level) return left;
      length += 1;
      if (length > ceilings.depth)
        throw new Fault("ceiling", `it has more than ${ceilings.depth} parts`);
      this.#at += 1;
      const before = left;
      const right = this.#binary(found + 1);
      left = () => this.#operate(token, before, right);
    }
  }

  #operand(): Lazy {
    this.#depth += 1;
    if (this.#depth > ceilings.depth)
      throw new Fault("ceiling", `it is nested more than ${ceilings.depth} deep`);
    const operand = this.#value();
    this.#depth -= 1;
    return operand;
  }

  #value(): Lazy {
    const token = this.#tokens[this.#at];
    if (token === undefined || token.kind === "close") throw fault("unexpected end of expression");
    this.#at += 1;
    if (token.kind === "open") {
      if (this.#tokens[this.#at]?.kind === "close") {
        this.#at += 1;
        return () => null;
      }
      const inner = this.#binary(0);
      this.#at += 1;
      return inner;
    }
    if (token.kind === "prefix") {
      const operand = this.#operand();
      return () => prefixed(token.text, operand());
    }
    return () => token.value;
  }

  #operate(token: Token, leftPart: Lazy, rightPart: Lazy): Value {
    const operator = token.text;
    const left = leftPart();
    if ((operator === "&&" && left === false) || (operator === "||" && left === true)) return left;
    if (operator === "?") {
      if (typeof left !== "boolean") throw unfit(left, "ternary operator", operator, "bool");
      return left ? rightPart() : null;
    }
    if (operator === ":" || operator === "??") return left ?? rightPart();
    const right = rightPart();
    if (token.kind === "logical") {
      if (typeof left !== "boolean") throw unfit(left, "logical operator", operator, "bool");
      if (typeof right !== "boolean") throw unfit(right, "logical operator", operator, "bool");
      return right;
    }
    if (token.kind === "separator") {
      const list = Array.isArray(left) ? [...asList(left), right] : [left, right];
      this.#budget.step(list.length);
      return list;
    }
    return token.kind === "comparator"
      ? this.#compare(operator, left, right)
      : modify(operator, left, right);
  }

  #compare(operator: string, left: Value, right: Value): boolean {
    switch (operator) {
      case "==":
        return same(left, right);
      case "!=":
        return !same(left, right);
      case "=~":
      case "!~":
        if (typeof left !== "string") throw unfit(left, "comparator", operator, "string");
        if (typeof right !== "string") throw unfit(right, "comparator", operator, "string");
        return matches(right, left, this.#budget) === (operator === "=~");
      case "in":
        if (!Array.isArray(right)) {
          throw unfit(right, "comparator", operator, "list such as (a, b)");
        }
        return asList(right).some((item) => same(item, left));
      default: {
        const order = ordered(operator, left, right);
        if (operator === "<") return order < 0;
        if (operator === "<=") return order <= 0;
        return operator === ">" ? order > 0 : order >= 0;
      }
    }
  }
}

function asList(value: Value): readonly Value[] {
  return Array.isArray(value) ? value : [value];
}

function same(left: Value, right: Value): boolean {
  if (!Array.isArray(left) || !Array.isArray(right)) return left === right;
  const others = asList(right);
  return (
    asList(left).length === others.length &&
    asList(left).every((item, index) => same(item, others[index] ?? null))
  );
}

function ordered(operator: string, left: Value, right: Value): number {
  if (typeof left === "number" && typeof right === "number") return left - right;
  if (typeof left === "string" && typeof right === "string") return compareStrings(left, right);
  throw unfit(typeof left === "number" ? right : left, "comparator", operator, "number");
}

function modify(operator: string, left: Value, right: Value): Value {
  if (operator === "+" && (typeof left === "string" || typeof right === "string")) {
    return show(left) + show(right);
  }
  if (typeof left !== "number") throw unfit(left, "modifier", operator, "number");
  if (typeof right !== "number") throw unfit(right, "modifier", operator, "number");
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    case "%":
      return left % right;
    case "**":
      return left ** right;
    default:
      return bitwise(operator, whole(left), whole(right));
  }
}

function bitwise(operator: string, left: bigint, right: bigint): number {
  switch (operator) {
    case "&":
      return Number(left & right);
    case "|":
      return Number(left | right);
    case "^":
      return Number(left ^ right);
    default: {
      const count = right < 0n || right > 64n ? 64n : right;
      const shifted = operator === "<<" ? left << count : BigInt.asUintN(64, left) >> count;
      return Number(BigInt.asUintN(64, shifted));
    }
  }
}

function whole(value: number): bigint {
  if (!(Math.abs(value) < 2 ** 63)) throw fault(`${formatFloat(value)} is no whole number`);
  return BigInt(Math.trunc(value));
}

function prefixed(operator: string, operand: Value): Value {
  if (operator === "!") {
    if (typeof operand !== "boolean") throw unfit(operand, "prefix", operator, "bool");
    return !operand;
  }
  if (typeof operand !== "number") throw unfit(operand, "prefix", operator, "number");
  return operator === "-" ? -operand : Number(~whole(operand));
}

function unfit(value: Value, role: string, operator: string, wanted: string): Fault {
  return fault(
    `Value '${show(value)}' cannot be used with the ${role} '${operator}', it is not a ${wanted}`,
    role === "modifier" && typeof value === "string" ? quoteHint : undefined,
  );
}

function show(value: Value): string {
  if (typeof value === "number") return formatFloat(value);
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return `[${asList(value).map(show).join(" ")}]`;
  return value === null ? "<nil>" : String(value);
}

import { Cache } from "./cache.ts";
import { fault, type Fault } from "./failure.ts";
import type { Context } from "./functions.ts";
import { runeCount } from "./strings.ts";
import { compare, equal, isList, isMap, isNumber, type Value } from "./value.ts";

type Selector =
  | { readonly kind: "key"; readonly key: string }
  | { readonly kind: "index"; readonly index: number }
  | {
      readonly kind: "range";
      readonly from: number | undefined;
      readonly to: number | undefined;
      readonly step: number;
    }
  | { readonly kind: "union"; readonly of: readonly (string | number)[] }
  | { readonly kind: "wildcard" }
  | { readonly kind: "recursive" }
  | { readonly kind: "filter"; readonly test: Test };

/** A filter's expression, whose paths begin at the element (`@`) or at the root (`$`). */
type Test =
  | { readonly kind: "literal"; readonly value: Value }
  | { readonly kind: "path"; readonly root: boolean; readonly selectors: readonly Selector[] }
  | { readonly kind: "not"; readonly of: Test }
  | {
      readonly kind: "binary";
      readonly operator: string;
      readonly left: Test;
      readonly right: Test;
    };

const pathCeiling = 1000;
const depthCeiling = 50;

const compiled = new Cache((path: string) => new PathParser(path).parse());

/**
 * Queries JSON as Argo's `jsonpath` does (https://github.com/evilmonkeyinc/jsonpath): a path to one place gives its value, a
 * path that may lead to many an array.
 */
export function queryJson(root: Value, path: string, context: Context): Value {
  if (path.length > pathCeiling) {
    throw fault(`the JSON path has ${path.length} characters, more than ${pathCeiling}`);
  }
  return new Query(root, context).select(root, compiled.get(path));
}

class Query {
  readonly #root: Value;
  readonly #context: Context;

  constructor(root: Value, context: Context) {
    this.#root = root;
    this.#context = context;
  }

  select(start: Value, selectors: readonly Selector[]): Value {
    let current: readonly Value[] = [start];
    let many = false;
    for (const [index, selector] of selectors.entries()) {
      const last = index === selectors.length - 1;
      if (selector.kind !== "key" && selector.kind !== "index") {
        current = current.flatMap((value) => this.#several(value, selector, many || !last));
        many = true;
      } else if (many) {
        current = current.flatMap((value) => {
          const found = this.#one(value, selector);
          return found === undefined ? [] : [found];
        });
      } else {
        const [value = null] = current;
        const found = this.#one(value, selector);
        if (found === undefined) {
          throw fault(
            selector.kind === "key"
              ? `the JSON has no key "${selector.key}" there`
              : `the JSON has no element ${selector.index} there`,
          );
        }
        current = [found];
      }
      this.#context.budget.step(current.length + 1);
      this.#context.budget.allocate(current.length);
    }
    return many ? current : (current[0] ?? null);
  }

  #one(value: Value, selector: Selector & { readonly kind: "key" | "index" }): Value | undefined {
    this.#context.budget.step();
    if (selector.kind === "key") {
      if (isMap(value) && value.has(selector.key)) return value.get(selector.key);
      if (selector.key !== "length") return undefined;
      if (isList(value)) return BigInt(value.length);
      if (isMap(value)) return BigInt(value.size);
      return typeof value === "string" ? BigInt(runeCount(value)) : undefined;
    }
    return isList(value) ? value.at(selector.index) : undefined;
  }

  /** What a selector finds below one value. Where it does not fit: nothing, or a fault when the path says one place. */
  #several(value: Value, selector: Selector, lenient: boolean): readonly Value[] {
    this.#context.budget.step();
    switch (selector.kind) {
      case "wildcard":
        return children(value) ?? this.#unfit(lenient, "*");
      case "recursive":
        return this.#descend(value);
      case "range":
        return isList(value) ? cut(value, selector) : this.#unfit(lenient, "[:]");
      case "union":
        return selector.of.flatMap((key) => {
          const found = this.#one(
            value,
            typeof key === "string" ? { kind: "key", key } : { kind: "index", index: key },
          );
          return found === undefined ? [] : [found];
        });
      case "filter":
        return (children(value) ?? this.#unfit(lenient, "[?()]")).filter((item) =>
          holds(this.#test(item, selector.test)),
        );
      case "key":
      case "index":
        return [];
    }
  }

  #unfit(lenient: boolean, selector: string): readonly Value[] {
    if (lenient) return [];
    throw fault(`the JSON has neither an array nor an object where the path says ${selector}`);
  }

  #descend(value: Value): readonly Value[] {
    const found: Value[] = [];
    const waiting: Value[] = [value];
    for (;;) {
      const next = waiting.pop();
      if (next === undefined) return found;
      this.#context.budget.step();
      found.push(next);
      for (const child of (children(next) ?? []).toReversed()) waiting.push(child);
    }
  }

  #test(item: Value, test: Test): Value {
    this.#context.budget.step();
    switch (test.kind) {
      case "literal":
        return test.value;
      case "path":
        try {
          return this.select(test.root ? this.#root : item, test.selectors);
        } catch (error) {
          if (isMissing(error)) return null;
          throw error;
        }
      case "not":
        return !holds(this.#test(item, test.of));
      case "binary":
        return this.#binary(item, test);
    }
  }

  #binary(item: Value, test: Test & { readonly kind: "binary" }): Value {
    const left = this.#test(item, test.left);
    if (test.operator === "&&" && !holds(left)) return false;
    if (test.operator === "||" && holds(left)) return true;
    const right = this.#test(item, test.right);
    switch (test.operator) {
      case "&&":
      case "||":
        return holds(right);
      case "==":
        return equal(left, right, this.#context.budget);
      case "!=":
        return !equal(left, right, this.#context.budget);
      default: {
        const ordered =
          (isNumber(left) && isNumber(right)) ||
          (typeof left === "string" && typeof right === "string");
        if (!ordered) return false;
        const order = compare(left, right);
        if (test.operator === "<") return order < 0;
        if (test.operator === "<=") return order <= 0;
        return test.operator === ">" ? order > 0 : order >= 0;
      }
    }
  }
}

function isMissing(error: unknown): error is Fault {
  return error instanceof Error && error.message.startsWith("the JSON has ");
}

function children(value: Value): readonly Value[] | undefined {
  if (isList(value)) return value;
  if (!isMap(value)) return undefined;
  // The order of an object's keys is that of their names.
  return [...value].toSorted(([left], [right]) => compare(left, right)).map(([, item]) => item);
}

function cut(
  list: readonly Value[],
  range: Selector & { readonly kind: "range" },
): readonly Value[] {
  const bound = (asked: number | undefined, otherwise: number): number => {
    if (asked === undefined) return otherwise;
    return Math.min(Math.max(asked < 0 ? list.length + asked : asked, 0), list.length);
  };
  const part = list.slice(bound(range.from, 0), bound(range.to, list.length));
  const ordered = range.step < 0 ? part.toReversed() : part;
  return ordered.filter((_, index) => index % Math.abs(range.step) === 0);
}

/** Whether a filter keeps an element. */
function holds(value: Value): boolean {
  return (
    value !== null && value !== false && value !== "" && !(isList(value) && value.length === 0)
  );
}

class PathParser {
  readonly #path: string;
  #at = 0;
  #depth = 0;

  constructor(path: string) {
    this.#path = path;
  }

  parse(): readonly Selector[] {
    this.#accept(/\s*\$?/uy);
    const selectors = this.#selectors(false);
    this.#accept(/\s+/uy);
    if (this.#at < this.#path.length) throw this.#bad();
    return selectors;
  }

  #accept(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#path);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    return found;
  }

  #expect(pattern: RegExp): RegExpExecArray {
    const found = this.#accept(pattern);
    if (found === undefined) throw this.#bad();
    return found;
  }

  #bad(): Fault {
    return fault(
      `invalid JSON path "${this.#path}" at character ${this.#at + 1}`,
      "A path is written like $.items[0].name, $.items[*].name or $.items[?(@.age > 42)].name.",
    );
  }

  /** In a filter a name ends where an operator may begin. */
  #selectors(filter: boolean): readonly Selector[] {
    const name = filter ? /[\p{L}\p{Nd}_$-]+/uy : /[^.[\]\s()]+/uy;
    const selectors: Selector[] = [];
    for (;;) {
      if (this.#accept(/\.\./uy) !== undefined) {
        selectors.push({ kind: "recursive" });
        if (this.#accept(/(?=\[)/uy) !== undefined) continue;
      } else if (this.#accept(/\.(?=\[)/uy) !== undefined) {
        continue;
      } else if (this.#accept(/\./uy) === undefined) {
        if (this.#accept(/\[/uy) === undefined) return selectors;
        selectors.push(this.#subscript());
        continue;
      }
      if (this.#accept(/\*/uy) !== undefined) selectors.push({ kind: "wildcard" });
      else selectors.push({ kind: "key", key: this.#expect(name)[0] });
    }
  }

  #subscript(): Selector {
    const selector = this.#inBrackets();
    this.#expect(/\s*\]/uy);
    return selector;
  }

  #inBrackets(): Selector {
    this.#accept(/\s+/uy);
    if (this.#accept(/\*/uy) !== undefined) return { kind: "wildcard" };
    if (this.#accept(/\?\s*\(/uy) !== undefined) {
      const test = this.#or();
      this.#expect(/\s*\)/uy);
      return { kind: "filter", test };
    }
    const range = this.#accept(/(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(-?\d+)?)?/uy);
    if (range !== undefined) {
      const [, from, to, step] = range;
      const size = step === undefined ? 1 : Number(step);
      if (size === 0) throw this.#bad();
      return {
        kind: "range",
        from: from === undefined ? undefined : Number(from),
        to: to === undefined ? undefined : Number(to),
        step: size,
      };
    }
    const keys = [this.#key()];
    while (this.#accept(/\s*,\s*/uy) !== undefined) keys.push(this.#key());
    const [only] = keys;
    if (keys.length > 1 || only === undefined) return { kind: "union", of: keys };
    return typeof only === "string" ? { kind: "key", key: only } : { kind: "index", index: only };
  }

  #key(): string | number {
    const number = this.#accept(/-?\d+/uy);
    return number === undefined ? this.#quoted() : Number(number[0]);
  }

  #quoted(): string {
    const [, single, double] = this.#expect(/'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"/uy);
    return (single ?? double ?? "").replaceAll(/\\(.)/gu, "$1");
  }

  #nested(make: () => Test): Test {
    this.#depth += 1;
    if (this.#depth > depthCeiling) throw this.#bad();
    const made = make();
    this.#depth -= 1;
    return made;
  }

  #or(): Test {
    return this.#nested(() => this.#chain("||", /\s*\|\|/uy, () => this.#and()));
  }

  #and(): Test {
    return this.#chain("&&", /\s*&&/uy, () => this.#comparison());
  }

  #chain(operator: string, pattern: RegExp, next: () => Test): Test {
    let left = next();
    let length = 0;
    while (this.#accept(pattern) !== undefined) {
      length += 1;
      if (length > depthCeiling) throw this.#bad();
      left = { kind: "binary", operator, left, right: next() };
    }
    return left;
  }

  #comparison(): Test {
    const left = this.#operand();
    const operator = this.#accept(/\s*(==|!=|<=|>=|<|>)/uy)?.[1];
    return operator === undefined
      ? left
      : { kind: "binary", operator, left, right: this.#operand() };
  }

  #operand(): Test {
    this.#accept(/\s+/uy);
    if (this.#accept(/!/uy) !== undefined) {
      return this.#nested(() => ({ kind: "not", of: this.#operand() }));
    }
    if (this.#accept(/\(/uy) !== undefined) {
      const inner = this.#or();
      this.#expect(/\s*\)/uy);
      return inner;
    }
    const start = this.#accept(/[@$]/uy)?.[0];
    if (start !== undefined) {
      return this.#nested(() => ({
        kind: "path",
        root: start === "$",
        selectors: this.#selectors(true),
      }));
    }
    const number = this.#accept(/-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/uy)?.[0];
    if (number !== undefined) return { kind: "literal", value: Number(number) };
    const word = this.#accept(/true\b|false\b|null\b|nil\b/uy)?.[0];
    if (word === "true" || word === "false") return { kind: "literal", value: word === "true" };
    if (word !== undefined) return { kind: "literal", value: null };
    return { kind: "literal", value: this.#quoted() };
  }
}

import type { Budget } from "./budget.ts";
import { builtins } from "./builtins.ts";
import { Cache } from "./cache.ts";
import { check } from "./check.ts";
import { ExpressionFailure, Fault, fault } from "./failure.ts";
import { callFunction, type Context } from "./functions.ts";
import { callMethod } from "./methods.ts";
import { add, fetch, isIn, negate, operate, slice, truth } from "./operators.ts";
import { parse } from "./parser.ts";
import type { Scope } from "./scope.ts";
import { sprig } from "./sprig/mod.ts";
import type { Node } from "./syntax.ts";
import { argoFunctions } from "./argo.ts";
import { compare, fromPlain, isList, isMap, typeName, type Value } from "./value.ts";

/** What an evaluation may know of the world. */
export interface EvaluateOptions {
  /** The time, in milliseconds since 1970. */
  readonly now: number;
  /** A number of at least 0 and below 1, as of `Math.random`. */
  readonly random: () => number;
}

const parsed = new Cache((text: string) => {
  const root = parse(text, isBuiltin);
  check(text, root);
  return root;
});

function isBuiltin(name: string): boolean {
  return builtins.has(name);
}

/** The syntax tree of an expression, remembered. */
export function parseExpression(text: string): Node {
  return parsed.get(text);
}

export interface Outcome {
  readonly value: Value;
  readonly budget: Budget;
  /** The first name that the scope does not know and the expression went on without (`??`, `?.`, `in`). */
  readonly missed: string | undefined;
}

/** Evaluates an expression of expr-lang with Argo's functions. */
export function run(text: string, scope: Scope, options: EvaluateOptions, budget: Budget): Outcome {
  const evaluation = new Evaluation(text, scope, { ...options, budget });
  const value = evaluation.value(parseExpression(text));
  return { value, budget, missed: evaluation.missed };
}

/** A name of the scope that has not been looked up yet, because more segments may follow. */
class Name {
  /** An int is an index, which only a value has; as part of the name it is its digits. */
  readonly segments: readonly (string | bigint)[];
  readonly at: number;
  /** Whether the expression says what happens when it is not known. */
  readonly optional: boolean;

  constructor(segments: readonly (string | bigint)[], at: number, optional: boolean) {
    this.segments = segments;
    this.at = at;
    this.optional = optional;
  }

  get dotted(): string {
    return this.segments.join(".");
  }
}

/** Thrown where a `?.` finds nil, caught by the chain around it. */
class ChainEnd extends Error {}

interface Variables {
  readonly name: string;
  readonly value: Value;
  readonly outer: Variables | undefined;
}

/** What `#`, `#index` and `#acc` stand for in a predicate. */
interface Element {
  readonly item: Value;
  readonly index: number;
  readonly accumulator: Value;
}

class Evaluation {
  missed: string | undefined;
  readonly #text: string;
  readonly #scope: Scope;
  readonly #context: Context;
  #variables: Variables | undefined;
  #element: Element | undefined;

  constructor(text: string, scope: Scope, context: Context) {
    this.#text = text;
    this.#scope = scope;
    this.#context = context;
  }

  value(node: Node): Value {
    return this.#settled(this.#reach(node), node);
  }

  #settled(reached: Value | Name, node: Node): Value {
    return reached instanceof Name ? this.#at(node, () => this.#lookUp(reached)) : reached;
  }

  /** Gives a fault the place of the node it happened at. */
  #at<Made>(node: Node, make: () => Made): Made {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      throw new ExpressionFailure(error.problem, error.message, this.#text, {
        offset: node.at,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      });
    }
  }

  #lookUp(name: Name): Value {
    const { budget } = this.#context;
    const { dotted } = name;
    const below = this.#within(dotted);
    if (below.length > 0) {
      return new Map(
        below.map((segment) => [
          segment,
          this.#lookUp(new Name([...name.segments, segment], name.at, true)),
        ]),
      );
    }
    const found = this.#scope.get(dotted);
    if (found !== undefined) {
      budget.step();
      return fromPlain(found, budget);
    }
    for (let length = name.segments.length - 1; length > 0; length -= 1) {
      const outer = this.#scope.get(name.segments.slice(0, length).join("."));
      if (outer === null) return null;
      if (outer === undefined) continue;
      // A string has no names below it, but it has bytes.
      if (typeof outer !== "object" && typeof name.segments[length] !== "bigint") break;
      return name.segments
        .slice(length)
        .reduce<Value>((base, segment) => fetch(base, segment, budget), fromPlain(outer, budget));
    }
    if (!name.optional) {
      throw new ExpressionFailure("missing", `Nothing is known as ${dotted} here`, this.#text, {
        offset: name.at,
        length: dotted.length,
        hint: "Check the name; a step that gives it may not have run, may have failed, or has no such output. A name with a dash is written in brackets: inputs.parameters['my-name'].",
      });
    }
    this.missed ??= dotted;
    return null;
  }

  #within(dotted: string): readonly string[] {
    const segments = this.#scope.within?.(dotted);
    if (segments === undefined) return [];
    const found: string[] = [];
    for (const segment of segments) {
      this.#context.budget.step();
      found.push(segment);
    }
    return found;
  }

  /** Evaluates a node, but leaves a name of the scope open for more segments. */
  #reach(node: Node): Value | Name {
    this.#at(node, () => this.#context.budget.step());
    switch (node.kind) {
      case "literal":
        return node.value;
      case "name":
        return this.#named(node);
      case "pointer":
        return this.#pointer(node);
      case "unary": {
        const operand = this.value(node.operand);
        return this.#at(node, () => {
          if (node.operator === "not") return !truth(operand);
          const negated = negate(operand);
          return node.operator === "-" ? negated : operand;
        });
      }
      case "binary":
        return this.#binary(node);
      case "member":
        return this.#member(node);
      case "chain":
        try {
          return this.#reach(node.inner);
        } catch (error) {
          if (error instanceof ChainEnd) return null;
          throw error;
        }
      case "slice": {
        const base = this.value(node.base);
        const from = node.from === undefined ? null : this.value(node.from);
        const to = node.to === undefined ? null : this.value(node.to);
        return this.#at(node, () => {
          const cut = slice(base, from, to, this.#context.budget);
          if (isList(cut) || typeof cut === "string") this.#context.budget.allocate(cut.length);
          return cut;
        });
      }
      case "call":
        return this.#call(node);
      case "builtin":
        return this.#builtin(node);
      case "predicate":
        throw new Error("a predicate has no value of its own");
      case "let":
        return this.#with(
          { name: node.name, value: this.value(node.value), outer: this.#variables },
          () => this.value(node.body),
        );
      case "sequence": {
        let last: Value = null;
        for (const part of node.nodes) last = this.value(part);
        return last;
      }
      case "conditional": {
        const condition = this.value(node.condition);
        return this.value(this.#at(node.condition, () => truth(condition)) ? node.yes : node.no);
      }
      case "array": {
        const items = node.nodes.map((item) => this.value(item));
        this.#at(node, () => this.#context.budget.allocate(items.length));
        return items;
      }
      case "map": {
        const map = new Map<Value, Value>();
        for (const { key, value } of node.pairs) {
          const name = this.value(key);
          if (typeof name !== "string") {
            throw this.#bad(key, `the key of a map is a string, not ${typeName(name)}`);
          }
          map.set(name, this.value(value));
        }
        this.#at(node, () => this.#context.budget.allocate(map.size));
        return map;
      }
    }
  }

  #bad(node: Node, reason: string): ExpressionFailure {
    return new ExpressionFailure("value", reason, this.#text, { offset: node.at });
  }

  #with<Made>(variables: Variables, make: () => Made): Made {
    const before = this.#variables;
    this.#variables = variables;
    try {
      return make();
    } finally {
      this.#variables = before;
    }
  }

  #named(node: Node & { readonly kind: "name" }): Value | Name {
    for (let each = this.#variables; each !== undefined; each = each.outer) {
      if (each.name === node.name) return each.value;
    }
    if (node.name === "$env") return new Name([], node.at, false);
    return new Name([node.name], node.at, false);
  }

  #pointer(node: Node & { readonly kind: "pointer" }): Value {
    const element = this.#element;
    if (element === undefined) throw this.#bad(node, "# is known only inside a predicate");
    if (node.name === "") return element.item;
    if (node.name === "index") return BigInt(element.index);
    if (node.name === "acc") return element.accumulator;
    throw this.#bad(node, `unknown pointer #${node.name}`);
  }

  #binary(node: Node & { readonly kind: "binary" }): Value {
    const { operator } = node;
    if (operator === "and" || operator === "or") {
      const left = this.value(node.left);
      const known = this.#at(node.left, () => truth(left));
      if (known === (operator === "or")) return known;
      const right = this.value(node.right);
      return this.#at(node.right, () => truth(right));
    }
    if (operator === "??") {
      const reached = this.#reach(node.left);
      const left =
        reached instanceof Name
          ? this.#settled(new Name(reached.segments, reached.at, true), node.left)
          : reached;
      return left ?? this.value(node.right);
    }
    const left = this.value(node.left);
    if (operator === "in") {
      const container = this.#reach(node.right);
      if (container instanceof Name && typeof left === "string") {
        return this.#isKnown(container, left, node);
      }
      const settled = this.#settled(container, node.right);
      return this.#at(node, () => isIn(left, settled, this.#context));
    }
    const right = this.value(node.right);
    return this.#at(node, () => operate(operator, left, right, this.#context));
  }

  /** `'x' in inputs.parameters`, without making a map of all the parameters. */
  #isKnown(container: Name, segment: string, node: Node): boolean {
    const name = [...container.segments, segment].join(".");
    if (this.#scope.get(name) !== undefined || this.#within(name).length > 0) return true;
    const { dotted } = container;
    const whole = this.#scope.get(dotted);
    if (whole !== undefined && typeof whole === "object") {
      return this.#at(node, () =>
        isIn(segment, fromPlain(whole, this.#context.budget), this.#context),
      );
    }
    this.missed ??= name;
    return false;
  }

  #member(node: Node & { readonly kind: "member" }): Value | Name {
    const base = this.#reach(node.base);
    const key = this.value(node.property);
    if (base instanceof Name && (typeof key === "string" || typeof key === "bigint")) {
      return new Name([...base.segments, key], base.at, base.optional || node.optional);
    }
    const settled = this.#settled(base, node.base);
    if (settled === null && node.optional) throw new ChainEnd();
    return this.#at(node, () => fetch(settled, key, this.#context.budget));
  }

  #call(node: Node & { readonly kind: "call" }): Value {
    const { callee } = node;
    if (callee.kind === "name") {
      const { name } = callee;
      const found = argoFunctions.get(name);
      if (found === undefined) throw this.#bad(node, `unknown function ${name}`);
      const given = node.arguments.map((argument) => this.value(argument));
      return this.#at(node, () => callFunction(name, found, given, this.#context));
    }
    if (callee.kind !== "member") throw this.#bad(node, "what stands before ( is no function");
    const property = callee.property;
    const method =
      property.kind === "literal" && typeof property.value === "string" ? property.value : "";
    const base = this.#reach(callee.base);
    if (base instanceof Name && base.dotted === "sprig") {
      const given = node.arguments.map((argument) => this.value(argument));
      return this.#at(node, () =>
        callFunction(`sprig.${method}`, sprig(method), given, this.#context),
      );
    }
    const receiver = this.#settled(base, callee.base);
    if (receiver === null && callee.optional) throw new ChainEnd();
    const given = node.arguments.map((argument) => this.value(argument));
    return this.#at(node, () => callMethod(receiver, method, given, this.#context));
  }

  #builtin(node: Node & { readonly kind: "builtin" }): Value {
    const { name } = node;
    const [first, second, third] = node.arguments;
    if (second?.kind === "predicate" && first !== undefined) {
      return this.#predicated(node, first, second.body, third);
    }
    if (name === "get" && first !== undefined && second !== undefined && third === undefined) {
      const base = this.#reach(first);
      const key = this.value(second);
      if (base instanceof Name && typeof key === "string") {
        return this.#settled(new Name([...base.segments, key], base.at, true), first);
      }
      const settled = this.#settled(base, first);
      return this.#at(node, () => getOrNil(settled, key, this.#context.budget));
    }
    const found = builtins.get(name);
    if (found === undefined || found === "predicate") {
      throw this.#bad(node, `${name} takes an array and a predicate`);
    }
    const given = node.arguments.map((argument) => this.value(argument));
    return this.#at(node, () => callFunction(name, found, given, this.#context));
  }

  #predicated(
    node: Node & { readonly kind: "builtin" },
    collection: Node,
    body: Node,
    third: Node | undefined,
  ): Value {
    const { name } = node;
    const list = this.value(collection);
    if (!isList(list))
      throw this.#bad(collection, `${name} takes only arrays, not ${typeName(list)}`);

    const apply = (item: Value, index: number, accumulator: Value = null): Value => {
      const before = this.#element;
      this.#element = { item, index, accumulator };
      try {
        return this.value(body);
      } finally {
        this.#element = before;
      }
    };
    const holds = (item: Value, index: number): boolean => {
      const value = apply(item, index);
      return this.#at(body, () => truth(value));
    };

    switch (name) {
      case "all":
        return list.every(holds);
      case "none":
        return !list.some(holds);
      case "any":
        return list.some(holds);
      case "one":
        return list.filter(holds).length === 1;
      case "filter":
        return this.#made(node, list.filter(holds));
      case "count":
        return BigInt(list.filter(holds).length);
      case "map":
        return this.#made(
          node,
          list.map((item, index) => apply(item, index)),
        );
      case "find":
        return list.find(holds) ?? null;
      case "findIndex":
        return indexOrNil(list.findIndex(holds));
      case "findLast":
        return list.findLast(holds) ?? null;
      case "findLastIndex":
        return indexOrNil(list.findLastIndex(holds));
      case "sum": {
        let sum: Value = 0n;
        for (const [index, item] of list.entries()) {
          const value = apply(item, index);
          const before: Value = sum;
          sum = this.#at(body, () => add(before, value, this.#context));
        }
        return sum;
      }
      case "groupBy": {
        const groups = new Map<Value, Value[]>();
        for (const [index, item] of list.entries()) {
          const key = apply(item, index);
          if (key !== null && typeof key === "object") {
            throw this.#bad(body, `cannot group by ${typeName(key)}`);
          }
          const group = groups.get(key);
          if (group === undefined) groups.set(key, [item]);
          else group.push(item);
        }
        return groups;
      }
      case "sortBy": {
        const descending = third !== undefined && this.#descending(third);
        const keyed = list.map((item, index) => ({ item, key: apply(item, index) }));
        this.#at(node, () => this.#context.budget.step(keyed.length * 20));
        return this.#at(node, () =>
          keyed
            .toSorted((left, right) =>
              descending ? compare(right.key, left.key) : compare(left.key, right.key),
            )
            .map(({ item }) => item),
        );
      }
      case "reduce": {
        const [head, ...tail] = list;
        if (third === undefined && head === undefined) {
          throw this.#bad(node, "reduce of an empty array without an initial value");
        }
        let accumulator: Value = third === undefined ? (head ?? null) : this.value(third);
        const offset = third === undefined ? 1 : 0;
        for (const [index, item] of (third === undefined ? tail : list).entries()) {
          accumulator = apply(item, index + offset, accumulator);
        }
        return accumulator;
      }
      default:
        throw this.#bad(node, `${name} takes no predicate`);
    }
  }

  #made(node: Node, list: readonly Value[]): Value {
    this.#at(node, () => this.#context.budget.allocate(list.length));
    return list;
  }

  #descending(node: Node): boolean {
    const order = this.value(node);
    if (order === "asc" || order === "desc") return order === "desc";
    throw this.#bad(
      node,
      `the order is "asc" or "desc", not ${typeof order === "string" ? `"${order.slice(0, 50)}"` : typeName(order)}`,
    );
  }
}

/** The language's documentation says nothing of it, but where nothing is found there is no index. */
function indexOrNil(index: number): Value {
  return index < 0 ? null : BigInt(index);
}

/** As `[]`, but nil where there is nothing. */
function getOrNil(base: Value, key: Value, budget: Budget): Value {
  if (base === null) return null;
  if (isMap(base)) return base.get(key) ?? null;
  if (isList(base) || typeof base === "string") {
    try {
      return fetch(base, key, budget);
    } catch (error) {
      if (error instanceof Fault && error.problem === "value" && typeof key !== "string")
        return null;
      throw error;
    }
  }
  throw fault(`${typeName(base)} does not support indexing`);
}

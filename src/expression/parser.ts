import { ceilings } from "./budget.ts";
import { ExpressionFailure } from "./failure.ts";
import { tokenize, type Token } from "./lexer.ts";
import type { BinaryOperator, Node } from "./syntax.ts";

/** Functions whose second argument is evaluated for each element. The number counts the arguments that must be there. */
export const predicateFunctions: ReadonlyMap<
  string,
  { readonly least: number; readonly most: number }
> = new Map([
  ["all", { least: 2, most: 2 }],
  ["none", { least: 2, most: 2 }],
  ["any", { least: 2, most: 2 }],
  ["one", { least: 2, most: 2 }],
  ["filter", { least: 2, most: 2 }],
  ["map", { least: 2, most: 2 }],
  ["count", { least: 1, most: 2 }],
  ["sum", { least: 1, most: 2 }],
  ["find", { least: 2, most: 2 }],
  ["findIndex", { least: 2, most: 2 }],
  ["findLast", { least: 2, most: 2 }],
  ["findLastIndex", { least: 2, most: 2 }],
  ["groupBy", { least: 2, most: 2 }],
  ["sortBy", { least: 2, most: 3 }],
  ["reduce", { least: 2, most: 3 }],
]);

interface Operator {
  readonly precedence: number;
  readonly name: BinaryOperator | "|";
}

/** https://github.com/expr-lang/expr/blob/v1.17.8/parser/operator/operator.go has the precedences. */
const binary: ReadonlyMap<string, Operator> = new Map<string, Operator>([
  ["|", { precedence: 0, name: "|" }],
  ["or", { precedence: 10, name: "or" }],
  ["||", { precedence: 10, name: "or" }],
  ["and", { precedence: 15, name: "and" }],
  ["&&", { precedence: 15, name: "and" }],
  ["==", { precedence: 20, name: "==" }],
  ["!=", { precedence: 20, name: "!=" }],
  ["<", { precedence: 20, name: "<" }],
  [">", { precedence: 20, name: ">" }],
  [">=", { precedence: 20, name: ">=" }],
  ["<=", { precedence: 20, name: "<=" }],
  ["in", { precedence: 20, name: "in" }],
  ["matches", { precedence: 20, name: "matches" }],
  ["contains", { precedence: 20, name: "contains" }],
  ["startsWith", { precedence: 20, name: "startsWith" }],
  ["endsWith", { precedence: 20, name: "endsWith" }],
  ["..", { precedence: 25, name: ".." }],
  ["+", { precedence: 30, name: "+" }],
  ["-", { precedence: 30, name: "-" }],
  ["*", { precedence: 60, name: "*" }],
  ["/", { precedence: 60, name: "/" }],
  ["%", { precedence: 60, name: "%" }],
  ["**", { precedence: 100, name: "**" }],
  ["^", { precedence: 100, name: "**" }],
  ["??", { precedence: 500, name: "??" }],
]);

const negatable = new Set(["in", "matches", "contains", "startsWith", "endsWith"]);
const comparisons = new Set(["<", ">", "<=", ">="]);
const largestInt = 2n ** 63n - 1n;

/** Whether a name is a builtin function of the language; the parser must know, because predicates parse differently. */
export type IsBuiltin = (name: string) => boolean;

/** Parses an expression of expr-lang. */
export function parse(text: string, isBuiltin: IsBuiltin): Node {
  if (text.length > ceilings.textLength) {
    throw new ExpressionFailure(
      "ceiling",
      `the expression has ${text.length} characters, more than ${ceilings.textLength}`,
      text,
      { offset: 0 },
    );
  }
  return new Parser(text, isBuiltin).parse();
}

class Parser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  readonly #isBuiltin: IsBuiltin;
  readonly #depths = new WeakMap<Node, number>();
  #index = 0;
  #predicates = 0;
  #nodes = 0;
  #nesting = 0;

  constructor(text: string, isBuiltin: IsBuiltin) {
    this.#text = text;
    this.#tokens = tokenize(text);
    this.#isBuiltin = isBuiltin;
  }

  parse(): Node {
    const node = this.#sequence();
    if (this.#current.kind !== "end") throw this.#unexpected();
    return node;
  }

  get #current(): Token {
    const token = this.#tokens[this.#index] ?? this.#tokens.at(-1);
    if (token === undefined) throw new Error("no token");
    return token;
  }

  #is(kind: Token["kind"], text?: string): boolean {
    const token = this.#current;
    return token.kind === kind && (text === undefined || token.text === text);
  }

  #accept(kind: Token["kind"], text?: string): boolean {
    if (!this.#is(kind, text)) return false;
    this.#index += 1;
    return true;
  }

  #expect(kind: Token["kind"], text?: string): Token {
    const token = this.#current;
    if (!this.#accept(kind, text)) throw this.#unexpected(text ?? kind);
    return token;
  }

  #unexpected(wanted?: string): ExpressionFailure {
    const token = this.#current;
    const found = token.kind === "end" ? "end of expression" : `${token.kind} "${token.text}"`;
    return this.#bad(
      wanted === undefined ? `unexpected ${found}` : `expected "${wanted}", found ${found}`,
      token,
    );
  }

  #bad(message: string, token: Token): ExpressionFailure {
    return new ExpressionFailure("syntax", message, this.#text, {
      offset: token.at,
      length: token.text.length,
    });
  }

  /** Counts a node and how deep it lies; what recurses over the tree must be able to. */
  #node(node: Node, ...children: readonly (Node | undefined)[]): Node {
    this.#nodes += 1;
    if (this.#nodes > ceilings.nodes) throw this.#tooLarge(`has more than ${ceilings.nodes} parts`);
    const depth =
      1 +
      children.reduce((deepest, child) => {
        return Math.max(deepest, child === undefined ? 0 : (this.#depths.get(child) ?? 0));
      }, 0);
    if (depth > ceilings.depth) throw this.#tooLarge(`is nested more than ${ceilings.depth} deep`);
    this.#depths.set(node, depth);
    return node;
  }

  #tooLarge(how: string): ExpressionFailure {
    return new ExpressionFailure("ceiling", `the expression ${how}`, this.#text, {
      offset: this.#current.at,
    });
  }

  #nested<Made>(make: () => Made): Made {
    this.#nesting += 1;
    if (this.#nesting > ceilings.depth) {
      throw this.#tooLarge(`is nested more than ${ceilings.depth} deep`);
    }
    const made = make();
    this.#nesting -= 1;
    return made;
  }

  #sequence(): Node {
    const { at } = this.#current;
    const first = this.#expression(0);
    const nodes = [first];
    while (this.#accept("operator", ";")) {
      if (this.#is("end")) break;
      nodes.push(this.#expression(0));
    }
    return nodes.length === 1 ? first : this.#node({ kind: "sequence", at, nodes }, ...nodes);
  }

  #expression(precedence: number): Node {
    return this.#nested(() => {
      if (precedence === 0 && this.#is("operator", "let")) return this.#let();
      if (precedence === 0 && this.#is("operator", "if")) return this.#if();
      const node = this.#operators(this.#primary(), precedence);
      return precedence === 0 ? this.#ternary(node) : node;
    });
  }

  #operators(first: Node, precedence: number): Node {
    let left = first;
    let previous = "";
    while (this.#is("operator")) {
      const start = this.#index;
      const negated = this.#accept("operator", "not");
      const token = this.#current;
      if (negated && !(token.kind === "operator" && negatable.has(token.text))) {
        throw this.#unexpected();
      }
      const operator = token.kind === "operator" ? binary.get(token.text) : undefined;
      if (operator === undefined || operator.precedence < precedence) {
        this.#index = start;
        return left;
      }
      this.#index += 1;
      if (previous === "??" && operator.name !== "??" && operator.name !== "|") {
        throw this.#bad(
          `operator ${token.text} and ?? cannot be mixed; put one of them in parentheses`,
          token,
        );
      }
      previous = token.text;
      const { name } = operator;
      if (name === "|") {
        left = this.#callNamed(this.#expect("name"), [left]);
      } else if (comparisons.has(name)) {
        left = this.#comparison(left, token, name, operator.precedence);
      } else {
        // The exponent is the one operator that binds to the right.
        const right = this.#expression(operator.precedence + (name === "**" ? 0 : 1));
        left = this.#node(
          { kind: "binary", at: token.at, operator: name, left, right },
          left,
          right,
        );
        if (negated) {
          left = this.#node({ kind: "unary", at: token.at, operator: "not", operand: left }, left);
        }
      }
    }
    return left;
  }

  /** `1 < x < 3` is `1 < x and x < 3`. */
  #comparison(first: Node, token: Token, name: BinaryOperator, precedence: number): Node {
    let root: Node | undefined;
    let left = first;
    let operator = name;
    let { at } = token;
    for (;;) {
      const right = this.#expression(precedence + 1);
      const compared = this.#node({ kind: "binary", at, operator, left, right }, left, right);
      root =
        root === undefined
          ? compared
          : this.#node(
              { kind: "binary", at, operator: "and", left: root, right: compared },
              root,
              compared,
            );
      const following = this.#current;
      const next = following.kind === "operator" ? binary.get(following.text)?.name : undefined;
      if (next === undefined || next === "|" || !comparisons.has(next)) return root;
      this.#index += 1;
      left = right;
      operator = next;
      ({ at } = following);
    }
  }

  #let(): Node {
    this.#expect("operator", "let");
    const name = this.#expect("name");
    if (this.#isBuiltin(name.text)) throw this.#bad(`cannot redeclare builtin ${name.text}`, name);
    this.#expect("operator", "=");
    const value = this.#expression(0);
    this.#expect("operator", ";");
    const body = this.#sequence();
    return this.#node({ kind: "let", at: name.at, name: name.text, value, body }, value, body);
  }

  #if(): Node {
    const { at } = this.#expect("operator", "if");
    const condition = this.#expression(0);
    const yes = this.#braced();
    this.#expect("operator", "else");
    const no = this.#is("operator", "if") ? this.#nested(() => this.#if()) : this.#braced();
    return this.#node({ kind: "conditional", at, condition, yes, no }, condition, yes, no);
  }

  #braced(): Node {
    this.#expect("bracket", "{");
    const node = this.#sequence();
    this.#expect("bracket", "}");
    return node;
  }

  #ternary(first: Node): Node {
    let condition = first;
    for (;;) {
      const { at } = this.#current;
      if (!this.#accept("operator", "?")) return condition;
      let yes = condition;
      if (!this.#accept("operator", ":")) {
        yes = this.#expression(0);
        this.#expect("operator", ":");
      }
      const no = this.#expression(0);
      condition = this.#node({ kind: "conditional", at, condition, yes, no }, condition, yes, no);
    }
  }

  #primary(): Node {
    const token = this.#current;
    if (token.kind === "operator") {
      if (token.text === "not" || token.text === "!" || token.text === "-" || token.text === "+") {
        this.#index += 1;
        const logical = token.text === "not" || token.text === "!";
        const operand = this.#expression(logical ? 50 : 90);
        const operator = token.text === "!" ? "not" : token.text;
        return this.#postfix(
          this.#node({ kind: "unary", at: token.at, operator, operand }, operand),
        );
      }
      if (this.#predicates > 0 && (token.text === "#" || token.text === ".")) {
        let name = "";
        if (
          this.#accept("operator", "#") &&
          this.#is("name") &&
          this.#current.at === token.at + 1
        ) {
          name = this.#expect("name").text;
        }
        return this.#postfix(this.#node({ kind: "pointer", at: token.at, name }));
      }
      if (this.#accept("operator", "::")) {
        return this.#postfix(this.#callNamed(this.#expect("name"), []));
      }
    }
    if (this.#accept("bracket", "(")) {
      const inner = this.#sequence();
      this.#expect("bracket", ")");
      return this.#postfix(inner);
    }
    return this.#secondary(token);
  }

  #secondary(token: Token): Node {
    const { at } = token;
    switch (token.kind) {
      case "name":
        this.#index += 1;
        if (token.text === "true" || token.text === "false") {
          return this.#node({ kind: "literal", at, value: token.text === "true" });
        }
        if (token.text === "nil") return this.#node({ kind: "literal", at, value: null });
        return this.#postfix(
          this.#is("bracket", "(")
            ? this.#callNamed(token, [])
            : this.#node({ kind: "name", at, name: token.text }),
        );
      case "number":
        this.#index += 1;
        return this.#node({ kind: "literal", at, value: this.#number(token) });
      case "string":
        this.#index += 1;
        return this.#postfix(this.#node({ kind: "literal", at, value: token.text }));
      case "bytes":
        this.#index += 1;
        return this.#postfix(this.#node({ kind: "literal", at, value: token.bytes }));
      case "bracket":
        if (token.text === "[") return this.#postfix(this.#array());
        if (token.text === "{") return this.#postfix(this.#map());
        throw this.#unexpected();
      case "operator":
      case "end":
        throw this.#unexpected();
    }
  }

  #number(token: Token): bigint | number {
    const text = token.text.replaceAll("_", "");
    if (/^0[xXoObB]/u.test(text) || /^[0-9]+$/u.test(text)) {
      if (text.length < 3 && /[xXoObB]$/u.test(text))
        throw this.#bad(`bad number "${text}"`, token);
      // BigInt reads a leading zero as decimal, as Go does for a literal in base ten.
      const value = BigInt(text);
      if (value > largestInt) throw this.#bad(`the integer ${text} is too large`, token);
      return value;
    }
    const value = Number(text);
    if (Number.isNaN(value)) throw this.#bad(`bad number "${text}"`, token);
    if (!Number.isFinite(value)) throw this.#bad(`the number ${text} is too large`, token);
    return value;
  }

  #array(): Node {
    const { at } = this.#expect("bracket", "[");
    const nodes: Node[] = [];
    while (!this.#accept("bracket", "]")) {
      if (nodes.length > 0) {
        this.#expect("operator", ",");
        if (this.#accept("bracket", "]")) break;
      }
      nodes.push(this.#expression(0));
    }
    return this.#node({ kind: "array", at, nodes }, ...nodes);
  }

  #map(): Node {
    const { at } = this.#expect("bracket", "{");
    const pairs: { readonly key: Node; readonly value: Node }[] = [];
    while (!this.#accept("bracket", "}")) {
      if (pairs.length > 0) {
        this.#expect("operator", ",");
        if (this.#accept("bracket", "}")) break;
      }
      const key = this.#key();
      this.#expect("operator", ":");
      pairs.push({ key, value: this.#expression(0) });
    }
    return this.#node(
      { kind: "map", at, pairs },
      ...pairs.flatMap(({ key, value }) => [key, value]),
    );
  }

  #key(): Node {
    const token = this.#current;
    if (token.kind === "number" || token.kind === "string" || token.kind === "name") {
      this.#index += 1;
      return this.#node({ kind: "literal", at: token.at, value: token.text });
    }
    if (this.#is("bracket", "(")) return this.#expression(0);
    throw this.#bad(
      "a map key is a name, a string, a number, or an expression in parentheses",
      token,
    );
  }

  #postfix(first: Node): Node {
    let node = first;
    for (;;) {
      const token = this.#current;
      const optional = this.#accept("operator", "?.");
      if (this.#is("bracket", "[")) {
        node = this.#bracketed(node, optional);
      } else if (optional || this.#accept("operator", ".")) {
        node = this.#dotted(node, optional);
      } else {
        return node;
      }
      if (optional) node = this.#node({ kind: "chain", at: token.at, inner: node }, node);
    }
  }

  #dotted(base: Node, optional: boolean): Node {
    const token = this.#current;
    // Words such as `not` and `matches` are also good names of a property.
    if (token.kind !== "name" && !(token.kind === "operator" && /^\w+$/u.test(token.text))) {
      throw this.#bad("expected a name", token);
    }
    this.#index += 1;
    const property = this.#node({ kind: "literal", at: token.at, value: token.text });
    // What follows a `?.` belongs to the same chain, so that nil ends all of it.
    const inner = base.kind === "chain" ? base.inner : base;
    let node = this.#node({ kind: "member", at: token.at, base: inner, property, optional }, inner);
    if (this.#is("bracket", "(")) {
      const callee = node;
      const given = this.#arguments();
      node = this.#node({ kind: "call", at: token.at, callee, arguments: given }, callee, ...given);
    }
    if (base.kind === "chain" && !optional) {
      return this.#node({ kind: "chain", at: token.at, inner: node }, node);
    }
    return node;
  }

  #bracketed(base: Node, optional: boolean): Node {
    const { at } = this.#expect("bracket", "[");
    const from = this.#is("operator", ":") ? undefined : this.#expression(0);
    if (this.#accept("operator", ":")) {
      const to = this.#is("bracket", "]") ? undefined : this.#expression(0);
      this.#expect("bracket", "]");
      return this.#node({ kind: "slice", at, base, from, to }, base, from, to);
    }
    if (from === undefined) throw this.#unexpected();
    this.#expect("bracket", "]");
    return this.#node({ kind: "member", at, base, property: from, optional }, base, from);
  }

  #callNamed(token: Token, piped: readonly Node[]): Node {
    const { at, text: name } = token;
    const predicate = predicateFunctions.get(name);
    if (predicate !== undefined) {
      const given = this.#predicateArguments(name, predicate, piped);
      return this.#node({ kind: "builtin", at, name, arguments: given }, ...given);
    }
    const given = [...piped, ...this.#arguments()];
    if (this.#isBuiltin(name)) {
      return this.#node({ kind: "builtin", at, name, arguments: given }, ...given);
    }
    const callee = this.#node({ kind: "name", at, name });
    return this.#node({ kind: "call", at, callee, arguments: given }, callee, ...given);
  }

  #arguments(): readonly Node[] {
    const nodes: Node[] = [];
    this.#expect("bracket", "(");
    while (!this.#accept("bracket", ")")) {
      if (nodes.length > 0) {
        this.#expect("operator", ",");
        if (this.#accept("bracket", ")")) break;
      }
      nodes.push(this.#expression(0));
    }
    return nodes;
  }

  #predicateArguments(
    name: string,
    { least, most }: { readonly least: number; readonly most: number },
    piped: readonly Node[],
  ): readonly Node[] {
    const nodes = [...piped];
    this.#expect("bracket", "(");
    while (nodes.length < most && !this.#is("bracket", ")")) {
      if (nodes.length > piped.length) {
        this.#expect("operator", ",");
        if (this.#is("bracket", ")")) break;
      }
      nodes.push(nodes.length === 1 ? this.#predicate() : this.#expression(0));
    }
    this.#accept("operator", ",");
    if (nodes.length < least) {
      throw this.#bad(`${name} takes at least ${least} arguments`, this.#current);
    }
    this.#expect("bracket", ")");
    return nodes;
  }

  #predicate(): Node {
    const { at } = this.#current;
    this.#predicates += 1;
    let body: Node;
    if (this.#is("bracket", "{")) {
      body = this.#braced();
    } else {
      body = this.#expression(0);
      if (this.#is("operator", ";")) {
        throw this.#bad("wrap the predicate in braces { and }", this.#current);
      }
    }
    this.#predicates -= 1;
    return this.#node({ kind: "predicate", at, body }, body);
  }
}

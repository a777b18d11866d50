import { ExpressionFailure, Fault } from "./failure.ts";
import { checkPattern } from "./regex.ts";
import type { BinaryOperator, Node } from "./syntax.ts";

/** What is known of a value before anything is evaluated; undefined is anything, as every name of the scope. */
type Type = "nil" | "bool" | "int" | "float" | "string" | "array" | "map" | undefined;

const resultTypes: ReadonlyMap<string, Type> = new Map(
  (
    [
      ["bool", "all any one none hasPrefix hasSuffix"],
      ["int", "len int asInt count indexOf lastIndexOf"],
      ["int", "bitand bitor bitxor bitnand bitnot bitshl bitshr bitushr"],
      ["float", "float asFloat ceil floor round mean median"],
      ["string", "string type trim trimPrefix trimSuffix upper lower"],
      ["string", "replace repeat join toJSON toJson toBase64 fromBase64"],
      ["array", "filter map split splitAfter keys values toPairs reverse"],
      ["array", "uniq concat flatten sort sortBy take"],
      ["map", "groupBy fromPairs"],
    ] as const
  ).flatMap(([type, names]) => names.split(" ").map((name): [string, Type] => [name, type])),
);

/** Which types an operator takes on both sides. */
const operands: ReadonlyMap<BinaryOperator, readonly Type[]> = new Map<
  BinaryOperator,
  readonly Type[]
>([
  ["and", ["bool"]],
  ["or", ["bool"]],
  ["<", ["int", "float", "string"]],
  [">", ["int", "float", "string"]],
  ["<=", ["int", "float", "string"]],
  [">=", ["int", "float", "string"]],
  ["+", ["int", "float", "string"]],
  ["-", ["int", "float"]],
  ["*", ["int", "float"]],
  ["/", ["int", "float"]],
  ["**", ["int", "float"]],
  ["%", ["int"]],
  ["..", ["int"]],
  ["matches", ["string"]],
  ["contains", ["string"]],
  ["startsWith", ["string"]],
  ["endsWith", ["string"]],
]);

const results: ReadonlyMap<BinaryOperator, Type> = new Map<BinaryOperator, Type>([
  ["/", "float"],
  ["**", "float"],
  ["%", "int"],
  ["..", "array"],
]);

const truths = new Set<BinaryOperator>([
  "==",
  "!=",
  "<",
  ">",
  "<=",
  ">=",
  "in",
  "matches",
  "contains",
  "startsWith",
  "endsWith",
  "and",
  "or",
]);

/**
 * Finds what cannot work whatever the names stand for, as expr-lang does when it compiles: `len(x) == '5'`, `1 + 'a'`. The
 * values of names are known only when it is evaluated, so nothing is said about them.
 */
export function check(text: string, root: Node): void {
  typeOf(root, new Map());

  function bad(node: Node, reason: string): ExpressionFailure {
    return new ExpressionFailure("value", reason, text, { offset: node.at });
  }

  function all(nodes: readonly (Node | undefined)[], variables: ReadonlyMap<string, Type>): void {
    for (const node of nodes) if (node !== undefined) typeOf(node, variables);
  }

  function typeOf(node: Node, variables: ReadonlyMap<string, Type>): Type {
    switch (node.kind) {
      case "literal":
        return literalType(node.value);
      case "name":
        return variables.get(node.name);
      case "pointer":
        return node.name === "index" ? "int" : undefined;
      case "unary":
        return unary(node, typeOf(node.operand, variables));
      case "binary":
        return binary(node, typeOf(node.left, variables), typeOf(node.right, variables));
      case "member":
        all([node.base, node.property], variables);
        return undefined;
      case "chain":
        typeOf(node.inner, variables);
        return undefined;
      case "slice":
        all([node.from, node.to], variables);
        return typeOf(node.base, variables);
      case "call":
        all([node.callee, ...node.arguments], variables);
        return node.callee.kind === "name" ? resultTypes.get(node.callee.name) : undefined;
      case "builtin":
        all(node.arguments, variables);
        return resultTypes.get(node.name);
      case "predicate":
        return typeOf(node.body, variables);
      case "let": {
        if (variables.has(node.name)) throw bad(node, `cannot redeclare variable ${node.name}`);
        return typeOf(
          node.body,
          new Map([...variables, [node.name, typeOf(node.value, variables)]]),
        );
      }
      case "sequence":
        return node.nodes.map((part) => typeOf(part, variables)).at(-1);
      case "conditional": {
        const condition = typeOf(node.condition, variables);
        if (condition !== undefined && condition !== "bool") {
          throw bad(node.condition, `a ${condition} is no condition`);
        }
        const [yes, no] = [typeOf(node.yes, variables), typeOf(node.no, variables)];
        return yes === no ? yes : undefined;
      }
      case "array":
        all(node.nodes, variables);
        return "array";
      case "map":
        all(
          node.pairs.flatMap(({ key, value }) => [key, value]),
          variables,
        );
        return "map";
    }
  }

  function unary(node: Node & { readonly kind: "unary" }, operand: Type): Type {
    const wanted = node.operator === "not" ? ["bool"] : ["int", "float"];
    if (operand !== undefined && !wanted.includes(operand)) {
      throw bad(node, `invalid operation: ${node.operator} ${operand}`);
    }
    return node.operator === "not" ? "bool" : operand;
  }

  function pattern(node: Node & { readonly kind: "literal" }): void {
    if (typeof node.value !== "string") return;
    try {
      checkPattern(node.value);
    } catch (error) {
      throw error instanceof Fault ? bad(node, error.message) : error;
    }
  }

  function binary(node: Node & { readonly kind: "binary" }, left: Type, right: Type): Type {
    const { operator } = node;
    if (!fits(operator, left, right)) {
      throw bad(node, `invalid operation: ${left} ${operator} ${right}`);
    }
    if (operator === "matches" && node.right.kind === "literal") pattern(node.right);
    if (truths.has(operator)) return "bool";
    if (operator === "??") return left === right ? left : undefined;
    const known = results.get(operator);
    if (known !== undefined) return known;
    if (left === "int" && right === "int") return "int";
    return left === "string" && right === "string" ? "string" : undefined;
  }
}

function literalType(value: unknown): Type {
  if (value === null) return "nil";
  if (typeof value === "bigint") return "int";
  if (typeof value === "number") return "float";
  if (typeof value === "boolean") return "bool";
  return typeof value === "string" ? "string" : undefined;
}

function group(type: Type): Type {
  return type === "float" ? "int" : type;
}

function fits(operator: BinaryOperator, left: Type, right: Type): boolean {
  if (left === undefined || right === undefined) return true;
  if (operator === "==" || operator === "!=") {
    return left === "nil" || right === "nil" || group(left) === group(right);
  }
  const wanted = operands.get(operator);
  if (wanted === undefined) return true;
  return wanted.includes(left) && wanted.includes(right) && group(left) === group(right);
}

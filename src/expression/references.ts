import { argoFunctions } from "./argo.ts";
import type { Node } from "./syntax.ts";

/** A name of the scope that a text mentions. */
export interface Reference {
  /** Dotted, as the scope is asked for it: `steps.a.outputs.result`. */
  readonly name: string;
  /** UTF-16 units before it, and how many it takes. */
  readonly offset: number;
  readonly length: number;
  /** Whether the text says what happens when the name is not known (`??`, `?.`, `in`, `get`). */
  readonly optional: boolean;
}

/** Every name of the scope that an expression mentions, in the order of the text. */
export function expressionNames(text: string, root: Node): readonly Reference[] {
  const found: Reference[] = [];
  visit(root, new Set(), false);
  return found.toSorted((left, right) => left.offset - right.offset);

  function visit(node: Node, bound: ReadonlySet<string>, optional: boolean): void {
    switch (node.kind) {
      case "literal":
      case "pointer":
        return;
      case "name":
      case "member":
        visitMember(node, bound, optional);
        return;
      case "chain":
        visit(node.inner, bound, optional);
        return;
      case "unary":
        visit(node.operand, bound, false);
        return;
      case "binary":
        visit(node.left, bound, node.operator === "??");
        visit(node.right, bound, node.operator === "in");
        return;
      case "slice":
        for (const part of [node.base, node.from, node.to]) {
          if (part !== undefined) visit(part, bound, false);
        }
        return;
      case "call":
        visitCallee(node.callee, bound);
        for (const argument of node.arguments) visit(argument, bound, false);
        return;
      case "builtin":
        for (const [index, argument] of node.arguments.entries()) {
          visit(argument, bound, node.name === "get" && index === 0);
        }
        return;
      case "predicate":
        visit(node.body, bound, false);
        return;
      case "let":
        visit(node.value, bound, false);
        visit(node.body, new Set([...bound, node.name]), false);
        return;
      case "sequence":
      case "array":
        for (const part of node.nodes) visit(part, bound, false);
        return;
      case "conditional":
        for (const part of [node.condition, node.yes, node.no]) visit(part, bound, false);
        return;
      case "map":
        for (const { key, value } of node.pairs) {
          visit(key, bound, false);
          visit(value, bound, false);
        }
    }
  }

  function visitCallee(callee: Node, bound: ReadonlySet<string>): void {
    if (callee.kind === "name" && argoFunctions.has(callee.name)) return;
    if (callee.kind !== "member") return;
    if (callee.base.kind === "name" && callee.base.name === "sprig") return;
    visit(callee.base, bound, callee.optional);
  }

  function visitMember(
    node: Node & { readonly kind: "name" | "member" },
    bound: ReadonlySet<string>,
    optional: boolean,
  ): void {
    const path = follow(node);
    if (path === undefined) {
      if (node.kind === "member") {
        visit(node.base, bound, optional || node.optional);
        visit(node.property, bound, false);
      }
      return;
    }
    const [first = "", ...rest] = path.segments;
    if (bound.has(first)) return;
    const segments = first === "$env" ? rest : path.segments;
    if (segments.length === 0) return;
    found.push({
      name: segments.join("."),
      offset: path.offset,
      length: path.end - path.offset,
      optional: optional || path.optional,
    });
  }

  /** A chain of fixed names; undefined where a part is computed. */
  function follow(node: Node):
    | {
        readonly segments: readonly string[];
        readonly offset: number;
        readonly end: number;
        readonly optional: boolean;
      }
    | undefined {
    if (node.kind === "chain") return follow(node.inner);
    if (node.kind === "name") {
      return {
        segments: [node.name],
        offset: node.at,
        end: node.at + node.name.length,
        optional: false,
      };
    }
    if (node.kind !== "member" || node.property.kind !== "literal") return undefined;
    const { value, at } = node.property;
    if (typeof value !== "string" && typeof value !== "bigint") return undefined;
    const base = follow(node.base);
    if (base === undefined) return undefined;
    const bracketed = node.at !== at;
    return {
      segments: [...base.segments, String(value)],
      offset: base.offset,
      end: bracketed ? text.indexOf("]", at) + 1 : at + String(value).length,
      optional: base.optional || node.optional,
    };
  }
}

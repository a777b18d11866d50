import { Budget } from "./budget.ts";
import { parseExpression, run, type EvaluateOptions } from "./evaluate.ts";
import { ExpressionFailure, Fault } from "./failure.ts";
import { expressionNames, type Reference } from "./references.ts";
import type { Scope } from "./scope.ts";
import { fromPlain, toJson, type Value } from "./value.ts";

/** A part of a text: what stands there, a `{{name}}` or a `{{=expression}}`. */
type Part =
  | { readonly kind: "text"; readonly text: string }
  | {
      readonly kind: "name";
      readonly offset: number;
      readonly end: number;
      /** The name, which may itself have tags: `{{inputs.parameters.{{item}}}}`. */
      readonly parts: readonly Part[];
    }
  | {
      readonly kind: "expression";
      readonly offset: number;
      readonly end: number;
      readonly expression: string;
    };

const nestingCeiling = 20;

/** Takes a text apart. As in Argo, the first `}}` ends an expression, and a `{{` without an end is a mistake. */
function parseTags(text: string): readonly Part[] {
  let at = 0;
  return parts(0);

  function parts(depth: number): readonly Part[] {
    const found: Part[] = [];
    for (;;) {
      const open = text.indexOf("{{", at);
      const close = depth === 0 ? -1 : text.indexOf("}}", at);
      if (open === -1 || (close !== -1 && close < open)) {
        const end = depth === 0 ? text.length : close;
        if (end === -1) return found;
        found.push({ kind: "text", text: text.slice(at, end) });
        at = end;
        return found;
      }
      found.push({ kind: "text", text: text.slice(at, open) }, tag(open, depth + 1));
    }
  }

  function tag(offset: number, depth: number): Part {
    if (depth > nestingCeiling) {
      throw new ExpressionFailure(
        "ceiling",
        `tags are nested more than ${nestingCeiling} deep`,
        text,
        {
          offset,
        },
      );
    }
    at = offset + 2;
    if (text.charAt(at) === "=") {
      const close = text.indexOf("}}", at);
      if (close === -1) throw unclosed(offset);
      const expression = text.slice(at + 1, close);
      at = close + 2;
      return { kind: "expression", offset, end: at, expression };
    }
    const name = parts(depth);
    if (!text.startsWith("}}", at)) throw unclosed(offset);
    at += 2;
    return { kind: "name", offset, end: at, parts: name };
  }

  function unclosed(offset: number): ExpressionFailure {
    return new ExpressionFailure("syntax", "a {{ has no }}", text, { offset, length: 2 });
  }
}

export interface SubstituteOptions extends EvaluateOptions {
  /**
   * What becomes of a tag with a name that the scope does not know: `fail` (default) is for the last pass; `keep` leaves the tag
   * as it is, for a later one.
   */
  readonly unresolved?: "fail" | "keep";
}

/**
 * Replaces the tags in every string of a value of plain data, however deep, keys too. What is put in is never read for tags
 * again, except where it is part of the name in an outer tag.
 */
export function substitute<Value>(value: Value, scope: Scope, options: SubstituteOptions): Value;
export function substitute(value: unknown, scope: Scope, options: SubstituteOptions): unknown {
  const budget = new Budget();
  return replace(value);

  function replace(item: unknown): unknown {
    if (typeof item === "string") {
      return item.includes("{{") ? substituteText(item, scope, options, budget) : item;
    }
    if (Array.isArray(item)) return item.map(replace);
    if (typeof item !== "object" || item === null) return item;
    return Object.fromEntries(
      Object.entries(item).map(([key, inner]) => [
        key.includes("{{") ? substituteText(key, scope, options, budget) : key,
        replace(inner),
      ]),
    );
  }
}

function substituteText(
  text: string,
  scope: Scope,
  options: SubstituteOptions,
  budget: Budget,
): string {
  return join(parseTags(text)) ?? text;

  /** Undefined inside a tag when a tag within it stays: then the outer one stays too. */
  function join(parts: readonly Part[], inside = false): string | undefined {
    let joined = "";
    for (const part of parts) {
      if (part.kind === "text") {
        joined += part.text;
        continue;
      }
      const value = part.kind === "name" ? named(part) : evaluated(part);
      if (value === undefined && inside) return undefined;
      const added = value ?? text.slice(part.offset, part.end);
      at(part.offset, () => budget.allocate(added.length));
      joined += added;
    }
    return joined;
  }

  function at<Made>(offset: number, make: () => Made): Made {
    try {
      return make();
    } catch (error) {
      if (error instanceof Fault) {
        throw new ExpressionFailure(error.problem, error.message, text, {
          offset,
          ...(error.hint === undefined ? {} : { hint: error.hint }),
        });
      }
      throw error;
    }
  }

  function named(part: Part & { readonly kind: "name" }): string | undefined {
    const name = join(part.parts, true)?.trim();
    if (name === undefined) return undefined;
    const value = scope.get(name);
    if (value === undefined && options.unresolved === "keep") return undefined;
    if (value === undefined || value === null) {
      throw new ExpressionFailure(
        "missing",
        value === null ? `{{${name}}} has no value` : `Nothing is known as {{${name}}} here`,
        text,
        {
          offset: part.offset,
          length: part.end - part.offset,
          hint:
            value === null
              ? `What gives it was skipped. Say what to take then: {{=${name} ?? 'nothing'}}, or a default where it is declared.`
              : "The step that gives it has not run, has failed, or has no such output.",
        },
      );
    }
    return at(part.offset, () => textOf(fromPlain(value, budget), budget));
  }

  function evaluated(part: Part & { readonly kind: "expression" }): string | undefined {
    const offset = part.offset + 3;
    return inContext(text, part, () => {
      const outcome = tryRun(part.expression);
      if (outcome === undefined) return undefined;
      if (outcome.missed !== undefined && options.unresolved === "keep") return undefined;
      if (outcome.value === null) {
        throw new ExpressionFailure("missing", "the expression has no value (nil)", text, {
          offset,
          length: part.expression.length,
          hint: "Say what to take then: … ?? 'nothing'.",
        });
      }
      return at(offset, () => textOf(outcome.value, budget));
    });
  }

  function tryRun(expression: string): ReturnType<typeof run> | undefined {
    try {
      return run(expression, scope, options, budget);
    } catch (error) {
      const missing = error instanceof ExpressionFailure && error.problem === "missing";
      if (missing && options.unresolved === "keep") return undefined;
      throw error;
    }
  }
}

/** Makes the place of a failure inside an expression one of the text around it. */
function inContext<Made>(
  text: string,
  part: Part & { readonly kind: "expression" },
  make: () => Made,
): Made {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof ExpressionFailure) || error.text === text) throw error;
    const cut = text.startsWith("}", part.end) && error.problem === "syntax";
    const hint = cut
      ? "The first }} ends the expression; write } } where braces meet."
      : error.hint;
    throw new ExpressionFailure(error.problem, error.reason, text, {
      offset: part.offset + 3 + error.offset,
      length: error.length,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

/** What stands for a value in a text: a string is itself, everything else JSON. */
function textOf(value: Value, budget: Budget): string {
  return typeof value === "string" ? value : toJson(value, budget);
}

/**
 * Every name of the scope that the tags of a text mention, in the order of the text. A name that is put together from others
 * (`{{inputs.parameters.{{item}}}}`) mentions only those. A mistake in the text is an {@link ExpressionFailure} with its offset.
 */
export function references(text: string): readonly Reference[] {
  return text.includes("{{") ? mentioned(parseTags(text)) : [];

  function mentioned(parts: readonly Part[]): readonly Reference[] {
    return parts.flatMap((part): readonly Reference[] => {
      if (part.kind === "text") return [];
      if (part.kind === "expression") {
        return inContext(text, part, () =>
          expressionNames(part.expression, parseExpression(part.expression)).map((reference) => ({
            ...reference,
            offset: reference.offset + part.offset + 3,
          })),
        );
      }
      const [only, ...more] = part.parts;
      if (only?.kind !== "text" || more.length > 0) return mentioned(part.parts);
      const name = only.text.trim();
      const offset = part.offset + 2 + only.text.indexOf(name);
      return [{ name, offset, length: name.length, optional: false }];
    });
  }
}

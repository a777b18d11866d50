import { ceilings } from "./budget.ts";
import { ExpressionFailure } from "./failure.ts";

const results = [
  "Succeeded",
  "Failed",
  "Errored",
  "Skipped",
  "Omitted",
  "Daemoned",
  "AnySucceeded",
  "AllFailed",
] as const;

/** How a task ended, as `depends` names it. The last two are about the items of a loop. */
export type TaskResult = (typeof results)[number];

/** A parsed `depends`. A task without a result is the bare name. */
export type Depends =
  | {
      readonly kind: "task";
      readonly name: string;
      readonly offset: number;
      readonly result: TaskResult | undefined;
    }
  | { readonly kind: "not"; readonly of: Depends }
  | { readonly kind: "and" | "or"; readonly left: Depends; readonly right: Depends };

/** What satisfies a bare task name; a task with `continueOn` has more. */
export const plainResults: readonly TaskResult[] = ["Succeeded", "Skipped", "Daemoned"];

export interface DependsLookup {
  /** Whether a task ended so. It is asked only about tasks that have ended. */
  readonly has: (task: string, result: TaskResult) => boolean;
  /** What satisfies the bare name of a task; by default {@link plainResults}. */
  readonly accepts?: (task: string) => readonly TaskResult[];
}

/** Parses `depends` of a DAG task: `A && (B.Succeeded || C.Failed) && !D.Skipped`. */
export function parseDepends(text: string): Depends {
  if (text.length > ceilings.textLength) {
    throw new ExpressionFailure(
      "ceiling",
      `depends has ${text.length} characters, more than ${ceilings.textLength}`,
      text,
      { offset: 0 },
    );
  }
  return new DependsParser(text).parse();
}

/** What `dependencies: [a, b]` means as `depends`; undefined for none. */
export function dependsOn(tasks: readonly string[]): Depends | undefined {
  return tasks
    .map((name): Depends => ({ kind: "task", name, offset: 0, result: undefined }))
    .reduce<Depends | undefined>(
      (left, right) => (left === undefined ? right : { kind: "and", left, right }),
      undefined,
    );
}

/** Whether a task whose dependencies have all ended is to run. */
export function evaluateDepends(depends: Depends, lookup: DependsLookup): boolean {
  switch (depends.kind) {
    case "task":
      return depends.result === undefined
        ? (lookup.accepts?.(depends.name) ?? plainResults).some((result) =>
            lookup.has(depends.name, result),
          )
        : lookup.has(depends.name, depends.result);
    case "not":
      return !evaluateDepends(depends.of, lookup);
    case "and":
      return evaluateDepends(depends.left, lookup) && evaluateDepends(depends.right, lookup);
    case "or":
      return evaluateDepends(depends.left, lookup) || evaluateDepends(depends.right, lookup);
  }
}

/** A task that a `depends` names, once for each place. */
export interface DependsReference {
  readonly name: string;
  readonly offset: number;
  readonly result: TaskResult | undefined;
}

/** The tasks that must have ended before `depends` can be evaluated, in the order of the text. */
export function dependsReferences(depends: Depends): readonly DependsReference[] {
  switch (depends.kind) {
    case "task":
      return [depends];
    case "not":
      return dependsReferences(depends.of);
    case "and":
    case "or":
      return [...dependsReferences(depends.left), ...dependsReferences(depends.right)];
  }
}

class DependsParser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Depends {
    const depends = this.#or();
    if (this.#at < this.#text.length) throw this.#unexpected();
    return depends;
  }

  #accept(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) return undefined;
    this.#at = pattern.lastIndex;
    this.#space();
    return found;
  }

  #space(): void {
    const space = /\s*/uy;
    space.lastIndex = this.#at;
    space.exec(this.#text);
    this.#at = space.lastIndex;
  }

  #unexpected(): ExpressionFailure {
    const rest = this.#text.slice(this.#at);
    const found = /^(?:[\w.-]+|\S)/u.exec(rest)?.[0];
    return new ExpressionFailure(
      "syntax",
      found === undefined ? "depends ends too early" : `unexpected "${found}" in depends`,
      this.#text,
      {
        offset: this.#at,
        length: found?.length ?? 1,
        hint: "depends joins task names with &&, ||, ! and parentheses: A && (B.Succeeded || C.Failed).",
      },
    );
  }

  #or(): Depends {
    return this.#chain("or", /\|\|/uy, () => this.#chain("and", /&&/uy, () => this.#not()));
  }

  #chain(kind: "and" | "or", pattern: RegExp, next: () => Depends): Depends {
    let left = next();
    let length = 1;
    while (this.#accept(pattern) !== undefined) {
      length += 1;
      if (length > ceilings.depth) throw this.#tooDeep();
      left = { kind, left, right: next() };
    }
    return left;
  }

  #not(): Depends {
    this.#space();
    this.#depth += 1;
    if (this.#depth > ceilings.depth) throw this.#tooDeep();
    const depends = this.#accept(/!/uy) === undefined ? this.#primary() : this.#negated();
    this.#depth -= 1;
    return depends;
  }

  #negated(): Depends {
    return { kind: "not", of: this.#not() };
  }

  #tooDeep(): ExpressionFailure {
    return new ExpressionFailure(
      "ceiling",
      `depends has more than ${ceilings.depth} parts in a row or within each other`,
      this.#text,
      { offset: this.#at },
    );
  }

  #primary(): Depends {
    if (this.#accept(/\(/uy) !== undefined) {
      const inner = this.#or();
      if (this.#accept(/\)/uy) === undefined) throw this.#unexpected();
      return inner;
    }
    const offset = this.#at;
    const found = this.#accept(/[A-Za-z0-9][\w-]*(?:\.\w+)?/uy);
    if (found === undefined) throw this.#unexpected();
    const [name = "", suffix] = found.split(".");
    const result = results.find((known) => known === suffix);
    if (suffix !== undefined && result === undefined) {
      throw new ExpressionFailure(
        "syntax",
        `task result '${suffix}' for task '${name}' is invalid`,
        this.#text,
        {
          offset: offset + name.length + 1,
          length: suffix.length,
          hint: `A task result is one of ${results.join(", ")}.`,
        },
      );
    }
    return { kind: "task", name, offset, result };
  }
}

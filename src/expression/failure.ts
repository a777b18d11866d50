import { Failure } from "../errors/mod.ts";

/**
 * Why an expression has no value: its text is no expression (`syntax`), an operation does not fit its operands (`value`), a
 * name is not known in the scope (`missing`), or it needs more than its ceiling (`ceiling`).
 */
export type ExpressionProblem = "syntax" | "value" | "missing" | "ceiling";

export interface ExpressionFailureOptions {
  /** UTF-16 units before the place. */
  readonly offset: number;
  readonly length?: number;
  readonly hint?: string;
}

/** A failure at a place in an expression. */
export class ExpressionFailure extends Failure {
  readonly problem: ExpressionProblem;
  /** Where in the text that was given, in UTF-16 units from 0. */
  readonly offset: number;
  /** How much of the text it is about; at least 1. */
  readonly length: number;
  /** The message without the place, to be put beside a place of the caller's. */
  readonly reason: string;
  /** The text that it is a place in. */
  readonly text: string;

  constructor(
    problem: ExpressionProblem,
    reason: string,
    text: string,
    options: ExpressionFailureOptions,
  ) {
    super(
      problem === "ceiling" ? "limit-expression" : "workflow-invalid",
      `${reason} (${position(text, options.offset)} in "${excerpt(text)}")`,
      options.hint === undefined ? {} : { hint: options.hint },
    );
    this.problem = problem;
    this.reason = reason;
    this.text = text;
    this.offset = options.offset;
    this.length = Math.max(1, options.length ?? 1);
  }
}

/** Go's `line:column`, both from 1, a column for each code point. */
function position(text: string, offset: number): string {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  const column = Array.from(before.slice(before.lastIndexOf("\n") + 1)).length + 1;
  return `${line}:${column}`;
}

const excerptLength = 200;

function excerpt(text: string): string {
  return text.length > excerptLength ? `${text.slice(0, excerptLength)}…` : text;
}

/** What goes wrong below the syntax tree, where no place is known; the evaluator gives it the place of the node. */
export class Fault extends Error {
  readonly problem: ExpressionProblem;
  readonly hint: string | undefined;

  constructor(problem: ExpressionProblem, message: string, hint?: string) {
    super(message);
    this.problem = problem;
    this.hint = hint;
  }
}

/** An operation does not fit its operands. */
export function fault(message: string, hint?: string): Fault {
  return new Fault("value", message, hint);
}

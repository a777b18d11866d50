/**
 * Everything that Argo evaluates inside strings: `{{name}}` and `{{=expression}}` tags, `when:`, `depends:`. Nothing here
 * waits, reads a clock or touches the host; time and randomness come from the caller, so that a replay gives the same.
 */
import { Budget } from "./budget.ts";
import { parseExpression, run, type EvaluateOptions } from "./evaluate.ts";
import { expressionNames, type Reference } from "./references.ts";
import type { Scope } from "./scope.ts";
import { toPlain } from "./value.ts";

export { ceilings } from "./budget.ts";
export { evaluateCondition } from "./condition.ts";
export {
  dependsOn,
  dependsReferences,
  evaluateDepends,
  parseDepends,
  plainResults,
  type Depends,
  type DependsLookup,
  type DependsReference,
  type TaskResult,
} from "./depends.ts";
export type { EvaluateOptions } from "./evaluate.ts";
export { ExpressionFailure, type ExpressionProblem } from "./failure.ts";
export { months, weekdays } from "./layout.ts";
export type { Reference } from "./references.ts";
export type { Scope } from "./scope.ts";
export { references, substitute, type SubstituteOptions } from "./tags.ts";

/**
 * Evaluates an expression of expr-lang with Argo's functions, as it stands in `{{=…}}` or in an `expression:` key. The outcome
 * is plain data: an int too large for a number is a bigint, a time its RFC 3339 text, a map an object without a prototype.
 */
export function evaluate(expression: string, scope: Scope, options: EvaluateOptions): unknown {
  return toPlain(run(expression, scope, options, new Budget()).value);
}

/** Every name of the scope that an expression mentions, in the order of the text. */
export function expressionReferences(expression: string): readonly Reference[] {
  return expressionNames(expression, parseExpression(expression));
}

import { Failure, type FailureRecord } from "../errors/mod.ts";
import { formatLimit } from "./resolve.ts";
import { ceilings, type LimitKey, type Limits } from "./table.ts";

/**
 * The failure of a ceiling that was reached: what was wanted or done, as a sentence's beginning, then the ceiling, and which key
 * raises it. `advice` says what else helps, as a sentence.
 */
export function limitFailure(
  key: LimitKey,
  limits: Limits,
  what: string,
  advice?: string,
): Failure {
  const { code, field } = ceilings[key];
  return new Failure(code, `${what}; the ceiling is ${formatLimit(key, limits[field])}`, {
    hint: [advice, howToRaise(key)].filter((part) => part !== undefined).join(" "),
  });
}

/** What is told of a ceiling that the guest got an error for, and may have made something of. */
export function reachedLimit(key: LimitKey, limits: Limits): FailureRecord {
  const { summary } = ceilings[key];
  const what = `The guest got an error at limits.${key} (${summary[0]?.toLowerCase()}${summary.slice(1)})`;
  return limitFailure(key, limits, what).toJSON();
}

/** Which key raises a ceiling, as a sentence. */
function howToRaise(key: LimitKey): string {
  return ceilings[key].scope === "step"
    ? `Raise limits.${key} of the step, or of exec with --limit ${key}=VALUE.`
    : `Raise limits.${key} in the file for --config, or give --limit ${key}=VALUE.`;
}

import { Failure } from "../errors/mod.ts";
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

/** Which key raises a ceiling, as a sentence. */
function howToRaise(key: LimitKey): string {
  return ceilings[key].scope === "step"
    ? `Raise limits.${key} of the step.`
    : `Raise limits.${key} in atalanta.yaml, or give --limit ${key}=VALUE.`;
}

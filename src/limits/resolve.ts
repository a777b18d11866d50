import { Failure } from "../errors/mod.ts";
import {
  formatBytes,
  formatDurationMs,
  parseBytes,
  parseCount,
  parseDurationMs,
} from "./quantities.ts";
import {
  ceilings,
  type AskedHostLimits,
  type AskedLimits,
  type Ceiling,
  type LimitKey,
  type Limits,
} from "./table.ts";

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of the table are its rows' names
const keys = Object.keys(ceilings) as readonly LimitKey[];

const built = { default: valuesOf("default"), most: valuesOf("most") };

/** What holds where nobody says anything. */
export const defaultLimits: Limits = built.default;

/**
 * What a host allows: the highest value of each ceiling of a step, and the value of each of its own. Throws
 * `invalid-argument` for a value that cannot be read or is higher than what this machinery is built for.
 */
export function hostLimits(asked: AskedHostLimits = {}): Limits {
  return collected((key, ceiling) => {
    const { scope, field, least }: Ceiling = ceiling;
    const value = asked[key];
    if (value === undefined) return scope === "step" ? built.most[field] : built.default[field];
    const given = parseLimit(key, value);
    if (least !== undefined && given < parseLimit(key, least)) {
      throw new Failure(
        "invalid-argument",
        `limits.${key} is ${value}; the lowest value is ${least}`,
        { hint: "Write a higher value." },
      );
    }
    if (given <= built.most[field]) return given;
    throw new Failure(
      "invalid-argument",
      `limits.${key} is ${value}; the highest value is ${formatLimit(key, built.most[field])}`,
      { hint: "Write a lower value; nothing is unlimited." },
    );
  });
}

const widest = hostLimits();

/**
 * The ceilings of one invocation: what the step asks for, else the default, lowered to what the host allows. Throws
 * `invalid-argument` for a value that cannot be read and `limit-above-host` for one that the host does not allow.
 */
export function resolveLimits(asked: AskedLimits = {}, host: Limits = widest): Limits {
  const values: Partial<Record<LimitKey, string | number>> = asked;
  return collected((key, { scope, field, follows }) => {
    if (scope === "host") return host[field];
    const own = values[key];
    const value = own ?? (follows && values[follows]);
    if (value === undefined) return Math.min(built.default[field], host[field]);
    const wanted = parseLimit(key, value);
    if (wanted <= host[field]) return wanted;
    // Nobody asked for this one.
    if (own === undefined) return host[field];
    throw aboveHost(key, value, host);
  });
}

function aboveHost(key: LimitKey, value: string | number, host: Limits): Failure {
  const { field } = ceilings[key];
  const raise =
    host[field] < built.most[field]
      ? `, or raise limits.${key} in the file for --config or with --limit ${key}=VALUE`
      : "";
  return new Failure(
    "limit-above-host",
    `The step asks for limits.${key} of ${value}; this host allows ${formatLimit(key, host[field])}`,
    { hint: `Ask for less${raise}.` },
  );
}

/** Reads a value of one ceiling. Throws `invalid-argument`. */
export function parseLimit(key: LimitKey, value: string | number): number {
  const { unit } = ceilings[key];
  if (unit === "bytes") return parseBytes(value);
  if (unit === "count") return parseCount(value);
  const ms = parseDurationMs(value);
  if (ms > 0) return ms;
  throw new Failure("invalid-argument", `"${value}" is no duration above zero`, {
    hint: 'Write a duration such as "500ms", "30s" or "1h30m".',
  });
}

/** A value of one ceiling as a user would write it. */
export function formatLimit(key: LimitKey, value: number): string {
  const { unit } = ceilings[key];
  if (unit === "bytes") return formatBytes(value);
  return unit === "duration" ? formatDurationMs(value) : String(value);
}

function collected(valueOf: (key: LimitKey, ceiling: Ceiling) => number): Limits {
  const entries = keys.map((key) => [ceilings[key].field, valueOf(key, ceilings[key])] as const);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each row of the table gives one field
  return Object.fromEntries(entries) as Limits;
}

function valuesOf(column: "default" | "most"): Limits {
  return collected((key, ceiling) => parseLimit(key, ceiling[column]));
}

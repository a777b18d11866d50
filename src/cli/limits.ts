import { Failure, toFailure } from "../errors/mod.ts";
import {
  ceilings,
  hostLimits,
  type AskedHostLimits,
  type LimitKey,
  type Limits,
} from "../limits/mod.ts";
import { readOperatorFile } from "./configuration.ts";
import { pair } from "./options.ts";

/** What this host allows: each `--limit KEY=VALUE`, else the operator's configuration, else what the machinery is built for. */
export function limitsOfHost(options: readonly string[], configured: AskedHostLimits = {}): Limits {
  return hostLimits({ ...configured, ...askedLimits(options) });
}

/** The same for a command that only looks at a workflow, or looks before it opens a session. */
export async function readHostLimits(options: {
  readonly limit: readonly string[];
  readonly config?: string;
}): Promise<Limits> {
  return limitsOfHost(options.limit, (await readOperatorFile(options.config)).limits);
}

/** The values of `--limit KEY=VALUE`, by key. */
export function askedLimits(options: readonly string[]): AskedHostLimits {
  const asked: Partial<Record<LimitKey, string>> = {};
  for (const text of options) {
    const [key, value] = pair("--limit", text);
    if (!isLimit(key)) throw unknownLimit(`--limit "${text}"`, key);
    checkLimit(`--limit ${key}`, key, value);
    asked[key] = value;
  }
  return asked;
}

/** Throws `invalid-argument`, which names the option, for a value that cannot be read or is none that a host may have. */
export function checkLimit(option: string, key: LimitKey, value: string): void {
  try {
    hostLimits({ [key]: value });
  } catch (thrown) {
    const { code, message, hint } = toFailure(thrown);
    const name = `limits.${key}`;
    const told = message.startsWith(name) ? message.replace(name, option) : `${option}: ${message}`;
    throw new Failure(code, told, hint === undefined ? {} : { hint });
  }
}

/** Whether it is the key of a ceiling. */
export function isLimit(key: string): key is LimitKey {
  return Object.hasOwn(ceilings, key);
}

function unknownLimit(where: string, key: string): Failure {
  return new Failure("invalid-argument", `${where}: there is no limit "${key}"`, {
    hint: `There are: ${Object.keys(ceilings).join(", ")}.`,
  });
}

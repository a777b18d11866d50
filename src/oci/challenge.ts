/** One way to log in, as a response with status 401 offers it. */
export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** What a registry would need; more is not read. */
const mostChallenges = 10;
const mostParameters = 20;

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const parameter = new RegExp(
  `(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}(?:[/:@?][^\\s,]*)?))`,
  "y",
);
const scheme = new RegExp(`(${token})(?=\\s|,|$)`, "y");
const token68 = /[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))/y;
const blanks = /[\s,]*/y;

/**
 * Reads `WWW-Authenticate` (RFC 9110, 11.6.1): several challenges in one header or in several. A comma stands between challenges and between the
 * parameters of one, so what follows decides; reading ends where it makes no sense. Values without quotes may be URLs, as some registries write them.
 */
export function parseChallenges(headers: readonly string[]): readonly Challenge[] {
  return headers.flatMap(parseHeader).slice(0, mostChallenges);
}

function parseHeader(text: string): readonly Challenge[] {
  const found: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    take(blanks);
    if (at >= text.length || found.length > mostChallenges) return found;
    const current = found.at(-1);
    const pair = current && take(parameter);
    if (pair) {
      const [, name = "", quoted, plain = ""] = pair;
      const value = quoted === undefined ? plain : quoted.replaceAll(/\\(.)/g, "$1");
      // The first one counts, so that nothing behind it changes what was read.
      const key = name.toLowerCase();
      if (current.parameters.size < mostParameters && !current.parameters.has(key))
        current.parameters.set(key, value);
      continue;
    }
    const named = take(scheme);
    if (!named) return found;
    found.push({ scheme: (named[1] ?? "").toLowerCase(), parameters: new Map() });
    take(/\s*/y);
    take(token68);
  }
}

import { RE2JS } from "re2js";

import type { Budget } from "./budget.ts";
import { Cache } from "./cache.ts";
import { fault } from "./failure.ts";

const patternCeiling = 1000;

/** Go's syntax and Go's semantics: RE2, in time linear to the text. */
const compiled = new Cache((pattern: string) => {
  if (pattern.length > patternCeiling) {
    throw fault(`the pattern has ${pattern.length} characters, more than ${patternCeiling}`);
  }
  try {
    return RE2JS.compile(pattern);
  } catch (error) {
    const reason = error instanceof Error ? error.message : "it cannot be read";
    throw fault(`invalid regular expression "${pattern.slice(0, 100)}": ${reason.slice(0, 200)}`);
  }
});

/** Whether a pattern matches somewhere in the text. */
export function matches(pattern: string, text: string, budget: Budget): boolean {
  for (const _ of findAll(pattern, text, budget)) return true;
  return false;
}

interface Match {
  readonly start: number;
  readonly end: number;
  /** The whole match and then the groups. */
  readonly groups: readonly (string | undefined)[];
  readonly names: ReadonlyMap<string, number>;
}

/** Every match, as Go finds them: an empty match right behind another is none. */
function* findAll(pattern: string, text: string, budget: Budget): Generator<Match> {
  const regex = compiled.get(pattern);
  const names = new Map(Object.entries(regex.namedGroups()));
  const matcher = regex.matcher(text);
  // A pattern may read to the end for each match, at a cost that grows with its program: measured 55 ns a character and
  // 4 instructions, so that all steps of an evaluation are about six seconds.
  const weight = Math.max(1, regex.programSize() / 4) / 100;
  let previous = -1;
  for (;;) {
    budget.step(1 + Math.ceil((text.length - Math.max(0, previous)) * weight));
    if (!matcher.find()) return;
    const start = matcher.start();
    const end = matcher.end();
    if (start === end && start === previous) continue;
    previous = end;
    const groups: (string | undefined)[] = [];
    for (let group = 0; group <= matcher.groupCount(); group += 1) {
      groups.push(matcher.group(group) ?? undefined);
    }
    yield { start, end, groups, names };
  }
}

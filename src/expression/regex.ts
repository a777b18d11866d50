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

/** Checks that a pattern is one. */
export function checkPattern(pattern: string): void {
  compiled.get(pattern);
}

export interface Match {
  readonly start: number;
  readonly end: number;
  /** The whole match and then the groups. */
  readonly groups: readonly (string | undefined)[];
  readonly names: ReadonlyMap<string, number>;
}

/** Every match, as Go finds them: an empty match right behind another is none. */
export function* findAll(pattern: string, text: string, budget: Budget): Generator<Match> {
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

/** Replaces every match; `$1`, `${1}` and `${name}` in the replacement stand for groups, as in Go. */
export function replaceAll(
  pattern: string,
  text: string,
  replacement: string,
  budget: Budget,
): string {
  return replaceMatches(pattern, text, budget, (match) =>
    replacement.replaceAll(/\$(?:\$|\{(\w+)\}|(\w+))/gu, (_, braced?: string, bare?: string) => {
      const name = braced ?? bare;
      if (name === undefined) return "$";
      const group = /^\d+$/u.test(name) ? Number(name) : match.names.get(name);
      return group === undefined ? "" : (match.groups[group] ?? "");
    }),
  );
}

/** Replaces every match by the same text. */
export function replaceLiteral(
  pattern: string,
  text: string,
  replacement: string,
  budget: Budget,
): string {
  return replaceMatches(pattern, text, budget, () => replacement);
}

function replaceMatches(
  pattern: string,
  text: string,
  budget: Budget,
  replace: (match: Match) => string,
): string {
  let result = "";
  let at = 0;
  for (const match of findAll(pattern, text, budget)) {
    const part = text.slice(at, match.start) + replace(match);
    budget.allocate(part.length);
    result += part;
    at = match.end;
  }
  return result + text.slice(at);
}

/** Splits at every match, into at most `most` parts when that is not negative. */
export function split(
  pattern: string,
  text: string,
  most: number,
  budget: Budget,
): readonly string[] {
  if (most === 0) return [];
  if (pattern !== "" && text === "") return [""];
  const result: string[] = [];
  let at = 0;
  let end = 0;
  for (const match of findAll(pattern, text, budget)) {
    if (most > 0 && result.length === most - 1) break;
    end = match.start;
    if (match.end !== 0) {
      result.push(text.slice(at, match.start));
      budget.allocate(match.start - at);
    }
    at = match.end;
  }
  if (end !== text.length) result.push(text.slice(at));
  return result;
}

/** A text as a pattern that matches only it. */
export function quoteMeta(text: string): string {
  return text.replaceAll(/[\\.+*?()|[\]{}^$]/gu, String.raw`\$&`);
}

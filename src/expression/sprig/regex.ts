import { Fault } from "../failure.ts";
import { define, type Arguments, type Context, type Function } from "../functions.ts";
import { findAll, matches, quoteMeta, replaceAll, replaceLiteral, split } from "../regex.ts";
import type { Value } from "../value.ts";

/** With its `must…` form; both fail for a pattern that is none. */
function both(
  name: string,
  count: number,
  call: (given: Arguments, context: Context) => Value,
): readonly (readonly [string, Function])[] {
  const made = define(count, count, call);
  return [
    [name, made],
    [`must${name.charAt(0).toUpperCase()}${name.slice(1)}`, made],
  ];
}

function found(given: Arguments, most: number, { budget }: Context): readonly string[] {
  const all: string[] = [];
  for (const { groups } of findAll(given.text(0), given.text(1), budget)) {
    if (all.length === most) break;
    const text = groups[0] ?? "";
    budget.allocate(text.length + 1);
    all.push(text);
  }
  return all;
}

export const regularExpressions: ReadonlyMap<string, Function> = new Map([
  ...both("regexMatch", 2, (given, { budget }) => matches(given.text(0), given.text(1), budget)),
  // Of the matching functions, only this one takes a bad pattern for one that matches nothing.
  [
    "regexMatch",
    define(2, 2, (given, { budget }) => {
      try {
        return matches(given.text(0), given.text(1), budget);
      } catch (error) {
        if (error instanceof Fault && error.problem === "value") return false;
        throw error;
      }
    }),
  ],
  ...both("regexFindAll", 3, (given, context) => found(given, given.whole(2), context)),
  ...both("regexFind", 2, (given, context) => found(given, 1, context)[0] ?? ""),
  ...both("regexReplaceAll", 3, (given, { budget }) =>
    replaceAll(given.text(0), given.text(1), given.text(2), budget),
  ),
  ...both("regexReplaceAllLiteral", 3, (given, { budget }) =>
    replaceLiteral(given.text(0), given.text(1), given.text(2), budget),
  ),
  ...both("regexSplit", 3, (given, { budget }) =>
    split(given.text(0), given.text(1), given.whole(2), budget),
  ),
  ["regexQuoteMeta", define(1, 1, (given) => quoteMeta(given.text(0)))],
]);

import { fault } from "../failure.ts";
import { define, many, type Context, type Function } from "../functions.ts";
import { isList, type Value } from "../value.ts";
import { identical, isEmpty } from "./values.ts";

/** With its `must…` form, which does the same here: both fail. */
function both(name: string, made: Function): readonly (readonly [string, Function])[] {
  return [
    [name, made],
    [`must${name.charAt(0).toUpperCase()}${name.slice(1)}`, made],
  ];
}

function grown(list: readonly Value[], { budget }: Context): readonly Value[] {
  budget.allocate(list.length);
  budget.step(list.length);
  return list;
}

function chunk(list: readonly Value[], size: number): Value {
  if (size < 1) throw fault(`there are no chunks of ${size}`);
  const count = Math.ceil(list.length / size);
  return Array.from({ length: count }, (_, index) => list.slice(index * size, (index + 1) * size));
}

const push = define(2, 2, (given, context) => grown([...given.list(0), given.value(1)], context));

export const lists: ReadonlyMap<string, Function> = new Map([
  ["list", define(0, many, (given, context) => grown(given.values, context))],
  ["tuple", define(0, many, (given, context) => grown(given.values, context))],
  ...both("append", push),
  ...both("push", push),
  ...both(
    "prepend",
    define(2, 2, (given, context) => grown([given.value(1), ...given.list(0)], context)),
  ),
  ...both(
    "first",
    define(1, 1, (given) => given.list(0)[0] ?? null),
  ),
  ...both(
    "last",
    define(1, 1, (given) => given.list(0).at(-1) ?? null),
  ),
  ...both(
    "rest",
    define(1, 1, (given, context) => grown(given.list(0).slice(1), context)),
  ),
  ...both(
    "initial",
    define(1, 1, (given, context) => grown(given.list(0).slice(0, -1), context)),
  ),
  ...both(
    "reverse",
    define(1, 1, (given, context) => grown(given.list(0).toReversed(), context)),
  ),
  ...both(
    "uniq",
    define(1, 1, (given, { budget }) => {
      const found: Value[] = [];
      for (const item of given.list(0)) {
        if (!found.some((other) => identical(item, other, budget))) found.push(item);
      }
      return found;
    }),
  ),
  ...both(
    "without",
    define(1, many, (given, { budget }) => {
      const omitted = given.values.slice(1);
      return given
        .list(0)
        .filter((item) => !omitted.some((other) => identical(item, other, budget)));
    }),
  ),
  ...both(
    "has",
    define(2, 2, (given, { budget }) => {
      const list = given.value(1);
      if (list === null) return false;
      return given.list(1).some((item) => identical(item, given.value(0), budget));
    }),
  ),
  ...both(
    "slice",
    define(1, 3, (given) => {
      const list = given.list(0);
      const start = given.count > 1 ? given.whole(1) : 0;
      const end = given.count > 2 ? given.whole(2) : list.length;
      if (start < 0 || end > list.length || start > end) {
        throw fault(`there is no part from ${start} to ${end} of ${list.length} elements`);
      }
      return list.slice(start, end);
    }),
  ),
  ...both(
    "chunk",
    define(2, 2, (given) => chunk(given.list(1), given.whole(0))),
  ),
  ...both(
    "compact",
    define(1, 1, (given) => given.list(0).filter((item) => !isEmpty(item))),
  ),
  [
    "concat",
    define(0, many, (given, context) =>
      grown(
        given.values.flatMap((value, index) => (isList(value) ? value : given.list(index))),
        context,
      ),
    ),
  ],
]);

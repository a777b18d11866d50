import { ceilings, type Budget } from "../budget.ts";
import { fault } from "../failure.ts";
import { define, many, type Function } from "../functions.ts";
import { isMap, type Value } from "../value.ts";
import { textOf } from "./text.ts";
import { isEmpty } from "./values.ts";

type Mapping = ReadonlyMap<Value, Value>;

/** Merged in depth; where both have a key, `wins` says whether the later one replaces the earlier. */
function merge(
  into: Mapping,
  from: Mapping,
  wins: (earlier: Value, later: Value) => boolean,
  budget: Budget,
  depth = 0,
): Mapping {
  if (depth > ceilings.valueDepth) throw fault("the maps are nested too deep");
  const merged = new Map(into);
  budget.step(into.size + from.size);
  for (const [key, later] of from) {
    const earlier = merged.get(key);
    if (earlier === undefined) merged.set(key, later);
    else if (isMap(earlier) && isMap(later)) {
      merged.set(key, merge(earlier, later, wins, budget, depth + 1));
    } else if (wins(earlier, later)) merged.set(key, later);
  }
  return merged;
}

function merging(wins: (earlier: Value, later: Value) => boolean): Function {
  return define(1, many, (given, { budget }) =>
    given.values
      .map((_, index) => given.mapping(index))
      .reduce((into, from) => merge(into, from, wins, budget)),
  );
}

const fill = merging((earlier, later) => isEmpty(earlier) && !isEmpty(later));
const overwrite = merging((_, later) => !isEmpty(later));

function chosen(keep: (named: boolean) => boolean): Function {
  return define(1, many, (given) => {
    const names = new Set(given.values.slice(1).map((_, index) => given.text(index + 1)));
    return new Map(
      [...given.mapping(0)].filter(([key]) => keep(typeof key === "string" && names.has(key))),
    );
  });
}

/** No function changes a map: `set` and its like give a new one. */
export const maps: ReadonlyMap<string, Function> = new Map([
  [
    "dict",
    define(0, many, (given, { budget }) => {
      const made = new Map<Value, Value>();
      for (let index = 0; index < given.count; index += 2) {
        const key = textOf(given.value(index), budget);
        made.set(key, index + 1 < given.count ? given.value(index + 1) : "");
      }
      return made;
    }),
  ],
  [
    "get",
    define(2, 2, (given) => {
      const found = given.mapping(0).get(given.text(1));
      return found === undefined ? "" : found;
    }),
  ],
  [
    "set",
    define(3, 3, (given, { budget }) => {
      budget.step(given.mapping(0).size);
      return new Map([...given.mapping(0), [given.text(1), given.value(2)]]);
    }),
  ],
  [
    "unset",
    define(2, 2, (given, { budget }) => {
      const made = new Map(given.mapping(0));
      budget.step(made.size);
      made.delete(given.text(1));
      return made;
    }),
  ],
  ["hasKey", define(2, 2, (given) => given.mapping(0).has(given.text(1)))],
  [
    "pluck",
    define(1, many, (given) =>
      given.values.slice(1).flatMap((_, index) => {
        const found = given.mapping(index + 1).get(given.text(0));
        return found === undefined ? [] : [found];
      }),
    ),
  ],
  [
    "keys",
    define(0, many, (given) =>
      given.values.flatMap((_, index) => [...given.mapping(index).keys()]),
    ),
  ],
  ["values", define(1, 1, (given) => [...given.mapping(0).values()])],
  ["pick", chosen((named) => named)],
  ["omit", chosen((named) => !named)],
  ["merge", fill],
  ["mustMerge", fill],
  ["mergeOverwrite", overwrite],
  ["mustMergeOverwrite", overwrite],
  [
    "dig",
    define(3, many, (given) => {
      const last = given.count - 1;
      let found: Value = given.mapping(last);
      for (let index = 0; index < last - 1; index += 1) {
        if (!isMap(found)) throw fault("dig meets a value that is no map");
        const next: Value | undefined = found.get(given.text(index));
        if (next === undefined) return given.value(last - 1);
        found = next;
      }
      return found;
    }),
  ],
]);

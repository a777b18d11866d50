import { toFloat, toInt } from "./builtins.ts";
import { define, type Function } from "./functions.ts";
import { queryJson } from "./jsonpath.ts";
import { fromJson, toJson } from "./value.ts";

/** What Argo adds to expr-lang. */
export const argoFunctions: ReadonlyMap<string, Function> = new Map([
  ["asInt", toInt],
  ["asFloat", toFloat],
  ["toJson", define(1, 1, (given, { budget }) => toJson(given.value(0), budget))],
  [
    "jsonpath",
    define(2, 2, (given, context) =>
      queryJson(fromJson(given.text(0), context.budget), given.text(1), context),
    ),
  ],
]);

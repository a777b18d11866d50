import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Failure } from "../errors/mod.ts";
import { evaluateCondition } from "./mod.ts";

describe("evaluateCondition", () => {
  const holding = [
    "",
    "heads == heads",
    "'heads' == heads",
    "tails != heads",
    "Succeeded == Succeeded && true",
    "1 < 2",
    "0x10 == 16",
    "1 + 2 * 3 == 7",
    "10 - 2 - 3 == 5",
    "2 ** 3 ** 2 == 64",
    "7 % 4 == 3",
    "'abc' =~ 'b'",
    "heads =~ hea",
    "'v1.2' !~ '^v2'",
    "a in (a, b)",
    "2 in (1, 2, 3)",
    "!(1 == 2)",
    "!false",
    "-1 < 0",
    "(1 == 1) || nonsense",
    "'a' < 'b'",
    "true ? true : false",
    "false ? false : true",
    "2024-01-01 == 2022",
    "'2024-01-02' > '2024-01-01'",
    "'2024-01-02 10:00' > '2024-01-02 09:30'",
    "[a b] == 'a b'",
    String.raw`'it\'s' == "it\"s" || true`,
    "'a' + 'b' == 'ab'",
    "1 + 'a' == '1a'",
    "5 & 3 == 1",
    "1 << 4 == 16",
  ];
  for (const text of holding) {
    test(`"${text}" holds`, () => assert.equal(evaluateCondition(text), true));
  }

  const failing = [
    "heads == tails",
    "true == 'true'",
    "1 == '1'",
    "4 in (1, 2, 3)",
    "2 > 2",
    "'heads' =~ 'tails'",
    "true && false",
    "false && nonsense",
  ];
  for (const text of failing) {
    test(`"${text}" does not hold`, () => assert.equal(evaluateCondition(text), false));
  }

  const wrong: readonly (readonly [string, RegExp])[] = [
    [" == YES", /^Invalid 'when' expression ' == YES': unexpected comparator '==' at the start/u],
    ["a = b", /Invalid token: '='/u],
    ["my-step == x", /Value 'my' cannot be used with the modifier '-', it is not a number/u],
    ["foo", /expected a bool, got foo/u],
    ["1 + 1", /expected a bool, got 2/u],
    ["1 <", /unexpected end of expression/u],
    ["(1 == 1", /unbalanced parenthesis/u],
    ["1 == 1)", /unbalanced parenthesis/u],
    ["'a", /unclosed string literal/u],
    ["1.2.3 == 1.2.3", /Unable to parse numeric value '1\.2\.3'/u],
    ["1 < 'a'", /cannot be used with the comparator '<', it is not a number/u],
    ["a && true", /cannot be used with the logical operator '&&', it is not a bool/u],
    ["a in b", /cannot be used with the comparator 'in'/u],
    ["foo.bar == x", /'foo\.bar' cannot be looked up/u],
    ["foo(1) == 1", /unexpected open/u],
    ["a =~ '('", /invalid regular expression/u],
    ["!foo", /unexpected string 'foo' behind prefix/u],
    ["==", /unexpected comparator/u],
    ["  ", /unexpected end of expression/u],
  ];
  for (const [text, message] of wrong) {
    test(`"${text}" is refused`, () => {
      assert.throws(
        () => evaluateCondition(text),
        (error) => {
          assert(error instanceof Failure);
          assert.equal(error.code, "workflow-invalid");
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }

  test("refuses a condition beyond its ceilings, and takes one below", () => {
    const within = `${"(".repeat(300)}true${")".repeat(300)}`;
    assert.equal(evaluateCondition(within), true);
    for (const text of [
      `${"(".repeat(5000)}true${")".repeat(5000)}`,
      `true${" && true".repeat(5000)}`,
      `'${"a".repeat(100_000)}' == b`,
    ]) {
      assert.throws(
        () => evaluateCondition(text),
        (error) => error instanceof Failure && error.code === "limit-expression",
      );
    }
  });
});

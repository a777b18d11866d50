import assert from "node:assert/strict";
import { describe, test } from "node:test";

import {
  dependsOn,
  dependsReferences,
  evaluateDepends,
  ExpressionFailure,
  parseDepends,
  type TaskResult,
} from "./mod.ts";

function lookup(
  ended: Readonly<Record<string, readonly TaskResult[]>>,
): (task: string, result: TaskResult) => boolean {
  return (task, result) => (ended[task] ?? []).includes(result);
}

const has = lookup({ A: ["Succeeded"], B: ["Failed"], C: ["Skipped"], "d-1": ["Omitted"], E: [] });

describe("depends", () => {
  const cases: readonly (readonly [string, boolean])[] = [
    ["A", true],
    ["B", false],
    ["C", true],
    ["d-1", false],
    ["A && B", false],
    ["A || B", true],
    ["A && B.Failed", true],
    ["A&&(B.Succeeded||B.Failed)", true],
    ["!B", true],
    ["!!A", true],
    ["!A.Failed && !B.Succeeded", true],
    ["B.Failed || A && B", true],
    ["(B.Failed || A) && B", false],
    ["d-1.Omitted", true],
    ["C.Skipped && E.Daemoned", false],
    ["  A  ", true],
    ["A.AnySucceeded || B.AllFailed", false],
  ];
  for (const [text, expected] of cases) {
    test(`"${text}" is ${expected}`, () => {
      assert.equal(evaluateDepends(parseDepends(text), { has }), expected);
    });
  }

  test("a bare name takes what its task accepts", () => {
    const accepts = (task: string): readonly TaskResult[] =>
      task === "B" ? ["Succeeded", "Failed"] : ["Succeeded"];
    assert.equal(evaluateDepends(parseDepends("A && B"), { has, accepts }), true);
    assert.equal(evaluateDepends(parseDepends("C"), { has, accepts }), false);
  });

  test("dependencies are names that all must be satisfied", () => {
    const depends = dependsOn(["A", "C"]);
    assert(depends);
    assert.equal(evaluateDepends(depends, { has }), true);
    assert.deepEqual(
      dependsReferences(depends).map(({ name }) => name),
      ["A", "C"],
    );
    assert.equal(dependsOn([]), undefined);
  });

  test("the tasks it waits for come with their place", () => {
    assert.deepEqual(
      dependsReferences(parseDepends("A && (b-2.Failed || !A.Succeeded)")).map(
        ({ name, offset, result }) => [name, offset, result],
      ),
      [
        ["A", 0, undefined],
        ["b-2", 6, "Failed"],
        ["A", 21, "Succeeded"],
      ],
    );
  });

  const wrong: readonly (readonly [string, number])[] = [
    ["", 0],
    ["A &&", 4],
    ["A & B", 2],
    ["A B", 2],
    ["(A", 2],
    ["A)", 1],
    ["A.Fine", 2],
    ["A && and([B])", 8],
    ["A == B", 2],
  ];
  for (const [text, offset] of wrong) {
    test(`"${text}" is refused at ${offset}`, () => {
      assert.throws(
        () => parseDepends(text),
        (error) => error instanceof ExpressionFailure && error.offset === offset,
      );
    });
  }

  test("refuses what is nested or chained beyond its ceiling, and takes what is not", () => {
    assert.equal(evaluateDepends(parseDepends(`${"!".repeat(300)}A`), { has }), true);
    assert.equal(evaluateDepends(parseDepends(`A${" && A".repeat(300)}`), { has }), true);
    for (const text of [
      `${"!".repeat(5000)}A`,
      `${"(".repeat(5000)}A`,
      `A${" && A".repeat(5000)}`,
    ]) {
      assert.throws(
        () => parseDepends(text),
        (error) => error instanceof ExpressionFailure && error.problem === "ceiling",
      );
    }
  });
});

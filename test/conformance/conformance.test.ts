import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { cases } from "./cases.ts";
import { compare, readExplanations, readGolden, type Difference } from "./compare.ts";
import { callNames } from "./script.ts";

// Each case is a list of calls that one guest makes in our engine; golden.json has what the same guest was answered in wasmtime, on a
// real directory, and differences.json why an answer of ours is another one. `run.ts` records and explains.

describe("preview 1 beside wasmtime", () => {
  let differences: readonly Difference[] = [];
  const golden = readGolden();
  const explanations = readExplanations();
  const explained = new Map(
    explanations.flatMap(({ answers }) =>
      Object.entries(answers).flatMap(([name, steps]) =>
        Object.entries(steps).map(([step, pair]) => [`${name} [${step}]`, pair] as const),
      ),
    ),
  );
  before(async () => {
    differences = await compare(golden);
  });

  test("every case is recorded, and nothing else is", () => {
    assert.deepEqual(
      Object.keys(golden.answers).toSorted(),
      cases.map(({ name }) => name).toSorted(),
    );
  });

  test("there are cases for each of the 46 functions", () => {
    const called = new Set(
      cases.flatMap(({ steps }) => steps.map((step) => ("call" in step ? step.call : "proc_exit"))),
    );
    assert.deepEqual(
      [...callNames, "proc_exit"].filter((name) => !called.has(name)),
      [],
    );
    assert.equal(callNames.length + 1, 46);
  });

  test("every answer is wasmtime's, or its difference is explained", () => {
    const unexplained = differences.filter(({ name, step, wasmtime, ours }) => {
      const pair = explained.get(`${name} [${step}]`);
      return pair?.[0] !== wasmtime || pair[1] !== ours;
    });
    assert.deepEqual(unexplained, []);
  });

  test("every explained difference still occurs, and has its reason", () => {
    const found = new Set(differences.map(({ name, step }) => `${name} [${step}]`));
    assert.deepEqual(
      [...explained.keys()].filter((key) => !found.has(key)),
      [],
    );
    for (const { why, answers } of explanations) {
      assert.ok(why.length > 20, `no reason for ${Object.keys(answers).join(", ")}`);
    }
  });

  test("no guest ends in a way that the host did not mean", () => {
    const wrong = differences.filter(({ ours }) => /trap|failed|stopped|nothing/.test(ours));
    assert.deepEqual(wrong, []);
  });
});

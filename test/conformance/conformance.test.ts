import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { cases } from "./cases.ts";
import { bare, modules, programs } from "./modules.ts";
import { Ours } from "./ours.ts";
import { compare, readExplanations, readGolden, type Difference } from "./compare.ts";
import { callNames } from "./script.ts";

// Each case is a list of calls that one guest makes in our engine; golden.json has what the same guest was answered in wasmtime, on a
// real directory, and differences.json why an answer of ours is another one. `run.ts` records and explains.

describe("a module that cannot run says why", () => {
  const ours = new Ours();
  after(() => ours[Symbol.asyncDispose]());
  const reasons: Readonly<Record<string, readonly [code: string, message: RegExp]>> = {
    reactor: ["module-entry", /is a reactor: it exports "_initialize" and no "_start"/],
    library: ["module-entry", /exports no function "_start"/],
    "default-export": ["module-entry", /exports no function "_start"/],
    "entry-is-a-global": ["module-entry", /exports no function "_start"/],
    "entry-with-a-parameter": ["module-entry", /"_start" wants parameters/],
    threads: ["module-unsupported", /starts threads: it imports "wasi\.thread-spawn"/],
    "imports-memory": ["module-unsupported", /imports its memory "env\.memory"/],
    "imports-shared-memory": ["module-unsupported", /imports its memory "env\.memory"/],
    "own-shared-memory": ["module-unsupported", /asks for shared memory \(threads\)/],
    "unknown-function": [
      "module-import",
      /"wasi_snapshot_preview1\.fd_fly", which the sandbox does/,
    ],
    "unknown-function-not-called": ["module-import", /fd_fly/],
    "preview-0": ["module-import", /"wasi_unstable\.sched_yield"/],
    "another-result": ["module-import", /signature that is not preview 1's/],
  };
  for (const [name, [code, message]] of Object.entries(reasons)) {
    test(name, async () => {
      const path = modules.find((module) => module.name === `module ${name}`)?.path ?? "";
      const outcome = await ours.run("", bare, { module: path });
      assert.equal(outcome.end, `failed: ${code}`);
      assert.match(outcome.message ?? "", message);
    });
  }
});

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
      [...cases, ...modules, ...programs].map(({ name }) => name).toSorted(),
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
    const wrong = differences.filter(
      ({ ours }) => /trap|failed|stopped|nothing/.test(ours) && !/^trap$/.test(ours),
    );
    assert.deepEqual(wrong, []);
  });
});

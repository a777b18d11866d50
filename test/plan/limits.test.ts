import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Step, Template } from "../../src/document/mod.ts";
import { bundleOf, Drive, leaf, say } from "./drive.ts";

const loop = (count: number): Step[][] => [
  [{ name: "a", template: "leaf", withSequence: { count } }],
];

describe("parallelism", () => {
  test("of a template is how many of its children run at once", () => {
    const drive = new Drive(bundleOf([{ name: "main", parallelism: 2, steps: loop(5) }, leaf()]));
    assert.equal(drive.runs.length, 2);
    assert.deepEqual(drive.planner.state.progress, { done: 0, total: 5 });
    drive.end("wf[0].a(1:1)");
    assert.deepEqual(drive.runs, ["wf[0].a(0:0)", "wf[0].a(2:2)"]);
    drive.finish();
    assert.deepEqual(drive.planner.state.progress, { done: 5, total: 5 });
  });

  test("of the workflow is how many leaves run at once, wherever they are", () => {
    const templates: Template[] = [
      {
        name: "main",
        dag: {
          tasks: [
            { name: "x", template: "in" },
            { name: "y", template: "in" },
          ],
        },
      },
      { name: "in", steps: loop(4) },
      leaf(),
    ];
    const drive = new Drive(bundleOf(templates, { spec: { parallelism: 3 } }));
    assert.equal(drive.runs.length, 3);
    drive.finish(() => {
      assert(drive.running.size <= 3);
      return {};
    });
    assert.equal(drive.works.length, 8);
  });

  test("leaves its place to others while an attempt is waited for", () => {
    const again = leaf("leaf", { retryStrategy: { limit: 1, backoff: { duration: "60" } } });
    const drive = new Drive(bundleOf([{ name: "main", parallelism: 1, steps: loop(2) }, again]));
    drive.end("wf[0].a(0:0)(0)", { phase: "Failed" });
    assert.deepEqual(drive.runs, ["wf[0].a(1:1)(0)"]);
    drive.pass(60_000);
    assert.deepEqual(drive.runs, ["wf[0].a(1:1)(0)"]);
    drive.end("wf[0].a(1:1)(0)");
    assert.deepEqual(drive.runs, ["wf[0].a(0:0)(1)"]);
  });

  test("keeps its place for who holds a lock that the others wait for", () => {
    const again = leaf("leaf", {
      retryStrategy: { limit: 1, backoff: { duration: "60" } },
      synchronization: { mutex: { name: "m" } },
    });
    const drive = new Drive(bundleOf([{ name: "main", parallelism: 1, steps: loop(2) }, again]));
    drive.lock("wf[0].a(0:0)");
    drive.end("wf[0].a(0:0)(0)", { phase: "Failed" });
    assert.equal(drive.find("wf[0].a(1:1)"), undefined);
    drive.pass(60_000);
    drive.end("wf[0].a(0:0)(1)");
    assert.equal(drive.node("wf[0].a(1:1)").phase, "Pending");
  });

  test("with failFast gives up what has not begun after a failure", () => {
    const main: Template = { name: "main", parallelism: 1, failFast: true, steps: loop(5) };
    const drive = new Drive(bundleOf([main, leaf()]));
    drive.end("wf[0].a(0:0)", { phase: "Failed" });
    assert.equal(drive.works.length, 1);
    const message = "template has failed or errored children and failFast enabled";
    assert.deepEqual([drive.node("wf").phase, drive.node("wf").message], ["Failed", message]);
  });
});

describe("locks", () => {
  const mutex = { synchronization: { mutex: { name: "m-{{workflow.name}}" } } };

  test("are asked for before a leaf starts, and given back at its end", () => {
    const drive = new Drive(bundleOf([leaf("main", mutex)]));
    assert.deepEqual(drive.last, [
      { type: "lock", node: "wf", locks: [{ key: "default/Mutex/m-wf", limit: 1 }] },
    ]);
    const { phase, message, waitingFor } = drive.node("wf");
    assert.deepEqual(
      [phase, message, waitingFor],
      ["Pending", "Waiting for default/Mutex/m-wf lock", ["default/Mutex/m-wf"]],
    );
    drive.lock("wf");
    assert.deepEqual(drive.runs, ["wf"]);
    assert.equal(drive.node("wf").message, undefined);
    drive.end("wf", { phase: "Failed" });
    assert.deepEqual(drive.last, [{ type: "unlock", node: "wf" }, { type: "finish" }]);
  });

  test("of the workflow come before everything, and are given back last", () => {
    const spec = { synchronization: { mutexes: [{ name: "one" }, { name: "two" }] } };
    const drive = new Drive(bundleOf([leaf("main")], { spec }));
    assert.deepEqual(drive.names(), []);
    assert.equal(drive.planner.state.phase, "Pending");
    drive.lock("");
    drive.end("wf");
    assert.deepEqual(drive.last, [{ type: "unlock", node: "" }, { type: "finish" }]);
  });

  test("that count take their limit from a ConfigMap", () => {
    const semaphores = [{ configMapKeyRef: { name: "limits", key: "wide" } }];
    const main = leaf("main", { synchronization: { semaphores } });
    const drive = new Drive(bundleOf([main], { configMaps: { limits: { wide: "3" } } }));
    assert.deepEqual(drive.last, [
      { type: "lock", node: "wf", locks: [{ key: "default/ConfigMap/limits/wide", limit: 3 }] },
    ]);
    const missing = new Drive(bundleOf([main]));
    assert.equal(
      missing.planner.state.message,
      "Failed to get semaphore limit for default/ConfigMap/limits/wide",
    );
  });

  test("are held over all attempts", () => {
    const drive = new Drive(bundleOf([leaf("main", { ...mutex, retryStrategy: { limit: 1 } })]));
    drive.lock("wf");
    drive.end("wf(0)", { phase: "Failed" });
    drive.end("wf(1)");
    assert.deepEqual(
      drive.effects.map((effect) => effect.type),
      ["lock", "start", "start", "unlock", "finish"],
    );
  });

  test("that what is around holds already are an error, not a wait without end", () => {
    const main: Template = { name: "main", steps: [[{ name: "a", template: "leaf" }]], ...mutex };
    const drive = new Drive(bundleOf([main, leaf("leaf", mutex)]));
    drive.lock("wf");
    assert.match(drive.node("wf[0].a").message ?? "", /held by what this is part of/);
    assert.equal(drive.planner.state.phase, "Failed");
  });

  test("are withdrawn by a stop, and given back when they come after it", () => {
    const drive = new Drive(bundleOf([leaf("main", mutex)]));
    drive.shutdown("Stop");
    assert.deepEqual(drive.last, [{ type: "unlock", node: "wf" }, { type: "finish" }]);
    drive.lock("wf");
    assert.deepEqual(drive.last, [{ type: "unlock", node: "wf" }]);
  });
});

describe("memoize", () => {
  const memoize = {
    key: "k-{{inputs.parameters.text}}",
    maxAge: "1h",
    cache: { configMap: { name: "c" } },
  };
  const outputs = { parameters: [], artifacts: [], result: "old" };

  test("takes remembered outputs instead of running", () => {
    const drive = new Drive(bundleOf([say("main", { memoize })]));
    assert.deepEqual(drive.last, [
      { type: "recall", node: "wf", cache: "c", key: "k-", maxAgeMs: 3_600_000 },
    ]);
    drive.recall("wf", outputs);
    assert.deepEqual(drive.last, [{ type: "finish" }]);
    assert.equal(drive.node("wf").memoized, true);
    assert.equal(drive.planner.state.outputs.result, "old");
  });

  test("remembers what succeeded, with its result", () => {
    const drive = new Drive(bundleOf([say("main", { memoize })]));
    drive.recall("wf", null);
    assert.equal(drive.works[0]?.outputs.result, true);
    drive.end("wf", { result: "new" });
    assert.deepEqual(drive.last[0], {
      type: "remember",
      node: "wf",
      cache: "c",
      key: "k-",
      outputs: { result: "new", exitCode: 0, parameters: [], artifacts: [] },
    });
    const failed = new Drive(bundleOf([say("main", { memoize })]));
    failed.recall("wf", null);
    failed.end("wf", { phase: "Failed" });
    assert.deepEqual(failed.last, [{ type: "finish" }]);
  });

  test("is also of templates of steps", () => {
    const main: Template = { name: "main", steps: [[{ name: "a", template: "leaf" }]] };
    const drive = new Drive(bundleOf([{ ...main, memoize: { ...memoize, key: "all" } }, leaf()]));
    drive.recall("wf", outputs);
    assert.deepEqual(drive.tree, ["- Steps Succeeded"]);
  });

  test("refuses a key that Argo refuses", () => {
    const drive = new Drive(bundleOf([say("main", { memoize: { ...memoize, key: "a/b" } })]));
    assert.equal(drive.planner.state.message, "invalid cache key: a/b");
  });
});

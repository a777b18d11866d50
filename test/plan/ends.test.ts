import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Step, Template } from "../../src/document/mod.ts";
import { beginning, bundleOf, Drive, leaf, say } from "./drive.ts";

const two: Template = {
  name: "main",
  steps: [[{ name: "a", template: "leaf" }], [{ name: "b", template: "leaf" }]],
};

describe("a stop", () => {
  test("calls off what runs, and runs the exit handler", () => {
    const drive = new Drive(bundleOf([two, leaf(), say()], { spec: { onExit: "say" } }));
    drive.shutdown("Stop");
    const id = drive.node("wf[0].a").id;
    assert.deepEqual(drive.last[0], {
      type: "cancel",
      node: id,
      reason: "Stopped with strategy 'Stop'",
    });
    assert.deepEqual(drive.runs, ["wf.onExit"]);
    drive.end("wf.onExit");
    assert.deepEqual(drive.tree, [
      `- Steps Failed: child '${id}' failed`,
      `[0] StepGroup Failed: child '${id}' failed`,
      "[0].a Plugin Failed: Stopped with strategy 'Stop'",
      ".onExit Plugin Succeeded",
    ]);
    assert.equal(drive.planner.state.message, "Stopped with strategy 'Stop'");
  });

  test("begins nothing any more, in steps, DAGs, loops and retries", () => {
    const templates: Template[] = [
      {
        name: "main",
        parallelism: 1,
        steps: [
          [
            { name: "loop", template: "leaf", withSequence: { count: 5 } },
            { name: "graph", template: "graph" },
          ],
        ],
      },
      { name: "graph", dag: { tasks: [{ name: "x", template: "leaf" }] } },
      leaf("leaf", { retryStrategy: { limit: 5 } }),
    ];
    const drive = new Drive(bundleOf(templates));
    drive.shutdown("Stop");
    assert.equal(drive.works.length, 1);
    assert.equal(drive.planner.state.phase, "Failed");
    assert.equal(drive.node("wf[0].loop(0:0)").message, "Stopped with strategy 'Stop'");
    assert.equal(drive.find("wf[0].loop(0:0)(1)"), undefined);
  });

  test("as Terminate also ends exit handlers", () => {
    const drive = new Drive(bundleOf([two, leaf(), say()], { spec: { onExit: "say" } }));
    drive.shutdown("Terminate");
    assert.deepEqual(drive.runs, []);
    assert.equal(drive.planner.state.message, "Stopped with strategy 'Terminate'");
    const late = new Drive(bundleOf([two, leaf(), say()], { spec: { onExit: "say" } }));
    late.shutdown("Stop");
    late.shutdown("Terminate");
    assert.equal(late.node("wf.onExit").phase, "Failed");
    assert.equal(late.planner.state.phase, "Failed");
  });

  test("leaves what ends afterwards without effect", () => {
    const drive = new Drive(bundleOf([two, leaf()]));
    const [work] = drive.works;
    drive.shutdown("Terminate");
    const result = { phase: "Succeeded", outputs: { parameters: [], artifacts: [] } } as const;
    const timings = {
      queueMs: 0,
      pullMs: 0,
      compileMs: 0,
      instantiateMs: 0,
      runMs: 0,
      artifactsMs: 0,
    };
    const effects = drive.apply({
      type: "ended",
      at: drive.at,
      node: work?.node ?? "",
      attempt: 0,
      startedAt: drive.at,
      result: { ...result, timings },
    });
    assert.deepEqual(effects, []);
    assert.equal(drive.node("wf[0].a").phase, "Failed");
  });
});

describe("deadlines", () => {
  test("a leaf's timeout counts from when its node is there", () => {
    const drive = new Drive(bundleOf([leaf("main", { timeout: "10s" })]));
    assert.equal(drive.works[0]?.deadlineAt, beginning + 10_000);
    drive.pass(9999);
    assert.equal(drive.node("wf").phase, "Running");
    drive.pass(1);
    assert.deepEqual([drive.node("wf").phase, drive.node("wf").message], ["Failed", "timeout"]);
    assert.deepEqual(
      drive.last.map((effect) => effect.type),
      ["cancel", "finish"],
    );
  });

  test("activeDeadlineSeconds of a template is the shorter one of both", () => {
    const drive = new Drive(bundleOf([leaf("main", { timeout: "10s", activeDeadlineSeconds: 5 })]));
    assert.equal(drive.works[0]?.deadlineAt, beginning + 5000);
    drive.pass(5000);
    const message = "Pod was active on the node longer than the specified deadline";
    assert.equal(drive.node("wf").message, message);
  });

  test("of the workflow ends everything but exit handlers", () => {
    const templates: Template[] = [
      { name: "main", dag: { tasks: [], failFast: false } },
      leaf(),
      say(),
      { name: "wait", suspend: {} },
    ];
    const tasks: Step[] = [
      { name: "a", template: "leaf" },
      { name: "b", template: "wait" },
      { name: "c", template: "again" },
    ];
    templates[0] = { name: "main", dag: { tasks, failFast: false } };
    templates.push(leaf("again", { retryStrategy: { limit: 3, backoff: { duration: "1h" } } }));
    const spec = { activeDeadlineSeconds: 60, onExit: "say" };
    const drive = new Drive(bundleOf(templates, { spec }));
    assert.equal(drive.works[0]?.deadlineAt, beginning + 60_000);
    drive.end("wf.c(0)", { phase: "Failed" });
    drive.pass(60_000);
    assert.deepEqual(drive.tree.slice(0, 5), [
      "- DAG Failed",
      ".a Plugin Failed: Step exceeded its deadline",
      ".b Suspend Failed: Step exceeded its deadline",
      ".c Retry Failed: retry exceeded workflow deadline 2026-01-02 03:05:05 +0000 UTC",
      ".c(0) Plugin Failed: Error (exit code 1)",
    ]);
    assert.equal(drive.works.at(-1)?.nodeName, "wf.onExit");
    assert.equal(drive.works.at(-1)?.deadlineAt, undefined);
    drive.pass(3_600_000);
    assert.deepEqual(drive.runs, ["wf.onExit"]);
  });

  test("a success that is told late is still a success", () => {
    const drive = new Drive(bundleOf([leaf("main", { timeout: "10s" })]));
    drive.at += 12_000;
    drive.end("wf");
    assert.equal(drive.planner.state.phase, "Succeeded");
  });
});

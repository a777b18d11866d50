import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Step, Template } from "../../src/document/mod.ts";
import { bundleOf, Drive, leaf, say } from "./drive.ts";

const text = (value: string) => ({ parameters: [{ name: "text", value }] });

describe("exit handlers of the workflow", () => {
  test("run at the end, and know how it ended", () => {
    const bye = say("bye", {
      wasm: { module: "m.wasm", args: ["{{workflow.status}} {{workflow.failures}}"] },
    });
    for (const phase of ["Succeeded", "Failed", "Error"] as const) {
      const drive = new Drive(bundleOf([leaf("main"), bye], { spec: { onExit: "bye" } }));
      drive.end("wf", { phase, message: "why" });
      const said = String(drive.said("wf.onExit"));
      assert.equal(said.split(" ")[0], phase);
      const failures: unknown = JSON.parse(JSON.parse(said.slice(phase.length + 1)));
      const expected = {
        displayName: "wf",
        message: "why",
        templateName: "main",
        phase,
        podName: "wf",
        finishedAt: "2026-01-02T03:04:05Z",
      };
      assert.deepEqual(failures, phase === "Succeeded" ? null : [expected]);
      assert.equal(drive.planner.state.phase, "Running");
      drive.end("wf.onExit");
      assert.equal(drive.planner.state.phase, phase);
    }
  });

  test("that fail make a run fail that had succeeded", () => {
    const drive = new Drive(bundleOf([leaf("main"), leaf("bye")], { spec: { onExit: "bye" } }));
    drive.end("wf");
    drive.end("wf.onExit", { phase: "Failed", message: "bye failed" });
    assert.deepEqual(
      [drive.planner.state.phase, drive.planner.state.message],
      ["Failed", "bye failed"],
    );
  });

  test("get the arguments of the workflow unless they have their own", () => {
    const spec = {
      arguments: text("given"),
      hooks: { exit: { template: "say", arguments: text("own {{workflow.status}}") } },
    };
    const own = new Drive(bundleOf([leaf("main"), say()], { spec }));
    own.end("wf");
    assert.equal(own.said("wf.onExit"), "own Succeeded");
    const plain = new Drive(
      bundleOf([leaf("main"), say()], { spec: { arguments: text("given"), onExit: "say" } }),
    );
    plain.end("wf");
    assert.equal(plain.said("wf.onExit"), "given");
  });
});

describe("hooks of the workflow", () => {
  test("run when their expression becomes true, once, and are waited for before the exit handler", () => {
    const hooks = {
      exit: { template: "say", arguments: text("exit") },
      running: { template: "say", expression: 'workflow.status == "Running"' },
      failed: { template: "say", expression: 'workflow.status == "Failed"' },
      good: { template: "say", expression: 'workflow.status == "Succeeded"' },
    };
    const drive = new Drive(bundleOf([leaf("main"), say()], { spec: { hooks } }));
    assert.deepEqual(drive.runs, ["wf.hooks.running", "wf"]);
    drive.end("wf", { phase: "Failed" });
    assert.deepEqual(drive.runs, ["wf.hooks.running", "wf.hooks.failed"]);
    drive.end("wf.hooks.running");
    drive.end("wf.hooks.failed", { phase: "Failed" });
    assert.deepEqual(drive.runs, ["wf.onExit"]);
    drive.end("wf.onExit");
    assert.equal(drive.planner.state.phase, "Failed");
  });
});

describe("hooks of a step", () => {
  const main = (step: Partial<Step>): Template => ({
    name: "main",
    steps: [[{ name: "a", template: "leaf", ...step }], [{ name: "b", template: "leaf" }]],
  });

  test("run before the next group, and do not make anything fail", () => {
    const drive = new Drive(bundleOf([main({ onExit: "say" }), leaf(), say()]));
    drive.end("wf[0].a");
    assert.deepEqual(drive.runs, ["wf[0].a.onExit"]);
    assert.equal(drive.node("wf[0].a.onExit").displayName, "a.onExit");
    drive.end("wf[0].a.onExit", { phase: "Failed" });
    assert.deepEqual(drive.runs, ["wf[1].b"]);
    assert.deepEqual(drive.node("wf[0].a").children, [drive.node("wf[0].a.onExit").id]);
  });

  test("know the outputs of their step", () => {
    const hooks = {
      exit: {
        template: "say",
        arguments: text("{{steps.a.outputs.result}} {{steps.a.status}}"),
        expression: "steps.a.outputs.result == 'r'",
      },
    };
    const drive = new Drive(bundleOf([main({ hooks }), leaf(), say()]));
    assert.equal(drive.works[0]?.outputs.result, true);
    drive.end("wf[0].a", { result: "r" });
    assert.equal(drive.said("wf[0].a.onExit"), "r Succeeded");
    const other = new Drive(bundleOf([main({ hooks }), leaf(), say()]));
    other.end("wf[0].a", { result: "s" });
    assert.deepEqual(other.runs, ["wf[1].b"]);
  });

  test("with an expression run beside their step", () => {
    const hooks = {
      running: { template: "say", expression: 'steps.a.status == "Running"' },
      failed: { template: "say", expression: 'steps["a"].status == "Failed"' },
    };
    const drive = new Drive(bundleOf([main({ hooks }), leaf(), say()]));
    assert.deepEqual(drive.runs.toSorted(), ["wf[0].a", "wf[0].a.hooks.running"]);
    drive.end("wf[0].a", { phase: "Failed" });
    drive.finish();
    assert.equal(drive.node("wf[0].a.hooks.failed").phase, "Succeeded");
    assert.equal(drive.planner.state.phase, "Failed");
  });

  test("are those of each round of a loop, in steps", () => {
    const drive = new Drive(bundleOf([main({ onExit: "say", withItems: [1, 2] }), leaf(), say()]));
    drive.end("wf[0].a(0:1)");
    assert.deepEqual(drive.runs, ["wf[0].a(1:2)", "wf[0].a(0:1).onExit"]);
  });

  test("of a DAG task hold up what waits for it", () => {
    const tasks = [
      { name: "a", template: "leaf", onExit: "say" },
      { name: "b", template: "leaf", dependencies: ["a"] },
    ];
    const drive = new Drive(bundleOf([{ name: "main", dag: { tasks } }, leaf(), say()]));
    drive.end("wf.a");
    assert.deepEqual(drive.runs, ["wf.a.onExit"]);
    drive.end("wf.a.onExit");
    assert.deepEqual(drive.runs, ["wf.b"]);
  });

  test("do not run for a step that was left out", () => {
    const drive = new Drive(bundleOf([main({ onExit: "say", when: "a == b" }), leaf(), say()]));
    assert.deepEqual(drive.runs, ["wf[1].b"]);
  });

  test("with an expression that is none are an error of the hook", () => {
    const hooks = { odd: { template: "say", expression: "steps.a.status" } };
    const drive = new Drive(bundleOf([main({ hooks }), leaf(), say()]));
    assert.match(drive.node("wf[0].a.hooks.odd").message ?? "", /to bool$/);
    drive.finish();
    assert.equal(drive.planner.state.phase, "Succeeded");
  });
});

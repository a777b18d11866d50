import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Dag, Step, Template } from "../../src/document/mod.ts";
import { bundleOf, Drive, leaf, say } from "./drive.ts";

function dag(tasks: readonly Step[], more: Partial<Dag> = {}, template: Partial<Template> = {}) {
  return new Drive(
    bundleOf([{ name: "main", dag: { tasks, ...more }, ...template }, leaf(), say()]),
  );
}

const task = (name: string, more: Partial<Step> = {}): Step => ({
  name,
  template: "leaf",
  ...more,
});

describe("dag", () => {
  test("a task begins when all that it waits for has succeeded", () => {
    const drive = dag([
      task("d", { dependencies: ["b", "c"] }),
      task("a"),
      task("b", { dependencies: ["a"] }),
      task("c", { dependencies: ["a"] }),
    ]);
    assert.deepEqual(drive.runs, ["wf.a"]);
    drive.end("wf.a");
    assert.deepEqual(drive.runs, ["wf.b", "wf.c"]);
    drive.end("wf.c");
    assert.deepEqual(drive.runs, ["wf.b"]);
    drive.end("wf.b");
    drive.end("wf.d");
    assert.equal(drive.planner.state.phase, "Succeeded");
  });

  test("what waits for a failure is omitted", () => {
    const drive = dag([
      task("a"),
      task("b", { dependencies: ["a"] }),
      task("c", { dependencies: ["b"] }),
    ]);
    drive.end("wf.a", { phase: "Failed" });
    assert.deepEqual(drive.tree, [
      "- DAG Failed",
      ".a Plugin Failed: Error (exit code 1)",
      ".b Skipped Omitted: omitted: depends condition not met",
      ".c Skipped Omitted: omitted: depends condition not met",
    ]);
    assert.equal(drive.planner.state.phase, "Failed");
  });

  test("depends tells how a task has to end", () => {
    const tasks = [
      task("a"),
      task("good", { depends: "a.Succeeded" }),
      task("bad", { depends: "a.Failed" }),
      task("worse", { depends: "a.Errored" }),
      task("any", { depends: "good || bad || worse" }),
    ];
    const drive = dag(tasks);
    drive.end("wf.a", { phase: "Failed" });
    assert.deepEqual(drive.runs, ["wf.bad"]);
    drive.end("wf.bad");
    drive.end("wf.any");
    // The omitted task passes the failure on, and none of the targets is one of them.
    assert.equal(drive.planner.state.phase, "Succeeded");
  });

  test("after a target has failed no further task begins", () => {
    const tasks = [task("a"), task("b"), task("c", { dependencies: ["b"] })];
    const drive = dag(tasks);
    drive.end("wf.a", { phase: "Failed" });
    assert.deepEqual(drive.runs, ["wf.b"]);
    drive.end("wf.b");
    assert.equal(drive.planner.state.phase, "Failed");
    assert.equal(drive.find("wf.c"), undefined);
    const patient = dag(tasks, { failFast: false });
    patient.end("wf.a", { phase: "Error" });
    patient.end("wf.b");
    patient.end("wf.c");
    assert.equal(patient.planner.state.phase, "Error");
  });

  test("only what the target needs runs", () => {
    const drive = dag(
      [task("a"), task("b", { dependencies: ["a"] }), task("c", { dependencies: ["a"] })],
      { target: "b" },
    );
    drive.finish();
    assert.deepEqual(drive.names(), ["wf", "wf.a", "wf.b"]);
  });

  test("continueOn counts for what depends on it and for the DAG", () => {
    const drive = dag([
      task("a", { continueOn: { failed: true } }),
      task("b", { dependencies: ["a"], continueOn: { failed: true } }),
    ]);
    drive.end("wf.a", { phase: "Failed" });
    drive.end("wf.b", { phase: "Failed" });
    assert.equal(drive.planner.state.phase, "Succeeded");
  });

  test("a task reads only what it waits for", () => {
    const value = "{{tasks.a.outputs.result}}";
    const reads = { template: "say", arguments: { parameters: [{ name: "text", value }] } };
    const drive = dag([
      task("a"),
      task("b", { dependencies: ["a"] }),
      task("far", { dependencies: ["b"], ...reads }),
      task("other"),
      task("stranger", { dependencies: ["other"], ...reads }),
    ]);
    drive.end("wf.a", { result: "r" });
    drive.end("wf.b");
    assert.equal(drive.said("wf.far"), "r");
    drive.end("wf.other");
    assert.equal(drive.node("wf.stranger").phase, "Error");
  });

  test("a loop is a group of rounds, and its outputs are lists", () => {
    const drive = dag([
      task("a", { withItems: ["x", "y"], template: "say" }),
      task("b", {
        dependencies: ["a"],
        template: "say",
        arguments: { parameters: [{ name: "text", value: "{{tasks.a.outputs.result}}" }] },
      }),
    ]);
    assert.deepEqual(drive.tree, [
      "- DAG Running",
      ".a TaskGroup Running",
      ".a(0:x) Plugin Running",
      ".a(1:y) Plugin Running",
    ]);
    drive.end("wf.a(1:y)", { result: "no json" });
    drive.end("wf.a(0:x)", { result: "1" });
    assert.equal(drive.said("wf.b"), '[1,"no json"]');
  });

  test("AnySucceeded and AllFailed are about the rounds of a loop", () => {
    const tasks = [
      task("a", { withItems: [1, 2] }),
      task("some", { depends: "a.AnySucceeded" }),
      task("none", { depends: "a.AllFailed" }),
    ];
    const mixed = dag(tasks);
    mixed.end("wf.a(0:1)", { phase: "Failed" });
    mixed.end("wf.a(1:2)");
    assert.deepEqual(mixed.runs, ["wf.some"]);
    const failed = dag(tasks);
    failed.finish((work) => ({ phase: work.nodeName.startsWith("wf.a") ? "Failed" : "Succeeded" }));
    assert.equal(failed.node("wf.none").phase, "Succeeded");
    assert.equal(failed.node("wf.some").phase, "Omitted");
  });

  test("tasks that wait for each other are an error of the DAG", () => {
    const drive = dag([task("a", { dependencies: ["b"] }), task("b", { dependencies: ["a"] })]);
    assert.equal(drive.planner.state.phase, "Error");
    assert.match(drive.planner.state.message ?? "", /circle/);
  });
});

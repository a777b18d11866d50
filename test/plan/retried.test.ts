import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Step, Template } from "../../src/document/mod.ts";
import { bundleOf, Drive, leaf, say } from "./drive.ts";

function again(
  drive: Drive,
  options: {
    readonly nodes?: readonly string[];
    readonly parameters?: Record<string, string>;
  } = {},
): void {
  drive.at += 1000;
  drive.apply({
    type: "retried",
    at: drive.at,
    restartSuccessful: options.nodes !== undefined,
    nodes: (options.nodes ?? []).map((name) => drive.node(name).id),
    parameters: options.parameters ?? {},
  });
}

const fail =
  (...names: readonly string[]) =>
  (work: { readonly nodeName: string }) =>
    ({ phase: names.includes(work.nodeName) ? "Failed" : "Succeeded" }) as const;

describe("a run that is taken up again", () => {
  const steps: Step[][] = [
    [
      { name: "a", template: "leaf" },
      { name: "b", template: "leaf" },
    ],
    [
      { name: "c", template: "leaf" },
      { name: "d", template: "leaf" },
    ],
    [{ name: "e", template: "leaf" }],
  ];

  test("runs what failed and what comes after it, and nothing else", () => {
    const drive = new Drive(bundleOf([{ name: "main", steps }, leaf()]));
    drive.finish(fail("wf[1].c"));
    assert.equal(drive.planner.state.phase, "Failed");
    const kept = drive.node("wf[1].d").finishedAt;
    again(drive);
    assert.equal(drive.planner.state.phase, "Running");
    assert.deepEqual(drive.runs, ["wf[1].c"]);
    assert.equal(drive.works.at(-1)?.attempt, 1);
    drive.finish();
    assert.equal(drive.planner.state.phase, "Succeeded");
    assert.equal(drive.node("wf[1].d").finishedAt, kept);
    assert.equal(drive.node("wf[2].e").phase, "Succeeded");
    assert.deepEqual(drive.planner.state.progress, { done: 5, total: 5 });
  });

  test("keeps the tasks of a DAG that succeeded, and their outputs", () => {
    const tasks: Step[] = [
      { name: "a", template: "leaf" },
      {
        name: "b",
        template: "say",
        dependencies: ["a"],
        arguments: { parameters: [{ name: "text", value: "{{tasks.a.outputs.result}}" }] },
      },
      { name: "c", template: "leaf", dependencies: ["b"] },
    ];
    const drive = new Drive(bundleOf([{ name: "main", dag: { tasks } }, leaf(), say()]));
    drive.end("wf.a", { result: "r" });
    drive.end("wf.b", { phase: "Failed" });
    assert.equal(drive.node("wf.c").phase, "Omitted");
    again(drive);
    assert.deepEqual([drive.runs, drive.said("wf.b")], [["wf.b"], "r"]);
    drive.finish();
    assert.equal(drive.node("wf.c").phase, "Succeeded");
    assert.equal(drive.planner.state.phase, "Succeeded");
  });

  test("goes down into what is nested, and keeps the rounds of a loop that were well", () => {
    const main: Template = { name: "main", dag: { tasks: [{ name: "x", template: "in" }] } };
    const within: Template = {
      name: "in",
      dag: { tasks: [{ name: "l", template: "leaf", withItems: [0, 1, 2] }] },
    };
    const drive = new Drive(bundleOf([main, within, leaf()]));
    drive.finish(fail("wf.x.l(1:1)"));
    again(drive);
    assert.deepEqual(drive.runs, ["wf.x.l(1:1)"]);
    drive.finish();
    assert.equal(drive.planner.state.phase, "Succeeded");
  });

  test("does not try again a failure that others lived with", () => {
    const tasks: Step[] = [
      { name: "a", template: "leaf" },
      { name: "rescue", template: "leaf", depends: "a.Failed" },
      { name: "b", template: "leaf" },
    ];
    const drive = new Drive(bundleOf([{ name: "main", dag: { tasks } }, leaf()]));
    drive.finish(fail("wf.a", "wf.b"));
    again(drive);
    assert.deepEqual(drive.runs, ["wf.b"]);
  });

  test("begins attempts anew", () => {
    const drive = new Drive(bundleOf([leaf("main", { retryStrategy: { limit: 1 } })]));
    drive.finish(() => ({ phase: "Failed" }));
    again(drive);
    assert.deepEqual(drive.runs, ["wf(0)"]);
    drive.end("wf(0)");
    assert.deepEqual(drive.tree, ["- Retry Succeeded", "(0) Plugin Succeeded"]);
  });

  test("runs its exit handler again", () => {
    const drive = new Drive(bundleOf([leaf("main"), say()], { spec: { onExit: "say" } }));
    drive.finish(fail("wf"));
    again(drive);
    drive.finish();
    assert.deepEqual(
      drive.works.map((work) => work.nodeName),
      ["wf", "wf.onExit", "wf", "wf.onExit"],
    );
  });

  test("runs named nodes although they succeeded, and what comes after them", () => {
    const drive = new Drive(bundleOf([{ name: "main", steps }, leaf()]));
    drive.finish();
    again(drive);
    assert.deepEqual(drive.runs, []);
    assert.equal(drive.planner.state.phase, "Succeeded");
    again(drive, { nodes: ["wf[1].d"] });
    assert.deepEqual(drive.runs, ["wf[1].d"]);
    assert.equal(drive.find("wf[2].e"), undefined);
    drive.finish();
    assert.equal(drive.planner.state.phase, "Succeeded");
  });

  test("takes new parameters", () => {
    const spec = { arguments: { parameters: [{ name: "p", value: "old" }] } };
    const main = leaf("main", { wasm: { module: "m.wasm", args: ["{{workflow.parameters.p}}"] } });
    const drive = new Drive(bundleOf([main], { spec }));
    assert.equal(drive.said("wf"), "old");
    drive.end("wf", { phase: "Failed" });
    again(drive, { parameters: { p: "new" } });
    assert.equal(drive.said("wf"), "new");
  });

  test("ignores the end of work that began before", () => {
    const drive = new Drive(bundleOf([leaf("main", { timeout: "5s" })]));
    const [work] = drive.works;
    drive.pass(5000);
    again(drive);
    const timings = {
      queueMs: 0,
      pullMs: 0,
      compileMs: 0,
      instantiateMs: 0,
      runMs: 0,
      artifactsMs: 0,
    };
    drive.apply({
      type: "ended",
      at: drive.at,
      node: "wf",
      attempt: work?.attempt ?? 0,
      startedAt: drive.at,
      result: { phase: "Succeeded", outputs: { parameters: [], artifacts: [] }, timings },
    });
    assert.equal(drive.node("wf").phase, "Running");
    drive.end("wf");
    assert.equal(drive.planner.state.phase, "Succeeded");
  });
});

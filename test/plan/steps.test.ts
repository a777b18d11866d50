import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bundleOf, Drive, leaf, say } from "./drive.ts";

describe("steps", () => {
  const template = {
    name: "main",
    steps: [
      [
        { name: "a", template: "leaf" },
        { name: "b", template: "leaf" },
      ],
      [{ name: "c", template: "leaf" }],
    ],
  };

  test("groups run one after the other, the steps of a group at once", () => {
    const drive = new Drive(bundleOf([template, leaf()]));
    assert.deepEqual(drive.runs, ["wf[0].a", "wf[0].b"]);
    drive.end("wf[0].b");
    assert.deepEqual(drive.runs, ["wf[0].a"]);
    drive.end("wf[0].a");
    assert.deepEqual(drive.runs, ["wf[1].c"]);
    drive.end("wf[1].c");
    assert.deepEqual(drive.last.at(-1), { type: "finish" });
    assert.equal(drive.planner.state.phase, "Succeeded");
    assert.deepEqual(drive.tree, [
      "- Steps Succeeded",
      "[0] StepGroup Succeeded",
      "[0].a Plugin Succeeded",
      "[0].b Plugin Succeeded",
      "[1] StepGroup Succeeded",
      "[1].c Plugin Succeeded",
    ]);
  });

  test("nodes have the ids and display names that Argo gives them", () => {
    // As Argo's controller made them, see test/workflows/steps-parallel.json.
    const steps = [[{ name: "left", template: "leaf" }]];
    const bundle = bundleOf([{ name: "main", steps }, leaf()]);
    const drive = new Drive(bundle, { name: "steps-parallel" });
    const node = drive.node("steps-parallel[0].left");
    assert.equal(node.id, "steps-parallel-281025441");
    assert.equal(node.displayName, "left");
    assert.equal(node.boundary, "steps-parallel");
    assert.equal(node.template, "leaf");
    assert.equal(drive.node("steps-parallel[0]").displayName, "[0]");
    assert.equal(drive.node("steps-parallel").displayName, "steps-parallel");
  });

  test("a failed step lets its group end and nothing more begin", () => {
    const drive = new Drive(bundleOf([template, leaf()]));
    drive.end("wf[0].a", { phase: "Failed", exitCode: 3 });
    assert.deepEqual(drive.runs, ["wf[0].b"]);
    drive.end("wf[0].b");
    const message = `child '${drive.node("wf[0].a").id}' failed`;
    assert.deepEqual(drive.tree, [
      `- Steps Failed: ${message}`,
      `[0] StepGroup Failed: ${message}`,
      "[0].a Plugin Failed: Error (exit code 3)",
      "[0].b Plugin Succeeded",
    ]);
    assert.equal(drive.planner.state.message, message);
  });

  test("continueOn forgives a failure, and an error only when it says so", () => {
    const forgiving = (phase: "Failed" | "Error") => {
      const step = { name: "a", template: "leaf", continueOn: { failed: true } };
      const steps = [[step], [{ name: "b", template: "leaf" }]];
      const drive = new Drive(bundleOf([{ name: "main", steps }, leaf()]));
      drive.end("wf[0].a", { phase });
      return drive.runs;
    };
    assert.deepEqual(forgiving("Failed"), ["wf[1].b"]);
    assert.deepEqual(forgiving("Error"), []);
  });

  test("outputs of a step are inputs of a later one", () => {
    const outputs = { parameters: [{ name: "size", valueFrom: { path: "/tmp/size" } }] };
    const value =
      "{{steps.a.outputs.result}} {{steps.a.outputs.parameters.size}} {{steps.a.exitCode}} {{steps.a.status}} {{steps.a.id}}";
    const steps = [
      [{ name: "a", template: "leaf" }],
      [{ name: "b", template: "say", arguments: { parameters: [{ name: "text", value }] } }],
    ];
    const drive = new Drive(
      bundleOf([
        {
          name: "main",
          steps,
          outputs: {
            parameters: [{ name: "all", valueFrom: { parameter: "{{steps.b.outputs.result}}" } }],
          },
        },
        leaf("leaf", { outputs }),
        say(),
      ]),
    );
    assert.equal(drive.works[0]?.outputs.result, true);
    drive.end("wf[0].a", { result: "r", parameters: { size: "7" } });
    assert.equal(drive.said("wf[1].b"), `r 7 0 Succeeded ${drive.node("wf[0].a").id}`);
    drive.end("wf[1].b", { result: "out" });
    assert.deepEqual(drive.planner.state.outputs, {
      parameters: [{ name: "all", value: "out" }],
      artifacts: [],
    });
  });

  test("a result that nothing reads is not asked for", () => {
    const drive = new Drive(bundleOf([template, leaf()]));
    assert.equal(drive.works[0]?.outputs.result, false);
  });

  test("a tag that nothing is known for is an error of its step, and the others go on", () => {
    const value = "{{steps.nobody.outputs.result}}";
    const steps = [
      [
        { name: "a", template: "say", arguments: { parameters: [{ name: "text", value }] } },
        { name: "b", template: "leaf" },
      ],
    ];
    const drive = new Drive(bundleOf([{ name: "main", steps }, leaf(), say()]));
    assert.deepEqual(drive.runs, ["wf[0].b"]);
    const { phase, type, message, failure } = drive.node("wf[0].a");
    assert.deepEqual([phase, type], ["Error", "Skipped"]);
    assert.match(message ?? "", /steps\.nobody\.outputs\.result/);
    assert.equal(failure?.code, "workflow-invalid");
    drive.end("wf[0].b");
    assert.match(
      drive.planner.state.message ?? "",
      /^step group deemed errored due to child wf\[0\]\.a error: /,
    );
  });

  test("templates call themselves as deep as the ceiling", () => {
    const steps = [[{ name: "again", template: "main" }]];
    const drive = new Drive(bundleOf([{ name: "main", steps }]));
    const { state } = drive.planner;
    assert.equal(state.phase, "Failed");
    const deepest = [...state.nodes.values()].find((node) => node.type === "Skipped");
    assert.equal(deepest?.message, "Maximum recursion depth exceeded");
    assert.equal(deepest?.failure?.code, "limit-plan");
    assert.equal(state.nodes.size, 201);
  });
});

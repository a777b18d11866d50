import assert from "node:assert/strict";
import { test } from "node:test";
import { bundleOf, Drive, say } from "./drive.ts";

test("an inline template knows its own inputs, and what its step knows", () => {
  const inline = {
    inputs: { parameters: [{ name: "own" }] },
    wasm: {
      module: "say.wasm",
      args: [
        "{{inputs.parameters.own}} {{inputs.parameters.outer}} {{item}}",
        "{{steps.first.outputs.result}} {{workflow.priority}}",
      ],
    },
  };
  const main = {
    name: "main",
    inputs: { parameters: [{ name: "outer", value: "o" }] },
    steps: [
      [{ name: "first", template: "say" }],
      [
        {
          name: "second",
          withItems: ["x", "y"],
          arguments: { parameters: [{ name: "own", value: "{{item}}{{item}}" }] },
          inline,
        },
      ],
    ],
  };
  const drive = new Drive(bundleOf([main, say()], { spec: { priority: 3 } }));
  drive.end("wf[0].first", { result: "r" });
  assert.deepEqual(
    [...drive.running.values()].map(({ program }) => program.args),
    [
      ["xx o x", "r 3"],
      ["yy o y", "r 3"],
    ],
  );
});

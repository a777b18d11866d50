import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Step, Template } from "../../src/document/mod.ts";
import { bundleOf, Drive, leaf, say } from "./drive.ts";

const after: Step = {
  name: "after",
  template: "say",
  arguments: {
    parameters: [{ name: "text", value: "{{steps.wait.outputs.parameters.answer}}" }],
  },
};

function waiting(wait: Partial<Template>, next: Step = { name: "after", template: "leaf" }): Drive {
  const steps: Step[][] = [[{ name: "wait", template: "wait" }], [next]];
  return new Drive(
    bundleOf([{ name: "main", steps }, { name: "wait", suspend: {}, ...wait }, leaf(), say()]),
  );
}

describe("suspend templates", () => {
  test("wait until they are resumed", () => {
    const drive = waiting({});
    assert.deepEqual(drive.tree, [
      "- Steps Running",
      "[0] StepGroup Running",
      "[0].wait Suspend Running",
    ]);
    drive.pass(3_600_000);
    drive.resume();
    assert.deepEqual(drive.runs, ["wf[1].after"]);
  });

  test("go on by themselves when their duration is over", () => {
    const drive = waiting({ suspend: { duration: "20" } });
    drive.pass(19_999);
    assert.deepEqual(drive.runs, []);
    drive.pass(1);
    assert.deepEqual(drive.runs, ["wf[1].after"]);
  });

  test("hand on what was supplied, and stay when it is missing", () => {
    const outputs = { parameters: [{ name: "answer", valueFrom: { supplied: {} } }] };
    const drive = waiting({ outputs }, after);
    drive.resume();
    assert.equal(
      drive.node("wf[0].wait").message,
      "raw output parameter 'answer' has not been set and does not have a default value",
    );
    assert.equal(drive.node("wf[0].wait").phase, "Running");
    drive.resume({ answer: "yes" }, "wf[0].wait");
    assert.equal(drive.said("wf[1].after"), "yes");
  });

  test("take defaults, also of the input of the same name", () => {
    const own = { parameters: [{ name: "answer", valueFrom: { supplied: {}, default: "d" } }] };
    const drive = waiting({ suspend: { duration: "1s" }, outputs: own }, after);
    drive.pass(1000);
    assert.equal(drive.said("wf[1].after"), "d");
    const inputs = { parameters: [{ name: "answer", default: "i" }] };
    const bare = { parameters: [{ name: "answer", valueFrom: { supplied: {} } }] };
    const other = waiting({ inputs, outputs: bare }, after);
    other.resume();
    assert.equal(other.said("wf[1].after"), "i");
    const none = waiting({ suspend: { duration: "1s" }, outputs: bare }, after);
    none.pass(1000);
    assert.equal(none.node("wf[0].wait").phase, "Error");
  });
});

describe("a suspended run", () => {
  const steps: Step[][] = [[{ name: "a", template: "leaf" }], [{ name: "b", template: "leaf" }]];
  const templates = [{ name: "main", steps }, leaf()];

  test("lets what runs end and begins nothing", () => {
    const drive = new Drive(bundleOf(templates));
    drive.apply({ type: "suspended", at: drive.at });
    assert.equal(drive.planner.state.suspended, true);
    drive.end("wf[0].a");
    assert.equal(drive.node("wf[0].a").phase, "Succeeded");
    assert.deepEqual(drive.runs, []);
    drive.resume();
    assert.deepEqual(drive.runs, ["wf[1].b"]);
  });

  test("may be so from its beginning", () => {
    const drive = new Drive(bundleOf(templates, { spec: { suspend: true } }));
    assert.deepEqual([drive.runs.length, drive.planner.state.suspended], [0, true]);
    drive.resume();
    drive.finish();
    assert.equal(drive.planner.state.phase, "Succeeded");
  });

  test("stays suspended when single nodes are resumed", () => {
    const drive = waiting({});
    drive.apply({ type: "suspended", at: drive.at });
    drive.resume({}, "wf[0].wait");
    assert.deepEqual(drive.runs, []);
    drive.resume();
    assert.deepEqual(drive.runs, ["wf[1].after"]);
  });

  test("can be stopped", () => {
    const drive = new Drive(bundleOf(templates, { spec: { suspend: true } }));
    drive.shutdown("Stop");
    assert.equal(drive.planner.state.phase, "Failed");
  });
});

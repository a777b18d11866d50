import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { RetryStrategy, Template } from "../../src/document/mod.ts";
import { beginning, bundleOf, Drive, leaf } from "./drive.ts";

function retried(retryStrategy: RetryStrategy, more: Partial<Template> = {}): Drive {
  return new Drive(bundleOf([leaf("main", { retryStrategy, ...more })]));
}

describe("retryStrategy", () => {
  test("tries again up to its limit, each attempt a node of its own", () => {
    const drive = retried({ limit: "2" });
    for (const attempt of [0, 1, 2]) drive.end(`wf(${attempt})`, { phase: "Failed" });
    assert.deepEqual(drive.tree, [
      "- Retry Failed: No more retries left",
      "(0) Plugin Failed: Error (exit code 1)",
      "(1) Plugin Failed: Error (exit code 1)",
      "(2) Plugin Failed: Error (exit code 1)",
    ]);
    const good = retried({ limit: 2 });
    good.end("wf(0)", { phase: "Failed" });
    good.end("wf(1)", { result: "r" });
    assert.equal(good.planner.state.phase, "Succeeded");
    assert.equal(good.node("wf").outputs?.result, "r");
  });

  test("retries what its policy says", () => {
    const again = (
      retryPolicy: RetryStrategy["retryPolicy"],
      phase: "Failed" | "Error",
      message?: string,
    ) => {
      const drive = retried({ limit: 1, ...(retryPolicy ? { retryPolicy } : {}) });
      drive.end("wf(0)", { phase, ...(message === undefined ? {} : { message }) });
      return drive.runs.length === 1;
    };
    assert.deepEqual([again("Always", "Failed"), again("Always", "Error")], [true, true]);
    assert.deepEqual([again("OnError", "Failed"), again("OnError", "Error")], [false, true]);
    assert.deepEqual([again("OnFailure", "Failed"), again("OnFailure", "Error")], [true, false]);
    assert.deepEqual([again(undefined, "Failed"), again(undefined, "Error")], [true, false]);
    assert.equal(again("OnTransientError", "Error", "read: connection reset by peer"), true);
    assert.equal(again("OnTransientError", "Error", "no such file"), false);
  });

  test("a transient error is also what the table of failures says may pass", () => {
    const drive = retried({ limit: 1, retryPolicy: "OnTransientError" });
    drive.end("wf(0)", { phase: "Error", retryable: true });
    assert.deepEqual(drive.runs, ["wf(1)"]);
    drive.end("wf(1)", { phase: "Error", retryable: false });
    assert.equal(drive.planner.state.phase, "Error");
  });

  test("waits longer each time, up to its cap", () => {
    const drive = retried({ limit: 4, backoff: { duration: "10", factor: 2, cap: "30s" } });
    const waits: number[] = [];
    for (const attempt of [0, 1, 2]) {
      drive.end(`wf(${attempt})`, { phase: "Failed" });
      const wake = drive.last.find((effect) => effect.type === "wake");
      waits.push((wake?.at ?? 0) - drive.at);
      if (attempt === 0) assert.equal(drive.node("wf").message, "Backoff for 10 seconds");
      assert.deepEqual(drive.runs, []);
      drive.pass(30_000);
    }
    assert.deepEqual(waits, [10_000, 20_000, 30_000]);
    assert.deepEqual(drive.runs, ["wf(3)"]);
    assert.equal(drive.node("wf").message, undefined);
  });

  test("gives up when the time for all attempts is over, or would be", () => {
    const backoff = { duration: "10", factor: 1, maxDuration: "15s" };
    const futile = retried({ limit: 5, backoff });
    futile.pass(8000);
    futile.end("wf(0)", { phase: "Failed" });
    assert.equal(futile.planner.state.message, "Backoff would exceed max duration limit");
    const late = retried({ limit: 5, backoff });
    assert.equal(late.works[0]?.deadlineAt, beginning + 15_000);
    late.pass(2000);
    late.end("wf(0)", { phase: "Failed" });
    late.pass(13_000);
    assert.equal(late.planner.state.message, "Backoff would exceed max duration limit");
    assert.equal(late.node("wf(1)").message?.startsWith("Pod was active on the node"), true);
  });

  test("asks its expression, which knows how the last attempt ended", () => {
    const expression =
      "asInt(lastRetry.exitCode) > 1 && lastRetry.status == 'Failed' && lastRetry.message matches 'code 2' && asFloat(lastRetry.duration) < 60";
    const drive = retried({ limit: 5, expression });
    drive.end("wf(0)", { phase: "Failed", exitCode: 2 });
    drive.end("wf(1)", { phase: "Failed", exitCode: 1 });
    assert.equal(drive.planner.state.message, "retryStrategy.expression evaluated to false");
  });

  test("tells an attempt its number and how the one before ended", () => {
    const args = ["{{retries}} {{lastRetry.exitCode}} {{lastRetry.status}} {{pod.name}}"];
    const drive = retried({ limit: 1 }, { wasm: { module: "m.wasm", args } });
    assert.equal(drive.said("wf(0)"), `0 0  ${drive.node("wf(0)").id}`);
    drive.end("wf(0)", { phase: "Failed", exitCode: 7 });
    assert.equal(drive.said("wf(1)"), `1 7 Failed ${drive.node("wf(1)").id}`);
  });

  test("is also of templates of steps, and of the whole workflow", () => {
    const main: Template = {
      name: "main",
      retryStrategy: { limit: 1 },
      steps: [[{ name: "a", template: "leaf" }]],
    };
    const drive = new Drive(bundleOf([main, leaf()]));
    drive.end("wf(0)[0].a", { phase: "Failed" });
    assert.deepEqual(drive.runs, ["wf(1)[0].a"]);
    const whole = new Drive(bundleOf([leaf("main")], { spec: { retryStrategy: { limit: 1 } } }));
    whole.end("wf(0)", { phase: "Failed" });
    assert.deepEqual(whole.runs, ["wf(1)"]);
  });

  test("does not try again what cannot be planned", () => {
    const wasm = { module: "m.wasm", args: ["{{nothing.known}}"] };
    const drive = retried({ limit: 5, retryPolicy: "Always" }, { wasm });
    assert.equal(drive.planner.state.phase, "Error");
    assert.deepEqual(drive.names(), ["wf", "wf(0)"]);
  });

  test("without a limit tries 10,000 times", () => {
    const drive = retried({});
    drive.finish(() => ({ phase: "Failed" }));
    assert.equal(drive.planner.state.message, "No more retries left");
    assert.equal(drive.works.length, 10_001);
  });

  test("gives its outputs to later steps, and the id of its last attempt", () => {
    const value = "{{steps.a.outputs.result}} {{steps.a.id}} {{steps.a.status}}";
    const main: Template = {
      name: "main",
      steps: [
        [{ name: "a", template: "again" }],
        [{ name: "b", template: "b", arguments: { parameters: [{ name: "text", value }] } }],
      ],
    };
    const b = leaf("b", {
      inputs: { parameters: [{ name: "text" }] },
      wasm: { module: "m.wasm", args: ["{{inputs.parameters.text}}"] },
    });
    const drive = new Drive(bundleOf([main, leaf("again", { retryStrategy: { limit: 2 } }), b]));
    assert.equal(drive.works[0]?.outputs.result, true);
    drive.end("wf[0].a(0)", { phase: "Failed" });
    drive.end("wf[0].a(1)", { result: "r" });
    assert.equal(drive.said("wf[1].b"), `r ${drive.node("wf[0].a(1)").id} Succeeded`);
  });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Task, TaskResult } from "../task/mod.ts";
import { createLocalDispatcher } from "./mod.ts";

const task: Task = {
  key: "k",
  program: { kind: "wasm", module: { path: "x.wasm" }, arguments: [], limits: {} },
  environment: [],
  inputs: [],
  outputs: { parameters: [], artifacts: [], result: false },
};
const timings = { queueMs: 0, pullMs: 0, compileMs: 0, instantiateMs: 0, runMs: 0, artifactsMs: 0 };
const done: TaskResult = {
  phase: "Succeeded",
  outputs: { parameters: [], artifacts: [] },
  timings,
};

test("the local dispatcher runs at most `capacity` at once, in order, and drops what is aborted while queued", async () => {
  const order: string[] = [];
  let under = 0;
  let most = 0;
  await using dispatcher = createLocalDispatcher({
    capacity: 2,
    runner: {
      async run({ key }) {
        order.push(key);
        most = Math.max(most, ++under);
        await new Promise((resolve) => setImmediate(resolve));
        under -= 1;
        return done;
      },
      async [Symbol.asyncDispose]() {},
    },
  });
  const stopper = new AbortController();
  const keys = ["a", "b", "c", "d", "e"];
  const all = keys.map((key) =>
    dispatcher.dispatch({ ...task, key }, key === "d" ? { signal: stopper.signal } : {}),
  );
  stopper.abort();
  const ends = await Promise.allSettled(all);
  assert.deepEqual(order, ["a", "b", "c", "e"]);
  assert.equal(most, 2);
  assert.equal(ends[3]?.status, "rejected");
});

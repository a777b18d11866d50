import assert from "node:assert/strict";
import { resolve } from "node:path";
import { test } from "node:test";
import { disturb } from "./faults.ts";

test("a workflow whose process is killed at random moments and resumed gives what it gives undisturbed", async () => {
  const seed = Number(process.env["ATALANTA_SEED"] ?? Date.now() % 1_000_000);
  const { kills } = await disturb({
    workflow: ["examples/words/workflow.yaml", "-a", "doc=LICENSE"],
    command: resolve(import.meta.dirname, "../../src/cli/main.ts"),
    runs: 5,
    seed,
  });
  assert.ok(kills.beforeBegin + kills.underWay + kills.afterEnd > 0, `seed ${seed}`);
});

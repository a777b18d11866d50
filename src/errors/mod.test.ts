import assert from "node:assert/strict";
import { test } from "node:test";
import { codes, Failure, toFailure } from "./mod.ts";

test("a failure crosses JSON with its code, its hint and whether a retry helps", () => {
  const failure = new Failure("aborted", "stopped by the caller", { hint: "run it again" });
  assert.deepEqual(JSON.parse(JSON.stringify(failure)), {
    code: "aborted",
    message: "stopped by the caller",
    retryable: true,
    hint: "run it again",
  });
});

test("what has no code is a bug, and keeps its cause", () => {
  const cause = new TypeError("x is undefined");
  const failure = toFailure(cause);
  assert.equal(failure.code, "internal");
  assert.equal(failure.cause, cause);
  assert.equal(toFailure(failure), failure);
});

test("every code has a summary and an HTTP status of its class", () => {
  for (const [code, row] of Object.entries(codes)) {
    assert.ok(row.summary.length > 5, code);
    assert.ok(row.status >= 400 && row.status < 600, code);
  }
});

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, test } from "node:test";
import { readBundle, type Reading } from "../src/document/mod.ts";
import type { Failure } from "../src/errors/mod.ts";

const root = resolve(import.meta.dirname, "..");

function read(text: string): Reading {
  return readBundle([{ file: "w.yaml", text }]);
}

function line({ place, code, message, hint }: Failure): string {
  const hinted = hint === undefined ? "" : ` (${hint})`;
  return `${place?.line}:${place?.column}: ${code}: ${message}${hinted}`;
}

describe("a file with mistakes", () => {
  test("ten mistakes give ten messages in one pass, each with its place and a hint", () => {
    const file = "test/lint/ten-mistakes.yaml";
    const { bundle, problems } = readBundle([
      { file, text: readFileSync(resolve(root, file), "utf8") },
    ]);
    assert.equal(bundle, undefined);
    assert.deepEqual(problems.map(line), [
      '5:15: workflow-invalid: The entrypoint "mian" is no template (Did you mean "main"?)',
      '14:36: workflow-invalid: Template "split-pages" has no input parameter "dpy" (Did you mean "dpi"?)',
      '14:51: workflow-invalid: Nothing is known as "workflow.parameters.dpj" here (Did you mean "workflow.parameters.dpi"?)',
      '17:27: workflow-invalid: Nothing is known as "steps.joined.outputs.result" here (Did you mean "steps.join.outputs.result"?)',
      '18:22: workflow-invalid: Step "join" runs later: nothing of it is known here (Refer to a step of an earlier group.)',
      '20:23: workflow-invalid: There is no template "joyn" (Did you mean "join"?)',
      '21:13: workflow-invalid: Unknown key "argumnets" in step "join" (Did you mean "arguments"?)',
      '27:27: workflow-invalid: memory: "64Mib" is not a size (Write a number of bytes above zero, or a quantity such as "64Mi" or "2G".)',
      '28:7: workflow-unsupported: The key "sidecars" is not supported here (Nothing runs beside the step here. Remove the key.)',
      '32:41: workflow-invalid: path: The path "tmp/../page" is not absolute or leads outside (Write an absolute path without "..", such as /tmp/doc.)',
    ]);
  });
});

describe("good files", () => {
  for (const file of globSync(["examples/*/workflow.yaml", "test/workflows/*.yaml"], {
    cwd: root,
  })) {
    test(`${file} has no mistakes`, () => {
      const { bundle, problems } = read(readFileSync(resolve(root, file), "utf8"));
      assert.deepEqual(problems.map(line), []);
      assert(bundle);
    });
  }
});

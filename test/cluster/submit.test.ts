import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { clusterTests } from "./needed.ts";
import { ClusterSetting } from "./setting.ts";

const program = resolve(import.meta.dirname, "../../src/cli/main.ts");

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe("atalanta submit", clusterTests, () => {
  let setting: ClusterSetting;
  const stack = new AsyncDisposableStack();
  before(async () => {
    setting = stack.use(await ClusterSetting.start());
    stack.use(await setting.controller());
    stack.use(await setting.agent());
  });
  after(() => stack.disposeAsync());

  const submit = (text: string, args: readonly string[] = []): Promise<Ended> => {
    const file = join(mkdtempSync(join(tmpdir(), "atalanta-submit-")), "workflow.yaml");
    writeFileSync(file, text);
    return new Promise((done) => {
      execFile(
        process.execPath,
        [
          "--no-warnings",
          program,
          "submit",
          file,
          "--kubeconfig",
          setting.cluster.kubeconfig,
          ...args,
        ],
        (error, stdout, stderr) => done({ code: Number(error?.code ?? 0), stdout, stderr }),
      );
    });
  };

  const workflow = (args: string): string => `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: said-}
spec:
  entrypoint: main
  arguments: {parameters: [{name: word, value: hello}]}
  templates:
    - name: main
      inputs: {parameters: [{name: word, value: "{{workflow.parameters.word}}"}]}
      wasm: {image: "${setting.image}", args: ${args}}
`;

  test("rewrites, starts and watches a workflow with its parameters", async () => {
    const { code, stdout, stderr } = await submit(
      workflow('["line", "{{inputs.parameters.word}}"]'),
      ["--watch", "--name=mine", "-p", "word=good day"],
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^Workflow default\/mine\n[^]*Succeeded mine\n/);
    const over = await setting.ended("mine");
    assert.match(JSON.stringify(over["status"]), /"result":"good day"/);
  });

  test("its exit code tells that the workflow failed, and the line why", async () => {
    const { code, stdout } = await submit(workflow('["exit", "3"]'), ["--watch", "--json"]);
    assert.equal(code, 1);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.match(
      String(
        lines.find(({ step, phase }) => step !== undefined && phase === "Failed")?.["message"],
      ),
      /exit code 3/,
    );
  });

  test("says what is wrong before anything is started, and what the cluster does not take", async () => {
    const wrong = await submit(workflow('["x"], comand: []'));
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /Unknown key "comand"/);
    const dry = await submit(workflow('["x"]'), ["--dry-run"]);
    assert.match(dry.stdout, /would be taken/);
    const nowhere = await submit(workflow('["x"]'), ["-n", "nowhere"]);
    assert.notEqual(nowhere.code, 0);
    assert.match(nowhere.stderr, /namespaces "nowhere" not found/);
    const context = await submit(workflow('["x"]'), ["--context", "other"]);
    assert.match(context.stderr, /has no context "other"[^]*It has: test/);
  });
});

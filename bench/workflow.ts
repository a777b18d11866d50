// A chain of 1,000 hello steps and a loop of 10,000 through workflow, task, dispatch, engine and artifact folder.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { openArtifactStore } from "../src/artifacts/mod.ts";
import { createLocalDispatcher } from "../src/dispatch/mod.ts";
import { readBundle } from "../src/document/mod.ts";
import { createEngine } from "../src/engine/mod.ts";
import { createTaskRunner } from "../src/task/mod.ts";
import { beginRun, openJournal, runWorkflow } from "../src/workflow/mod.ts";

const root = resolve(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "bench-"));
const head = `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: bench}
spec:
  entrypoint: main
  templates:
    - name: hello
      wasm: {module: test/guests/hello/hello.wasm}
    - name: main
      steps:
`;
const chain = Array.from(
  { length: 1000 },
  (_, at) => `        - [{name: s${at}, template: hello}]\n`,
).join("");
const items = Array.from({ length: 10_000 }, (_, at) => at).join(",");
const loop = `        - [{name: all, template: hello, withItems: [${items}]}]\n`;

try {
  using journal = openJournal({ folder });
  const artifacts = await openArtifactStore({ folder });
  await using runner = createTaskRunner({ engine: createEngine(), artifacts, images: new Map() });
  await using dispatcher = createLocalDispatcher({ runner });
  const measure = async (steps: string, count: number) => {
    const { bundle, problems } = readBundle([
      { file: join(root, "bench.yaml"), text: head + steps },
    ]);
    if (!bundle) throw new Error(problems.map((problem) => problem.message).join("\n"));
    const start = performance.now();
    using claim = beginRun({ journal, bundle });
    const { phase, message } = await runWorkflow({ claim, dispatcher });
    if (phase !== "Succeeded") throw new Error(message);
    const tookMs = performance.now() - start;
    return { steps: count, msPerStep: tookMs / count, stepsPerSecond: (count / tookMs) * 1000 };
  };
  await measure(chain, 1000);
  const report = { chain: await measure(chain, 1000), loop: await measure(loop, 10_000) };
  process.stdout.write(
    `${JSON.stringify(report, null, process.argv.includes("--json") ? 0 : 2)}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { NatsServer } from "./nats.ts";
import { remoteTests } from "./needed.ts";
import { guest, Runner } from "./processes.ts";

const root = resolve(import.meta.dirname, "../..");
const example = join(root, "examples/letterflow");
const folder = mkdtempSync(join(tmpdir(), "remote-tasks-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function atalanta(
  home: string,
  ...words: readonly string[]
): Promise<{ readonly code: number | null; readonly said: string }> {
  const child = spawn(
    process.execPath,
    ["--no-warnings", join(root, "dist/bundle/main.js"), ...words],
    {
      cwd: root,
      env: { PATH: process.env["PATH"], HOME: folder, ATALANTA_HOME: join(folder, home) },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => (said += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, said };
}

/** Every file below a folder with its bytes. */
function files(path: string): ReadonlyMap<string, string> {
  return new Map(
    readdirSync(path, { recursive: true, encoding: "utf8" })
      .toSorted()
      .filter((name) => statSync(join(path, name)).isFile())
      .map((name) => [name, readFileSync(join(path, name)).toString("base64")]),
  );
}

describe("steps of a workflow on the runners of a broker", remoteTests, () => {
  test("make of the letter, byte by byte, what they make here", async () => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const config = `--config=${join(example, "atalanta.yaml")}`;
    for (let left = 2; left > 0; left--)
      stack.use(await Runner.start({ nats: [nats.url], capacity: 2, more: [config] }));
    const words = [
      "run",
      join(example, "workflow.yaml"),
      "-a",
      `doc=${join(example, "letter.tiff")}`,
      "--name=letter",
      "--quiet",
    ];
    const there = await atalanta(
      "there",
      ...words,
      `--nats=${nats.url}`,
      `--output-dir=${join(folder, "out-there")}`,
    );
    assert.equal(there.code, 0, there.said);
    const here = await atalanta("here", ...words, `--output-dir=${join(folder, "out-here")}`);
    assert.equal(here.code, 0, here.said);
    assert.deepEqual(files(join(folder, "out-there")), files(join(folder, "out-here")));
    // What steps printed came along, too.
    const logs = await atalanta("there", "logs", "letter");
    assert.equal(logs.code, 0);
  });

  test("are run by another runner when one is killed, each with one result", async (t) => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await NatsServer.start());
    const runners = await Promise.all(
      [0, 1].map(() => Runner.start({ nats: [nats.url], capacity: 16 })),
    );
    for (const runner of runners) stack.use(runner);
    const own = join(folder, "loop");
    cpSync(guest, join(own, "f.wasm"));
    writeFileSync(join(own, "atalanta.yaml"), "images:\n  f: f.wasm\n");
    writeFileSync(
      join(own, "workflow.yaml"),
      `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: loop}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - name: unique
        template: unique
        withSequence: {count: "400"}
        arguments: {parameters: [{name: word, value: "w{{item}}"}]}
  - name: unique
    inputs: {parameters: [{name: word}]}
    wasm: {image: f, args: [unique], stdin: '[100, "{{inputs.parameters.word}}"]'}
`,
    );
    const startedAt = performance.now();
    const running = atalanta(
      "loop",
      "run",
      join(own, "workflow.yaml"),
      `--nats=${nats.url}`,
      "--quiet",
    );
    await sleep(1500);
    runners[0]?.signal("SIGKILL");
    const { code, said } = await running;
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    assert.equal(code, 0, said);
    // Each has printed its word, with a number that is another one each time it runs.
    const logs = await atalanta("loop", "logs", "loop");
    const printed = [...logs.said.matchAll(/"(w\d+) ([0-9a-f]{16})"/g)];
    const results = new Set(printed.map(([, word]) => word));
    t.diagnostic(
      `calls 400, lost ${400 - results.size}, doubled ${printed.length - results.size}, ${seconds} s`,
    );
    assert.equal(printed.length, 400);
    assert.equal(results.size, 400);
  });
});

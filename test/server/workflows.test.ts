import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

const program = resolve(import.meta.dirname, "../../dist/bundle/main.js");
const guests = resolve(import.meta.dirname, "../guests");
const home = mkdtempSync(join(tmpdir(), "serve-"));
let server: ChildProcess;
let base = "";

async function start(): Promise<void> {
  server = spawn(
    process.execPath,
    [
      "--no-warnings",
      program,
      "serve",
      "--listen=127.0.0.1:0",
      `--image=hello=${guests}/hello/hello.wasm`,
      `--image=f=${guests}/functions/functions.wasm`,
    ],
    {
      env: { PATH: process.env["PATH"], HOME: home, ATALANTA_HOME: join(home, "data") },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let said = "";
  server.stdout?.setEncoding("utf8").on("data", (text: string) => (said += text));
  for (let left = 400; !said.includes("Listens on"); left--) {
    assert.ok(left > 0 && server.exitCode === null, said);
    await sleep(25);
  }
  base = /Listens on (\S+)/.exec(said)?.[1] ?? "";
}
async function end(signal: NodeJS.Signals): Promise<number | null> {
  const gone = once(server, "exit");
  server.kill(signal);
  await gone;
  return server.exitCode;
}
before(start);
after(async () => {
  await end("SIGKILL");
  rmSync(home, { recursive: true, force: true });
});

const at = (path: string, namespace = "default"): string =>
  `${base}/v1/namespaces/${namespace}/workflows${path}`;
interface Run {
  readonly metadata: { readonly name: string };
  readonly status: {
    readonly phase: string;
    readonly nodes: Record<string, { displayName: string; phase: string; startedAt?: string }>;
  };
}

/** Steps that say hello, or sleep for milliseconds. */
function document(...steps: readonly (string | number)[]): string {
  const lines = steps.map(
    (step, index) =>
      `    - - {name: s${index}, template: ${typeof step === "number" ? "sleep" : step}${typeof step === "number" ? `, arguments: {parameters: [{name: ms, value: "${step}"}]}` : ""}}`,
  );
  return `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: w-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
${lines.join("\n")}
  - name: hello
    wasm: {image: hello}
  - name: pause
    suspend: {}
  - name: sleep
    inputs: {parameters: [{name: ms}]}
    wasm: {image: f, args: [sleep], stdin: "[{{inputs.parameters.ms}}]"}
`;
}
async function submit(
  text: string,
  query = "",
): Promise<{ readonly status: number; readonly run: Run }> {
  const response = await fetch(at(query), { method: "POST", body: text });
  return { status: response.status, run: (await response.json()) as Run };
}
async function get(name: string): Promise<Run> {
  return (await (await fetch(at(`/${name}`))).json()) as Run;
}
async function phaseOf(name: string, phase: string): Promise<Run> {
  for (let left = 400; ; left--) {
    const run = await get(name);
    if (run.status.phase === phase) return run;
    assert.ok(left > 0, `${name} is ${run.status.phase}`);
    await sleep(25);
  }
}

describe("workflows over HTTP", () => {
  test("are run to their end, with their tree and logs", async () => {
    const { status, run } = await submit(document("hello", "hello"), "?wait=30");
    assert.equal(status, 201);
    assert.equal(run.status.phase, "Succeeded");
    const { name } = run.metadata;
    assert.equal(await (await fetch(at(`/${name}/logs`))).text(), "s0: hello\ns1: hello\n");
    assert.equal(await (await fetch(at(`/${name}/logs?node=s1`))).text(), "s1: hello\n");
    const { items } = (await (await fetch(at(""))).json()) as { items: Run[] };
    assert.ok(items.some(({ metadata }) => metadata.name === name));
  });

  test("tell their events as they come, and go on after one", async () => {
    const { status, run } = await submit(document(300, "hello"));
    assert.equal(status, 202);
    const whole = await (await fetch(at(`/${run.metadata.name}/events`))).text();
    const ids = [...whole.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
    assert.deepEqual(
      ids,
      ids.map((_, index) => index),
    );
    assert.match(whole, /event: end\ndata: \{"phase":"Succeeded"\}\n\n$/);
    const rest = await (
      await fetch(at(`/${run.metadata.name}/events`), { headers: { "last-event-id": "0" } })
    ).text();
    assert.ok(rest.startsWith("id: 1\n"));
  });

  test("are suspended, resumed and stopped", async () => {
    const { run } = await submit(document("pause", "hello"));
    const { name } = run.metadata;
    await sleep(200);
    assert.equal((await get(name)).status.phase, "Running");
    assert.equal((await fetch(at(`/${name}/resume`), { method: "POST" })).status, 200);
    await phaseOf(name, "Succeeded");
    const other = await submit(document(60_000));
    await sleep(200);
    assert.equal(
      (await fetch(at(`/${other.run.metadata.name}/terminate`), { method: "POST" })).status,
      200,
    );
    await phaseOf(other.run.metadata.name, "Failed");
    assert.equal((await fetch(at(`/${name}`), { method: "DELETE" })).status, 204);
    assert.equal((await fetch(at(`/${name}`))).status, 404);
  });

  test("of one namespace are not seen in another", async () => {
    const { run } = await submit(document("hello"), "?wait=30");
    assert.equal((await fetch(at(`/${run.metadata.name}`, "other"))).status, 404);
  });

  for (const [what, text, code] of [
    ["is no YAML", "a: [", "workflow-invalid"],
    ["has a mistake", document("nothing"), "workflow-invalid"],
    ["is empty", "", "workflow-invalid"],
  ] as const) {
    test(`that ${what} are refused`, async () => {
      const response = await fetch(at(""), { method: "POST", body: text });
      assert.equal(((await response.json()) as { code: string }).code, code);
    });
  }

  test("may not name a module file of the server's", async () => {
    const text = document("hello").replace("image: hello", `module: ${guests}/hello/hello.wasm`);
    const { run } = await submit(text, "?wait=30");
    assert.notEqual(run.status.phase, "Succeeded");
    assert.match(JSON.stringify(run), /file of the server's/);
  });

  test("go on in the next process when this one is killed, and no step that has ended runs again", async () => {
    const { run } = await submit(document("hello", 1500, "hello"));
    const { name } = run.metadata;
    await sleep(700);
    const before = Object.values((await get(name)).status.nodes).find(
      ({ displayName }) => displayName === "s0",
    );
    assert.equal(before?.phase, "Succeeded");
    await end("SIGKILL");
    await start();
    const ended = await phaseOf(name, "Succeeded");
    const then = Object.values(ended.status.nodes).find(({ displayName }) => displayName === "s0");
    assert.deepEqual(then, before);
  });

  test("let the server end at once when it is told to, with 0", async () => {
    await submit(document(60_000));
    await sleep(200);
    assert.equal(await end("SIGTERM"), 0);
    await start();
  });
});

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Home, root } from "../cli/command.ts";

const home = new Home();
after(() => home[Symbol.dispose]());
const probe = join(root, "test/guests/probe/probe.wasm");
const linux = process.platform === "linux";

function workflow(name: string, template: string, beside = ""): string {
  const folder = join(home.folder, name);
  mkdirSync(folder);
  if (beside !== "") writeFileSync(join(folder, "atalanta.yaml"), beside);
  const path = join(folder, "workflow.yaml");
  writeFileSync(
    path,
    `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: ${name}}
spec:
  entrypoint: main
  templates:
    - name: main
${template.replaceAll(/^/gm, "      ")}
`,
  );
  return path;
}

describe("the trust class", () => {
  test("process: exec reads a folder, writes one back and hands on the exit code", () => {
    const folder = join(home.folder, "shared");
    mkdirSync(folder);
    writeFileSync(join(folder, "large"), Buffer.alloc(200_000, "x"));
    const dir = ["--dir", `${folder}:/d`];
    const exec = ["exec", "--trust", "process", probe, ...dir, "--"];
    const wrote = home.run([...exec, "fill", "/d/out", "3000000"]);
    assert.equal(wrote.status, 0, wrote.stderr);
    assert.equal(readFileSync(join(folder, "out")).length, 3_000_000);
    assert.equal(readFileSync(join(folder, "large")).length, 200_000);
    const read = home.run([...exec, "cat", "/d/large"]);
    assert.equal(read.stdout.length, 200_000, read.stderr);
    assert.equal(home.run([...exec, "exit", "9"]).status, 9);
  });

  test("process: a whole workflow with artifacts comes to the same end", () => {
    const out = join(home.folder, "out");
    const words = ["run", "examples/words/workflow.yaml", "-a", "doc=LICENSE"];
    const { status, stderr } = home.run([...words, "--trust", "process", "--output-dir", out]);
    assert.equal(status, 0, stderr);
    assert.ok(existsSync(join(out, "report.html")));
  });

  test("pod: is refused before anything runs, wherever it is asked for", () => {
    const echo = `wasm: {module: ${probe}, command: [echo, x]}`;
    const asked = [
      ["exec", "--trust", "pod", probe],
      ["run", workflow("by-flag", echo), "--trust", "pod"],
      ["run", workflow("by-step", `wasm: {module: ${probe}, command: [echo, x], trust: pod}`)],
      ["run", workflow("by-host", echo, "trust: pod\n")],
    ];
    for (const command of asked) {
      const { status, stdout, stderr } = home.run(command);
      assert.notEqual(status, 0);
      assert.match(stderr, /"pod" needs a cluster/, command.join(" "));
      assert.doesNotMatch(stdout, /Succeeded/);
    }
  });

  test("with another name is refused where it is written", () => {
    assert.match(
      home.run(["exec", "--trust", "strong", probe]).stderr,
      /"strong" is no trust class/,
    );
    const step = home.run(["lint", workflow("step", `wasm: {module: ${probe}, trust: strong}`)]);
    assert.match(step.stdout + step.stderr, /strong/);
    assert.notEqual(step.status, 0);
    const echo = `wasm: {module: ${probe}, command: [echo, x]}`;
    const host = home.run(["run", workflow("host", echo, "\ntrust: strong\n")]);
    assert.match(host.stderr, /atalanta\.yaml:2:8/);
  });
});

/** Processes that the command started, by their group leaders. */
function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

describe("a step whose runner process is killed", { skip: !linux }, () => {
  /** The guest's request tells that it runs; whoever is asked kills it instead of answering, the first time. */
  async function killed(
    name: string,
    more: string,
  ): Promise<{ status: number | null; out: string }> {
    const { promise: asked, resolve: ask } = Promise.withResolvers<undefined>();
    const server = createServer((_request, response) => {
      ask(undefined);
      if (dead) response.end("fine");
    }).listen(0, "127.0.0.1");
    let dead = false;
    await once(server, "listening");
    const address = server.address();
    assert.ok(address !== null && typeof address === "object");
    const host = `http://127.0.0.1:${address.port}`;
    const client = join(root, "test/guests/http/http.wasm");
    const wasm = [
      `module: ${client}`,
      `command: [GET, "${host}/"]`,
      "trust: process",
      `permissions: {http: {allowedHosts: ["${host}"]}}`,
    ];
    const path = workflow(name, `wasm: {${wasm.join(", ")}}\n${more}`);
    const allowed = ["--allow-host", host, "--allow-address", "127.0.0.1"];
    const command = home.start(["run", path, "--json", ...allowed]);
    try {
      await asked;
      dead = true;
      for (const pid of childrenOf(command.process.pid ?? 0)) process.kill(-pid, "SIGKILL");
      const status = await command.ended;
      return { status, out: command.stdout + command.stderr };
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  test("is an error that may be retried", async () => {
    const { status, out } = await killed("lost", "");
    assert.equal(status, 1, out);
    assert.match(out, /"code":"runner-lost"/);
    assert.match(out, /"retryable":true/);
    assert.match(out, /The runner process that had the guest ended/);
  });

  test("succeeds when it may be tried again", async () => {
    const again = 'retryStrategy: {limit: "3", retryPolicy: OnError}';
    const { status, out } = await killed("again", again);
    assert.equal(status, 0, out);
    assert.match(out, /"code":"runner-lost"/);
    assert.match(out, /fine/);
  });
});

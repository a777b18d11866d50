import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { tar } from "./archives/tar.ts";
import { Home, jsonLines, root } from "./cli/command.ts";
import { hello, putArtifact, putWasiImage } from "./oci/images.ts";
import { digestOf, StandInRegistry } from "./servers/registry.ts";

using stack = new DisposableStack();
const home = stack.use(new Home());
const kept = stack.move();
after(() => kept.dispose());
const probe = readFileSync(join(root, "test/guests/probe/probe.wasm"));

/** Runs a command while the registry, which is in this process, answers. */
async function atalanta(
  ...words: readonly string[]
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const started = home.start(words);
  started.process.stdin?.end();
  const status = await started.ended;
  return { status, stdout: started.stdout, stderr: started.stderr };
}

function workflow(name: string, steps: string): string {
  const path = join(home.folder, `${name}.yaml`);
  writeFileSync(
    path,
    `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: ${name}-}
spec:
  entrypoint: main
  templates:
${steps}`,
  );
  return path;
}

describe("A workflow with an image", () => {
  test("pulls it once, runs its entry point with its environment and files, and records its digest", async () => {
    await using server = await StandInRegistry.start();
    const { digest } = putWasiImage(server, {
      repository: "acme/probe",
      tag: "1",
      archives: [
        tar({ name: "bin/probe.wasm", body: probe }, { name: "etc/greeting", body: "good day" }),
      ],
      run: {
        Entrypoint: ["/bin/probe.wasm", "cat"],
        Cmd: ["/etc/greeting"],
        Env: ["A=image", "B=image"],
      },
    });
    const path = workflow(
      "own",
      `
  - name: main
    steps:
    - - {name: own, template: own}
      - {name: args, template: args}
    - - {name: env, template: env}
      - {name: write, template: write}
  - name: own
    wasm: {image: "${server.host}/acme/probe:1"}
  - name: args
    wasm: {image: "${server.host}/acme/probe:1", args: [/etc/greeting]}
  - name: env
    wasm: {image: "${server.host}/acme/probe:1", command: [env], env: [{name: B, value: step}]}
  - name: write
    wasm: {image: "${server.host}/acme/probe:1", command: [write, /etc/greeting, x]}
`,
    );
    const { stdout, stderr } = await atalanta("run", path, "--json", "--log");
    const said = (name: string): string =>
      jsonLines(stdout)
        .filter((line) => line["type"] === "output" && String(line["name"]).includes(name))
        .map((line) => String(line["text"]))
        .join("\n");
    assert.equal(said("own"), "good day", stdout + stderr);
    assert.equal(said("args"), "good day");
    assert.match(said("env"), /^A=image$/m);
    assert.match(said("env"), /^B=step$/m);
    assert.match(said("write"), /Read-only file system/);
    assert.equal(server.seen.filter(({ url }) => url.includes("/manifests/1")).length, 1);
    assert.equal(server.seen.filter(({ url }) => url.includes("/blobs/")).length, 2);
    const got = await atalanta("get", "@latest", "-o", "json");
    assert.ok(got.stdout.includes(digest), got.stdout);
  });

  test("has the same module from its first step to its last, whatever becomes of the tag", async () => {
    let moved = false;
    await using server = await StandInRegistry.start({
      fault: ({ url = "" }) => {
        if (!moved && url.includes("/blobs/")) {
          moved = true;
          setImmediate(() =>
            putArtifact(server, { repository: "acme/step", tag: "latest", module: probe }),
          );
        }
        return undefined;
      },
    });
    const { digest } = putArtifact(server, {
      repository: "acme/step",
      tag: "latest",
      module: hello,
    });
    const path = workflow(
      "same",
      `
  - name: main
    steps:
    - - {name: a, template: step}
    - - {name: b, template: step}
  - name: step
    wasm: {image: "${server.host}/acme/step"}
`,
    );
    const first = await atalanta("run", path, "--json", "--log");
    assert.equal(first.status, 0, first.stdout + first.stderr);
    assert.equal(jsonLines(first.stdout).filter(({ text }) => text === "hello").length, 2);
    const { stdout } = await atalanta("get", "@latest", "-o", "json");
    assert.equal(stdout.split(digest).length - 1, 2, stdout);
    // The next run has what the tag names now.
    const next = await atalanta("run", path, "--json", "--log");
    assert.equal(next.status, 1, next.stdout);
  });

  test("runs it in a process of its owner's as well", async () => {
    await using server = await StandInRegistry.start();
    putWasiImage(server, {
      repository: "acme/probe",
      tag: "1",
      archives: [
        tar(
          { name: "p.wasm", body: probe },
          { name: "etc/small", body: "small" },
          { name: "etc/large", body: "l".repeat(100_000) },
        ),
      ],
      run: { Entrypoint: ["/p.wasm"] },
    });
    const path = workflow(
      "process",
      `
  - name: main
    steps:
    - - {name: small, template: cat, arguments: {parameters: [{name: file, value: /etc/small}]}}
    - - {name: write, template: write}
    - - {name: large, template: copy}
  - name: cat
    inputs: {parameters: [{name: file}]}
    wasm: {image: "${server.host}/acme/probe:1", trust: process, command: [cat, "{{inputs.parameters.file}}"]}
  - name: write
    wasm: {image: "${server.host}/acme/probe:1", trust: process, command: [write, /tmp/new, x]}
  - name: copy
    wasm: {image: "${server.host}/acme/probe:1", trust: process, command: [copy, /etc/large, /tmp/large]}
    outputs: {artifacts: [{name: large, path: /tmp/large}]}
`,
    );
    const { status, stdout, stderr } = await atalanta("run", path, "--json", "--log");
    assert.equal(status, 0, stdout + stderr);
    assert.ok(jsonLines(stdout).some(({ text }) => text === "small"));
  });

  test("that cannot be had says why, and what to do", async () => {
    await using server = await StandInRegistry.start({
      access: { kind: "basic", username: "u", password: "p" },
    });
    const run = async (image: string, more = ""): Promise<string> => {
      const path = workflow(
        "no",
        `
  - name: main
    wasm: {image: "${image}"${more}}
`,
      );
      const { status, stderr } = await atalanta("run", path);
      assert.equal(status, 1, stderr);
      return stderr;
    };
    assert.match(await run(`${server.host}/a:1`), /registry-refused/);
    assert.match(await run("127.0.0.1:1/a:1"), /registry-unavailable/);
    assert.match(await run("A B"), /is no image reference/);
    assert.match(
      await run(`${server.host}/a:1`, ", imagePullPolicy: Never"),
      /is not here, and is not to be pulled/,
    );
  });
});

describe("atalanta image", () => {
  test("pulls, lists, shows and removes images", async () => {
    await using server = await StandInRegistry.start();
    const { digest } = putWasiImage(server, {
      repository: "acme/step",
      tag: "1",
      archives: [tar({ name: "step.wasm", body: hello }, { name: "etc/a", body: "a" })],
      run: { Entrypoint: ["/step.wasm", "-v"], Env: ["A=1"], WorkingDir: "/etc" },
    });
    const name = `${server.host}/acme/step:1`;
    assert.match((await atalanta("image", "prune", "--all")).stdout, /removed/);
    assert.equal((await atalanta("image", "ls")).stdout, "No images here\n");
    const pulled = await atalanta("image", "pull", name);
    assert.equal(pulled.stdout, `${name}@${digest}\n`, pulled.stderr);
    const [listed] = jsonLines((await atalanta("image", "ls", "--json")).stdout);
    assert.deepEqual(
      [listed?.["digest"], listed?.["references"], listed?.["moduleDigest"], listed?.["inUse"]],
      [digest, [name], digestOf(hello), false],
    );
    assert.match((await atalanta("image", "ls")).stdout, /step:1 .*wasi-image/);
    const [shown] = jsonLines((await atalanta("image", "inspect", "--json", name)).stdout);
    assert.deepEqual(
      [shown?.["entrypoint"], shown?.["environment"], shown?.["workingDir"], shown?.["files"]],
      [
        ["/step.wasm", "-v"],
        ["A=1"],
        "/etc",
        [
          { kind: "directory", path: "/etc" },
          { kind: "file", path: "/etc/a" },
        ],
      ],
    );
    assert.match(
      (await atalanta("image", "inspect", name)).stdout,
      /^entrypoint {2}\["\/step.wasm","-v"\]$/m,
    );
    assert.match((await atalanta("inspect", name)).stdout, /fd_write/);
    assert.equal((await atalanta("exec", name)).stdout, "hello\n");
    assert.equal((await atalanta("image", "prune")).stdout, "0 images removed, 0 B free\n");
    assert.match((await atalanta("image", "prune", "--max-bytes", "1")).stdout, /1 image removed/);
    const missing = await atalanta("image", "pull", `${server.host}/acme/step:2`);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /image-not-found/);
    assert.equal((await atalanta("image", "pull", "A")).status, 2);
  });
});

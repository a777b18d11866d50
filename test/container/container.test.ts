import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  createContainerRunner,
  detectContainerRuntime,
  noContainerRuntime,
  type ContainerRuntime,
} from "../../src/container/mod.ts";
import type { ContainerRunner } from "../../src/task/mod.ts";
import { findBusybox, image, writeImage } from "./image.ts";

type Request = Parameters<ContainerRunner["run"]>[0];
type Options = Parameters<ContainerRunner["run"]>[1];

const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A runtime that runs our image, or why there is none. */
async function prepare(): Promise<ContainerRuntime | string> {
  const wanted = process.env["ATALANTA_CONTAINER_RUNTIME"];
  const runtime = await detectContainerRuntime(wanted === undefined ? {} : { wanted });
  if ("missing" in runtime) return noContainerRuntime(runtime).message;
  const busybox = findBusybox();
  if (busybox === undefined) return "there is no static busybox to make an image of";
  const archive = writeImage(mkdtempSync(join(folder, "image-")), busybox);
  const call = (...parameters: readonly string[]): string | undefined => {
    const { status, stderr } = spawnSync(runtime.command, parameters, { encoding: "utf8" });
    return status === 0 ? undefined : stderr.trim();
  };
  const problem =
    call("load", "-i", archive) ?? call("run", "--rm", "--entrypoint=/bin/echo", image, "hello");
  return problem === undefined ? runtime : `${runtime.command} cannot run a container: ${problem}`;
}

const prepared = await prepare();
const required = process.env["ATALANTA_TEST_CONTAINERS"] === "required";
if (typeof prepared === "string") {
  process.stderr.write(
    `\n!!! CONTAINER TESTS ARE SKIPPED: ${prepared}\n!!! npm run test:containers\n\n`,
  );
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

describe("finding a runtime", () => {
  test("a client whose engine does not answer is no runtime, and the reason says why", async () => {
    const client = join(folder, "docker");
    writeFileSync(client, "#!/bin/sh\necho 'Cannot connect to the engine' >&2\nexit 1\n");
    chmodSync(client, 0o755);
    const none = await detectContainerRuntime({ wanted: client });
    assert.ok("missing" in none);
    const failure = noContainerRuntime(none);
    assert.equal(failure.code, "container-runtime");
    assert.match(failure.message, /Cannot connect to the engine/);
    assert.match(failure.hint ?? "", /Install podman/);
  });

  test("a client that hangs is given up in time", async () => {
    const client = join(folder, "podman");
    writeFileSync(client, "#!/bin/sh\nexec sleep 60\n");
    chmodSync(client, 0o755);
    const start = performance.now();
    const none = await detectContainerRuntime({ wanted: client, timeoutMs: 200 });
    assert.ok("missing" in none && /did not end within 200 ms/.test(none.missing[0]?.reason ?? ""));
    assert.ok(performance.now() - start < 2000);
  });

  test("a client that is not there, and a program that is none, are named", async () => {
    const absent = await detectContainerRuntime({ wanted: join(folder, "nothing") });
    assert.deepEqual("missing" in absent && absent.missing[0]?.reason, "not installed");
    const other = await detectContainerRuntime({ wanted: "/bin/echo" });
    assert.match(("missing" in other && other.missing[0]?.reason) || "", /neither docker/);
  });
});

const skip = typeof prepared === "string" && !required ? prepared : false;

describe("a container step", { skip }, () => {
  if (typeof prepared === "string") {
    test("has a runtime to run with", () => assert.fail(prepared));
    return;
  }
  const runtime = prepared;
  const runner = createContainerRunner({ runtime, graceMs: 1000, outputBytes: 100_000 });
  after(() => runner[Symbol.asyncDispose]());
  let keys = 0;
  const run = (request: Partial<Request>, options: Options = {}) =>
    runner.run(
      {
        key: `test/${process.pid}/${keys++}`,
        image,
        arguments: [],
        environment: new Map(),
        inputs: [],
        collect: [],
        timeMs: 60_000,
        ...request,
      },
      options,
    );
  const shell = (script: string, request: Partial<Request> = {}, options: Options = {}) =>
    run({ command: ["sh", "-c"], arguments: [script], ...request }, options);
  const ours = (): string[] =>
    spawnSync(
      runtime.command,
      ["ps", "--all", "--filter", "label=dev.atalanta.key", "--format", "{{.Names}}"],
      { encoding: "utf8" },
    )
      .stdout.split("\n")
      .filter((name) => name !== "");
  after(() => assert.deepEqual(ours(), [], "containers were left"));

  test("command and arguments take the place of the image's, as in a pod", async () => {
    assert.equal(text((await run({})).stdout), "entry default\n");
    assert.equal(text((await run({ arguments: ["--name", "a b"] })).stdout), "entry --name a b\n");
    const both = await run({ command: ["printf", "%s|"], arguments: ["--rm", "$HOME", "ü"] });
    assert.equal(text(both.stdout), "--rm|$HOME|ü|");
    assert.equal(text((await run({ command: ["echo"] })).stdout), "\n");
  });

  test("environment, working folder and stdin arrive as they are", async () => {
    const environment = new Map([
      ["A", " b = 'c' "],
      ["LINES", "1\n2"],
      ["PATH_LIKE", "--rm"],
    ]);
    const { stdout } = await shell('printf "%s|%s|%s|" "$A" "$LINES" "$PATH_LIKE"; pwd; cat', {
      environment,
      workingDir: "/data",
      stdin: Buffer.from("given"),
    });
    assert.equal(text(stdout), " b = 'c' |1\n2|--rm|/data\ngiven");
  });

  test("stdout, stderr and the exit code come back, streamed on the way", async () => {
    const seen: string[] = [];
    const end = await shell(
      "echo out; echo bad >&2; exit 3",
      {},
      {
        onOutput: (stream, bytes) => seen.push(`${stream}:${text(bytes)}`),
      },
    );
    assert.equal(end.exitCode, 3);
    assert.equal(text(end.stdout), "out\n");
    assert.equal(text(end.stderr), "bad\n");
    assert.deepEqual(seen.toSorted(), ["stderr:bad\n", "stdout:out\n"]);
  });

  test("inputs lie at their paths, may be written to, and what they came from stays", async () => {
    const blob = join(folder, "blob");
    writeFileSync(blob, "letter");
    chmodSync(blob, 0o400);
    const slice = { kind: "slice", path: blob, offset: 0, size: 6 } as const;
    const part = { kind: "slice", path: blob, offset: 3, size: 3 } as const;
    const end = await shell(
      "cat /tmp/doc /in/tree/a/b /in/tree/link; ls -ld /in/tree/a/b | head -c 10; ls -ld /in/tree | head -c 10; echo new > /tmp/doc; ls /tmp",
      {
        inputs: [
          { path: "/tmp/doc", content: { kind: "file", mode: 0o644, content: slice } },
          {
            path: "/in/tree",
            content: {
              kind: "directory",
              entries: [
                { kind: "directory", path: "", mode: 0o751 },
                { kind: "file", path: "a/b", mode: 0o751, content: part },
                { kind: "symlink", path: "link", target: "a/b" },
              ],
            },
          },
        ],
        collect: ["/tmp/doc", "/in/tree"],
      },
    );
    assert.equal(text(end.stdout), "letterterter-rwxr-x--xdrwxr-x--xdoc\nof-the-image\n");
    assert.equal(readFileSync(blob, "utf8"), "letter");
    const [doc, tree] = end.collected;
    assert.ok(doc?.kind === "file" && doc.content.kind === "slice");
    assert.equal(readFileSync(doc.content.path, "utf8"), "new\n");
    assert.ok(tree?.kind === "directory");
    assert.deepEqual(tree.entries.map((entry) => `${entry.kind} ${entry.path}`).toSorted(), [
      "directory a",
      "file a/b",
      "symlink link",
    ]);
  });

  test("outputs written beside the image's files are handed out, with modes and links", async () => {
    const end = await shell(
      "echo 1 > /tmp/out.txt; mkdir -p /data/d/e; echo 2 > /data/d/e/f; chmod 0 /data/d/e/f; ln -s e/f /data/d/l; ln -s /etc/passwd /data/evil; exit 1",
      { collect: ["/tmp/out.txt", "/data/d", "/tmp/nothing", "/data/evil", "/no/folder/x"] },
    );
    assert.equal(end.exitCode, 1);
    const [file, tree, missing, evil, nowhere] = end.collected;
    assert.ok(file?.kind === "file" && file.content.kind === "slice");
    assert.equal(readFileSync(file.content.path, "utf8"), "1\n");
    assert.ok(tree?.kind === "directory");
    assert.deepEqual(
      tree.entries.map((entry) => [entry.kind, entry.path, "mode" in entry ? entry.mode : 0]),
      [
        ["directory", "e", 0o755],
        ["file", "e/f", 0],
        ["symlink", "l", 0],
      ],
    );
    const inner = tree.entries[1];
    assert.ok(inner?.kind === "file" && inner.content.kind === "slice");
    assert.equal(readFileSync(inner.content.path, "utf8"), "2\n");
    assert.equal(missing?.kind, "missing");
    assert.equal(nowhere?.kind, "missing");
    // A link leads to the container's file or nowhere, never to the host's.
    if (evil?.kind === "file" && evil.content.kind === "slice") {
      assert.equal(readFileSync(evil.content.path, "utf8"), "root:x:0:0:root:/:/bin/sh\n");
    } else assert.equal(evil?.kind, "missing");
  });

  test("a folder that holds an input is handed out with it", async () => {
    const content = { kind: "bytes", bytes: Buffer.from("in") } as const;
    const end = await shell("echo out > /data/out", {
      inputs: [{ path: "/data/in", content: { kind: "file", mode: 0o644, content } }],
      collect: ["/data"],
    });
    const [data] = end.collected;
    assert.ok(data?.kind === "directory");
    const files = data.entries.map((entry) =>
      entry.kind === "file" && entry.content.kind === "slice"
        ? [entry.path, readFileSync(entry.content.path, "utf8")]
        : [entry.path],
    );
    assert.deepEqual(
      files.toSorted((left, right) => (left[0] ?? "").localeCompare(right[0] ?? "")),
      [
        ["in", "in"],
        ["out", "out\n"],
      ],
    );
  });

  test("a script's source is a file whose path is the last argument", async () => {
    const end = await run({
      command: ["sh", "-e"],
      script: 'echo "$0"; echo "it\'s $FROM_IMAGE"\n',
    });
    assert.equal(text(end.stdout), "/argo/staging/script\nit's yes\n");
  });

  test("a time limit stops it, after a time of grace in which it may end well", async () => {
    const start = performance.now();
    const seen: string[] = [];
    await assert.rejects(
      shell(
        "trap 'echo bye; exit 0' TERM; echo on; while :; do sleep 0.1; done",
        { timeMs: 700 },
        {
          onOutput: (_stream, bytes) => seen.push(text(bytes)),
        },
      ),
      { code: "limit-time" },
    );
    assert.equal(seen.join(""), "on\nbye\n");
    assert.ok(performance.now() - start < 5000);
  });

  test("the caller's signal stops one that does not listen to SIGTERM", async () => {
    const stop = new AbortController();
    const onOutput = (): void => stop.abort();
    await assert.rejects(
      shell(
        "trap '' TERM; echo on; while :; do sleep 0.1; done",
        {},
        { signal: stop.signal, onOutput },
      ),
      { code: "aborted" },
    );
  });

  test("a flood of output is stopped at its ceiling", async () => {
    let seen = 0;
    await assert.rejects(
      shell("yes", {}, { onOutput: (_stream, bytes) => (seen += bytes.length) }),
      { code: "limit-output" },
    );
    assert.equal(seen, 100_000);
  });

  test("more memory than its limit ends it as OOMKilled", async () => {
    const end = await shell(
      'x=$(dd if=/dev/zero bs=1M count=200 | tr "\\0" x); echo "$x" | head -c 3',
      {
        memoryBytes: 32 * 1024 * 1024,
      },
    );
    assert.equal(end.exitCode, 137);
    assert.equal(end.reason, "OOMKilled");
  });

  test("an image or command that is not there is a failure with the runtime's words", async () => {
    await assert.rejects(run({ image: "localhost/atalanta-nowhere:1", pullPolicy: "Never" }), {
      code: "container-image",
      message: /is not here, and pullPolicy: Never/,
    });
    await assert.rejects(run({ image: "127.0.0.1:1/nowhere:1" }), {
      code: "container-image",
      message: /Cannot pull the image.*(refused|no such host)/s,
    });
    await assert.rejects(run({ image: "--privileged" }), { code: "invalid-argument" });
    await assert.rejects(run({ command: ["/no/such/program"] }), {
      code: "container-failed",
      message: /no such (file|program)/i,
    });
  });

  test("names that look like options stay what they are", async () => {
    const end = await run({ command: ['["rm"]'], arguments: [] }).catch(
      (thrown: unknown) => thrown,
    );
    assert.ok(end instanceof Error && "code" in end && end.code === "container-failed");
    const odd = await shell("echo 1 > '/tmp/-v x'", {
      key: "--privileged\n=",
      collect: ["/tmp/-v x"],
    });
    assert.equal(odd.collected[0]?.kind, "file");
  });

  test("what a killed process left is removed when its key runs again, and a living one's is not", async () => {
    const key = `killed/${process.pid}`;
    mkdirSync(join(folder, "killed"));
    const script = `
      import { createContainerRunner } from ${JSON.stringify(resolve(import.meta.dirname, "../../src/container/mod.ts"))};
      const runner = createContainerRunner({ runtime: ${JSON.stringify(runtime)}, stagingFolder: ${JSON.stringify(join(folder, "killed"))} });
      await runner.run({ key: ${JSON.stringify(key)}, image: ${JSON.stringify(image)}, command: ["sh", "-c"], arguments: ["echo on; sleep 600"],
        environment: new Map(), inputs: [], collect: [], timeMs: 600000 }, { onOutput: () => process.stdout.write("on") });`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    assert.equal(text((await shell("echo again", { key })).stdout), "again\n");
    assert.equal(ours().length, 1, "a living process keeps its container");
    child.kill("SIGKILL");
    await once(child, "close");
    await sleep(100);
    assert.equal(text((await shell("echo again", { key })).stdout), "again\n");
    assert.equal(ours().length, 0);
  });
});

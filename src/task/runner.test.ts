import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { openArtifactStore, type StoredArtifact } from "../artifacts/mod.ts";
import { createRunners } from "../runner/mod.ts";
import {
  createTaskRunner,
  type InputArtifact,
  type RunTaskOptions,
  type Task,
  type TaskResult,
} from "./mod.ts";

const guests = resolve(import.meta.dirname, "../../test/guests");
const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
const artifacts = await openArtifactStore({ folder: join(folder, "artifacts") });
const runner = createTaskRunner({
  runners: createRunners({ threads: 1, stagingFolder: await artifacts.stagingFolder() }),
  artifacts,
});
after(async () => {
  await runner[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface Asked {
  readonly guest?: "probe" | "bulk";
  readonly inputs?: readonly InputArtifact[];
  readonly artifacts?: Task["outputs"]["artifacts"];
  readonly parameters?: Task["outputs"]["parameters"];
  readonly result?: boolean;
  readonly timeoutMs?: number;
}

function task(command: readonly string[], asked: Asked = {}): Task {
  const guest = asked.guest ?? "probe";
  return {
    key: "test",
    program: {
      kind: "wasm",
      module: { path: join(guests, guest, `${guest}.wasm`) },
      arguments: command,
      limits: { output: "64Mi" },
    },
    environment: [],
    inputs: asked.inputs ?? [],
    outputs: {
      parameters: asked.parameters ?? [],
      artifacts: asked.artifacts ?? [],
      result: asked.result ?? false,
    },
    ...(asked.timeoutMs === undefined ? {} : { timeoutMs: asked.timeoutMs }),
  };
}

function run(
  command: readonly string[],
  asked: Asked = {},
  options: RunTaskOptions = {},
): Promise<TaskResult> {
  return runner.run(task(command, asked), options);
}

async function said(command: readonly string[], asked: Asked = {}): Promise<string> {
  const result = await run(command, { ...asked, result: true });
  assert.equal(result.phase, "Succeeded", JSON.stringify(result));
  return result.outputs.result ?? "";
}

async function logOf(result: TaskResult): Promise<string> {
  return result.log ? Buffer.from(await artifacts.read(result.log)).toString() : "";
}

function only(result: TaskResult): StoredArtifact {
  const [first] = result.outputs.artifacts;
  assert(first, JSON.stringify(result));
  return first.artifact;
}

/** A tarball of one folder with two files, by hand: the store has its own tests with the tar command. */
function tarball(): Buffer {
  const member = (name: string, body: string): Buffer => {
    const block = Buffer.alloc(1024);
    block.write(name);
    block.write("0000644\0", 100);
    block.write(`${body.length.toString(8).padStart(11, "0")}\0`, 124);
    block.write("        0", 148);
    block.write("ustar\u000000", 257);
    const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    block.write(body, 512);
    return block;
  };
  return gzipSync(
    Buffer.concat([member("d/a", "first"), member("d/b", "second"), Buffer.alloc(1024)]),
  );
}

function given(name: string, content: string | Uint8Array): Promise<StoredArtifact> {
  const path = join(folder, name);
  writeFileSync(path, content);
  return artifacts.putPath(path);
}

const stored = (artifact: StoredArtifact, more: Partial<InputArtifact> = {}): InputArtifact => ({
  name: "in",
  path: "/in/x",
  source: { kind: "stored", artifact },
  ...more,
});

describe("what a task says", () => {
  test("the log has both streams in the order of the writes", async () => {
    const pieces: string[] = [];
    const result = await run(
      ["talk", "3"],
      { guest: "bulk" },
      { onOutput: (stream, bytes) => pieces.push(`${stream}: ${Buffer.from(bytes).toString()}`) },
    );
    assert.equal(await logOf(result), "out 0\nerr 0\nout 1\nerr 1\nout 2\nerr 2\n");
    assert.match(pieces.join(""), /^stdout: out 0.*stderr: err 0.*stdout: out 1/s);
    assert.equal(result.stderrTail, undefined);
  });

  test("a failed task shows the last lines of stderr and nothing of stdout", async () => {
    const result = await run(["talk", "30", "3"], { guest: "bulk" });
    assert.equal(result.phase, "Failed");
    assert.equal(result.exitCode, 3);
    const lines = Array.from({ length: 20 }, (_, at) => `err ${at + 10}`).join("\n");
    assert.equal(result.stderrTail, lines);
  });

  test("what a task said before it was stopped is kept", async () => {
    const result = await run(["talk", "100000000"], { guest: "bulk", timeoutMs: 300 });
    assert.equal(result.phase, "Failed");
    assert.equal(result.failure?.code, "limit-time");
    assert.match(await logOf(result), /^out 0\nerr 0\nout 1\n/);
    assert.match(result.stderrTail ?? "", /^(err \d+\n?)+/);
  });

  test("a timeout of the task counts when it is shorter than that of the program", async () => {
    const result = await run(["sleep", "5000"], { timeoutMs: 100 });
    assert.equal(result.failure?.code, "limit-time");
    assert.match(result.message ?? "", /100ms/);
    assert.equal((await run(["sleep", "1"], { timeoutMs: 60_000 })).phase, "Succeeded");
  });

  test("a result loses one newline at its end and no more", async () => {
    assert.equal(await said(["echo", "a\n\n"]), "a\n");
    assert.equal(await said(["echo", "a"]), "a");
    assert.equal(await said(["echo", ""]), "");
  });

  test("a result has at most 256 KiB, and only a task that asks for one is refused", async () => {
    const exactly = "x".repeat(256 * 1024);
    assert.equal((await said(["echo", exactly])).length, 256 * 1024);
    const above = await run(["echo", `${exactly}y`], { result: true });
    assert.equal(above.phase, "Error");
    assert.equal(above.failure?.code, "output-too-large");
    assert.equal((await run(["echo", `${exactly}y`])).phase, "Succeeded");
  });
});

describe("artifacts from outside", () => {
  test("a user's tarball is unpacked unless the input says archive: none", async () => {
    const artifact = await given("doc.tgz", tarball());
    assert.equal(await said(["cat", "/in/x/b"], { inputs: [stored(artifact)] }), "second");
    assert.equal(
      await said(["cat", "/in/x/a"], { inputs: [stored(artifact, { archive: "tar" })] }),
      "first",
    );
    const inputs = [stored(artifact, { archive: "none" })];
    const left = await run(["cat", "/in/x"], { inputs });
    assert.equal(left.phase, "Succeeded");
    assert.deepEqual(left.log && (await artifacts.read(left.log)), tarball());
  });

  test("a file that is no archive stays as it is, unless the input says that it is one", async () => {
    const artifact = await given("letter", "text");
    assert.equal(await said(["cat", "/in/x"], { inputs: [stored(artifact)] }), "text");
    for (const archive of ["tar", "zip"] as const) {
      const result = await run(["cat", "/in/x"], { inputs: [stored(artifact, { archive })] });
      assert.equal(result.phase, "Error");
      assert.equal(result.failure?.code, "archive-invalid");
    }
    const raw: InputArtifact = { ...stored(artifact), source: { kind: "raw", data: "plain" } };
    assert.equal(await said(["cat", "/in/x"], { inputs: [raw] }), "plain");
    const wrong = await run(["cat", "/in/x"], { inputs: [{ ...raw, archive: "tar" }] });
    assert.equal(wrong.failure?.code, "archive-invalid");
  });

  test("a tarball that a step made passes unchanged, whatever archive its output names", async () => {
    const tgz = await given("made.tgz", tarball());
    for (const archive of [
      undefined,
      { kind: "none" },
      { kind: "tar", level: 9 },
      { kind: "zip" },
    ] as const) {
      const made = await run(["copy", "/in/x", "/out/y"], {
        inputs: [stored(tgz, { archive: "none" })],
        artifacts: [
          { name: "y", path: "/out/y", optional: false, ...(archive ? { archive } : {}) },
        ],
      });
      const read = await run(["cat", "/in/x"], { inputs: [stored(only(made))] });
      assert.deepEqual(read.log && (await artifacts.read(read.log)), tarball());
    }
  });

  test("an input that is not there is left out when it is optional, and named when it is not", async () => {
    const artifact = await artifacts.putBytes(Buffer.from("x"));
    const sources: readonly InputArtifact["source"][] = [
      { kind: "key", key: "no/such" },
      { kind: "stored", artifact, subPath: "no/such" },
    ];
    for (const source of sources) {
      const input: InputArtifact = { name: "in", path: "/in/x", ...(source ? { source } : {}) };
      const result = await run(["ls", "/"], { inputs: [input] });
      assert.equal(result.phase, "Error");
      assert.equal(result.failure?.code, "artifact-missing");
      assert.match(result.message ?? "", /no\/such/);
      assert.equal(
        (await run(["cat", "/in/x"], { inputs: [{ ...input, optional: true }] })).phase,
        "Failed",
      );
    }
  });

  test("an optional input that is damaged is an error all the same", async () => {
    const lost = { kind: "file", digest: `sha256:${"0".repeat(64)}`, size: 1 } as const;
    const result = await run(["ls", "/"], { inputs: [stored(lost, { optional: true })] });
    assert.equal(result.failure?.code, "storage");
  });
});

describe("artifacts by key", () => {
  test("an output with a key is found by it, as a file and as part of a folder", async () => {
    for (const page of ["1", "2"]) {
      await run(["write", "/out/page", `page ${page}`], {
        artifacts: [{ name: "page", path: "/out/page", optional: false, key: `run/pages/${page}` }],
      });
    }
    const source = (key: string, subPath?: string): InputArtifact => ({
      name: "in",
      path: "/in/x",
      source: { kind: "key", key, ...(subPath === undefined ? {} : { subPath }) },
    });
    assert.equal(await said(["cat", "/in/x"], { inputs: [source("run/pages/2")] }), "page 2");
    assert.equal(await said(["cat", "/in/x/1"], { inputs: [source("run/pages")] }), "page 1");
    assert.equal(await said(["cat", "/in/x"], { inputs: [source("run", "pages/1")] }), "page 1");
  });

  test("a tarball published with archive: none is unpacked by who reads the key, as Argo does", async () => {
    const tgz = await given("keyed.tgz", tarball());
    for (const [kind, key] of [
      ["none", "plain.tgz"],
      ["tar", "packed.tgz"],
    ] as const) {
      await run(["copy", "/in/x", "/out/y"], {
        inputs: [stored(tgz, { archive: "none" })],
        artifacts: [{ name: "y", path: "/out/y", optional: false, key, archive: { kind } }],
      });
    }
    const input = (key: string): InputArtifact => ({
      ...stored(tgz),
      source: { kind: "key", key },
    });
    assert.equal(await said(["cat", "/in/x/a"], { inputs: [input("plain.tgz")] }), "first");
    assert.equal(
      (await run(["cat", "/in/x/a"], { inputs: [input("packed.tgz")] })).phase,
      "Failed",
    );
  });

  test("a key that climbs is refused, whoever wrote it", async () => {
    const result = await run(["write", "/out/x", "y"], {
      artifacts: [{ name: "x", path: "/out/x", optional: false, key: "a/../../b" }],
    });
    assert.equal(result.phase, "Error");
    assert.equal(result.failure?.code, "artifact-path");
  });
});

describe("modes", () => {
  const out = [{ name: "o", path: "/in/x", optional: false }];
  const modes = async (artifact: StoredArtifact): Promise<Record<string, number>> => {
    const content = await artifacts.content(artifact);
    if (content.kind === "file") return { "": content.mode };
    return Object.fromEntries(
      content.entries.flatMap((entry) =>
        entry.kind === "symlink" ? [] : [[entry.path, entry.mode]],
      ),
    );
  };

  test("a file's mode passes from step to step, and an input may set it", async () => {
    const made = await run(["write", "/in/x", "#!"], {
      artifacts: [{ name: "o", path: "/in/x", optional: false, mode: 0o755 }],
    });
    const passed = await run(["ls", "/in"], { inputs: [stored(only(made))], artifacts: out });
    assert.deepEqual(await modes(only(passed)), { "": 0o755 });
    const set = await run(["ls", "/in"], {
      inputs: [stored(only(made), { mode: 0o600 })],
      artifacts: out,
    });
    assert.deepEqual(await modes(only(set)), { "": 0o600 });
  });

  test("a folder's mode is laid on the folder, and with recurseMode on all below it", async () => {
    const path = join(folder, "modes");
    mkdirSync(join(path, "sub"), { recursive: true });
    writeFileSync(join(path, "sub", "a"), "1", { mode: 0o644 });
    const artifact = await artifacts.putPath(path);
    const flat = await run(["ls", "/in"], {
      inputs: [stored(artifact, { mode: 0o700 })],
      artifacts: out,
    });
    assert.deepEqual(await modes(only(flat)), { sub: 0o755, "sub/a": 0o644 });
    const inputs = [stored(artifact, { mode: 0o777, recurseMode: true })];
    const deep = await run(["ls", "/in"], { inputs, artifacts: out });
    assert.deepEqual(await modes(only(deep)), { sub: 0o777, "sub/a": 0o777 });
  });
});

describe("paths and programs that cannot be", () => {
  test("paths that are not absolute or climb are refused, as inputs and as outputs", async () => {
    const artifact = await artifacts.putBytes(Buffer.from("x"));
    for (const path of ["relative", "/a/../b", "/", "/a\0b", ""]) {
      const input = await run(["ls", "/"], { inputs: [stored(artifact, { path })] });
      assert.equal(input.failure?.code, "artifact-path", path);
      const output = await run(["ls", "/"], { artifacts: [{ name: "o", path, optional: true }] });
      assert.equal(output.failure?.code, "artifact-path", path);
    }
  });

  test("a container without a container runtime says so", async () => {
    const result = await runner.run({
      ...task([]),
      program: { kind: "container", image: "alpine:3", arguments: [] },
    });
    assert.equal(result.phase, "Error");
    assert.equal(result.failure?.code, "container-runtime");
    assert.match(result.message ?? "", /alpine:3/);
  });

  test("outputs that were not written are an error, unless optional or with a default", async () => {
    const missing = await run(["ls", "/"], {
      artifacts: [{ name: "o", path: "/no", optional: false }],
    });
    assert.equal(missing.failure?.code, "artifact-missing");
    const optional = await run(["ls", "/"], {
      artifacts: [{ name: "o", path: "/no", optional: true }],
      parameters: [{ name: "p", path: "/no", default: "instead" }],
    });
    assert.equal(optional.phase, "Succeeded");
    assert.deepEqual(optional.outputs.parameters, [{ name: "p", value: "instead" }]);
    const parameter = await run(["ls", "/"], { parameters: [{ name: "p", path: "/no" }] });
    assert.equal(parameter.failure?.code, "artifact-missing");
  });

  test("a task that is stopped by its caller says so", async () => {
    const controller = new AbortController();
    const running = run(["loop"], {}, { signal: controller.signal });
    setTimeout(() => controller.abort(), 100);
    const result = await running;
    assert.equal(result.phase, "Error");
    assert.equal(result.failure?.code, "aborted");
  });
});

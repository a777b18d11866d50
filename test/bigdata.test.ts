import assert from "node:assert/strict";
import {
  closeSync,
  globSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test, type TestContext } from "node:test";
import { openArtifactStore, type StoredArtifact } from "../src/artifacts/mod.ts";
import type { Mount } from "../src/engine/mod.ts";
import { createRunners } from "../src/runner/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";
import { createTaskRunner, type Task, type TaskResult } from "../src/task/mod.ts";

/** `ATALANTA_BIG=1` passes 5 GB instead of 256 MiB; it needs twice that on the disk and a minute. */
const big = process.env["ATALANTA_BIG"] === "1";
const mebibyte = 1024 * 1024;
const gibibyte = 1024 * mebibyte;
const fileBytes = big ? 5_000_000_000 : 256 * mebibyte;
/** What passing any amount of data may add to the process, both threads and the garbage of both included. */
const growthBytes = 64 * mebibyte;

/** The same for 10,000 small files: the guest may hold 32 MiB of them, and they cross from thread to thread as copies. */
const smallGrowthBytes = 256 * mebibyte;

const guest = resolve(import.meta.dirname, "guests/bulk/bulk.wasm");
const folder = mkdtempSync(join(process.env["ATALANTA_BIG_FOLDER"] ?? tmpdir(), "atalanta-big-"));
const artifacts = await openArtifactStore({ folder: join(folder, "artifacts") });
const runners = createRunners({ threads: 1, stagingFolder: await artifacts.stagingFolder() });
const engine = runners.engine({ trust: "thread", owner: "test" });
const runner = createTaskRunner({ runners, artifacts });
after(async () => {
  await runner[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function run(
  command: readonly string[],
  place: { readonly input?: StoredArtifact; readonly output?: string } = {},
): Promise<TaskResult> {
  const { input, output } = place;
  const task: Task = {
    key: command.join(" "),
    program: {
      kind: "wasm",
      module: { path: guest },
      arguments: command,
      limits: { files: "6Gi", time: "10m" },
    },
    environment: [],
    inputs: input
      ? [{ name: "in", path: "/in/data", source: { kind: "stored", artifact: input } }]
      : [],
    outputs: {
      parameters: [],
      artifacts: output === undefined ? [] : [{ name: "out", path: output, optional: false }],
      result: true,
    },
  };
  const result = await runner.run(task);
  assert.equal(result.phase, "Succeeded", JSON.stringify(result));
  return result;
}

function made(result: TaskResult): StoredArtifact {
  const [only] = result.outputs.artifacts;
  assert(only);
  return only.artifact;
}

/** The largest resident set and heap while the work runs. */
async function peaks<Value>(work: () => Promise<Value>) {
  const start = performance.now();
  let rss = 0;
  let heap = 0;
  const look = (): void => {
    const now = process.memoryUsage();
    rss = Math.max(rss, now.rss);
    heap = Math.max(heap, now.heapUsed + now.external);
  };
  look();
  const timer = setInterval(look, 10);
  try {
    const value = await work();
    look();
    return { value, rss, heap, ms: performance.now() - start };
  } finally {
    clearInterval(timer);
  }
}

const shown = (bytes: number): string => `${(bytes / mebibyte).toFixed(0)} MiB`;

function say(t: TestContext, what: string, result: TaskResult): void {
  const { runMs, artifactsMs } = result.timings;
  t.diagnostic(`${what}: guest ${runMs.toFixed(0)} ms, artifacts ${artifactsMs.toFixed(0)} ms`);
}

test(`${fileBytes} bytes pass from step to step in flat memory, without a copy`, async (t) => {
  // Once with little, so that everything is loaded and compiled.
  await run(["read", "/in"], {
    input: made(await run(["write", "/out", "3000000"], { output: "/out" })),
  });
  const before = process.memoryUsage();
  const { value, rss, heap, ms } = await peaks(async () => {
    const written = await run(["write", "/out/data", String(fileBytes)], { output: "/out/data" });
    say(t, "write", written);
    const read = await run(["read", "/in/data"], { input: made(written) });
    say(t, "read", read);
    // Handed on unchanged it is neither read nor copied.
    const passed = await run(["word", "/in/data", String(fileBytes - 8)], {
      input: made(written),
      output: "/in/data",
    });
    say(t, "word", passed);
    return { written, read, passed };
  });
  t.diagnostic(`${ms.toFixed(0)} ms, peak resident ${shown(rss)} (before: ${shown(before.rss)})`);
  assert.match(value.written.outputs.result ?? "", new RegExp(`^1 ${fileBytes} [0-9a-f]{16}$`));
  assert.equal(value.read.outputs.result, value.written.outputs.result);
  assert.equal(made(value.written).size, fileBytes);
  assert.deepEqual(made(value.passed), made(value.written));
  assert.deepEqual(globSync("artifacts/{partial/*,staging/*/*}", { cwd: folder }), []);
  assert(rss - before.rss < growthBytes, `resident set grew from ${before.rss} to ${rss}`);
  const heapBefore = before.heapUsed + before.external;
  assert(heap - heapBefore < growthBytes, `heap grew from ${heapBefore} to ${heap}`);
});

describe("10,000 files pass from step to step", () => {
  for (const [size, what] of [
    [1500, "that stay in memory"],
    [5000, "of which the last do not fit into memory"],
  ] as const) {
    test(`10,000 files of ${size} bytes, ${what}`, async (t) => {
      const before = process.memoryUsage();
      const { value, rss, ms } = await peaks(async () => {
        const written = await run(["tree", "/out", "10000", String(size)], { output: "/out" });
        say(t, "write", written);
        const read = await run(["read", "/in/data"], { input: made(written) });
        say(t, "read", read);
        return { written, read };
      });
      t.diagnostic(`${ms.toFixed(0)} ms, peak resident ${shown(rss)}`);
      assert.equal(made(value.written).count, 10_000);
      assert.match(value.read.outputs.result ?? "", new RegExp(`^10000 ${size * 10_000} `));
      assert.equal(value.read.outputs.result, value.written.outputs.result);
      assert.deepEqual(globSync("artifacts/{partial/*,staging/*/*}", { cwd: folder }), []);
      assert(rss - before.rss < smallGrowthBytes, `resident set grew from ${before.rss} to ${rss}`);
    });
  }
});

test("a million small writes cost the memory of their bytes", async (t) => {
  const before = process.memoryUsage();
  const task: Task = {
    key: "talk",
    program: {
      kind: "wasm",
      module: { path: guest },
      arguments: ["talk", "500000"],
      limits: { output: "16Mi", logLines: "1M" },
    },
    environment: [],
    inputs: [],
    outputs: { parameters: [], artifacts: [], result: false },
  };
  const { value, rss, ms } = await peaks(() => runner.run(task));
  t.diagnostic(`${ms.toFixed(0)} ms, peak resident ${shown(rss)} (before: ${shown(before.rss)})`);
  assert.equal(value.phase, "Succeeded");
  assert.equal(value.log?.size, 2 * 5_388_890);
  assert(rss - before.rss < 2 * growthBytes, `resident set grew from ${before.rss} to ${rss}`);
});

describe("places and sizes beyond 32 bits", () => {
  const sparse = join(folder, "sparse");
  const at = 5 * gibibyte;

  async function look(command: readonly string[], mounts: readonly Mount[] = [], files = 1) {
    const limits = {
      ...defaultLimits,
      filesBytes: files * gibibyte,
      fileBytes: files * gibibyte,
    };
    const module = await engine.load({ path: guest }, { limits });
    const result = await engine.run(module, {
      arguments: ["bulk", ...command],
      environment: new Map(),
      mounts,
      collect: [],
      limits,
    });
    assert.equal(result.kind, "exited");
    const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
    const exitCode = result.kind === "exited" ? result.exitCode : -1;
    return { exitCode, stdout: text(result.stdout), stderr: text(result.stderr) };
  }

  test("a word behind 5 GiB of a file of the host is read", async () => {
    closeSync(openSync(sparse, "w"));
    truncateSync(sparse, at + 16);
    const file = openSync(sparse, "r+");
    writeSync(file, Buffer.from("8877665544332211", "hex"), 0, 8, at + 4);
    closeSync(file);
    const content = { kind: "slice", path: sparse, offset: 4, size: at + 12 } as const;
    const mount = {
      path: "/f",
      readOnly: true,
      content: { kind: "file", mode: 0o644, content },
    } as const;
    const { stdout } = await look(["word", "/f", String(at)], [mount]);
    assert.equal(stdout, `1122334455667788 1122334455667788 ${at + 12}\n`);
  });

  test("a word behind 5 GiB of a file of the guest is written, and only there", async () => {
    const { exitCode } = await look(["hole", "/tmp-f", String(at)], [], 6);
    assert.equal(exitCode, 0);
    const { exitCode: refused, stderr } = await look(["hole", "/tmp-f", String(at)], [], 5);
    assert.equal(refused, 1);
    assert.match(stderr, /No space left/);
  });

  test("the default ceiling for files is 1 GiB to the byte", async () => {
    assert.equal(defaultLimits.filesBytes, gibibyte);
    assert.equal((await look(["hole", "/f", String(gibibyte - 8)])).exitCode, 0);
    const above = await look(["hole", "/f", String(gibibyte - 7)]);
    assert.equal(above.exitCode, 1);
    assert.match(above.stderr, /No space left/);
  });
});

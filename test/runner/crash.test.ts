import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Engine, Result } from "../../src/engine/mod.ts";
import { defaultLimits } from "../../src/limits/mod.ts";
import { createRunners } from "../../src/runner/mod.ts";
import { nodeOf } from "./processes.ts";

const probe = resolve(import.meta.dirname, "../guests/probe/probe.wasm");

async function run(
  engine: Engine,
  command: readonly string[],
  signal?: AbortSignal,
): Promise<Result> {
  const limits = { ...defaultLimits, timeMs: 60_000 };
  const module = await engine.load({ path: probe }, { limits });
  return engine.run(
    module,
    { arguments: ["probe", ...command], environment: new Map(), mounts: [], collect: [], limits },
    signal ? { signal } : {},
  );
}

describe("a runner process that dies", () => {
  const runners = createRunners({ threads: 1, spares: 2 });
  runners.prepare("process");
  after(() => runners[Symbol.asyncDispose]());
  const pidOf = (wanted: string): number => {
    const found = runners.processes().find(({ owner }) => owner === wanted);
    assert.ok(found, `${wanted} has no process`);
    return found.pid;
  };
  const a = runners.engine({ trust: "process", owner: "a" });
  const b = runners.engine({ trust: "process", owner: "b" });
  const spare = async (): Promise<void> => {
    while (!runners.processes().some(({ owner, ready }) => owner === undefined && ready)) {
      await sleep(20);
    }
  };
  const times: number[] = [];

  for (const signal of ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGTERM"] as const) {
    test(`of ${signal} fails its owner's guests only, and the next one runs at once`, async () => {
      await run(a, ["echo", "on"]);
      await run(b, ["echo", "on"]);
      await spare();
      const lost = Array.from({ length: 20 }, () => run(a, ["sleep", "30000"]));
      const others = Array.from({ length: 20 }, () => run(b, ["sleep", "400"]));
      await run(b, ["echo", "x"]);
      await sleep(100);
      process.kill(nodeOf(pidOf("a")), signal);
      const start = performance.now();
      const [first, ...rest] = await Promise.all(lost);
      const next = await run(a, ["echo", "again"]);
      const tookMs = performance.now() - start;
      assert.equal(Buffer.from(next.stdout).toString(), "again");
      for (const result of [first, ...rest]) {
        assert.ok(result?.kind === "failed", JSON.stringify(result));
        assert.equal(result.failure.code, "runner-lost");
        assert.equal(result.failure.retryable, true);
      }
      times.push(tookMs);
      for (const result of await Promise.all(others)) assert.equal(result.kind, "exited");
    });
  }

  test("has another in its place within 100 ms where the machine is not busy with other things", () => {
    assert.ok(times.length > 0 && Math.min(...times) < 100, times.join());
    assert.ok(Math.max(...times) < 5000, times.join());
  });

  test("while another owner's 300 steps run one after the other costs these nothing", async () => {
    const end = new AbortController();
    const killing = (async () => {
      let kills = 0;
      while (!end.signal.aborted) {
        await run(a, ["echo", "on"]);
        const asleep = run(a, ["sleep", "30000"]);
        await sleep(20);
        process.kill(-pidOf("a"), "SIGKILL");
        const result = await asleep;
        assert.ok(result.kind === "failed" && result.failure.code === "runner-lost");
        kills++;
      }
      return kills;
    })();
    for (let step = 0; step < 300; step++) {
      const result = await run(b, step % 3 === 0 ? ["sleep", "5"] : ["echo", "on"]);
      assert.equal(result.kind, "exited", JSON.stringify(result));
    }
    end.abort();
    assert.ok((await killing) > 0);
  });

  test("leaves no process and no folder behind", async () => {
    const pid = pidOf("b");
    const folder = readlink(`/proc/${pid}/cwd`);
    await runners[Symbol.asyncDispose]();
    assert.throws(() => process.kill(pid, 0));
    if (folder !== undefined) assert.throws(() => readFileSync(`${folder}/in`), { code: "ENOENT" });
  });
});

function readlink(path: string): string | undefined {
  try {
    return execFileSync("readlink", [path], { encoding: "utf8" }).trim();
  } catch {
    return undefined;
  }
}

test("guests of one owner get no more memory together than its process may have", async () => {
  const runners = createRunners({ threads: 1, spares: 0, processBytes: 256 * 1024 ** 2 });
  try {
    const engine = runners.engine({ trust: "process", owner: "a" });
    const limits = { ...defaultLimits, memoryBytes: 4 * 1024 ** 3 };
    const module = await engine.load({ path: probe }, { limits });
    const result = await engine.run(module, {
      arguments: ["probe", "grow"],
      environment: new Map(),
      mounts: [],
      collect: [],
      limits,
    });
    if ((await runners.weaknesses()).includes("limits of the system")) return;
    assert.equal(result.kind, "exited", JSON.stringify(result));
    const pages = Number(Buffer.from(result.stdout).toString());
    assert.ok(pages > 0 && pages < 65_000, `${pages} pages`);
  } finally {
    await runners[Symbol.asyncDispose]();
  }
});

test("owners wait for a process when there are too many, and idle ones give theirs up", async () => {
  const runners = createRunners({ threads: 1, spares: 0, mostProcesses: 2 });
  try {
    const owners = ["a", "b", "c", "d", "e"];
    const asleep = owners.map((owner) =>
      run(runners.engine({ trust: "process", owner }), ["sleep", "200"]),
    );
    await sleep(100);
    assert.ok(runners.processes().length <= 2);
    for (const result of await Promise.all(asleep)) assert.equal(result.kind, "exited");
    assert.ok(runners.processes().length <= 2);
  } finally {
    await runners[Symbol.asyncDispose]();
  }
});

test("a guest that waits for a process is stopped by its caller", async () => {
  const runners = createRunners({ threads: 1, spares: 0, mostProcesses: 1 });
  try {
    const a = runners.engine({ trust: "process", owner: "a" });
    const b = runners.engine({ trust: "process", owner: "b" });
    // So that b knows the module and gives its process up.
    assert.equal((await run(b, ["echo", "on"])).kind, "exited");
    const asleep = run(a, ["sleep", "3000"]);
    await sleep(200);
    const stop = new AbortController();
    const waiting = run(b, ["echo", "on"], stop.signal);
    await sleep(100);
    const start = performance.now();
    stop.abort();
    const result = await waiting;
    assert.ok(result.kind === "stopped" && result.failure.code === "aborted");
    assert.ok(performance.now() - start < 500);
    assert.equal((await asleep).kind, "exited");
  } finally {
    await runners[Symbol.asyncDispose]();
  }
});

test("a process that has nothing to do is ended after a while", async () => {
  const runners = createRunners({ threads: 1, spares: 0, idleMs: 200 });
  try {
    const engine = runners.engine({ trust: "process", owner: "a" });
    assert.equal((await run(engine, ["echo", "on"])).kind, "exited");
    assert.equal(runners.processes().length, 1);
    const asleep = run(engine, ["sleep", "600"]);
    await sleep(500);
    assert.equal(runners.processes().length, 1);
    assert.equal((await asleep).kind, "exited");
    await sleep(500);
    assert.equal(runners.processes().length, 0);
    assert.equal((await run(engine, ["echo", "on"])).kind, "exited");
  } finally {
    await runners[Symbol.asyncDispose]();
  }
});

test('the class "pod" is refused where no cluster is', async () => {
  await using runners = createRunners();
  assert.throws(() => runners.engine({ trust: "pod", owner: "a" }), {
    code: "trust-class",
    message: /"pod" needs a cluster/,
  });
});

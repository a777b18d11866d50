import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { defaultLimits } from "../limits/mod.ts";
import { createEngine, type Engine, type Result, type RunOptions } from "./mod.ts";

const probe = resolve(import.meta.dirname, "../../test/guests/probe/probe.wasm");

async function run(
  engine: Engine,
  command: readonly string[],
  options: RunOptions & { readonly timeMs?: number } = {},
): Promise<Result> {
  const { timeMs = 20_000, ...rest } = options;
  const limits = { ...defaultLimits, timeMs };
  const module = await engine.load({ path: probe }, { limits });
  return engine.run(
    module,
    { arguments: ["probe", ...command], environment: new Map(), mounts: [], collect: [], limits },
    rest,
  );
}

const code = (result: Result): string =>
  result.kind === "stopped" || result.kind === "failed"
    ? result.failure.code
    : result.kind === "exited"
      ? `exit ${result.exitCode}`
      : "trapped";

describe("waiting costs no thread", () => {
  const engine = createEngine({ threads: 1, mostThreads: 1 });
  after(() => engine[Symbol.asyncDispose]());
  const sleepers = (count: number, ms: number): Promise<Result>[] =>
    Array.from({ length: count }, () => run(engine, ["sleep", String(ms)]));
  /** Until guests of before are parked: the thread has started and each has had its turn. */
  const parked = async (): Promise<void> => {
    assert.equal(code(await run(engine, ["echo", "x"])), "exit 0");
  };

  test("200 guests sleep at once on one thread, and another runs meanwhile", async () => {
    await parked();
    const start = performance.now();
    const asleep = sleepers(200, 1200);
    const other = await run(engine, ["echo", "on"]);
    assert.equal(Buffer.from(other.stdout).toString(), "on");
    assert.ok(performance.now() - start < 1200, "the other guest had to wait for the sleepers");
    const ends = await Promise.all(asleep);
    assert.deepEqual([...new Set(ends.map(code))], ["exit 0"]);
    assert.ok(ends.every(({ usage }) => usage.runMs >= 1200));
    assert.ok(performance.now() - start < 10_000);
  });

  test("a guest goes on where it slept: it exits, traps with its functions, writes", async () => {
    const [echo, trap] = await Promise.all([
      run(engine, ["sleep", "50", "walk"]),
      run(engine, ["sleep", "50", "trap"]),
    ]);
    assert.equal(code(echo), "exit 64");
    assert.match(Buffer.from(echo.stderr).toString(), /unknown command "walk"/);
    assert.ok(trap.kind === "trapped");
    assert.ok(trap.stack.includes("inner_trap"), trap.stack.join());
  });

  test("a sleeping guest is stopped at once by its caller, and at its time limit", async () => {
    const stop = new AbortController();
    const asleep = run(engine, ["sleep", "100000"], { signal: stop.signal });
    const limited = run(engine, ["sleep", "100000"], { timeMs: 150 });
    await parked();
    const start = performance.now();
    stop.abort();
    assert.equal(code(await asleep), "aborted");
    // `npm run bench -- stopping` measures it; here other tests may have the processors.
    assert.ok(performance.now() - start < 500);
    assert.equal(code(await limited), "limit-time");
  });

  test("threads that take the place of one that was thrown away keep their guests as well", async () => {
    for (let round = 0; round < 2; round++) {
      assert.equal(code(await run(engine, ["loop"], { timeMs: 50 })), "limit-time");
      const asleep = sleepers(3, 500);
      await parked();
      assert.equal(code(await run(engine, ["loop"], { timeMs: 100 })), "limit-time");
      for (const end of await Promise.all(asleep)) assert.equal(code(end), "exit 0");
    }
  });

  for (const [how, options, end] of [
    ["its time limit", { timeMs: 150 }, "limit-time"],
    ["its caller", {}, "aborted"],
  ] as const) {
    test(`a runaway stopped by ${how} costs the guests parked on its thread nothing`, async () => {
      const asleep = sleepers(30, 700);
      await parked();
      const stop = new AbortController();
      const runaway = run(engine, ["loop"], { ...options, signal: stop.signal });
      if (end === "aborted") setTimeout(() => stop.abort(), 100);
      assert.equal(code(await runaway), end);
      assert.equal(code(await run(engine, ["echo", "x"])), "exit 0");
      assert.deepEqual([...new Set((await Promise.all(asleep)).map(code))], ["exit 0"]);
    });
  }

  test("so does one that runs away after it has slept, several times over", async () => {
    const asleep = sleepers(10, 1200);
    await parked();
    const runaways = Array.from({ length: 4 }, () =>
      run(engine, ["sleep", "20", "loop"], { timeMs: 150 }),
    );
    for (const end of await Promise.all(runaways)) assert.equal(code(end), "limit-time");
    assert.deepEqual([...new Set((await Promise.all(asleep)).map(code))], ["exit 0"]);
  });

  test("a runaway that ends at the moment it is stopped leaves the thread usable", async () => {
    for (let round = 0; round < 40; round++) {
      const asleep = run(engine, ["sleep", "30"]);
      await parked();
      const stop = new AbortController();
      const busy = run(engine, ["fill", "/f", "4000000"], { signal: stop.signal });
      setTimeout(() => stop.abort(), round / 8);
      assert.match(code(await busy), /^(aborted|exit 0)$/);
      assert.equal(code(await asleep), "exit 0", `round ${round}`);
    }
  });
});

test("guests that wait hold so much memory and no more: others begin when they have ended", async () => {
  // Each probe has some hundred KiB; with the first one asleep the ceiling is reached.
  await using engine = createEngine({ threads: 2, parkedBytes: 1 });
  const ends: string[] = [];
  const noted = async (name: string, running: Promise<Result>): Promise<string> => {
    const end = code(await running);
    ends.push(name);
    return end;
  };
  const stop = new AbortController();
  // The thread is there.
  await run(engine, ["echo", "x"]);
  const first = noted("first", run(engine, ["sleep", "1000"]));
  await sleep(300);
  const second = noted("second", run(engine, ["echo", "x"]));
  assert.deepEqual([await first, await second], ["exit 0", "exit 0"]);
  assert.deepEqual(ends, ["first", "second"]);
  const third = noted("third", run(engine, ["sleep", "100000"], { signal: stop.signal }));
  await sleep(300);
  const fourth = noted("fourth", run(engine, ["echo", "x"]));
  stop.abort();
  assert.deepEqual([await third, await fourth], ["aborted", "exit 0"]);
});

test("closing the engine ends those who sleep", async () => {
  const engine = createEngine({ threads: 1, mostThreads: 1 });
  const asleep = run(engine, ["sleep", "100000"]);
  await sleep(300);
  await engine[Symbol.asyncDispose]();
  assert.equal(code(await asleep), "aborted");
});

test("closing waits for a thread that has just started, and its process goes on", () => {
  const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
  after(() => rmSync(folder, { recursive: true }));
  const ready = JSON.stringify(join(folder, "ready"));
  // Such a thread says that it is ready and is then busy with what no order stops.
  const slow = `
    import { writeFileSync } from "node:fs";
    import { pbkdf2Sync } from "node:crypto";
    import { isMainThread, parentPort } from "node:worker_threads";
    if (!isMainThread) {
      const post = parentPort.postMessage.bind(parentPort);
      parentPort.postMessage = (message) => {
        post(message);
        writeFileSync(${ready}, "");
        pbkdf2Sync("a", "b", 700_000, 64, "sha512");
      };
    }`;
  const program = `
    import { existsSync } from "node:fs";
    import { createEngine } from ${JSON.stringify(new URL("mod.ts", import.meta.url).href)};
    import { defaultLimits as limits } from ${JSON.stringify(new URL("../limits/mod.ts", import.meta.url).href)};
    const engine = createEngine({ threads: 1, mostThreads: 1 });
    const module = await engine.load({ path: ${JSON.stringify(probe)} }, { limits });
    const stop = new AbortController();
    const invocation = { arguments: [], environment: new Map(), mounts: [], collect: [], limits };
    const running = engine.run(module, invocation, { signal: stop.signal });
    stop.abort();
    await running;
    // Its word comes while we do something else, and is read when we close already.
    while (!existsSync(${ready}));
    await engine[Symbol.asyncDispose]();
    console.log("closed");`;
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  // With Node's permissions, since threads get options of the process only then.
  const flags = ["--permission", "--allow-fs-read=*", "--allow-fs-write=*", "--allow-worker"];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...flags, "--import", file("slow.mjs", slow), file("program.mjs", program)],
    { encoding: "utf8", timeout: 20_000 },
  );
  assert.deepEqual([status, stdout], [0, "closed\n"], stderr);
});

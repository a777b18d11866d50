import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createEngine, type Engine, type Mount, type Result } from "../../src/engine/mod.ts";
import { defaultLimits, type Limits } from "../../src/limits/mod.ts";
import { guest, nested, runaways, sleeper } from "./runaways.ts";

// How long a guest may still live is measured by `npm run bench -- stopping`; here the machine may be busy with other tests.
const soon = 2000;

const mounts: readonly Mount[] = [
  {
    path: "/d",
    readOnly: false,
    content: {
      kind: "directory",
      entries: Array.from({ length: 20_000 }, (_, index) => ({
        kind: "directory",
        path: `n${index}`,
        mode: 0o755,
      })),
    },
  },
];

interface Asked {
  readonly limits?: Partial<Limits>;
  readonly signal?: AbortSignal;
  readonly group?: string;
  readonly began?: () => void;
  readonly large?: boolean;
}

async function run(engine: Engine, bytes: Uint8Array, asked: Asked = {}): Promise<Result> {
  const limits = { ...defaultLimits, timeMs: 60_000, ...asked.limits };
  const module = await engine.load({ bytes, name: "it" }, { limits });
  return engine.run(
    module,
    {
      arguments: ["it"],
      environment: new Map(),
      mounts: asked.large ? mounts : [],
      preopens: asked.large ? ["/d"] : ["/"],
      collect: [],
      limits,
      ...(asked.group === undefined ? {} : { group: asked.group }),
    },
    {
      ...(asked.signal ? { signal: asked.signal } : {}),
      ...(asked.began ? { onOutput: asked.began } : {}),
    },
  );
}

const how = (result: Result): string =>
  result.kind === "exited"
    ? `exit ${result.exitCode}`
    : "failure" in result
      ? result.failure.code
      : `${result.kind}: ${result.message}`;
const said = (result: Result): string => Buffer.from(result.stdout).toString();

describe("a guest that does not end is stopped, and who is parked on its thread comes to its end", () => {
  for (const [name, make] of runaways) {
    test(`one that ${name}`, async () => {
      // One thread, so that the runaway is beside the others.
      await using engine = createEngine({ threads: 1, mostThreads: 1 });
      const neighbours = Array.from({ length: 5 }, () => run(engine, sleeper(600)));
      await run(engine, guest(""));
      const stop = new AbortController();
      let stoppedAt = 0;
      const result = await run(engine, make(), {
        large: true,
        signal: stop.signal,
        began: () =>
          setTimeout(() => {
            stoppedAt = performance.now();
            stop.abort();
          }, 50),
      });
      assert.equal(how(result), "aborted");
      assert.ok(performance.now() - stoppedAt < soon, `${performance.now() - stoppedAt} ms`);
      const limited = await run(engine, make(), { large: true, limits: { timeMs: 100 } });
      assert.equal(how(limited), "limit-time");
      assert.ok(limited.usage.runMs < 100 + soon, `${limited.usage.runMs} ms`);
      for (const end of await Promise.all(neighbours)) {
        assert.equal(how(end), "exit 0");
        assert.equal(said(end), "x");
      }
    });
  }
});

test("a guest that is stopped when it has hardly begun costs those who are parked on its thread nothing", async () => {
  await using engine = createEngine({ threads: 1, mostThreads: 1 });
  const loop = runaways.get("loops")?.() ?? new Uint8Array();
  for (let round = 0; round < 30; round++) {
    const beside = run(engine, sleeper(60));
    await run(engine, guest(""));
    const stopped = await run(engine, loop, { limits: { timeMs: 1 + (round % 6) } });
    assert.equal(how(stopped), "limit-time");
    assert.equal(how(await beside), "exit 0", `round ${round}`);
  }
});

describe("an instruction for much memory, which is done in steps, does what it did before", () => {
  const mebibyte = 1024 * 1024;
  /** Grows the memory to 32 MiB, writes each word's number into the first 12 MiB, and traps unless all of this holds afterwards. */
  const words = (body: string, from: number): string => `
    (local $at i32)
    (drop (memory.grow (i32.const 511)))
    (loop $l
      (i32.store (local.get $at) (local.get $at))
      (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (i32.const ${12 * mebibyte}))))
    ${body}
    (local.set $at (i32.const 0))
    (loop $l
      (if (i32.ne (i32.load (i32.add (local.get $at) (i32.const ${from}))) (local.get $at)) (then unreachable))
      (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (i32.const ${11 * mebibyte}))))`;
  const copy = (to: number, from: number, size: number): string =>
    `(memory.copy (i32.const ${to}) (i32.const ${from}) (i32.const ${size}))`;
  const fill = (at: number, size: number): string =>
    `(memory.fill (i32.const ${at}) (i32.const 7) (i32.const ${size}))`;
  const cases: readonly (readonly [string, string, string])[] = [
    ["a copy that overlaps upwards", words(copy(5, 0, 12 * mebibyte), 5), "exit 0"],
    ["a copy that overlaps downwards", words(copy(20 * mebibyte, 0, 12 * mebibyte) + copy(20 * mebibyte - 9, 20 * mebibyte, 12 * mebibyte), 20 * mebibyte - 9), "exit 0"],
    ["a fill beside what is there", words(fill(12 * mebibyte, 20 * mebibyte), 0), "exit 0"],
    ["a fill over what is there", words(fill(0, 12 * mebibyte), 0), "trapped: unreachable"],
    ["a fill to the last byte", words(fill(12 * mebibyte, 20 * mebibyte), 0), "exit 0"],
    ["a fill beyond the last byte", words(fill(12 * mebibyte, 20 * mebibyte + 1), 0), "trapped: memory access out of bounds"],
    ["a copy from beyond the last byte", words(copy(0, 20 * mebibyte, 12 * mebibyte + 1), 0), "trapped: memory access out of bounds"],
    ["a fill whose end is beyond 32 bits", words(fill(16 * mebibyte, -1), 0), "trapped: memory access out of bounds"],
  ]; // prettier-ignore
  const engine = createEngine({ threads: 1 });
  after(() => engine[Symbol.asyncDispose]());
  for (const [what, body, end] of cases) {
    test(what, async () => assert.equal(how(await run(engine, guest(body))), end));
  }
});

describe("a start function", () => {
  test("has the memory, and may wait: its thread runs others meanwhile", async () => {
    await using engine = createEngine({ threads: 1, mostThreads: 1 });
    const begin = `(i64.store (i32.const 24) (i64.const 300000000)) (call $again)`;
    const asleep = run(engine, guest("", begin));
    await sleep(100);
    const start = performance.now();
    assert.equal(how(await run(engine, guest(""))), "exit 0");
    assert.ok(performance.now() - start < 200, "the start function held its thread");
    const end = await asleep;
    assert.equal(how(end), "exit 0");
    assert.equal(Buffer.from(end.stderr).toString(), "b");
  });
});

describe("the call stack", () => {
  for (const waits of [false, true]) {
    const kind = waits ? "waits at its deepest" : "does not wait";
    test(`of a guest that ${kind} holds what fits below its ceiling, and what does not is a failure with a code`, async () => {
      // A call of this function takes 32 to 96 bytes of stack, by the compiler that made it.
      for (const stackBytes of [1024 * 1024, 4 * 1024 * 1024]) {
        await using engine = createEngine({ threads: 1 });
        const fits = await run(engine, nested(stackBytes / 128, waits), { limits: { stackBytes } });
        assert.equal(how(fits), "exit 0");
        assert.equal(said(fits), "x");
        const deep = await run(engine, nested(stackBytes / 16, waits), { limits: { stackBytes } });
        assert.equal(how(deep), "limit-stack");
        assert.match("failure" in deep ? deep.failure.message : "", /nested too deep/);
      }
    });
  }
});

describe("CPU time", () => {
  const engine = createEngine({ threads: 1, mostThreads: 1 });
  after(() => engine[Symbol.asyncDispose]());
  const loop = runaways.get("loops")?.() ?? new Uint8Array();

  test("has a ceiling of its own, and waiting costs none", async () => {
    const computes = await run(engine, loop, { limits: { cpuMs: 150 } });
    assert.equal(how(computes), "limit-cpu-time");
    assert.ok(computes.usage.cpuMs >= 150, String(computes.usage.cpuMs));
    const waits = await run(engine, sleeper(400), { limits: { cpuMs: 150 } });
    assert.equal(how(waits), "exit 0");
    assert.ok(waits.usage.runMs >= 400 && waits.usage.cpuMs < 150, String(waits.usage.cpuMs));
  });

  test("is a guest's own, however many share the thread", async () => {
    const others = Array.from({ length: 3 }, () =>
      run(engine, sleeper(500), { limits: { cpuMs: 150 } }),
    );
    await run(engine, guest(""));
    assert.equal(how(await run(engine, loop, { limits: { cpuMs: 200 } })), "limit-cpu-time");
    for (const end of await Promise.all(others)) {
      assert.equal(how(end), "exit 0");
      assert.ok(end.usage.cpuMs < 150, String(end.usage.cpuMs));
    }
  });

  test("is told of a guest that was stopped for something else, with its thread or without", async () => {
    for (const ms of [0, 600]) {
      // On a busy machine the last look may come too late.
      let cpuMs = 0;
      for (let attempt = 0; attempt < 5 && cpuMs === 0; attempt++) {
        const beside = run(engine, sleeper(ms));
        await run(engine, guest(""));
        const result = await run(engine, loop, { limits: { timeMs: 200 } });
        assert.equal(how(result), "limit-time");
        ({ cpuMs } = result.usage);
        await beside;
      }
      assert.ok(cpuMs > 10, String(cpuMs));
    }
  });

  test("is counted over all slices of a guest that waits in between", async () => {
    const round = `
      (i64.store (i32.const 24) (i64.const 5000000))
      (loop $l
        (local.set $n (i32.const 0))
        (loop $spin (br_if $spin (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 20000000))))
        (call $again)
        (br $l))`;
    const result = await run(engine, guest(`(local $n i32) ${round}`), {
      limits: { cpuMs: 100, timeMs: 50_000 },
    });
    assert.equal(how(result), "limit-cpu-time");
    assert.ok(result.usage.runMs > result.usage.cpuMs);
  });
});

test("a guest that ended in time has ended in time, however late this thread hears of it", async () => {
  await using engine = createEngine({ threads: 1 });
  await run(engine, guest(""));
  const running = run(engine, sleeper(0), { limits: { timeMs: 100 } });
  await sleep(1);
  for (const until = performance.now() + 300; performance.now() < until;);
  assert.equal(how(await running), "exit 0");
});

describe("groups", () => {
  const loop = runaways.get("loops")?.() ?? new Uint8Array();

  test("do not wait for each other's endless guests, nor do those who sleep", async () => {
    await using engine = createEngine({ threads: 2 });
    const stop = new AbortController();
    const asleep = run(engine, sleeper(300), { group: "b" });
    await sleep(50);
    let began = 0;
    const hogs = Array.from({ length: 20 }, () =>
      run(engine, loop, { group: "a", signal: stop.signal, began: () => began++ }),
    );
    for (let index = 0; index < 20; index++) {
      const start = performance.now();
      assert.equal(how(await run(engine, guest(""), { group: "b" })), "exit 0");
      assert.ok(performance.now() - start < soon);
    }
    const end = await asleep;
    assert.equal(how(end), "exit 0");
    assert.ok(end.usage.runMs < 300 + soon, String(end.usage.runMs));
    assert.equal(began, 2, "one group has as many threads as there are processors");
    stop.abort();
    assert.deepEqual([...new Set((await Promise.all(hogs)).map(how))], ["aborted"]);
  });

  test("take turns, whoever came first", async () => {
    await using engine = createEngine({ threads: 1, mostThreads: 1 });
    const ends: string[] = [];
    const noted = async (group: string): Promise<void> => {
      await run(engine, sleeper(0), { group });
      ends.push(group);
    };
    await Promise.all([..."aaaaaaaa".split(""), "b"].map(noted));
    assert.ok(ends.indexOf("b") <= 2, ends.join(""));
  });
});

test("a guest that may go on while its thread has another one loses none of its wall time", async () => {
  await using engine = createEngine({ threads: 1, mostThreads: 1 });
  const asleep = run(engine, sleeper(100), { limits: { timeMs: 400 } });
  await run(engine, guest(""));
  const loop = runaways.get("loops")?.() ?? new Uint8Array();
  assert.equal(how(await run(engine, loop, { limits: { timeMs: 900 } })), "limit-time");
  assert.equal(how(await asleep), "exit 0");
});

describe("the ceiling of sandboxes", () => {
  test("lets further guests wait until one ends, and refuses when ten times as many wait", async () => {
    await using engine = createEngine({ threads: 1 });
    const limits = { sandboxes: 2 };
    const start = performance.now();
    const ends = await Promise.all(
      Array.from({ length: 6 }, () => run(engine, sleeper(200), { limits })),
    );
    assert.deepEqual([...new Set(ends.map(how))], ["exit 0"]);
    assert.ok(performance.now() - start >= 600, "more than two were asleep at once");
    const many = Array.from({ length: 30 }, () => run(engine, sleeper(1), { limits }));
    const codes = (await Promise.all(many)).map(how);
    assert.ok(codes.includes("limit-sandboxes"), codes.join());
    assert.ok(codes.includes("exit 0"));
  });
});

test("a module that takes longer to compile than its ceiling is refused, and the next one is not", async () => {
  await using engine = createEngine({ threads: 1 });
  const bytes = large();
  const limits = { ...defaultLimits, compileMs: 1 };
  await assert.rejects(engine.load({ bytes, name: "it" }, { limits }), {
    code: "limit-compile-time",
  });
  assert.equal(how(await run(engine, bytes)), "exit 0");
});

/** A module of twenty functions with 100,000 instructions each. */
function large(): Uint8Array {
  const count = 20;
  const leb = (value: number): number[] =>
    value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)];
  const section = (id: number, body: Uint8Array): Uint8Array =>
    Buffer.concat([Buffer.from([id, ...leb(body.length)]), body]);
  const code = Buffer.concat([
    Buffer.from([0]),
    Buffer.alloc(300_000, Buffer.from([0x41, 1, 0x1a])),
    Buffer.from([0x0b]),
  ]);
  const sized = Buffer.concat([Buffer.from(leb(code.length)), code]);
  return Buffer.concat([
    Buffer.from("0061736d01000000010401600000", "hex"),
    section(3, Buffer.from([count, ...Array.from({ length: count }, () => 0)])),
    Buffer.from("070a01065f73746172740000", "hex"),
    section(
      10,
      Buffer.concat([Buffer.from([count]), ...Array.from({ length: count }, () => sized)]),
    ),
  ]);
}

test("stacks that guests have touched before they wait count for the ceiling of memory", async (context) => {
  const before = process.memoryUsage.rss();
  await using engine = createEngine({ threads: 2, parkedBytes: before + 200 * 2 ** 20 });
  // Each calls itself over most of a MiB, comes back, and waits.
  const bytes = guest(`
    (call $tall (i32.const 14000))
    (i64.store (i32.const 24) (i64.const 1500000000))
    (call $again)`);
  let highest = 0;
  const look = setInterval(() => (highest = Math.max(highest, process.memoryUsage.rss())), 20);
  const ends = await Promise.all(Array.from({ length: 1000 }, () => run(engine, bytes)));
  clearInterval(look);
  assert.deepEqual([...new Set(ends.map(how))], ["exit 0"]);
  context.diagnostic(`${Math.round((highest - before) / 2 ** 20)} MiB`);
  assert.ok(highest - before < 450 * 2 ** 20, String(highest - before));
});

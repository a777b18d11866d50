import assert from "node:assert/strict";
import { resolve } from "node:path";
import { test } from "node:test";
import { createEngine, type Module, type Result } from "../../src/engine/mod.ts";
import { defaultLimits } from "../../src/limits/mod.ts";
import { guest, runaways, sleeper } from "./runaways.ts";

const whole = process.env["ATALANTA_WHOLE"] === "1";
const forMs = whole ? 120_000 : 4000;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

/** Numbers below 1 that are the same for the same seed (mulberry32). */
function chance(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Sleeps three times and counts between, so that it has a stack and a memory to lose. */
const counts = guest(`
  (local $round i32) (local $n i32)
  (i64.store (i32.const 24) (i64.const 7000000))
  (loop $l
    (local.set $n (i32.const 0))
    (loop $c
      (i32.store (i32.const 2000) (i32.add (i32.load (i32.const 2000)) (i32.const 1)))
      (br_if $c (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000))))
    (call $again)
    (br_if $l (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 3))))
  (if (i32.ne (i32.load (i32.const 2000)) (i32.const 3000)) (then unreachable))
  (i32.store (i32.const 64) (i32.const 60))
  (i32.store (i32.const 68) (i32.const 1))
  (i32.store8 (i32.const 60) (i32.const 120))
  (drop (call $fd_write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 80)))`);

const small = ["loops", "throws and catches", "calls the host without end and catches everything", "grows its memory without end", "makes directories without end", "sleeps for a moment, again and again", "lists a large directory again and again", "follows a path of 1,000 parts again and again", "loops in its start function", "sleeps in its start function"]; // prettier-ignore

test(`guests stopped at any moment cost none of their neighbours anything (SEED=${seed})`, async () => {
  const random = chance(seed);
  const between = (least: number, most: number): number => least + random() * (most - least);
  await using engine = createEngine({ threads: 2, mostThreads: 2 });
  const load = (bytes: Uint8Array): Promise<Module> => engine.load({ bytes, name: "it" });
  const probe = await engine.load({
    path: resolve(import.meta.dirname, "../guests/probe/probe.wasm"),
  });
  const sleeps = await Promise.all([2, 5, 20, 80].map((ms) => load(sleeper(ms))));
  const counting = await load(counts);
  const wild = await Promise.all(
    small.map((name) => load(runaways.get(name)?.() ?? assert.fail(name))),
  );
  const run = (
    module: Module,
    words: readonly string[],
    asked: { readonly timeMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Result> =>
    engine.run(
      module,
      {
        arguments: ["it", ...words],
        environment: new Map(),
        mounts: [],
        collect: words[0] === "fill" ? ["/f"] : [],
        limits: { ...defaultLimits, timeMs: asked.timeMs ?? 60_000 },
        group: `g${Math.floor(random() * 3)}`,
      },
      asked.signal ? { signal: asked.signal } : {},
    );
  const one = (of: readonly Module[]): Module =>
    of[Math.floor(random() * of.length)] ?? assert.fail();
  const until = performance.now() + forMs;
  const seen = new Map<string, number>();

  const neighbour = async (): Promise<void> => {
    while (performance.now() < until) {
      const what = random();
      if (what < 0.2) {
        const size = Math.floor(between(1, 200_000));
        const result = await run(probe, ["fill", "/f", String(size)]);
        const [file] = result.collected;
        assert.equal(result.kind, "exited", JSON.stringify(result));
        assert.ok(file?.kind === "file" && file.content.kind === "bytes");
        assert.equal(file.content.bytes.length, size);
      } else {
        const result = await run(what < 0.6 ? counting : one(sleeps), []);
        assert.equal(result.kind, "exited", JSON.stringify(result));
        assert.equal(Buffer.from(result.stdout).toString(), "x");
      }
      seen.set("neighbour", (seen.get("neighbour") ?? 0) + 1);
    }
  };
  const runaway = async (): Promise<void> => {
    while (performance.now() < until) {
      const stop = new AbortController();
      const byLimit = random() < 0.5;
      const afterMs = between(0, 40);
      if (!byLimit) setTimeout(() => stop.abort(), afterMs);
      const result = await run(
        one(wild),
        [],
        byLimit ? { timeMs: Math.max(1, afterMs) } : { signal: stop.signal },
      );
      assert.equal(result.kind, "stopped", JSON.stringify(result));
      assert.match(result.failure.code, /^(aborted|limit-time)$/);
      seen.set(result.failure.code, (seen.get(result.failure.code) ?? 0) + 1);
    }
  };
  await Promise.all([
    ...Array.from({ length: 40 }, neighbour),
    ...Array.from({ length: 3 }, runaway),
  ]);
  for (const kind of ["neighbour", "aborted", "limit-time"]) assert.ok((seen.get(kind) ?? 0) > 3, `${kind}: ${JSON.stringify([...seen])}`);
}); // prettier-ignore

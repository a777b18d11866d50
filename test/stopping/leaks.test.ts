import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createEngine, type Engine, type Module } from "../../src/engine/mod.ts";
import { defaultLimits } from "../../src/limits/mod.ts";
import { runaways, sleeper } from "./runaways.ts";

// All of it: `ATALANTA_WHOLE=1 node --test test/stopping/leaks.test.ts`, some minutes.
const whole = process.env["ATALANTA_WHOLE"] === "1";
const rounds = Number(process.env["ATALANTA_LEAK_ROUNDS"] ?? (whole ? 1_000_000 : 20_000));

setFlagsFromString("--expose-gc");
// The function is there in contexts that are made after the flag was set.
const collect: unknown = runInNewContext("gc");

interface Held {
  readonly heapBytes: number;
  readonly residentBytes: number;
  readonly descriptors: number;
  readonly threads: number;
}

function held(): Held {
  const status = readFileSync("/proc/self/status", "utf8");
  const number = (field: string): number =>
    Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]);
  if (typeof collect === "function") collect();
  return {
    heapBytes: process.memoryUsage().heapUsed,
    residentBytes: number("VmRSS") * 1024,
    descriptors: readdirSync("/proc/self/fd").length,
    threads: number("Threads"),
  };
}

/** So many invocations, a few at once: nearly all say hello; some write files, sleep, trap, or loop until they are stopped. */
async function invoke(engine: Engine, modules: readonly Module[], count: number): Promise<void> {
  let begun = 0;
  const one = async (): Promise<void> => {
    while (begun < count) {
      const index = begun++;
      // A thread is thrown away every 2,000 invocations.
      const which = index % 2000 === 0 ? 2 : index % 20 === 0 ? 1 : index % 50 === 1 ? 3 : 0;
      const module = modules[which];
      assert.ok(module);
      const result = await engine.run(module, {
        arguments: which === 3 ? ["probe", "fill", "/f", "3000000"] : ["it"],
        environment: new Map(),
        mounts: [],
        collect: [],
        limits: { ...defaultLimits, timeMs: which === 2 ? 10 : 60_000 },
        group: `g${index % 3}`,
      });
      assert.equal(result.kind, which === 2 ? "stopped" : "exited");
    }
  };
  await Promise.all(Array.from({ length: 32 }, one));
}

const linux = process.platform === "linux";
test(`${rounds.toLocaleString("en")} invocations leave nothing behind`, { skip: linux ? false : "reads /proc" }, async (context) => {
  await using engine = createEngine({ threads: 2 });
  const guests = resolve(import.meta.dirname, "../guests");
  const modules = [
    await engine.load({ path: resolve(guests, "hello/hello.wasm") }),
    await engine.load({ bytes: sleeper(3), name: "sleeper" }),
    await engine.load({ bytes: runaways.get("loops")?.() ?? new Uint8Array(), name: "loops" }),
    await engine.load({ path: resolve(guests, "probe/probe.wasm") }),
  ];
  // Pools fill and code warms up first.
  await invoke(engine, modules, rounds / 4);
  const before = held();
  const start = performance.now();
  await invoke(engine, modules, rounds);
  const perSecond = Math.round((rounds / (performance.now() - start)) * 1000);
  const after = held();
  context.diagnostic(JSON.stringify({ before, after, perSecond }));
  const grown = (field: keyof Held): number => after[field] - before[field];
  // What is kept for each invocation would show as megabytes here: 64 bytes each are 64 MB of a million.
  assert.ok(grown("heapBytes") < 8 * 2 ** 20, `heap: ${grown("heapBytes")}`);
  // Threads fill their heaps up to a ceiling of their own.
  assert.ok(grown("residentBytes") < (whole ? 128 : 256) * 2 ** 20, `resident: ${grown("residentBytes")}`);
  assert.ok(Math.abs(grown("descriptors")) <= 60, `descriptors: ${grown("descriptors")}`);
  assert.ok(Math.abs(grown("threads")) <= 8, `threads: ${grown("threads")}`);
}); // prettier-ignore

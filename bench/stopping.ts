// Guests that do not end, or wait: how long one lives after its limit, what a neighbour sees of endless loops, and what 10,000 that
// wait at once cost: `npm run bench -- stopping --json`. With names of kinds, only those: `npm run bench -- stopping loops`.
import { cpus } from "node:os";
import { readFileSync } from "node:fs";
import { createEngine, type Engine, type Result } from "../src/engine/mod.ts";
import { defaultLimits, type Limits } from "../src/limits/mod.ts";
import { guest, runaways, sleeper } from "../test/stopping/runaways.ts";

const rounds = 25;
const json = process.argv.includes("--json");
const asked = process.argv.slice(3).filter((word) => !word.startsWith("--"));

async function run(
  engine: Engine,
  bytes: Uint8Array,
  options: { readonly limits?: Partial<Limits>; readonly group?: string; readonly signal?: AbortSignal } = {},
): Promise<Result> {
  const limits = { ...defaultLimits, ...options.limits };
  const module = await engine.load({ bytes, name: "it" }, { limits });
  const { group, signal } = options;
  return engine.run(
    module,
    {
      arguments: ["it"],
      environment: new Map(),
      mounts: [{ path: "/d", readOnly: false, content: { kind: "directory", entries } }],
      preopens: ["/d"],
      collect: [],
      limits,
      ...(group === undefined ? {} : { group }),
    },
    signal ? { signal } : {},
  );
} // prettier-ignore
const entries = Array.from({ length: 1000 }, (_, index) => ({
  kind: "directory" as const,
  path: `n${index}`,
  mode: 0o755,
}));

/** Milliseconds from a guest's time limit to its result, of each kind; half of them beside guests that are parked on the thread. */
async function stops(): Promise<Record<string, readonly number[]>> {
  await using engine = createEngine({ threads: 1, mostThreads: 1 });
  const late: Record<string, readonly number[]> = {};
  for (const [name, make] of runaways) {
    if (asked.length > 0 && !asked.includes(name)) continue;
    const bytes = make();
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const timeMs = 100;
      const neighbour = round % 2 ? run(engine, sleeper(150)) : undefined;
      const { kind, usage } = await run(engine, bytes, { limits: { timeMs } });
      if (kind !== "stopped") throw new Error(`one that ${name}: ${kind}`);
      times.push(usage.runMs - timeMs);
      const end = await neighbour;
      if (end && end.kind !== "exited") throw new Error(`a neighbour of one that ${name}: ${end.kind}`);
    }
    late[name] = times;
  }
  return late;
} // prettier-ignore

/** Milliseconds of a small guest through the engine, alone and while another group has 50 endless loops. */
async function neighbours(): Promise<{ readonly alone: readonly number[]; readonly beside: readonly number[] }> {
  await using engine = createEngine();
  const small = guest("");
  const many = async (): Promise<number[]> => {
    const times: number[] = [];
    for (let index = 0; index < 500; index++) {
      const start = performance.now();
      const { kind } = await run(engine, small, { group: "b" });
      if (kind !== "exited") throw new Error(kind);
      times.push(performance.now() - start);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return times;
  };
  await many();
  const alone = await many();
  const stop = new AbortController();
  const loop = runaways.get("loops")?.() ?? small;
  const hogs = Array.from({ length: 50 }, () =>
    run(engine, loop, { group: "a", signal: stop.signal }),
  );
  await many();
  const beside = await many();
  stop.abort();
  await Promise.all(hogs);
  return { alone, beside };
} // prettier-ignore

/** What the process has of the machine's memory while so many guests, each of one page, wait at once. */
async function parked(count: number): Promise<Record<string, number>> {
  const before = residentBytes();
  await using engine = createEngine();
  const bytes = sleeper(20_000);
  // One more than wait.
  const limits = { ...defaultLimits, sandboxes: count + 1 };
  const start = performance.now();
  const allAsleep = Promise.withResolvers<void>();
  let asleep = 0;
  const module = await engine.load({ bytes, name: "it" });
  const ends = Array.from({ length: count }, () =>
    engine.run(
      module,
      { arguments: ["it"], environment: new Map(), mounts: [], collect: [], limits },
      {
        onOutput: (stream) => {
          if (stream === "stderr" && ++asleep === count) allAsleep.resolve();
        },
      },
    ),
  );
  await allAsleep.promise;
  const allAsleepMs = performance.now() - start;
  const other = performance.now();
  await run(engine, guest(""), { group: "b", limits });
  const otherMs = performance.now() - other;
  const during = residentBytes();
  const ended = await Promise.all(ends);
  if (ended.some(({ kind }) => kind !== "exited")) throw new Error("a sleeper did not end well");
  return {
    guests: count,
    allAsleepMs: Math.round(allAsleepMs),
    latestMs: Math.round(Math.max(...ended.map(({ usage }) => usage.runMs)) - 20_000),
    anotherMeanwhileMs: Math.round(otherMs),
    residentMebibytes: Math.round(during / 2 ** 20),
    kibibytesEach: Math.round((during - before) / 1024 / count),
  };
}

function residentBytes(): number {
  const [, kibibytes] = /VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return Number(kibibytes) * 1024;
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return Math.round((sorted[Math.floor(sorted.length * part)] ?? 0) * 10) / 10;
}
const shown = (values: readonly number[]): Record<string, number> => ({
  p50: quantile(values, 0.5),
  p99: quantile(values, 0.99),
});

const late = await stops();
const report = {
  machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
  stoppedAfterLimitMs: { all: shown(Object.values(late).flat()), ...Object.fromEntries(Object.entries(late).map(([name, times]) => [name, shown(times)])) },
  ...(asked.length > 0 ? {} : { neighbourMs: await neighbours().then(({ alone, beside }) => ({ alone: shown(alone), beside50Loops: shown(beside) })), parked: await parked(10_000) }),
}; // prettier-ignore
process.stdout.write(`${JSON.stringify(report, null, json ? 0 : 2)}\n`);

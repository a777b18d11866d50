// A fresh sandbox of a warm hello module through a runner process of its owner's, beside the same on a thread of this process, and how
// long the next guest takes after such a process was killed: `npm run bench -- process --json`.
import { spawn } from "node:child_process";
import { once as happens } from "node:events";
import { Socket } from "node:net";
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Engine, Module } from "../src/engine/mod.ts";
import { createRunners } from "../src/runner/mod.ts";
import { greeting, helloFile } from "./hello.ts";

const count = 5000;
const together = 16;
const kills = 20;
/** An invocation of hello and its result, each. */
const wayBytes = 900;

async function once(engine: Engine, module: Module): Promise<void> {
  const result = await engine.run(module, greeting);
  if (result.kind !== "exited" || Buffer.from(result.stdout).toString() !== "hello\n") {
    throw new Error(`wrong result: ${JSON.stringify(result)}`);
  }
}

interface Figures {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly perSecond: number;
}

/** One after the other for the time of each, then so many at once for the throughput. */
async function measure(engine: Engine): Promise<Figures> {
  const module = await engine.load({ path: helloFile });
  for (let round = 0; round < 2000; round++) await once(engine, module);
  const times: number[] = [];
  for (let round = 0; round < count; round++) {
    const start = performance.now();
    await once(engine, module);
    times.push((performance.now() - start) * 1000);
  }
  let left = count * 2;
  const start = performance.now();
  const lanes = Array.from({ length: together }, async () => {
    while (left-- > 0) await once(engine, module);
  });
  await Promise.all(lanes);
  const perSecond = Math.round(((count * 2) / (performance.now() - start)) * 1000);
  return { p50Us: quantile(times, 0.5), p99Us: quantile(times, 0.99), perSecond };
}

/** From the signal to the end of the next guest, which a spare process runs. */
async function recovery(): Promise<{ readonly p50Ms: number; readonly worstMs: number }> {
  await using runners = createRunners({ spares: 1 });
  const engine = runners.engine({ trust: "process", owner: "bench" });
  const module = await engine.load({ path: helloFile });
  const times: number[] = [];
  for (let round = 0; round < kills; round++) {
    await once(engine, module);
    while (!runners.processes().some(({ owner, ready }) => owner === undefined && ready)) {
      await sleep(20);
    }
    const mine = runners.processes().find(({ owner }) => owner === "bench");
    if (!mine) throw new Error("there is no process to kill");
    const start = performance.now();
    process.kill(-mine.pid, "SIGKILL");
    for (;;) {
      const result = await engine.run(module, greeting);
      if (result.kind === "exited") break;
    }
    times.push((performance.now() - start) * 1000);
  }
  return { p50Ms: quantile(times, 0.5) / 1000, worstMs: quantile(times, 1) / 1000 };
}

/** As many bytes as an invocation has on its way, there and back through a pipe to a process that does nothing with them. */
async function bareWay(): Promise<{ readonly p50Us: number; readonly p99Us: number }> {
  const child = spawn(process.execPath, ["--no-warnings", `${import.meta.dirname}/echo.ts`], {
    stdio: ["ignore", "ignore", "inherit", "pipe"],
  });
  const channel = child.stdio[3];
  if (!(channel instanceof Socket)) throw new Error("there is no pipe");
  const bytes = Buffer.alloc(wayBytes, 32);
  const times: number[] = [];
  for (let round = 0; round < count + 2000; round++) {
    const start = performance.now();
    channel.write(bytes);
    for (let back = 0; back < wayBytes;) {
      const [chunk]: Uint8Array[] = await happens(channel, "data");
      back += chunk?.length ?? 0;
    }
    if (round >= 2000) times.push((performance.now() - start) * 1000);
  }
  child.kill();
  return { p50Us: quantile(times, 0.5), p99Us: quantile(times, 0.99) };
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0);
}

async function figures(): Promise<{ readonly process: Figures; readonly thread: Figures }> {
  await using runners = createRunners();
  const thread = await measure(runners.engine({ trust: "thread", owner: "bench" }));
  const own = await measure(runners.engine({ trust: "process", owner: "bench" }));
  return { process: own, thread };
}

async function walls(): Promise<readonly string[]> {
  await using runners = createRunners();
  return runners.weaknesses();
}

const report = {
  machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
  runs: count,
  ...(await figures()),
  bareWay: await bareWay(),
  afterKill: await recovery(),
  missingWalls: await walls(),
};
process.stdout.write(`${JSON.stringify(report, null, process.argv.includes("--json") ? 0 : 2)}\n`);

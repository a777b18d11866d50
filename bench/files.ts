// File work of one guest binary in ours, node:wasi and wasmtime from PyPI, in turns in one run, on the host's tmpfs: 256 MiB written
// and read back in blocks of 64 KiB, and 100,000 small files made, looked at, read, listed, removed: `npm run bench -- files --json`.
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { WASI } from "node:wasi";
import { createEngine } from "../src/engine/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";
import { wasmtime } from "./rivals/wasmtime.ts";

/** What the guest is told to do, and how often. */
const works = [
  { name: "block", amount: "256", rounds: 7 },
  { name: "many", amount: "100000", rounds: 3 },
] as const;
/** After so long one of them has no further rounds. */
const longestMs = 40_000;
const file = resolve(import.meta.dirname, "guests/files.wasm");
// The same file system under all of them.
const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const folder = mkdtempSync(join(base, "bench-"));
const environment = mkdtempSync(join(tmpdir(), "bench-"));
const work = join(folder, "work");
const staging = join(folder, "staging");

/** Milliseconds of each phase as the guest saw them, and of the whole run as its caller did. */
type Phases = Readonly<Record<string, number>>;
type Runner = (args: readonly string[]) => Promise<Phases>;

function phasesOf(stdout: string, tookMs: number): Phases {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own guest printed it
  return { ...(JSON.parse(stdout) as Phases), run: tookMs };
}

function nodeWasi(): Runner {
  const compiled = new WebAssembly.Module(readFileSync(file));
  return async (args) => {
    const path = join(folder, "out");
    const start = performance.now();
    const stdout = openSync(path, "w");
    const wasi = new WASI({
      version: "preview1",
      args: [...args],
      preopens: { "/tmp": work },
      stdout,
    });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `node:wasi` declares its imports as a plain object
    const imports = wasi.getImportObject() as Record<
      string,
      Record<string, WebAssembly.ImportValue>
    >;
    const exitCode = wasi.start(new WebAssembly.Instance(compiled, imports));
    closeSync(stdout);
    const tookMs = performance.now() - start;
    if (exitCode !== 0) throw new Error(`node:wasi: exit ${exitCode}`);
    return phasesOf(readFileSync(path, "utf8"), tookMs);
  };
}

function median(values: readonly number[]): number {
  const middle = values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0;
  return Math.round(middle * 10) / 10;
}

function medians(runs: readonly Phases[]): Phases {
  return Object.fromEntries(
    Object.keys(runs[0] ?? {}).map((name) => [name, median(runs.map((run) => run[name] ?? 0))]),
  );
}

try {
  mkdirSync(work);
  mkdirSync(staging);
  await using engine = createEngine({ threads: 1, stagingFolder: staging });
  const module = await engine.load({ path: file });
  const ours: Runner = async (args) => {
    const start = performance.now();
    const result = await engine.run(module, {
      arguments: args,
      environment: new Map(),
      mounts: [{ path: "/tmp", readOnly: false, content: { kind: "directory", entries: [] } }],
      collect: [],
      limits: { ...defaultLimits, fileCount: 200_000 },
    });
    const tookMs = performance.now() - start;
    if (result.kind !== "exited" || result.exitCode !== 0) {
      throw new Error(`ours: ${result.kind} ${Buffer.from(result.stderr).toString()}`);
    }
    return phasesOf(Buffer.from(result.stdout).toString(), tookMs);
  };
  const rival = await wasmtime(environment, file, work);
  if (typeof rival === "string") process.stderr.write(`\n!!! NO FIGURES OF WASMTIME: ${rival}\n\n`);
  await using other = typeof rival === "string" ? undefined : rival;
  const runners = new Map<string, Runner>([
    ["ours", ours],
    ["nodeWasi", nodeWasi()],
  ]);
  if (other) {
    runners.set("wasmtime", async (args) => {
      const { tookMs, stdout } = await other.run(args);
      return phasesOf(stdout, tookMs);
    });
  }
  const report: Record<string, unknown> = {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
    folder: base,
    ...(other ? { wasmtime: other.version } : {}),
  };
  for (const { name, amount, rounds } of works) {
    const runs = new Map([...runners.keys()].map((runner) => [runner, [] as Phases[]]));
    // The first round warms V8 up; wasmtime compiled everything before.
    for (let round = -1; round < rounds; round++) {
      for (const [runner, run] of runners) {
        const done = runs.get(runner) ?? [];
        const tookMs = done.reduce((sum, phases) => sum + (phases["run"] ?? 0), 0);
        if ((round < 0 && runner === "wasmtime") || tookMs > longestMs) continue;
        const phases = await run(["files", name, "/tmp", amount]);
        if (round >= 0) done.push(phases);
      }
    }
    const figures = Object.fromEntries(
      [...runs].map(([runner, all]) => [runner, { rounds: all.length, ...medians(all) }]),
    );
    const best = Math.min(
      ...Object.entries(figures)
        .filter(([runner]) => runner !== "ours")
        .map(([, phases]: readonly [string, Phases]) => phases["run"] ?? Infinity),
    );
    const ratio =
      Math.round((median((runs.get("ours") ?? []).map((run) => run["run"] ?? 0)) / best) * 100) /
      100;
    report[`${name} ${amount}`] = { ...figures, oursToBestRival: ratio };
  }
  process.stdout.write(
    `${JSON.stringify(report, null, process.argv.includes("--json") ? 0 : 2)}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
  rmSync(environment, { recursive: true, force: true });
}

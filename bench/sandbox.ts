// A fresh sandbox of a warm hello module: instantiate, run, collect its output. Ours in the thread and through the whole
// engine, beside node:wasi in this thread and wasmtime from PyPI in a Python, all in one run: `npm run bench -- sandbox --json`.
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { WASI } from "node:wasi";
import { createEngine } from "../src/engine/mod.ts";
import { greeting, helloFile } from "./hello.ts";

const count = 3000;
const expected = "hello\n";

await using engine = createEngine();
const module = await engine.load({ path: helloFile });

async function one(): Promise<number> {
  const { stdout, usage } = await engine.run(module, greeting);
  if (Buffer.from(stdout).toString() !== expected) throw new Error("wrong output");
  return (usage.instantiateMs + usage.runMs) * 1000;
}

/** As the rivals: one after the other. */
async function inTurn(): Promise<readonly number[]> {
  const times: number[] = [];
  for (let left = count; left > 0; left--) times.push(await one());
  return times;
}

/** With every thread busy, and this one too: more of them than there are processors. */
async function atOnce(): Promise<{
  readonly times: readonly number[];
  readonly perSecond: number;
}> {
  const start = performance.now();
  const times = await Promise.all(Array.from({ length: count }, one));
  return { times, perSecond: (count / (performance.now() - start)) * 1000 };
}

function nodeWasi(): readonly number[] {
  const compiled = new WebAssembly.Module(readFileSync(helloFile));
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  try {
    return Array.from({ length: count }, () => {
      const path = join(folder, "out");
      const start = performance.now();
      const stdout = openSync(path, "w");
      const wasi = new WASI({ version: "preview1", args: ["hello"], stdout });
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `node:wasi` declares its imports as a plain object
      const imports = wasi.getImportObject() as Record<
        string,
        Record<string, WebAssembly.ImportValue>
      >;
      wasi.start(new WebAssembly.Instance(compiled, imports));
      closeSync(stdout);
      if (readFileSync(path, "utf8") !== expected) throw new Error("wrong output");
      return (performance.now() - start) * 1000;
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** wasmtime in a virtual environment of this run; why not, when it cannot be had. */
function wasmtime(): { readonly version: string; readonly times: readonly number[] } | string {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  try {
    const python = join(folder, "bin/python");
    const steps: readonly (readonly [string, ...string[]])[] = [
      ["python3", "-m", "venv", folder],
      [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "wasmtime"],
      [python, resolve(import.meta.dirname, "rival.py"), helloFile, String(count)],
    ];
    let answer = "";
    for (const [command, ...parameters] of steps) {
      const { status, stdout, stderr, error } = spawnSync(command, parameters, {
        encoding: "utf8",
        timeout: 120_000,
      });
      if (status !== 0)
        return `${parameters.join(" ")}: ${error?.message ?? stderr.trim().slice(-300)}`;
      answer = stdout;
    }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own script printed it
    return JSON.parse(answer) as { readonly version: string; readonly times: readonly number[] };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function quantile(values: readonly number[], part: number): number {
  return Math.round(
    values.toSorted((left, right) => left - right)[Math.floor(values.length * part)] ?? 0,
  );
}

await atOnce();
const crowded = await atOnce();
const alone = await inTurn();
nodeWasi();
const rival = nodeWasi();
const other = wasmtime();
if (typeof other === "string") process.stderr.write(`\n!!! NO FIGURES OF WASMTIME: ${other}\n\n`);
const report = {
  machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
  runs: count,
  oursInThreadUs: { p50: quantile(alone, 0.5), p99: quantile(alone, 0.99) },
  oursAllAtOnceUs: { p50: quantile(crowded.times, 0.5), p99: quantile(crowded.times, 0.99) },
  oursThroughEnginePerSecond: Math.round(crowded.perSecond),
  nodeWasiUs: { p50: quantile(rival, 0.5), p99: quantile(rival, 0.99) },
  ...(typeof other === "string"
    ? {}
    : {
        wasmtime: other.version,
        wasmtimeUs: { p50: quantile(other.times, 0.5), p99: quantile(other.times, 0.99) },
      }),
};
process.stdout.write(`${JSON.stringify(report, null, process.argv.includes("--json") ? 0 : 2)}\n`);

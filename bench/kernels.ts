// Compute kernels, some with SIMD, of one C source built for Wasm and for this machine by its own `clang -O2`, in turns in one run:
// `npm run bench -- kernels --json`. Both are whole programs: a fresh sandbox of a loaded module here, a process there.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createEngine } from "../src/engine/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";

const rounds = 9;
const guests = resolve(import.meta.dirname, "guests");

interface Run {
  readonly sum: string;
  /** The kernel alone, as it timed itself. */
  readonly insideMs: number;
  /** With all around it: making the input, and the sandbox or the process. */
  readonly wholeMs: number;
}

function parse(stdout: string, wholeMs: number): Run {
  const [sum = "", inside = ""] = stdout.trim().split(" ");
  return { sum, insideMs: Number(inside), wholeMs };
}

function native(program: string, kernel: string): Run {
  const start = performance.now();
  const { status, stdout } = spawnSync(program, [kernel], { encoding: "utf8" });
  const wholeMs = performance.now() - start;
  if (status !== 0) throw new Error(`native ${kernel}: ${status}`);
  return parse(stdout, wholeMs);
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0;
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

function geometricMean(values: readonly number[]): number {
  return rounded(Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length));
}

const folder = mkdtempSync(join(tmpdir(), "bench-"));
try {
  await using engine = createEngine({ threads: 1, stagingFolder: folder });
  const program = join(folder, "kernels");
  const built = spawnSync("clang", ["-O2", "-o", program, join(guests, "kernels.c"), "-lm"], {
    encoding: "utf8",
  });
  const beside = built.status === 0;
  if (!beside) {
    const why = built.error?.message ?? built.stderr.trim();
    process.stderr.write(`\n!!! NO FIGURES OF NATIVE CODE: clang cannot build it: ${why}\n\n`);
  }
  const module = await engine.load({ path: join(guests, "kernels.wasm") });
  const wasm = async (args: readonly string[]): Promise<{ text: string; tookMs: number }> => {
    const start = performance.now();
    const result = await engine.run(module, {
      arguments: ["kernels", ...args],
      environment: new Map(),
      mounts: [],
      collect: [],
      limits: defaultLimits,
    });
    const tookMs = performance.now() - start;
    const text = Buffer.from(result.stdout).toString();
    if (result.kind !== "exited" || result.exitCode !== 0) {
      throw new Error(`wasm ${args.join(" ")}: ${result.kind} ${text}`);
    }
    return { text, tookMs };
  };
  const kernels = (await wasm([])).text.trim().split("\n");
  const figures = new Map(
    kernels.map((kernel) => [kernel, { first: 0, wasm: [] as Run[], native: [] as Run[] }]),
  );
  // A kernel's first run is one of V8's quick code to its end where all lies in one call: V8 replaces a function's code between its
  // calls, not in one. It is reported, and does not count.
  for (let round = -1; round < rounds; round++) {
    for (const [kernel, figure] of figures) {
      const { text, tookMs } = await wasm([kernel]);
      const ours = parse(text, tookMs);
      const theirs = beside ? native(program, kernel) : undefined;
      if (theirs && theirs.sum !== ours.sum) throw new Error(`${kernel}: the two differ`);
      if (round < 0) figure.first = ours.insideMs;
      else {
        figure.wasm.push(ours);
        if (theirs) figure.native.push(theirs);
      }
    }
  }
  const report = [...figures].map(([kernel, figure]) => {
    const [wasmMs, nativeMs] = [figure.wasm, figure.native].map((runs) =>
      median(runs.map((run) => run.wholeMs)),
    );
    const [wasmInsideMs, nativeInsideMs] = [figure.wasm, figure.native].map((runs) =>
      median(runs.map((run) => run.insideMs)),
    );
    return {
      kernel,
      wasmMs: rounded(wasmMs ?? 0),
      nativeMs: rounded(nativeMs ?? 0),
      ratio: rounded((wasmMs ?? 0) / (nativeMs ?? 0)),
      insideRatio: rounded((wasmInsideMs ?? 0) / (nativeInsideMs ?? 0)),
      firstRunRatio: rounded(figure.first / (nativeInsideMs ?? 0)),
    };
  });
  const summary = {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
    ...(beside
      ? {
          compiler: execFileSync("clang", ["--version"], { encoding: "utf8" }).split("\n", 1)[0],
          geometricMean: geometricMean(report.map(({ ratio }) => ratio)),
          geometricMeanInside: geometricMean(report.map(({ insideRatio }) => insideRatio)),
          geometricMeanFirstRun: geometricMean(report.map(({ firstRunRatio }) => firstRunRatio)),
        }
      : {}),
    rounds,
    kernels: Object.fromEntries(
      report.map(({ kernel, wasmMs, ...rest }) => [
        kernel,
        beside ? { wasmMs, ...rest } : { wasmMs },
      ]),
    ),
  };
  process.stdout.write(
    `${JSON.stringify(summary, null, process.argv.includes("--json") ? 0 : 2)}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

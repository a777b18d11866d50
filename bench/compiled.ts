// From a module on disk to the end of its first call, in fresh processes and in a warm engine, for modules of 0.25 to 13 MB, with V8's ways of compiling beside ours: `npm run bench -- compiled [--json]`.
// The largest is a Go program that is built here; without Go its rows are missing, with a word of warning.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setFlagsFromString } from "node:v8";
import { WASI } from "node:wasi";
import { createEngine, type Invocation } from "../src/engine/mod.ts";
import { greeting, helloFile } from "./hello.ts";

const rounds = 5;
const root = resolve(import.meta.dirname, "..");

/** None of the guests knows the word; they say so and end. */
const invocation: Invocation = { ...greeting, arguments: ["guest", "nothing"] };

interface Figures {
  readonly loadMs: number;
  readonly firstCallMs: number;
  readonly againMs: number;
}

/** In our engine: `cold` has run nothing before, `warm` has loaded and run other modules. */
async function ours(file: string, warm: boolean): Promise<Figures> {
  await using engine = createEngine({ threads: 1 });
  const run = async (path: string): Promise<Figures> => {
    const begin = performance.now();
    const module = await engine.load({ path });
    const loaded = performance.now();
    await engine.run(module, invocation);
    const called = performance.now();
    await engine.run(module, invocation);
    const again = performance.now();
    return { loadMs: loaded - begin, firstCallMs: called - loaded, againMs: again - called };
  };
  await run(helloFile);
  if (warm) {
    for (const name of ["act", "bulk", "http", "rust"]) {
      await run(join(root, "test/guests", name, `${name === "rust" ? "tried" : name}.wasm`));
    }
  }
  const figures = await run(file);
  return figures;
}

/** V8 alone, with flags; nothing is checked or changed. */
function bare(file: string, flags: readonly string[]): Figures {
  for (const flag of flags) setFlagsFromString(flag);
  const begin = performance.now();
  const module = new WebAssembly.Module(readFileSync(file));
  const loaded = performance.now();
  const call = (): void => {
    const wasi = new WASI({
      version: "preview1",
      args: [...invocation.arguments],
      stdout: 1,
      stderr: 1,
    });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `node:wasi` declares its imports as a plain object
    const imports = wasi.getImportObject() as Record<
      string,
      Record<string, WebAssembly.ImportValue>
    >;
    wasi.start(new WebAssembly.Instance(module, imports));
  };
  call();
  const called = performance.now();
  call();
  return {
    loadMs: loaded - begin,
    firstCallMs: called - loaded,
    againMs: performance.now() - called,
  };
}

const ways: Readonly<Record<string, (file: string) => Promise<Figures> | Figures>> = {
  "ours, cold": (file) => ours(file, false),
  "ours, warm": (file) => ours(file, true),
  "V8, our flags": (file) => bare(file, ["--no-wasm-dynamic-tiering"]),
  "V8, its own": (file) => bare(file, []),
  "V8, all at once": (file) =>
    bare(file, ["--no-wasm-dynamic-tiering", "--no-wasm-lazy-compilation"]),
  "V8, looked at late": (file) =>
    bare(file, ["--no-wasm-dynamic-tiering", "--wasm-lazy-validation"]),
};

/** 0.5 MB: 4,000 functions that count, of which `_start` calls a hundred. */
function generated(): Buffer {
  const leb = (value: number): readonly number[] =>
    value < 128 ? [value] : [(value & 127) | 128, ...leb(value >> 7)];
  const section = (id: number, body: readonly number[]): readonly number[] => [
    id,
    ...leb(body.length),
    ...body,
  ];
  const count = 4000;
  // Constants and additions, and instructions that do nothing: some 120 bytes.
  const additions = Array.from({ length: 30 }, () => [0x41, 7, 0x6a]).flat();
  const nothing = Array.from({ length: 28 }, () => 0x01);
  const body = [0, 0x41, 1, ...additions, 0x1a, ...nothing, 0x0b];
  const called = Array.from({ length: 100 }, (_, at) => [0x10, ...leb(1 + at * 40)]).flat();
  const start = [0, ...called, 0x0b];
  const bodies = [start, ...Array.from({ length: count }, () => body)];
  return Buffer.from([
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...section(1, [1, 0x60, 0, 0]),
    ...section(3, [...leb(count + 1), ...Array.from({ length: count + 1 }, () => 0)]),
    ...section(5, [1, 0, 1]),
    ...section(7, [2, 6, ...Buffer.from("_start"), 0, 0, 6, ...Buffer.from("memory"), 2, 0]),
    ...section(10, [...leb(count + 1), ...bodies.flatMap((one) => [...leb(one.length), ...one])]),
  ]);
}

/** A program of 13 MB, of which little runs. */
function builtGo(folder: string): string | undefined {
  const file = join(folder, "large.wasm");
  const { status } = spawnSync("go", ["build", "-o", file, "large.go"], {
    cwd: join(import.meta.dirname, "guests"),
    env: { ...process.env, GOOS: "wasip1", GOARCH: "wasm" },
  });
  return status === 0 ? file : undefined;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  return Math.round((sorted[sorted.length >> 1] ?? 0) * 10) / 10;
}

function measured(file: string): Record<string, Figures> {
  const all = new Map(Object.keys(ways).map((way) => [way, [] as Figures[]]));
  for (let round = 0; round < rounds; round += 1) {
    for (const [way, figures] of all) {
      const args = ["--no-warnings", import.meta.filename, "--child", way, file];
      const { stderr, status } = spawnSync(process.execPath, args, { encoding: "utf8" });
      const line = stderr.split("\n").findLast((text) => text.startsWith("{"));
      if (line === undefined) throw new Error(`${way} ${file}: ${status} ${stderr}`);
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own child wrote it
      figures.push(JSON.parse(line) as Figures);
    }
  }
  return Object.fromEntries(
    [...all].map(([way, figures]) => [
      way,
      {
        loadMs: median(figures.map(({ loadMs }) => loadMs)),
        firstCallMs: median(figures.map(({ firstCallMs }) => firstCallMs)),
        againMs: median(figures.map(({ againMs }) => againMs)),
      },
    ]),
  );
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  try {
    const half = join(folder, "half.wasm");
    writeFileSync(half, generated());
    const large = builtGo(folder);
    if (large === undefined)
      process.stderr.write("\n!!! NO FIGURES OF 13 MB: Go builds nothing here\n\n");
    const files = new Map([
      ["Rust, 0.25 MB", join(root, "test/guests/rust/tried.wasm")],
      ["generated, 0.5 MB", half],
      ["Go, 3.2 MB", join(root, "test/guests/go/tried.wasm")],
      ...(large === undefined ? [] : [["Go, 13 MB", large] as const]),
    ]);
    const report: Record<string, unknown> = {
      machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
      rounds,
    };
    for (const [name, file] of files) report[name] = measured(file);
    process.stdout.write(
      `${JSON.stringify(report, null, process.argv.includes("--json") ? 0 : 2)}\n`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const child = process.argv.indexOf("--child");
if (child > 0) {
  const [way = "", file = ""] = process.argv.slice(child + 1);
  const figures = await ways[way]?.(file);
  process.stderr.write(`\n${JSON.stringify(figures)}\n`);
} else await main();

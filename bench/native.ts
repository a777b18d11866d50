// One page of the letter cleaned by the same C source, built for Wasm and for this machine by its own `cc -O2`, in turns in one
// run: `npm run bench -- native --json`. The Wasm one goes through the whole engine, with a warm module, a fresh sandbox each time
// and its output collected; the native one is a process that reads and writes files. Both must write the same bytes.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createEngine, type Collected, type Mount } from "../src/engine/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";

const runs = 31;
const guests = resolve(import.meta.dirname, "../examples/letterflow/guests");
const scan = resolve(guests, "../letter.tiff");
const folder = mkdtempSync(join(tmpdir(), "bench-"));
await using engine = createEngine({ threads: 1 });

function mount(path: string, bytes: Uint8Array): Mount {
  return {
    path,
    readOnly: true,
    content: { kind: "file", mode: 0o644, content: { kind: "bytes", bytes } },
  };
}

async function wasm(guest: string, args: readonly string[], input: Mount, collect: string) {
  const module = await engine.load({ path: join(guests, `${guest}.wasm`) });
  const start = performance.now();
  const result = await engine.run(module, {
    arguments: [guest, ...args],
    environment: new Map(),
    mounts: [{ path: "/tmp", readOnly: false, content: { kind: "directory", entries: [] } }, input],
    collect: [collect],
    limits: defaultLimits,
  });
  const tookMs = performance.now() - start;
  const [collected] = result.collected;
  if (result.kind !== "exited" || result.exitCode !== 0 || !collected) {
    throw new Error(`${guest}: ${result.kind} ${Buffer.from(result.stderr).toString()}`);
  }
  return { collected, tookMs, inThreadMs: result.usage.instantiateMs + result.usage.runMs };
}

function bytesOf(file: Collected & { readonly kind: "file" }): Uint8Array {
  if (file.content.kind === "bytes") return file.content.bytes;
  const { path, offset, size } = file.content;
  return readFileSync(path).subarray(offset, offset + size);
}

function p50(values: readonly number[]): number {
  const middle = values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0;
  return Math.round(middle * 100) / 100;
}

async function compare(page: Uint8Array, program: string) {
  const from = join(folder, "page.png");
  const to = join(folder, "clean.png");
  writeFileSync(from, page);
  const input = mount("/tmp/page.png", page);
  const ours: number[] = [];
  const inThread: number[] = [];
  const native: number[] = [];
  // The first runs let V8 replace its quick code by its good one; they are not counted.
  for (let run = -10; run < runs; run++) {
    const result = await wasm(
      "deskew",
      ["/tmp/page.png", "/tmp/clean.png"],
      input,
      "/tmp/clean.png",
    );
    const start = performance.now();
    const { status } = spawnSync(program, [from, to]);
    const nativeMs = performance.now() - start;
    if (status !== 0 || result.collected.kind !== "file") throw new Error("no output");
    if (Buffer.compare(readFileSync(to), bytesOf(result.collected)) !== 0) {
      throw new Error("the two write different pages");
    }
    if (run < 0) continue;
    ours.push(result.tookMs);
    inThread.push(result.inThreadMs);
    native.push(nativeMs);
  }
  const ratio = Math.round((p50(ours) / p50(native)) * 100) / 100;
  return { wasmMs: p50(ours), wasmInThreadMs: p50(inThread), nativeMs: p50(native), ratio };
}

try {
  const program = join(folder, "deskew");
  const sources = ["deflate", "deskew", "inflate", "png"].map((name) =>
    join(guests, "deskew", `${name}.c`),
  );
  execFileSync("cc", ["-O2", "-o", program, ...sources, "-lm"]);
  const { collected } = await wasm(
    "split_pages",
    ["/tmp/doc", "/tmp/pages"],
    mount("/tmp/doc", readFileSync(scan)),
    "/tmp/pages",
  );
  if (collected.kind !== "directory") throw new Error("no pages");
  const pages: Record<string, Awaited<ReturnType<typeof compare>>> = {};
  for (const entry of collected.entries) {
    if (entry.kind !== "file") continue;
    const page = bytesOf({ ...entry, path: entry.path });
    pages[entry.path] = await compare(page, program);
  }
  const report = {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
    compiler: execFileSync("cc", ["--version"], { encoding: "utf8" }).split("\n", 1)[0],
    runs,
    pages,
  };
  process.stdout.write(
    `${JSON.stringify(report, null, process.argv.includes("--json") ? 0 : 2)}\n`,
  );
} finally {
  rmSync(folder, { recursive: true });
}

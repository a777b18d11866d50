// Steps through the whole of it with the journal on: a chain of 1,000, a loop of 10,000, what an ended step leaves in memory, a command from a cold start.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { openArtifactStore } from "../src/artifacts/mod.ts";
import { createLocalDispatcher } from "../src/dispatch/mod.ts";
import { readBundle, type Bundle } from "../src/document/mod.ts";
import { createEngine } from "../src/engine/mod.ts";
import { createRunners } from "../src/runner/mod.ts";
import { createTaskRunner } from "../src/task/mod.ts";
import { beginRun, openJournal, runWorkflow } from "../src/workflow/mod.ts";
import { greeting, helloFile } from "./hello.ts";

const root = resolve(import.meta.dirname, "..");
const head = `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: bench-}
spec:
  entrypoint: main
  templates:
    - name: hello
      wasm: {module: test/guests/hello/hello.wasm}
    - name: main
      steps:
`;

/** A chain of steps, each after the one before. */
function chain(count: number): Bundle {
  const steps = Array.from(
    { length: count },
    (_, at) => `        - [{name: s${at}, template: hello}]\n`,
  );
  return read(head + steps.join(""));
}

/** One step for each item, all ready at once. */
function loop(count: number): Bundle {
  const items = Array.from({ length: count }, (_, at) => at).join(",");
  return read(`${head}        - [{name: all, template: hello, withItems: [${items}]}]\n`);
}

/** The same items in one step. */
function mapOf(count: number): Bundle {
  const items = JSON.stringify(Array.from({ length: count }, (_, at) => at));
  const template = `    - name: each\n      wasm:\n        module: test/guests/hello/hello.wasm\n        map: { items: ${items}, parallelism: 16 }\n`;
  return read(
    head.replace("  templates:\n", `  templates:\n${template}`) +
      "        - [{name: all, template: each}]\n",
  );
}

function read(text: string): Bundle {
  const { bundle, problems } = readBundle([{ file: join(root, "bench.yaml"), text }]);
  if (!bundle) throw new Error(problems.map((problem) => problem.message).join("\n"));
  return bundle;
}

interface Measured {
  readonly steps: number;
  readonly msPerStep: number;
  readonly stepsPerSecond: number;
  /** What the guests themselves took, on their thread. */
  readonly guestMsPerStep: number;
  /** The difference: what the engine, the artifacts, the journal and the planner add. */
  readonly overGuestMsPerStep?: number;
}

/** Runs workflows one after the other in a folder and an engine of its own; the last one counts, the others warm up. */
async function measure(
  bundles: readonly Bundle[],
  durability: "normal" | "full",
  observe: { readonly atEnd?: (state: unknown) => Promise<void> } = {},
): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  try {
    using journal = openJournal({ folder, durability });
    const artifacts = await openArtifactStore({ folder: join(folder, "artifacts"), durability });
    await using runner = createTaskRunner({
      runners: createRunners({ stagingFolder: await artifacts.stagingFolder() }),
      artifacts,
    });
    await using dispatcher = createLocalDispatcher({ runner });
    let measured: Measured | undefined;
    for (const bundle of bundles) {
      using claim = beginRun({ journal, bundle });
      const start = performance.now();
      const state = await runWorkflow({ claim, dispatcher });
      const tookMs = performance.now() - start;
      if (state.phase !== "Succeeded") throw new Error(state.message);
      const leaves = [...state.nodes.values()].flatMap(({ timings }) => timings ?? []);
      const guestMs = leaves.reduce(
        (sum, { instantiateMs, runMs }) => sum + instantiateMs + runMs,
        0,
      );
      const steps = leaves.length;
      measured = {
        steps,
        msPerStep: tookMs / steps,
        stepsPerSecond: (steps / tookMs) * 1000,
        guestMsPerStep: guestMs / steps,
        overGuestMsPerStep: (tookMs - guestMs) / steps,
      };
      await observe.atEnd?.(state);
    }
    if (!measured) throw new Error("nothing to measure");
    return measured;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The rival of the workflow: the same guests through the engine alone, without inputs, outputs, journal or graph. */
async function plain(count: number, atOnce: number): Promise<Measured> {
  await using engine = createEngine();
  const module = await engine.load({ path: helloFile });
  let left = count;
  let guestMs = 0;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const { usage } = await engine.run(module, greeting);
      guestMs += usage.instantiateMs + usage.runMs;
    }
  };
  await engine.run(module, greeting);
  const start = performance.now();
  await Promise.all(Array.from({ length: atOnce }, one));
  const tookMs = performance.now() - start;
  return {
    steps: count,
    msPerStep: tookMs / count,
    stepsPerSecond: (count / tookMs) * 1000,
    guestMsPerStep: guestMs / count,
  };
}

/** Live heap that a run of `count` steps added at its end; in this process, which has `gc`. */
async function heap(count: number): Promise<number> {
  const { gc } = globalThis;
  if (!gc) throw new Error("run with --expose-gc");
  let bytes = 0;
  // What is registered for finalisation goes only when the event loop turns.
  const collected = async (): Promise<number> => {
    for (let turn = 0; turn < 5; turn += 1) {
      gc();
      await new Promise((done) => setTimeout(done, 10));
    }
    return process.memoryUsage().heapUsed;
  };
  const bundle = loop(count);
  await measure([loop(200)], "normal");
  const before = await collected();
  await measure([bundle], "normal", {
    // The state is still in use here, as it is for whoever shows the run.
    atEnd: async (state) => {
      bytes = (await collected()) - before;
      if (!state) throw new Error("no state");
    },
  });
  return bytes / count;
}

function heapInChild(count: number): number {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["--no-warnings", "--expose-gc", import.meta.filename, "--heap", String(count)],
    { encoding: "utf8" },
  );
  const bytes = Number(stdout);
  if (!(bytes > -1e9) || stdout === "") throw new Error(stderr);
  return bytes;
}

interface Started {
  readonly p50Ms: number;
  readonly p90Ms: number;
}

/** A whole process, from its start to its end. */
function started(command: string, args: readonly string[], home: string, runs = 15): Started {
  const times: number[] = [];
  for (let at = 0; at < runs; at += 1) {
    const start = performance.now();
    const { status, stderr } = spawnSync(command, args, {
      cwd: root,
      encoding: "utf8",
      env: { PATH: process.env["PATH"], HOME: home },
    });
    times.push(performance.now() - start);
    if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
  }
  times.sort((left, right) => left - right);
  return { p50Ms: times[Math.floor(runs / 2)] ?? 0, p90Ms: times[Math.floor(runs * 0.9)] ?? 0 };
}

/** The Node that a machine has by itself, which may be older than ours: found without the folder that npm puts before it. */
function systemNode(): string | undefined {
  const path = (process.env["PATH"] ?? "")
    .split(":")
    .filter((folder) => !folder.includes("node_modules"))
    .join(":");
  const { stdout } = spawnSync("sh", ["-c", "command -v node"], {
    encoding: "utf8",
    env: { PATH: path },
  });
  return stdout.trim() || undefined;
}

function coldStart() {
  const home = mkdtempSync(join(tmpdir(), "bench-"));
  try {
    const file = join(home, "one.yaml");
    writeFileSync(
      file,
      `${head.replace("test/guests/hello/hello.wasm", helloFile)}        - [{name: only, template: hello}]\n`,
    );
    const command = [join(root, "bin/atalanta.js"), "run", file];
    started(process.execPath, command, home, 2);
    const system = systemNode();
    return {
      run: started(process.execPath, command, home),
      ...(system ? { runFromSystemNode: started(system, command, home) } : {}),
      emptyNode: started(process.execPath, ["-e", "0"], home),
      ...(system ? { emptySystemNode: started(system, ["-e", "0"], home) } : {}),
    };
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Of one step that ran that many. */
function perItem({ msPerStep, guestMsPerStep }: Measured, count: number): Measured {
  return {
    steps: count,
    msPerStep: msPerStep / count,
    stepsPerSecond: (count / msPerStep) * 1000,
    guestMsPerStep: guestMsPerStep / count,
  };
}

async function main(): Promise<void> {
  const thousand = chain(1000);
  const report = {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`,
    chain: {
      normal: await measure([thousand, thousand], "normal"),
      full: await measure([thousand], "full"),
      engineAlone: await plain(1000, 1),
    },
    loop: {
      normal: await measure([loop(500), loop(10_000)], "normal"),
      full: await measure([loop(500), loop(10_000)], "full"),
      engineAlone: await plain(10_000, 12),
      map: perItem(await measure([mapOf(500), mapOf(10_000)], "normal"), 10_000),
      heapBytesPerItem: heapInChild(10_000),
    },
    coldStart: coldStart(),
  };
  if (process.argv.includes("--json")) process.stdout.write(`${JSON.stringify(report)}\n`);
  else print(report);
}

function print(report: {
  readonly machine: string;
  readonly chain: Readonly<Record<"normal" | "full" | "engineAlone", Measured>>;
  readonly loop: Readonly<Record<"normal" | "full" | "engineAlone" | "map", Measured>> & {
    readonly heapBytesPerItem: number;
  };
  readonly coldStart: Readonly<Partial<Record<string, Started>>>;
}): void {
  const rows: (readonly string[])[] = [["what", "figure", "beside"]];
  const add = (what: string, figure: string, beside = ""): void => {
    rows.push([what, figure, beside]);
  };
  const { chain: c, loop: l } = report;
  const ms = (value = 0): string => `${value.toFixed(2)} ms`;
  for (const durability of ["normal", "full"] as const) {
    const over = c[durability].overGuestMsPerStep;
    add(
      `chain of ${c.normal.steps}, ${durability}`,
      `${ms(over)} a step over the guest's own ${ms(c[durability].guestMsPerStep)}`,
      `${ms(c.engineAlone.msPerStep - c.engineAlone.guestMsPerStep)} through the engine alone`,
    );
  }
  for (const durability of ["normal", "full"] as const) {
    add(
      `loop of ${l.normal.steps}, ${durability}`,
      `${l[durability].stepsPerSecond.toFixed(0)} steps/s`,
      `${l.engineAlone.stepsPerSecond.toFixed(0)}/s through the engine alone`,
    );
  }
  add(`map of ${l.map.steps} in one step`, `${l.map.stepsPerSecond.toFixed(0)} items/s`);
  add("live heap of an ended item", `${l.heapBytesPerItem.toFixed(0)} bytes`);
  for (const [name, { p50Ms, p90Ms } = { p50Ms: 0, p90Ms: 0 }] of Object.entries(
    report.coldStart,
  )) {
    add(`cold start, ${name}`, `p50 ${p50Ms.toFixed(0)} ms, p90 ${p90Ms.toFixed(0)} ms`);
  }
  const widths = [0, 1].map((at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  process.stdout.write(`${report.machine}\n`);
  for (const row of rows) {
    process.stdout.write(
      `${row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join("  ")
        .trimEnd()}\n`,
    );
  }
}

const heapAt = process.argv.indexOf("--heap");
if (heapAt > 0) process.stdout.write(String(await heap(Number(process.argv[heapAt + 1]))));
else await main();

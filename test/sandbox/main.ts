// Everything that docs/sandbox.md promises, in its whole form.
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { parseArgs } from "node:util";

const usage = `Usage: npm run test:sandbox -- [options]

  --fuzz-minutes N   how long each fuzzer runs (default 2; 0 leaves them out)
  --only WORD        stages whose name has this word (repeatable)
`;
const root = join(import.meta.dirname, "../..");

interface Outcome {
  readonly passed: number;
  readonly failures: readonly string[];
  /** What was left out, and why. */
  readonly skipped: readonly string[];
}

interface Stage {
  readonly name: string;
  readonly work: () => Promise<Outcome>;
}

const { values } = parseArgs({
  options: {
    "fuzz-minutes": { type: "string", default: "2" },
    only: { type: "string", multiple: true, default: [] },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}
const fuzzMinutes = Number(values["fuzz-minutes"]);
if (!(fuzzMinutes >= 0)) throw new Error(`--fuzz-minutes ${values["fuzz-minutes"]} is no number`);

const all: readonly Stage[] = [
  {
    name: "preview 1 beside a living wasmtime",
    work: () => script("test/conformance/run.ts", [], "PyPI's wasmtime"),
  },
  {
    name: "calls, files and ceilings",
    work: () =>
      tests("src/{wasi,limits,engine}/**/*.test.ts", "test/{conformance,limits}/**/*.test.ts"),
  },
  { name: "stopping, neighbours and leaks", work: () => tests("test/stopping/**/*.test.ts") },
  {
    name: "the class process",
    work: () => tests("{src,test}/runner/**/*.test.ts"),
  },
  {
    name: "network and secrets",
    work: () => tests("{src,test}/network/**/*.test.ts", "test/network.test.ts"),
  },
  {
    name: "hostile guests",
    work: () => tests("test/hostile/**/*.test.ts", "test/{exec,document}-hostile.test.ts"),
  },
  { name: "inspect and the promises", work: () => tests("test/{inspect,promises}.test.ts") },
  {
    name: "fuzzers",
    work: () =>
      fuzzMinutes === 0
        ? Promise.resolve({ passed: 0, failures: [], skipped: ["fuzzers: --fuzz-minutes 0"] })
        : script("fuzz/main.ts", ["--minutes", String(fuzzMinutes)]),
  },
];
const stages = all.filter(
  ({ name }) => values.only.length === 0 || values.only.some((word) => name.includes(word)),
);
if (stages.length === 0) throw new Error(`No stage has one of ${values.only.join(", ")}`);

// What tells the tests of the sandbox to run whole.
process.env["ATALANTA_WHOLE"] = "1";
const lines: string[] = [];
const skipped = all
  .filter((stage) => !stages.includes(stage))
  .map(({ name }) => `${name}: left out by --only`);
const failures: string[] = [];
for (const { name, work } of stages) {
  say(`\n== ${name}`);
  const start = performance.now();
  const outcome = await work();
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  const mark = outcome.failures.length > 0 ? "FAILED" : outcome.passed > 0 ? "ok" : "NOT RUN";
  lines.push(
    `${mark.padEnd(8)} ${name.padEnd(36)} ${String(outcome.passed).padStart(6)} passed  ${String(outcome.failures.length).padStart(3)} failed  ${String(outcome.skipped.length).padStart(3)} skipped  ${seconds} s`,
  );
  failures.push(...outcome.failures);
  skipped.push(...outcome.skipped);
}
say(`\n${lines.join("\n")}`);
if (skipped.length > 0) {
  say(`\nNOT TESTED (${skipped.length}):`);
  for (const line of skipped) say(`  ${line}`);
}
if (failures.length > 0) {
  say(`\nFAILED (${failures.length}):`);
  for (const line of failures) say(`  ${line}`);
  process.exitCode = 1;
}

/** Runs test files one after the other: some of them measure. */
async function tests(...patterns: readonly string[]): Promise<Outcome> {
  const files = patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).toSorted();
  const failed: string[] = [];
  const left = patterns
    .filter((pattern) => globSync(pattern, { cwd: root }).length === 0)
    .map((pattern) => `${pattern}: there is no such file`);
  let passed = 0;
  if (files.length === 0) return { passed, failures: failed, skipped: left };
  const events = run({ files: files.map((file) => join(root, file)), concurrency: 1, cwd: root });
  for await (const { type, data } of events) {
    if (type === "test:fail") {
      // A group fails with its tests, which are told themselves.
      if (data.details.type === "suite") continue;
      const { error } = data.details;
      failed.push(`${data.file ?? ""}: ${data.name}: ${String(error.cause ?? error.message)}`);
      say(`  failed: ${data.name}`);
    } else if (type === "test:pass" && data.details.type !== "suite") {
      if (data.skip === undefined || data.skip === false) passed++;
      else left.push(`${data.name}: ${data.skip === true ? "no reason given" : data.skip}`);
    }
  }
  say(`  ${passed} passed in ${files.length} files`);
  return { passed, failures: failed, skipped: left };
}

/** Runs a script of ours; it counts as one. What it needs and cannot be had is a reason to leave it out. */
async function script(file: string, args: readonly string[], needs?: string): Promise<Outcome> {
  const child = spawn(process.execPath, ["--no-warnings", join(root, file), ...args], {
    cwd: root,
    stdio: ["ignore", "inherit", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
    process.stderr.write(text);
  });
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  if (code === 0) return { passed: 1, failures: [], skipped: [] };
  const unavailable = /python3 ENOENT|No module named|-m pip install|-m venv/.test(said);
  if (needs !== undefined && unavailable) {
    return { passed: 0, failures: [], skipped: [`${file}: ${needs} cannot be had here`] };
  }
  return { passed: 0, failures: [`${file} ended with ${code}`], skipped: [] };
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

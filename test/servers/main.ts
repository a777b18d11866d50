// `npm run test:stores [-- FILE…]`: installs and starts servers that others wrote, runs the tests that have use for them, and tells in one summary what came of it.
// `-- --serve` starts them and stays, for somebody who tries things by hand: it says which ATALANTA_TEST_SERVERS to set.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { install } from "./install.ts";
import { start } from "./start.ts";

const root = resolve(import.meta.dirname, "../..");
const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** Every test file that asks for the servers. */
function files(): readonly string[] {
  return globSync(["src/**/*.test.ts", "test/**/*.test.ts"], { cwd: root })
    .filter((file) => readFileSync(join(root, file), "utf8").includes(`given.ts"`))
    .toSorted();
}

/** Runs the tests of the files; the numbers that Node's runner tells at its end. */
async function test(files: readonly string[], environment: Readonly<Record<string, string>>) {
  // One file at a time: they share the servers, and some measure.
  const child = spawn(process.execPath, ["--test", "--test-concurrency=1", ...files], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const counts = new Map<string, number>();
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => {
    say(line);
    const [, what, number] = /^ℹ (pass|fail|skipped) (\d+)$/.exec(line) ?? [];
    if (what !== undefined) counts.set(what, Number(number));
  });
  const [code] = (await once(child, "close")) as [number | null];
  const count = (what: string): number => counts.get(what) ?? 0;
  return {
    failed: code !== 0,
    pass: count("pass"),
    fail: count("fail"),
    skipped: count("skipped"),
  };
}

// On an order to end, the servers go by their own `exit` handlers.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
const folder = mkdtempSync(join(tmpdir(), "servers-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

const installed = await install(say);
const before = performance.now();
await using started = await start(installed);
say(`${started.programs.size} servers started in ${(performance.now() - before).toFixed(0)} ms`);
const file = join(folder, "servers.json");
writeFileSync(file, JSON.stringify(started.given), { mode: 0o600 });
const environment = { ATALANTA_TEST_SERVERS: file };

const asked = process.argv.slice(2);
if (asked.includes("--serve")) {
  say(`ATALANTA_TEST_SERVERS=${file}`);
  await new Promise<void>((done) => setInterval(() => done, 1 << 30));
} else {
  const chosen = asked.length > 0 ? asked : files();
  const { failed, pass, fail, skipped } = await test(chosen, environment);
  const missing = [...installed].filter(([, one]) => "missing" in one).map(([name]) => name);
  say(
    `${chosen.filter((file) => !file.startsWith("-")).length} files against ${started.programs.size} servers: ${pass} passed, ${fail} failed, ${skipped} skipped`,
  );
  for (const name of missing) say(`!!! NOT TRIED, for it could not be installed: ${name}`);
  process.exitCode = failed ? 1 : 0;
}

// Throws chance at the parts that read what strangers wrote: npm run fuzz -- --minutes 10
import { fork, type ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Chance } from "./chance.ts";
import type { FromChild } from "./child.ts";
import { isTarget, loadTarget, targetNames, type TargetName } from "./targets.ts";

const usage = `Usage: npm run fuzz -- [options]

  --minutes N     how long (default 1)
  --seed N        seed of the first round (default: by chance)
  --only NAME     one target: ${targetNames.join(", ")} (repeatable)
  --replay FILE   runs one failure again, from the file that a failure leaves

Example: npm run fuzz -- --minutes 10 --only module

Exit codes: 0 nothing was found, 1 something was, 2 wrong use, 130 interrupted.
`;
/** A round takes milliseconds, the largest simulated workflow 15 s, and a busy machine several times that; this one never comes to its end. */
const hangMs = 300_000;
const progressMs = 10_000;
/** Where failures are left, in the folder this is run in. */
const failures = "fuzz-failures";

interface Failed {
  readonly target: TargetName;
  readonly seed: number;
  readonly error: string;
  readonly draws?: readonly number[];
}

class Wrong extends Error {}

/** Runs one target's rounds until `end`, and comes back with the first failure. */
class Run {
  rounds = 0;
  readonly target: TargetName;
  readonly failed: Promise<Failed | undefined>;
  readonly #child: ChildProcess;
  #seed: number;
  #at = performance.now();
  #hung = false;

  constructor(target: TargetName, seed: number) {
    this.target = target;
    this.#seed = seed;
    this.#child = fork(new URL("./child.ts", import.meta.url), [target, String(seed)], {
      execArgv: ["--no-warnings"],
    });
    this.failed = new Promise((resolve) => {
      let found: Failed | undefined;
      const watch = setInterval(() => {
        if (performance.now() - this.#at < hangMs) return;
        this.#hung = true;
        this.#child.kill("SIGKILL");
      }, 1000);
      this.#child.on("message", (message: FromChild) => {
        this.#at = performance.now();
        if (message.type === "round") {
          this.#seed = message.seed;
          this.rounds++;
        } else if (message.type === "failed") found = { target, ...message };
      });
      this.#child.on("exit", (code, signal) => {
        clearInterval(watch);
        const died = this.#hung
          ? `the round did not end within ${hangMs / 1000} s`
          : `the process died: ${signal ?? `exit code ${code}`}`;
        const well = code === 0;
        resolve(found ?? (well ? undefined : { target, seed: this.#seed, error: died }));
      });
    });
  }

  stop(): void {
    if (this.#child.connected) this.#child.send("stop");
  }
}

async function fuzz(
  names: readonly TargetName[],
  minutes: number,
  seed: number,
): Promise<readonly Failed[]> {
  const start = performance.now();
  const runs = names.map((name) => new Run(name, seed));
  const line = (): string =>
    `${Math.round((performance.now() - start) / 1000)} s: ${runs.map((run) => `${run.target} ${run.rounds}`).join(", ")} rounds\n`;
  const progress = setInterval(() => process.stderr.write(line()), progressMs);
  const stop = (): void => {
    for (const run of runs) run.stop();
  };
  const timer = setTimeout(stop, minutes * 60_000);
  process.once("SIGINT", () => {
    process.exitCode = 130;
    stop();
  });
  const found = await Promise.all(runs.map((run) => run.failed));
  clearInterval(progress);
  clearTimeout(timer);
  process.stdout.write(line());
  return found.filter((failed) => failed !== undefined);
}

function report(failed: Failed): void {
  mkdirSync(failures, { recursive: true });
  const file = join(failures, `${failed.target}-${failed.seed}.json`);
  writeFileSync(file, `${JSON.stringify(failed)}\n`);
  process.stdout.write(`\nFAILED ${failed.target}, seed ${failed.seed}\n${failed.error}\n`);
  process.stdout.write(`Again: npm run fuzz -- --replay ${file}\n`);
}

async function replay(file: string): Promise<void> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a file that `report` wrote
  const { target, seed, draws } = JSON.parse(readFileSync(file, "utf8")) as Failed;
  const { round, close } = await loadTarget(target);
  try {
    await round(draws ? Chance.replayed(draws) : new Chance(seed), new AbortController().signal);
    process.stdout.write("It does not fail any more.\n");
  } catch (thrown) {
    process.stdout.write(`${thrown instanceof Error ? thrown.stack : String(thrown)}\n`);
    process.exitCode = 1;
  } finally {
    await close?.();
  }
}

function number(text: string, what: string): number {
  const value = Number(text);
  if (text !== "" && Number.isFinite(value) && value >= 0) return value;
  throw new Wrong(`--${what} "${text}" is not a number`);
}

try {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "1" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
      only: { type: "string", multiple: true, default: [...targetNames] },
      replay: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) process.stdout.write(usage);
  else if (values.replay !== undefined) await replay(values.replay);
  else {
    const unknown = values.only.find((name) => !isTarget(name));
    if (unknown !== undefined) {
      throw new Wrong(`There is no target "${unknown}"; there are ${targetNames.join(", ")}`);
    }
    const seed = number(values.seed, "seed") % 2 ** 31;
    process.stdout.write(`seed ${seed}\n`);
    const minutes = number(values.minutes, "minutes");
    const found = await fuzz(values.only.filter(isTarget), minutes, seed);
    for (const failed of found) report(failed);
    if (found.length > 0) process.exitCode = 1;
    else process.stdout.write("Nothing was found.\n");
  }
} catch (thrown) {
  if (!(thrown instanceof Wrong || (thrown instanceof TypeError && "code" in thrown))) throw thrown;
  process.stderr.write(`error: ${thrown.message}\n\n${usage}`);
  process.exitCode = 2;
}

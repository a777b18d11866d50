import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { cases } from "./cases.ts";
import { bare, ends, lines, modules, programs } from "./modules.ts";
import { Ours } from "./ours.ts";
import { Script } from "./script.ts";
import { setting } from "./setting.ts";

/** What wasmtime answered: one answer for each step it came to, and how the guest ended. */
export interface Golden {
  readonly wasmtime: string;
  readonly answers: Readonly<Record<string, readonly string[]>>;
}

/** Why answers differ, and every answer that differs for that reason: by case and step, wasmtime's and ours. */
export interface Explanation {
  readonly why: string;
  readonly answers: Readonly<Record<string, Readonly<Record<string, readonly [string, string]>>>>;
}

export interface Difference {
  readonly name: string;
  readonly step: number;
  readonly wasmtime: string;
  readonly ours: string;
}

export const goldenFile: string = resolve(import.meta.dirname, "golden.json");
export const differencesFile: string = resolve(import.meta.dirname, "differences.json");

export const readGolden = (): Golden => JSON.parse(readFileSync(goldenFile, "utf8")) as Golden;
export const readExplanations = (): readonly Explanation[] =>
  JSON.parse(readFileSync(differencesFile, "utf8")) as readonly Explanation[];

/** Runs every case and module in our engine, and finds where it does not answer as wasmtime did. */
export async function compare(golden: Golden): Promise<Difference[]> {
  await using ours = new Ours();
  const differences: Difference[] = [];
  const answered = (name: string, mine: readonly string[]): void => {
    const theirs = golden.answers[name] ?? [];
    // A guest that wasmtime ended has fewer answers there; the rest of ours has nothing to be compared with.
    for (const [step, expected] of theirs.entries()) {
      const answer = mine[step] ?? "nothing";
      if (answer !== expected) differences.push({ name, step, wasmtime: expected, ours: answer });
    }
    if (theirs.length === 0) differences.push({ name, step: 0, wasmtime: "unknown", ours: "" });
  };
  for (const { name, steps } of cases) {
    const script = new Script(steps);
    const { told, end } = await ours.run(script.text, setting);
    answered(name, [...script.read(told), end]);
  }
  for (const { name, path } of modules) {
    answered(name, ends(await ours.run("", bare, { module: path })));
  }
  for (const { name, path } of programs) {
    answered(name, lines(await ours.run("first", setting, { module: path })));
  }
  return differences;
}

/**
 * Runs every case in wasmtime from PyPI on real directories and compares with what is committed in golden.json.
 *
 *     node test/conformance/run.ts             says whether wasmtime still answers so
 *     node test/conformance/run.ts --record    writes golden.json anew
 *     node test/conformance/run.ts --explain   needs no wasmtime: brings differences.json up to what ours answers now; what is new
 *                                              there lacks its reason, and the test wants one
 *
 * PYTHON names an interpreter with the package `wasmtime`; without it a virtual environment is made in the temporary folder.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cases } from "./cases.ts";
import {
  compare,
  differencesFile,
  goldenFile,
  readExplanations,
  readGolden,
  type Explanation,
} from "./compare.ts";
import { findPython, makePython, Wasmtime, wasmtimeVersion as version } from "./live.ts";
import { bare, ends, lines, modules, programs } from "./modules.ts";
import { Script } from "./script.ts";
import { setting } from "./setting.ts";

const mode = process.argv[2];

if (mode === "--explain") await explain();
else {
  const answers = await ask();
  const text = `${JSON.stringify({ wasmtime: version, answers }, null, 1)}\n`;
  if (mode === "--record") writeFileSync(goldenFile, text);
  else if (text !== readFileSync(goldenFile, "utf8")) {
    throw new Error("wasmtime does not answer as golden.json says; look at what --record changes");
  }
  console.log(`${Object.keys(answers).length} cases in wasmtime ${version}`);
}

async function ask(): Promise<Record<string, readonly string[]>> {
  await using wasmtime = await Wasmtime.start(findPython() ?? makePython());
  if (wasmtime.version !== version) {
    throw new Error(`wasmtime is ${wasmtime.version}, not ${version}`);
  }
  const answers: Record<string, readonly string[]> = {};
  for (const { name, steps } of cases) {
    if (name in answers) throw new Error(`two cases are named ${name}`);
    const script = new Script(steps);
    const { told, end } = await wasmtime.run(script.text, setting);
    answers[name] = [...script.read(told), end];
  }
  for (const { name, path } of modules) {
    answers[name] = ends(await wasmtime.run("", bare, { module: path }));
  }
  for (const { name, path } of programs) {
    answers[name] = lines(await wasmtime.run("first", setting, { module: path }));
  }
  return answers;
}

async function explain(): Promise<void> {
  const known = existsSync(differencesFile) ? readExplanations() : [];
  const reasonOf = (name: string, step: number): string =>
    known.find(({ answers }) => answers[name]?.[step])?.why ?? "";
  const explanations = new Map<string, Record<string, Record<string, readonly [string, string]>>>(
    known.map(({ why }) => [why, {}]),
  );
  for (const { name, step, wasmtime, ours } of await compare(readGolden())) {
    const why = reasonOf(name, step);
    const answers = explanations.get(why) ?? {};
    explanations.set(why, answers);
    (answers[name] ??= {})[step] = [wasmtime, ours];
  }
  const written: Explanation[] = [...explanations]
    .map(([why, answers]) => ({ why, answers }))
    .filter(({ answers }) => Object.keys(answers).length > 0);
  writeFileSync(differencesFile, `${JSON.stringify(written, null, 1)}\n`);
  for (const { why, answers } of written) {
    console.log(`${Object.keys(answers).length} cases: ${why || "no reason yet"}`);
  }
}

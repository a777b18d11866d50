import type { Description } from "../engine/mod.ts";
import { bytes, counted, duration } from "./format.ts";
import type { Difference } from "./inspect-diff.ts";
import type { InspectedStep } from "./inspect-steps.ts";
import type { Paint } from "./style.ts";
import { oneLine } from "./text.ts";

/** Functions named in one line; `--json` has them all. */
const shownFunctions = 6;
const shownNames = 20;
/** Where it is worth a word that a module does not do it. */
const telling: ReadonlySet<string> = new Set([
  "environment",
  "read-files",
  "write-files",
  "clocks",
  "randomness",
  "waits",
  "sockets",
  "http",
]);

/** A module for people: what it is, what it could do, whether it is taken. */
export function moduleLines(module: Description, paint: Paint): string[] {
  const { name, sizeBytes, digest, capabilities, unknownImports, memories, features } = module;
  const lines = [
    `${paint("bold", oneLine(name))}  ${entryWords[module.entry]}, ${bytes(sizeBytes)}, ${counted(module.functionCount, "function")}`,
  ];
  if (digest !== undefined) lines.push(paint("dim", `  ${digest}`));
  for (const [at, { says, functions }] of capabilities.entries()) {
    lines.push(
      `${label(at === 0 ? "could" : "")}${says.padEnd(20)}  ${paint("dim", some(functions, shownFunctions))}`,
    );
  }
  if (capabilities.length === 0) lines.push(`${label("could")}nothing but computing`);
  const lacks = module.lacks.filter(({ capability }) => telling.has(capability));
  if (lacks.length > 0) {
    lines.push(`${label("cannot")}${lacks.map(({ says }) => says).join(", ")}`);
  }
  const strangers = unknownImports.map((item) => `${item.kind} ${item.module}.${item.name}`);
  if (strangers.length > 0) {
    lines.push(`${label("unknown")}${paint("red", some(strangers.map(oneLine), shownNames))}`);
  }
  for (const { minimumBytes, maximumBytes, imported } of memories.slice(0, shownNames)) {
    const most = maximumBytes === undefined ? "no maximum" : `at most ${bytes(maximumBytes)}`;
    lines.push(
      `${label("memory")}${bytes(minimumBytes)} to begin with, ${most}${imported ? ", imported" : ""}`,
    );
  }
  const others = module.exports
    .map((item) => item.name)
    .filter((item) => item !== "_start" && item !== "memory");
  if (others.length > 0) {
    lines.push(`${label("exports")}${paint("dim", some(others.map(oneLine), shownFunctions))}`);
  }
  if (features.length > 0)
    lines.push(`${label("features")}${some(features.map(oneLine), shownNames)}`);
  if (module.producers.length > 0) {
    lines.push(`${label("made by")}${some(module.producers.map(oneLine), shownFunctions)}`);
  }
  lines.push(`${label("runs here")}${verdict(module, paint)}`);
  return lines;
}

/** A template for people: what it runs, what it is given, and where the two differ. */
export function stepLines(step: InspectedStep, paint: Paint): string[] {
  const { template, place, source, grants, module, missing } = step;
  const where = place ? paint("dim", `  ${place.file}:${place.line}`) : "";
  const lines = [`${paint("bold", oneLine(template))}${where}`];
  if (step.kind === "container") {
    lines.push(`${label("container")}${oneLine(source)}, outside the sandbox`);
    return lines;
  }
  const size = module ? `  ${entryWords[module.entry]}, ${bytes(module.sizeBytes)}` : "";
  lines.push(`${label("module")}${oneLine(source)}${size}`);
  if (module?.digest !== undefined) lines.push(label("") + paint("dim", module.digest));
  if (missing) lines.push(`${label("missing")}${paint("red", oneLine(missing.message))}`);
  if (module) {
    const could = module.capabilities.map(({ says }) => says).join(", ");
    lines.push(`${label("could")}${could || "nothing but computing"}`);
  }
  for (const [at, text] of (grants ? granted(grants) : []).entries()) {
    lines.push(`${label(at === 0 ? "granted" : "")}${oneLine(text)}`);
  }
  for (const [at, text] of step.unused.entries()) {
    lines.push(`${label(at === 0 ? "unused" : "")}${paint("yellow", oneLine(text))}`);
  }
  for (const [at, text] of step.denied.entries()) {
    lines.push(`${label(at === 0 ? "denied" : "")}${oneLine(text)}`);
  }
  if (module) lines.push(`${label("runs here")}${verdict(module, paint)}`);
  return lines;
}

export function differenceLines(differences: readonly Difference[], paint: Paint): string[] {
  if (differences.length === 0) return ["No difference."];
  return differences.flatMap(({ name, more, less, changed }) => [
    paint("bold", oneLine(name)),
    ...more.map((text) => paint("red", `  + ${oneLine(text)}`)),
    ...less.map((text) => paint("green", `  - ${oneLine(text)}`)),
    ...changed.map((text) => `    ${oneLine(text)}`),
  ]);
}

const entryWords: Readonly<Record<Description["entry"], string>> = {
  command: "command",
  reactor: "reactor",
  none: "no entry",
};

function granted(grants: NonNullable<InspectedStep["grants"]>): string[] {
  const lines: string[] = [];
  for (const { artifact, path } of grants.reads) lines.push(`reads ${path} (artifact ${artifact})`);
  for (const { output, path } of grants.writes) lines.push(`hands out ${path} (${output})`);
  if (grants.arguments.length > 0) lines.push(counted(grants.arguments.length, "argument"));
  if (grants.environment.length > 0) lines.push(`variables ${grants.environment.join(", ")}`);
  if (grants.stdin) lines.push("stdin");
  if (grants.hosts.length > 0) lines.push(`hosts ${grants.hosts.join(", ")}`);
  if (grants.secrets.length > 0) {
    lines.push(`secrets ${grants.secrets.join(", ")}, as placeholders`);
  }
  lines.push(`trust ${grants.trust}`);
  const { memory, time } = grants.limits ?? {};
  if (memory !== undefined) lines.push(`memory ${bytes(memory)}`);
  if (time !== undefined) lines.push(`time ${duration(time)}`);
  return lines;
}

function verdict({ refusal }: Description, paint: Paint): string {
  if (!refusal) return paint("green", "yes");
  const hint = refusal.hint === undefined ? "" : ` (${oneLine(refusal.hint)})`;
  return `${paint("red", "no")}: ${oneLine(refusal.message)}${hint}`;
}

function label(text: string): string {
  return `  ${text.padEnd(11)}`;
}

function some(items: readonly string[], most: number): string {
  const shown = items.slice(0, most).join(", ");
  return items.length > most ? `${shown} and ${items.length - most} more` : shown;
}

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createPlanner } from "../src/workflow/plan/mod.ts";
import { readBundle, type Bundle } from "../src/document/mod.ts";
import { Failure } from "../src/errors/mod.ts";
import type { Chance } from "./chance.ts";

const root = join(import.meta.dirname, "..");
const corpus = ["test/workflows", "examples/letterflow", "examples/words", "examples/first"]
  .flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith(".yaml") && name !== "atalanta.yaml")
      .map((name) => join(root, folder, name)),
  )
  .toSorted()
  .map((path) => readFileSync(path, "utf8"))
  .filter((text) => text.length < 16_384);

/** Values that have been trouble somewhere. */
const values = [
  "",
  "null",
  "~",
  "true",
  "-1",
  "0",
  "1e999",
  "99999999999999999999",
  ".nan",
  "[]",
  "{}",
  "[[], {}]",
  '"{{inputs.parameters.x}}"',
  '"{{"',
  '"{{=}}"',
  '"{{=1/0}}"',
  "\"{{=sprig.repeat(1000000000, 'x')}}\"",
  '"{{item}}"',
  "!!binary aGk=",
  "!!js/function x",
  "&a [*a]",
  "*a",
  "<<: *a",
  '"\\u0000"',
  '"\\ud800"',
  "__proto__",
  "constructor",
  "2026-01-01",
  "|\n",
  "? x\n: y",
  "'{{workflow.parameters.__proto__}}'",
];
const keys = [
  "__proto__",
  "constructor",
  "templates",
  "steps",
  "dag",
  "tasks",
  "wasm",
  "container",
  "script",
  "withItems",
  "withParam",
  "withSequence",
  "when",
  "depends",
  "dependencies",
  "template",
  "templateRef",
  "arguments",
  "inputs",
  "outputs",
  "parameters",
  "artifacts",
  "hooks",
  "onExit",
  "retryStrategy",
  "synchronization",
  "memoize",
  "limits",
  "permissions",
  "inline",
  "suspend",
  "parallelism",
  "timeout",
  "activeDeadlineSeconds",
  "entrypoint",
  "data",
  "http",
  "plugin",
  "items",
];
const marks = "\t :-[]{}\"'|>&*!%@`#?,\n\\\0\u{2028}\u{feff}é".split("");

/** Changes one thing in a text of lines. */
function change(text: string, chance: Chance): string {
  const lines = text.split("\n");
  const at = chance.below(lines.length);
  const line = lines[at] ?? "";
  switch (chance.below(9)) {
    case 0:
      return lines.toSpliced(at, 1).join("\n");
    case 1:
      return lines.toSpliced(at, 0, ...lines.slice(at, at + 1 + chance.below(6))).join("\n");
    case 2:
      return lines.with(at, `${" ".repeat(chance.below(12))}${line.trimStart()}`).join("\n");
    case 3: {
      const value = line.replace(/([:-] ).*$/, (_, mark: string) => mark + chance.pick(values));
      return lines.with(at, value).join("\n");
    }
    case 4: {
      const renamed = line.replace(/[\w-]+(?=:)/, () => chance.pick(keys));
      return lines.with(at, renamed).join("\n");
    }
    case 5: {
      const place = chance.below(line.length + 1);
      return lines
        .with(at, line.slice(0, place) + chance.pick(marks) + line.slice(place))
        .join("\n");
    }
    case 6: {
      const other = chance.pick(corpus).split("\n");
      const from = chance.below(other.length);
      return lines.toSpliced(at, 0, ...other.slice(from, from + 1 + chance.below(10))).join("\n");
    }
    case 7:
      return lines.with(at, lines[chance.below(lines.length)] ?? "").join("\n");
    default: {
      const place = chance.below(line.length + 1);
      return lines.with(at, line.slice(0, place) + line.slice(place + 1)).join("\n");
    }
  }
}

/** A document with mistakes is either read or answered with failures that have a place, and a plan of it begins or says why not. */
export function round(chance: Chance): Promise<void> {
  let text = chance.pick(corpus);
  for (let left = chance.below(6); left >= 0; left--) text = change(text, chance);
  const reading = readBundle([{ file: "w.yaml", text }]);
  const told = reading.problems.length > 0;
  assert.equal(reading.bundle === undefined, told, "either a bundle or problems");
  for (const failure of [...reading.problems, ...reading.warnings]) {
    assert.notEqual(failure.code, "internal", failure.message);
    assert(failure.message.length < 100_000, "the message is too long");
    assert(failure.message.length > 0, "the message is empty");
  }
  if (reading.bundle) begin(reading.bundle);
  return Promise.resolve();
}

function begin(bundle: Bundle): void {
  const uid = "0d2b5c1e-0000-4000-8000-000000000000";
  const parameters = {};
  try {
    // It crosses to the journal as JSON, so it must come back the same.
    assert.deepEqual(structuredClone(bundle), JSON.parse(JSON.stringify(bundle)));
    const planner = createPlanner({
      name: "wf",
      uid,
      namespace: "default",
      bundle,
      parameters,
      artifacts: {},
    });
    const effects = planner.apply({ type: "begun", at: Date.UTC(2026, 0, 2) });
    assert(effects.length < 200_000, "too many effects");
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code !== "internal") return;
    throw thrown;
  }
}

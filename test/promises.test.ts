import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { root } from "./cli/command.ts";
import { createEngine, describe as describeModule } from "../src/engine/mod.ts";
import { ceilings } from "../src/limits/mod.ts";
import { capabilitiesMissing, capabilitiesOf } from "../src/wasi/mod.ts";

const page = readFileSync(join(root, "docs/sandbox.md"), "utf8");
/** Cells of all rows of tables. */
const rows = page
  .split("\n")
  .filter((line) => line.startsWith("|"))
  .map((line) => line.split("|").map((cell) => cell.trim()))
  .map((cells) => cells.slice(1, -1).map((cell) => cell.replaceAll("\\_", "_")));
const inCode = (cell: string): string | undefined => /^`([^`]+)`$/.exec(cell)?.[1];

describe("docs/sandbox.md", () => {
  const promises = rows.flatMap(([promise = "", file = "", name = ""]) => {
    const path = inCode(file);
    return path?.endsWith(".test.ts") ? [{ promise, path, name }] : [];
  });

  test("promises a good many things, each once", () => {
    assert.ok(promises.length >= 50, String(promises.length));
    assert.equal(new Set(promises.map(({ promise }) => promise)).size, promises.length);
    assert.equal(
      new Set(promises.map(({ path, name }) => `${path} ${name}`)).size,
      promises.length,
      "two promises name the same test",
    );
  });

  for (const { promise, path, name } of promises) {
    test(`names a test that exists: ${promise}`, () => {
      assert.ok(existsSync(join(root, path)), path);
      assert.ok(titles(path).has(name), `${path} has no test "${name}"`);
    });
  }

  for (const [key, { scope, default: value, most, code }] of Object.entries(ceilings)) {
    test(`has the ceiling ${key} with its values`, () => {
      const row = rows.find(([cell = ""]) => inCode(cell) === key);
      assert.ok(row);
      const [, by, , shown, highest, failure = ""] = row;
      assert.deepEqual([by, shown, highest, inCode(failure)], [scope, value, most, code]);
    });
  }

  test("has every function that a module can import, in the class that inspect tells", async () => {
    const classes = rows.flatMap(([says = "", functions = ""]) => {
      const names = functions.split(", ").map((name) => inCode(name) ?? "");
      return capabilitiesMissing(new Set()).some((row) => row.says === says)
        ? [{ says, functions: names }]
        : [];
    });
    const named = new Set(classes.flatMap(({ functions }) => functions));
    assert.deepEqual(
      classes,
      capabilitiesOf(named).map(({ says, functions }) => ({ says, functions })),
    );
    assert.equal(classes.length, capabilitiesMissing(new Set()).length);
    const preview1 = [...named].filter((name) => !name.includes("."));
    assert.equal(preview1.length, 46);
    const { unknownImports, capabilities } = await described([...named]);
    assert.deepEqual(unknownImports, []);
    assert.equal(capabilities.length, classes.length);
  });
});

/** Titles of tests and groups as they stand in the source, with `…` for what is filled in. */
function titles(path: string): ReadonlySet<string> {
  const text = readFileSync(join(root, path), "utf8");
  const found = new Set<string>();
  for (const call of text.matchAll(/\b(?:test|describe|group|it)\(\s*(?="|`)/g)) {
    const start = call.index + call[0].length;
    const [, plain] = /^"((?:[^"\\]|\\.)*)"/.exec(text.slice(start, start + 1000)) ?? [];
    found.add(plain ?? template(text, start + 1));
  }
  return found;
}

function template(text: string, start: number): string {
  let title = "";
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    if (depth === 0 && text[at] === "`") return title;
    if (depth === 0 && text.startsWith("${", at)) title += "…";
    else if (depth === 0) title += text[at];
    if (text.startsWith("${", at)) at++;
    if (text[at] === "{" && (depth > 0 || text[at - 1] === "$")) depth++;
    if (text[at] === "}" && depth > 0) depth--;
  }
  return title;
}

/** A module that imports all of them and nothing else. */
async function described(functions: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
  await using engine = createEngine({ threads: 1 });
  try {
    const path = join(folder, "all.wasm");
    const text = (value: string): number[] => [value.length, ...Buffer.from(value)];
    const imports = functions.flatMap((name) => {
      const [field = "", module = "wasi_snapshot_preview1"] = name.split(".").toReversed();
      return [...text(module), ...text(field), 0, 0];
    });
    const size = imports.length + 1;
    const section = [2, (size % 128) | 128, Math.floor(size / 128), functions.length, ...imports];
    writeFileSync(
      path,
      Buffer.from([...Buffer.from("0061736d0100000001040160", "hex"), 0, 0, ...section]),
    );
    return await describeModule(path, engine);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

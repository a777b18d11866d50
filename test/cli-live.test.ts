import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Home, root } from "./cli/command.ts";

const home = new Home();
after(() => home[Symbol.dispose]());

/** Forty steps side by side that take a while, and a loop of thirty. */
function wide(): string {
  const path = join(home.folder, "wide.yaml");
  const act = join(root, "test/guests/act/act.wasm");
  const steps = Array.from({ length: 40 }, (_, at) => `{name: s${at}, template: rest}`).join(", ");
  writeFileSync(
    path,
    `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: wide}
spec:
  entrypoint: main
  templates:
    - name: main
      steps: [[${steps}], [{name: page, template: rest, withSequence: {count: 30}}]]
    - name: rest
      wasm: {module: ${act}, args: [sleep, 200]}
`,
  );
  return path;
}

/** What a terminal shows after these bytes, with each picture that was on it when the cursor went up again. */
function screenOf(bytes: string): {
  readonly lines: readonly string[];
  readonly pictures: readonly string[][];
} {
  const lines: string[] = [""];
  const pictures: string[][] = [];
  let row = 0;
  let column = 0;
  // oxlint-disable-next-line no-control-regex -- the language of terminals
  for (const [whole, count, code] of bytes.matchAll(/\u001b\[\??([\d;]*)([A-Za-z])|[^\u001b]/gu)) {
    if (code === "A") {
      pictures.push([...lines]);
      row = Math.max(0, row - Number(count || 1));
    } else if (code === "K") lines[row] = lines[row]?.slice(0, column) ?? "";
    else if (code === "J") lines.splice(row, Infinity, lines[row]?.slice(0, column) ?? "");
    else if (whole === "\r") column = 0;
    else if (whole === "\n") {
      row += 1;
      column = 0;
      lines[row] ??= "";
    } else if (code === undefined) {
      const line = (lines[row] ?? "").padEnd(column);
      lines[row] = line.slice(0, column) + whole + line.slice(column + 1);
      column += 1;
    }
  }
  return { lines, pictures };
}

describe("the live tree", () => {
  test("is drawn over itself, fits the window, and leaves its last state once", (context) => {
    const began = performance.now();
    const shown = home.terminal(["run", wide()], { columns: 60, rows: 12 });
    if (!shown)
      return context.skip("util-linux's `script` is not here: the live tree is NOT tested");
    const took = performance.now() - began;
    assert.equal(shown.status, 0, shown.screen);
    const { lines, pictures } = screenOf(shown.screen);
    assert.ok(pictures.length >= 3, `${pictures.length} pictures`);
    assert.ok(pictures.length <= took / 100 + 2, `${pictures.length} pictures in ${took} ms`);
    for (const picture of pictures) {
      // The last line is the empty one below the picture.
      assert.ok(picture.length <= 12, picture.join("\n"));
      for (const line of picture) assert.ok(line.length < 60, line);
    }
    const texts = pictures.map((picture) => picture.join("\n"));
    for (const pattern of [
      /● s\d+ +[\d.]+ m?s/,
      /… \d+ more/,
      /● page +[\d.]+ m?s {2}\d+ of 30, \d+ running/,
      /● Running {2}\d+\/\d+ {2}/,
    ]) {
      assert.ok(
        texts.some((text) => pattern.test(text)),
        `${pattern} in\n${texts.join("\n---\n")}`,
      );
    }
    const last = lines.join("\n");
    for (let at = 0; at < 40; at += 1) {
      assert.equal(
        [...last.matchAll(new RegExp(`✔ s${at} `, "g"))].length,
        1,
        `s${at} in\n${last}`,
      );
    }
    assert.match(last, /└───✔ page +[\d.]+ m?s {2}30 of 30\n/);
    assert.match(last, /✔ wide: Succeeded in .* 70 steps/);
    assert.ok(shown.screen.includes("\u001b[?25l") && shown.screen.endsWith("\n"));
    assert.ok(shown.screen.lastIndexOf("\u001b[?25h") > shown.screen.lastIndexOf("\u001b[?25l"));
  });

  test("keeps to a window that becomes narrower: no line is longer", (context) => {
    const shown = home.resized(["run", wide(), "--name", "narrow"], { from: 70, to: 32 });
    if (shown === undefined) return context.skip("python3 is not here: resizing is NOT tested");
    const [before = "", after = ""] = shown.split("\u001b[9z");
    // oxlint-disable-next-line no-control-regex -- the language of terminals
    const plain = (text: string): string => text.replace(/\u001b\[\??[\d;]*[A-Za-z]/g, "");
    assert.ok(
      plain(before)
        .split("\n")
        .some((line) => line.length > 0),
    );
    // The first picture after it may have been on its way already.
    const drawn = after.split("\u001b[J").slice(2);
    assert.ok(drawn.length > 3, shown);
    for (const picture of drawn.slice(0, -1)) {
      for (const line of plain(picture).split("\n")) assert.ok(line.length < 32, line);
    }
    assert.match(plain(after), /✔ narrow: Succeeded/);
  });

  test("is lines on a dumb terminal and with --no-progress, and has no colours with NO_COLOR", (context) => {
    for (const [name, value, args] of [
      ["TERM", "dumb", []],
      ["NO_COLOR", "1", ["--no-progress"]],
    ] as const) {
      const other = new Home();
      context.after(() => other[Symbol.dispose]());
      other.environment[name] = value;
      const shown = other.terminal(["run", "test/cli/page.yaml", "--name", "plain", ...args]);
      if (!shown)
        return context.skip("util-linux's `script` is not here: the live tree is NOT tested");
      assert.equal(shown.status, 0, shown.screen);
      // oxlint-disable-next-line no-control-regex -- the language of terminals
      assert.doesNotMatch(shown.screen, /\u001b/);
      assert.match(shown.screen, /✔ plain\.count {2}Succeeded/);
    }
  });

  test("a message from a guest cannot move the cursor", (context) => {
    const path = join(home.folder, "rude.yaml");
    const act = join(root, "test/guests/act/act.wasm");
    const rude = String.raw`"\e[2J\e]0;title\a\e[31mred"`;
    writeFileSync(
      path,
      `apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: rude}\nspec:\n  entrypoint: a\n  templates: [{name: a, wasm: {module: ${act}, args: [error, ${rude}, ;, exit, 4]}}]\n`,
    );
    const shown = home.terminal(["run", path, "--log"]);
    if (!shown)
      return context.skip("util-linux's `script` is not here: the live tree is NOT tested");
    assert.equal(shown.status, 1);
    assert.match(shown.screen, /\| red/);
    assert.ok(!shown.screen.includes("\u001b[2J") && !shown.screen.includes("\u001b]0"));
    const logs = home.terminal(["logs", "rude"]);
    assert.ok(logs?.screen.includes("red") && !logs.screen.includes("\u001b[2J"));
    // A pipe gets the bytes as they are.
    assert.ok(home.run(["logs", "rude"]).stdout.includes("\u001b[2J"));
  });
});

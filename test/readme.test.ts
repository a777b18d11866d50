import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";

const root = resolve(import.meta.dirname, "..");
const readme = readFileSync(join(root, "README.md"), "utf8");
const home = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(home, { recursive: true, force: true }));

test("the workflow in the README is the example that its commands name", () => {
  const [, shown] = /```yaml\n([\s\S]*?)```/.exec(readme) ?? [];
  assert.equal(shown, readFileSync(join(root, "examples/first/workflow.yaml"), "utf8"));
});

const commands = [...readme.matchAll(/^(?:\$ )?npx atalanta (.+)$/gm)].map(([, line = ""]) => line);
assert.equal(commands.length, 4);
for (const line of commands) {
  test(`README: atalanta ${line}`, () => {
    const words = line.replace("--output-dir out", `--output-dir ${join(home, "out")}`).split(" ");
    const main = join(root, "src/cli/main.ts");
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...words], {
      cwd: root,
      encoding: "utf8",
      env: { PATH: process.env["PATH"], HOME: home },
    });
    assert.equal(status, 0, stderr);
    assert.notEqual(stdout, "");
  });
}

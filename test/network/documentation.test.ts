import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Home, root } from "../cli/command.ts";

const page = readFileSync(join(root, "docs/http.md"), "utf8");
const blocks = [...page.matchAll(/```yaml\n# ([^\n]*)\n([^`]*)```/g)].map(
  ([, title = "", text = ""]) => ({ title, text }),
);

test("the files in docs/http.md are read as they stand there", () => {
  assert.equal(blocks.length, 4);
  using home = new Home();
  const folder = mkdtempSync(join(tmpdir(), "atalanta-http-"));
  try {
    const authority = readFileSync(join(import.meta.dirname, "tls/authority.pem"));
    writeFileSync(join(folder, "company-ca.pem"), authority);
    const workflow = join(folder, "workflow.yaml");
    const configuration = join(folder, "operator.yaml");
    let number = 0;
    for (const { title, text } of blocks) {
      if (!title.startsWith("workflow.yaml")) {
        writeFileSync(configuration, text);
        const { status, stderr } = home.run(["inspect", workflow, "--config", configuration]);
        assert.equal(stderr, "", title);
        assert.notEqual(status, 2);
        continue;
      }
      const indented = text.replaceAll(/^(?=.)/gm, "      ");
      writeFileSync(
        workflow,
        `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: { generateName: page-${number++}- }
spec:
  entrypoint: main
  templates:
    - name: main
${indented}`.replace(/^( *)wasm:\n(?! *image)/m, "$1wasm:\n$1  image: a\n"),
      );
      const { status, stdout, stderr } = home.run(["lint", workflow, "--strict"]);
      assert.equal(status, 0, stdout + stderr);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { describe, test } from "node:test";
import { readBundle } from "../src/document/mod.ts";
import type { Failure } from "../src/errors/mod.ts";

/**
 * Each file of `test/lint/*.cases` holds documents with what is to be found in them: `=== NAME`, the document, `--- expect`, and a
 * line for each problem and warning. A document that begins with an indented line is the end of the one below.
 */
const head = `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: { name: case }
spec:
  entrypoint: main
`;

function written({ place, code, message, hint }: Failure, level: string): string {
  const hinted = hint === undefined ? "" : ` (${hint})`;
  return `${place?.line}:${place?.column}: ${level}${code}: ${message}${hinted}`;
}

function document(text: string): string {
  if (text.startsWith("    - ")) return `${head}  templates:\n${text}`;
  return text.startsWith("  ") ? head + text : text;
}

for (const path of globSync(resolve(import.meta.dirname, "lint/*.cases")).toSorted()) {
  describe(basename(path, ".cases"), () => {
    for (const part of readFileSync(path, "utf8").split(/^=== /m).slice(1)) {
      const name = part.slice(0, part.indexOf("\n"));
      const [text = "", expected = ""] = part.slice(name.length + 1).split(/^--- expect\n/m);
      test(name, () => {
        const { bundle, problems, warnings } = readBundle([
          { file: "w.yaml", text: document(text) },
        ]);
        const found = [
          ...problems.map((problem) => written(problem, "")),
          ...warnings.map((warning) => written(warning, "warning ")),
        ];
        assert.equal(found.join("\n"), expected.trim());
        for (const { message, hint } of problems) assert(hint, `"${message}" has no hint`);
        assert.equal(bundle === undefined, problems.length > 0);
      });
    }
  });
}

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, test } from "node:test";
import { Ajv } from "ajv";
import { parseAllDocuments } from "yaml";
import { workflowSchema } from "../src/document/mod.ts";

const root = resolve(import.meta.dirname, "..");
const file = resolve(root, "schema/workflow.schema.json");
const schema: object = JSON.parse(readFileSync(file, "utf8"));
const fits = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(schema);

/** The documents of a file, as an editor that reads YAML 1.1 has them. */
function documents(text: string): readonly unknown[] {
  return parseAllDocuments(text, { version: "1.1" }).map((document) => document.toJS());
}

function isWorkflow(document: unknown): boolean {
  return typeof document === "object" && document !== null && "kind" in document;
}

describe("the JSON Schema", () => {
  test("is the one that `npm run schema` writes", () => {
    assert.deepEqual(schema, JSON.parse(JSON.stringify(workflowSchema())));
  });

  for (const path of globSync(["examples/**/*.yaml", "test/workflows/*.yaml"], { cwd: root })) {
    const found = documents(readFileSync(resolve(root, path), "utf8")).filter(isWorkflow);
    if (found.length === 0) continue; // settings of an example, not a workflow
    test(`fits ${path}`, () => {
      for (const document of found) {
        assert(fits(document), JSON.stringify(fits.errors, undefined, 1));
      }
    });
  }

  test("does not fit unknown keys, refused keys and wrong types", () => {
    const wrong = (template: object): boolean => {
      const ok = fits({
        apiVersion: "argoproj.io/v1alpha1",
        kind: "Workflow",
        spec: { templates: [{ name: "main", ...template }] },
      });
      return !ok;
    };
    assert(!wrong({ wasm: { image: "a", limits: { memory: "1Mi" } } }));
    assert(!wrong({ steps: [[{ name: "a", inline: { wasm: { image: "a" } } }]] }));
    assert(wrong({ wasm: { imge: "a" } }));
    assert(wrong({ steps: [[{ name: "a", inline: { wasm: { imge: "a" } } }]] }));
    assert(wrong({ sidecars: [] }));
    assert(wrong({ wasm: { image: "a", limits: { memory: "1 MB" } } }));
    assert(wrong({ steps: [{ name: "a" }] }));
    assert(wrong({ retryStrategy: { retryPolicy: "Allways" } }));
    assert(!fits({ apiVersion: "argoproj.io/v1alpha1", kind: "Workflow" }), "a spec is missing");
    assert(!fits({ kind: "CronWorkflow" }));
  });
});

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, test } from "node:test";
import { parseAllDocuments } from "yaml";
import { rewriteObject, rewriteText } from "../../src/argo/mod.ts";
import { readBundle } from "../../src/document/mod.ts";

const root = resolve(import.meta.dirname, "../..");

/** A module file becomes an image, as a cluster has no files of ours. */
const asImage = (text: string): string =>
  text.replaceAll(/module: [^\s,}]+/g, "image: ghcr.io/acme/act:1");

describe("what people write, as a cluster takes it", () => {
  test("every workflow of the tests and examples means the same, and a second time changes nothing", () => {
    const files = globSync("{test/workflows,examples}/**/*.yaml", { cwd: root });
    let changed = 0;
    for (const file of files) {
      const text = asImage(readFileSync(resolve(root, file), "utf8"));
      const first = rewriteText(text, file);
      assert.deepEqual(first.problems, [], file);
      changed += first.changed;
      const again = rewriteText(first.text, file);
      assert.equal(again.changed, 0, file);
      assert.equal(again.text, first.text, file);
      assert(!/^\s*(?:- )?wasm:/m.test(first.text.replaceAll(/plugin:\s*\n\s*wasm:/g, "")), file);
      const before = readBundle([{ file, text }]);
      const after = readBundle([{ file, text: first.text }]);
      assert.deepEqual(after.bundle?.workflow, before.bundle?.workflow, file);
      assert.deepEqual(after.bundle?.library, before.bundle?.library, file);
    }
    assert(changed > 100, `${changed} templates were rewritten`);
  });

  test("comments, order and quotes stay, and documents of other kinds byte for byte", () => {
    const text = `# of the file
apiVersion: argoproj.io/v1alpha1
kind: Workflow # the kind
metadata: {generateName: "x-"}
spec:
  entrypoint: main
  templates:
    - name: 'main' # the first
      # what it runs
      wasm:
        image: ghcr.io/acme/a:1 # which
        args: ["{{inputs.parameters.x}}", 'yes', no]
    - {name: flow, wasm: {image: a/b:1}}
---
kind:   ConfigMap   # as it is
apiVersion: v1
data: {a:    b}
`;
    assert.equal(
      rewriteText(text, "x").text,
      `# of the file
apiVersion: argoproj.io/v1alpha1
kind: Workflow # the kind
metadata: {generateName: "x-"}
spec:
  entrypoint: main
  templates:
    - name: 'main' # the first
      # what it runs
      plugin:
        wasm:
          image: ghcr.io/acme/a:1 # which
          args: ["{{inputs.parameters.x}}", 'yes', no]
    - {name: flow, plugin: {wasm: {image: a/b:1}}}
---
kind:   ConfigMap   # as it is
apiVersion: v1
data: {a:    b}
`,
    );
  });

  test("containers and scripts with the annotation become modules, others stay pods", () => {
    const text = `apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: t}
spec:
  templates:
    - name: module
      annotations: {atalanta.dev/runtime: wasm}
      container: {image: a/b:1, command: [tool, -x], args: [z], resources: {limits: {memory: 64Mi}}}
    - name: old
      metadata: {annotations: {atalanta.dev/runtime: wasm}}
      script: {image: py:1, source: "print(1)"}
    - name: pod
      container: {image: a/b:1}
`;
    const { text: made, changed } = rewriteText(text, "x");
    assert.equal(changed, 2);
    const [document] = parseAllDocuments(made);
    assert(document);
    const { spec } = document.toJSON() as { spec: { templates: Record<string, unknown>[] } };
    assert.deepEqual(spec.templates[0]?.["plugin"], {
      wasm: { image: "a/b:1", command: ["-x"], args: ["z"], limits: { memory: "64Mi" } },
    });
    assert.deepEqual(spec.templates[1]?.["plugin"], {
      wasm: { image: "py:1", args: ["/argo/staging/script"] },
    });
    assert.deepEqual(spec.templates[1]?.["inputs"], {
      artifacts: [
        { name: "script-source", path: "/argo/staging/script", raw: { data: "print(1)" } },
      ],
    });
    assert.deepEqual(spec.templates[2], { name: "pod", container: { image: "a/b:1" } });
  });

  test("cron workflows, lists, resource lists, inline templates and JSON are all found", () => {
    const inline = { steps: [[{ name: "a", inline: { wasm: { image: "a/b" } } }]], name: "s" };
    const dag = {
      name: "d",
      dag: {
        tasks: [
          {
            name: "a",
            inline: { dag: { tasks: [{ name: "b", inline: { wasm: { image: "a/b" } } }] } },
          },
        ],
      },
    };
    const cron = {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "CronWorkflow",
      spec: {
        workflowSpec: { templates: [inline, dag], templateDefaults: { wasm: { image: "x/y" } } },
      },
    };
    const list = { apiVersion: "v1", kind: "List", items: [cron] };
    const resources = {
      apiVersion: "config.kubernetes.io/v1",
      kind: "ResourceList",
      items: [list],
    };
    const { text, changed } = rewriteText(JSON.stringify(resources), "x");
    assert.equal(changed, 3);
    assert.deepEqual(
      JSON.parse(text),
      JSON.parse(
        JSON.stringify(resources).replaceAll(/"wasm":(\{[^}]*\})/g, '"plugin":{"wasm":$1}'),
      ),
    );
  });

  test("the body of the earlier prototype stays as it is", () => {
    const text = `kind: Workflow
spec:
  templates:
    - name: a
      plugin:
        wasm:
          module: {oci: ghcr.io/acme/a:1}
          permissions: {http: {allowed_hosts: ["example.com"]}}
`;
    assert.deepEqual(rewriteText(text, "x"), { text, changed: 0, problems: [] });
  });

  test("what cannot be rewritten is told, and what others name Workflow is left alone", () => {
    const head = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec:\n  templates:\n";
    const both = rewriteText(
      `${head}    - {name: a, plugin: {other: {}}, wasm: {image: a/b}}\n`,
      "x",
    );
    assert.match(both.problems[0]?.message ?? "", /more than one of wasm and plugin/);
    const twice = rewriteText(
      `${head}    - {name: a, wasm: {image: a/b}, wasm: {image: a/c}}\n`,
      "x",
    );
    assert.match(twice.problems[0]?.message ?? "", /more than one/);
    const anchored = `${head}    - name: a
      annotations: {atalanta.dev/runtime: wasm}
      container: &c {image: a/b}
    - name: b
      container: *c
`;
    assert.match(rewriteText(anchored, "x").problems[0]?.message ?? "", /alias/i);
    const foreign =
      "apiVersion: other.dev/v1\nkind: Workflow\nspec: {templates: [{name: a, wasm: {image: x}}]}\n";
    assert.deepEqual(rewriteText(foreign, "x"), { text: foreign, changed: 0, problems: [] });
  });

  test("mistakes are told with their place, and nothing is written", () => {
    const text = `kind: Workflow
spec:
  templates:
    - name: a
      wasm:
        image: a/b:1
        comand: [x]
    - name: b
      wasm: {module: ./x.wasm}
`;
    const { status, stdout, stderr } = spawnSync(process.execPath, ["src/cli/main.ts", "rewrite"], {
      cwd: root,
      input: text,
      encoding: "utf8",
    });
    assert.equal(status, 2);
    assert.equal(stdout, "");
    assert.match(
      stderr,
      /<stdin>:6:9: error\[workflow-invalid\]: Unknown key "comand" in "wasm"\n {2}hint: Did you mean "command"\?/,
    );
    assert.match(stderr, /<stdin>:9:13: error\[workflow-invalid\]: The module file "\.\/x\.wasm"/);
    const broken = rewriteText("a: [", "f.yaml");
    assert.match(broken.problems[0]?.message ?? "", /no YAML/);
  });

  test("an empty wasm: is told, and digits in a text are no number that JSON loses", () => {
    const empty = rewriteText("kind: Workflow\nspec: {templates: [{name: a, wasm: }]}\n", "f.yaml");
    assert.match(empty.problems[0]?.message ?? "", /"wasm" must be a mapping, and is empty/);
    const json = (value: string): ReturnType<typeof rewriteText> =>
      rewriteText(
        `{"kind": "Workflow", "spec": {"templates": [{"name": "a", "wasm": {"image": "a/b:1", "args": [${value}]}}]}}`,
        "f.json",
      );
    assert.deepEqual(json('"of 12345678901234567890 bytes"').problems, []);
    assert.deepEqual(json("9007199254740992").problems, []);
    assert.match(
      json("9007199254740993").problems[0]?.message ?? "",
      /number that JSON cannot hold exactly/,
    );
  });

  test("an object of an API server is changed where it has Wasm, and nowhere else", () => {
    const of = (...templates: readonly unknown[]): ReturnType<typeof rewriteObject> =>
      rewriteObject({ kind: "Workflow", spec: { templates } });
    const wasm = { image: "a/b:1" };
    const { patch, problems } = of(
      {
        name: "other",
        container: { image: "x", args: ["wasm"], broken: { wasm: 1 } },
        plugin: { "~/x": 1 },
      },
      { name: "mine", wasm },
    );
    assert.deepEqual(problems, []);
    assert.deepEqual(patch, [
      { op: "remove", path: "/spec/templates/1/wasm" },
      { op: "add", path: "/spec/templates/1/plugin", value: { wasm } },
    ]);
    assert.match(
      of({ name: "a", wasm: null }).problems[0]?.message ?? "",
      /spec\.templates\[0\] \(template "a"\): .*is empty/,
    );
    let deep: unknown = 1;
    for (let level = 0; level < 20_000; level += 1) deep = [deep];
    assert.match(
      of({ name: "a", wasm: { deep } }).problems[0]?.message ?? "",
      /more than 64 mappings and lists/,
    );
    const many = of(...Array.from({ length: 1000 }, () => ({ wasm: { imgae: 1 } })));
    assert(many.problems.length < 40, String(many.problems.length));
    for (const spec of [
      undefined,
      null,
      1,
      "x",
      [],
      { templates: null },
      { templates: [null, 1, "wasm"] },
    ])
      assert.deepEqual(rewriteObject({ kind: "Workflow", spec }), { patch: [], problems: [] });
  });

  test("a filter writes what it read, and --check says whether there is something to do", () => {
    const run = (args: readonly string[], input: string) =>
      spawnSync(process.execPath, ["src/cli/main.ts", "rewrite", ...args], {
        cwd: root,
        input,
        encoding: "utf8",
      });
    const text = "kind: Workflow\nspec:\n  templates:\n    - name: a\n      wasm: {image: a/b:1}\n";
    const written = run([], text);
    assert.equal(written.status, 0);
    assert.match(written.stdout, /plugin: \{wasm: \{image: a\/b:1\}\}/);
    assert.equal(run(["--check"], text).status, 1);
    assert.equal(run(["--check"], written.stdout).status, 0);
  });
});

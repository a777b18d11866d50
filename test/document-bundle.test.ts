import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  checkFiles,
  readBundle,
  type Bundle,
  type ReadOptions,
  type Template,
} from "../src/document/mod.ts";

function bundleOf(text: string, options: ReadOptions = {}): Bundle {
  const { bundle, problems } = readBundle([{ file: "flows/w.yaml", text }], options);
  assert.deepEqual(
    problems.map(({ message, place }) => `${place?.line}: ${message}`),
    [],
  );
  assert(bundle);
  return bundle;
}

/** As plain JSON: records have no prototype. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

function templates(text: string, spec: string = ""): readonly Template[] {
  const { workflow } = bundleOf(
    `apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec:\n  entrypoint: main\n${spec}  templates:\n${text}`,
  );
  return workflow.spec.templates ?? [];
}

const version = "apiVersion: argoproj.io/v1alpha1";

describe("what runs as Wasm", () => {
  test("plugin.wasm, and the form of an earlier prototype, become wasm", () => {
    const found = templates(`
    - { name: main, plugin: { wasm: { image: a, args: [b] } } }
    - { name: old, plugin: { wasm: { module: { oci: a }, args: [b] } } }
    - { name: file, plugin: { wasm: { module: ./a.wasm } } }
`);
    assert.deepEqual(plain(found), [
      { name: "main", wasm: { image: "a", args: ["b"] } },
      { name: "old", wasm: { image: "a", args: ["b"] } },
      { name: "file", wasm: { module: "./a.wasm" } },
    ]);
  });

  test("a container with the annotation is a module: the first word of its command is the program itself", () => {
    const found = templates(`
    - name: main
      annotations: { atalanta.dev/runtime: wasm }
      container:
        image: a
        command: [split, --fast]
        args: [in, out]
        env: [{ name: A, value: 1 }]
        resources: { limits: { memory: 64Mi } }
    - name: metadata
      metadata: { annotations: { atalanta.dev/runtime: wasm } }
      container: { image: a }
    - name: container
      annotations: { atalanta.dev/runtime: container }
      container: { image: a, command: [a] }
`);
    assert.deepEqual(plain(found.map(({ wasm, container }) => wasm ?? { container })), [
      {
        image: "a",
        command: ["--fast"],
        args: ["in", "out"],
        env: [{ name: "A", value: 1 }],
        limits: { memory: "64Mi" },
      },
      { image: "a" },
      { container: { image: "a", command: ["a"] } },
    ]);
  });

  test("a script with the annotation lies in a file, whose path is the last argument", () => {
    const [main] = templates(`
    - name: main
      annotations: { atalanta.dev/runtime: wasm }
      inputs: { artifacts: [{ name: doc, path: /doc, raw: { data: d } }] }
      script: { image: python, command: [python, -u], args: [x], source: "print('{{workflow.name}}')" }
`);
    assert.deepEqual(plain(main?.wasm), {
      image: "python",
      command: ["-u"],
      args: ["x", "/argo/staging/script"],
    });
    assert.deepEqual(plain(main?.inputs?.artifacts), [
      { name: "doc", path: "/doc", raw: { data: "d" } },
      {
        name: "script-source",
        path: "/argo/staging/script",
        raw: { data: "print('{{workflow.name}}')" },
      },
    ]);
  });
});

describe("what is merged", () => {
  test("templateDefaults give what a template does not say, in the way of its type", () => {
    const defaults = `
  templateDefaults:
    timeout: 30s
    parallelism: 2
    retryStrategy: { limit: 3, backoff: { duration: 5s } }
    container: { image: default, env: [{ name: A, value: 1 }, { name: B, value: 1 }] }
    wasm: { limits: { memory: 1Mi } }
    inputs: { parameters: [{ name: p, default: 1 }] }
`;
    const found = templates(
      `
    - { name: main, steps: [[{ name: a, template: box }, { name: b, inline: { wasm: { image: a } } }]] }
    - { name: box, retryStrategy: { limit: 1 }, container: { env: [{ name: B, value: 2 }] }, inputs: { parameters: [{ name: q, value: 2 }] } }
`,
      defaults.slice(1),
    );
    const retryStrategy = { limit: 3, backoff: { duration: "5s" } };
    const p = { name: "p", default: 1 };
    assert.deepEqual(plain(found), [
      {
        name: "main",
        inputs: { parameters: [p] },
        steps: [
          [
            { name: "a", template: "box" },
            {
              name: "b",
              inline: {
                inputs: { parameters: [p] },
                wasm: { image: "a", limits: { memory: "1Mi" } },
                retryStrategy,
                timeout: "30s",
              },
            },
          ],
        ],
        retryStrategy,
        parallelism: 2,
      },
      {
        name: "box",
        inputs: { parameters: [{ name: "q", value: 2 }, p] },
        container: {
          image: "default",
          env: [
            { name: "B", value: 2 },
            { name: "A", value: 1 },
          ],
        },
        retryStrategy: { limit: 1, backoff: { duration: "5s" } },
        timeout: "30s",
      },
    ]);
  });

  const library = `---
${version}
kind: WorkflowTemplate
metadata: { name: base }
spec:
  entrypoint: main
  onExit: main
  parallelism: 5
  workflowMetadata: { labels: { from: base } }
  arguments:
    parameters: [{ name: a, value: base, description: first }, { name: b, value: base }]
  templates:
    - { name: main, suspend: {} }
    - { name: other, suspend: {} }
`;

  test("a workflow's own values win over those of its workflowTemplateRef", () => {
    const {
      workflow,
      library: rest,
      places,
    } = bundleOf(`${version}
kind: Workflow
metadata: { name: mine, labels: { own: x } }
spec:
  entrypoint: other
  workflowTemplateRef: { name: base }
  arguments: { parameters: [{ name: a, value: mine }, { name: c, value: mine }] }
${library}`);
    assert.deepEqual(plain(workflow), {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: { name: "mine", labels: { from: "base", own: "x" } },
      spec: {
        entrypoint: "other",
        arguments: {
          parameters: [
            { name: "a", value: "mine", description: "first" },
            { name: "c", value: "mine" },
            { name: "b", value: "base" },
          ],
        },
        templates: [
          { name: "main", suspend: {} },
          { name: "other", suspend: {} },
        ],
        onExit: "main",
        parallelism: 5,
      },
    });
    assert.deepEqual(plain(rest), {});
    assert.deepEqual(plain(places), {
      main: { file: "flows/w.yaml", line: 20, column: 7 },
      other: { file: "flows/w.yaml", line: 21, column: 7 },
    });
  });

  test("a WorkflowTemplate alone is run as submit --from does, and so is one that is named", () => {
    const alone = bundleOf(library.slice(4)).workflow;
    assert.deepEqual(plain(alone.metadata), {
      generateName: "base-",
      labels: { "workflows.argoproj.io/workflow-template": "base", from: "base" },
    });
    assert.equal(alone.spec.entrypoint, "main");
    const beside = `${version}\nkind: Workflow\nmetadata: { name: w }\nspec: { entrypoint: a, templates: [{ name: a, suspend: {} }] }\n${library}`;
    assert.equal(bundleOf(beside).workflow.metadata.name, "w");
    assert.equal(bundleOf(beside, { name: "base" }).workflow.metadata.generateName, "base-");
  });

  test("a library is in the bundle when it is reached, with the workflow's templateDefaults", () => {
    const bundle = bundleOf(`${version}
kind: Workflow
spec:
  entrypoint: main
  templateDefaults: { timeout: 1s }
  templates:
    - { name: main, steps: [[{ name: a, templateRef: { name: one, template: x } }]] }
---
${version}
kind: WorkflowTemplate
metadata: { name: one }
spec: { templateDefaults: { timeout: 9s }, templates: [{ name: x, steps: [[{ name: b, templateRef: { name: two, template: z, clusterScope: true } }, { name: c, inline: { wasm: { image: a } } }]] }] }
---
${version}
kind: ClusterWorkflowTemplate
metadata: { name: two }
spec: { templates: [{ name: z, wasm: { image: a } }] }
---
${version}
kind: WorkflowTemplate
metadata: { name: unused }
spec: { templates: [{ name: z, wasm: { image: a } }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { a: 1, b: on }
`);
    assert.deepEqual(Object.keys(bundle.library).toSorted(), [
      "ClusterWorkflowTemplate/two",
      "WorkflowTemplate/one",
    ]);
    assert.deepEqual(plain(bundle.library["ClusterWorkflowTemplate/two"]?.spec), {
      templates: [{ name: "z", wasm: { image: "a" }, timeout: "1s" }],
    });
    assert.deepEqual(plain(bundle.configMaps), { settings: { a: "1", b: "true" } });
    assert.deepEqual(Object.keys(bundle.places).toSorted(), ["main", "one/x", "one/x/c", "two/z"]);
    assert.equal(bundle.folder, "flows");
  });
});

describe("several files and workflows", () => {
  const flow = (name: string): string =>
    `${version}\nkind: Workflow\nmetadata: { name: ${name} }\nspec: { entrypoint: a, templates: [{ name: a, suspend: {} }] }\n`;

  test("one of several workflows is chosen by its name", () => {
    assert.equal(
      bundleOf(`${flow("one")}---\n${flow("two")}`, { name: "two" }).workflow.metadata.name,
      "two",
    );
    const { problems } = readBundle(
      [{ file: "w.yaml", text: `${flow("one")}---\n${flow("two")}` }],
      { name: "tow" },
    );
    assert.deepEqual(
      problems.map(({ message, hint }) => [message, hint]),
      [['There is no Workflow "tow" in the files', 'Did you mean "two"?']],
    );
  });

  test("checkFiles takes several workflows, and templates alone", () => {
    const files = [
      { file: "a.yaml", text: `${flow("one")}---\n${flow("two")}` },
      {
        file: "b.yaml",
        text: `${version}\nkind: WorkflowTemplate\nmetadata: { name: lib }\nspec: { templates: [{ name: a, suspnd: {} }] }\n`,
      },
    ];
    assert.deepEqual(
      checkFiles(files).problems.map(({ message, place }) => [message, place?.file]),
      [
        ['Template "a" has no type', "b.yaml"],
        ['Unknown key "suspnd" in template "a"', "b.yaml"],
      ],
    );
  });

  test("parameters that are given at the start are known", () => {
    const text = `${version}\nkind: Workflow\nspec: { entrypoint: a, templates: [{ name: a, inputs: { parameters: [{ name: x }] }, suspend: { duration: "{{workflow.parameters.x}}" } }] }\n`;
    assert.equal(readBundle([{ file: "w.yaml", text }]).problems.length, 2);
    bundleOf(text, { parameters: ["x"] });
  });

  test("JSON is YAML", () => {
    assert.equal(
      bundleOf(
        JSON.stringify(
          {
            apiVersion: "argoproj.io/v1alpha1",
            kind: "Workflow",
            spec: { entrypoint: "a", templates: [{ name: "a", suspend: {} }] },
          },
          null,
          "\t",
        ),
      ).workflow.spec.entrypoint,
      "a",
    );
  });

  test("anchors and merge keys are filled in", () => {
    const [main] = templates(`
    - &base { name: main, wasm: &wasm { image: a, limits: { memory: 1Mi } } }
    - { <<: *base, name: other, wasm: { <<: *wasm, image: b } }
`).slice(1);
    assert.deepEqual(plain(main), {
      name: "other",
      wasm: { image: "b", limits: { memory: "1Mi" } },
    });
  });
});

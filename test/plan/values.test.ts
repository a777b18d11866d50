import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Arguments, Step, Template, WorkflowTemplate } from "../../src/document/mod.ts";
import type { StoredArtifact } from "../../src/task/mod.ts";
import { bundleOf, Drive, leaf, say } from "./drive.ts";

const stored = (digest: string): StoredArtifact => ({ kind: "file", digest, size: 1 });

/** What a tag becomes in the program of the entry node. */
function value(
  text: string,
  options: Parameters<typeof bundleOf>[1] = {},
  more: Partial<Template> = {},
) {
  const main = leaf("main", { wasm: { module: "m.wasm", args: [text] }, ...more });
  const drive = new Drive(bundleOf([main], options));
  return drive.said("wf") ?? drive.planner.state.message;
}

describe("variables", () => {
  const options = {
    labels: { team: "blue" },
    annotations: { note: "a note" },
    spec: {
      arguments: {
        parameters: [
          { name: "p", value: 1 },
          { name: "q", value: "{{workflow.name}}" },
        ],
      },
    },
  };

  test("of the workflow", () => {
    const expected = {
      "workflow.name": "wf",
      "workflow.namespace": "default",
      "workflow.uid": "0d2b5c1e-0000-4000-8000-000000000000",
      "workflow.mainEntrypoint": "main",
      "workflow.status": "Running",
      "workflow.duration": "0.000000",
      "workflow.parameters.p": "1",
      "workflow.parameters.q": "wf",
      "workflow.parameters": '[{"name":"p","value":"1"},{"name":"q","value":"wf"}]',
      "workflow.parameters.json": '[{"name":"p","value":"1"},{"name":"q","value":"wf"}]',
      "workflow.labels.team": "blue",
      "workflow.labels.json": '{"team":"blue"}',
      "workflow.annotations.note": "a note",
      "workflow.annotations.json": '{"note":"a note"}',
      "workflow.creationTimestamp": "2026-01-02T03:04:05Z",
      "workflow.creationTimestamp.RFC3339": "2026-01-02T03:04:05Z",
      "workflow.creationTimestamp.s": "1767323045",
      "workflow.creationTimestamp.Y": "2026",
      "workflow.creationTimestamp.b": "Jan",
      "workflow.creationTimestamp.A": "Friday",
      "node.name": "wf",
      "pod.name": "wf",
    };
    for (const [name, wanted] of Object.entries(expected)) {
      assert.equal(value(`{{${name}}}`, options), wanted, name);
    }
  });

  test("of the template's paths and inputs", () => {
    const more: Partial<Template> = {
      inputs: {
        parameters: [{ name: "x", value: "1" }],
        artifacts: [{ name: "in", path: "/in", raw: { data: "" } }],
      },
      outputs: {
        parameters: [{ name: "o", valueFrom: { path: "/o" } }],
        artifacts: [{ name: "out", path: "/out" }],
      },
    };
    const text =
      "{{inputs.artifacts.in.path}} {{outputs.artifacts.out.path}} {{outputs.parameters.o.path}} {{inputs.parameters}}";
    assert.equal(value(text, {}, more), '/in /out /o [{"name":"x","value":"1"}]');
  });

  test("in expressions", () => {
    const text =
      "{{=toJson(workflow.parameters) + sprig.upper(workflow.name) + string(asInt(workflow.parameters.p) + 1)}}";
    assert.equal(value(text, options), '{"p":"1","q":"wf"}WF2');
  });

  test("chance differs between places and never between replays", () => {
    const text = "{{=sprig.randAlphaNum(20)}}";
    assert.equal(value(text), value(text));
    const steps: Step[][] = [
      ["a", "b"].map((name) => ({
        name,
        template: "say",
        arguments: { parameters: [{ name: "text", value: text }] },
      })),
    ];
    const drive = new Drive(bundleOf([{ name: "main", steps }, say()]));
    assert.notEqual(drive.said("wf[0].a"), drive.said("wf[0].b"));
  });

  test("that are unknown end the node in error", () => {
    const drive = new Drive(
      bundleOf([leaf("main", { wasm: { module: "m.wasm", args: ["{{no.such}}"] } })]),
    );
    assert.equal(drive.planner.state.phase, "Error");
    assert.match(drive.planner.state.message ?? "", /no\.such/);
    assert.equal(drive.node("wf").failure?.code, "workflow-invalid");
  });
});

describe("parameters", () => {
  test("come from the caller, the document, a ConfigMap or a default", () => {
    const parameters = [
      { name: "given", value: "document" },
      { name: "written", value: "document" },
      { name: "map", valueFrom: { configMapKeyRef: { name: "m", key: "k" } } },
      { name: "absent", valueFrom: { configMapKeyRef: { name: "m", key: "x" }, default: "d" } },
    ];
    const text = ["given", "written", "map", "absent"]
      .map((name) => `{{workflow.parameters.${name}}}`)
      .join(" ");
    const main = leaf("main", { wasm: { module: "m.wasm", args: [text] } });
    const bundle = bundleOf([main], {
      spec: { arguments: { parameters } },
      configMaps: { m: { k: "v" } },
    });
    const drive = new Drive(bundle, { parameters: { given: "caller" } });
    assert.equal(drive.said("wf"), "caller document v d");
  });

  test("that nobody gives end the run, or the step", () => {
    const run = new Drive(
      bundleOf([leaf("main")], { spec: { arguments: { parameters: [{ name: "p" }] } } }),
    );
    assert.match(run.planner.state.message ?? "", /set global parameter p$/);
    assert.deepEqual(run.last, [{ type: "finish" }]);
    const needs = leaf("needs", { inputs: { parameters: [{ name: "x" }] } });
    const steps: Step[][] = [[{ name: "a", template: "needs" }]];
    const step = new Drive(bundleOf([{ name: "main", steps }, needs]));
    assert.equal(step.node("wf[0].a").message, "inputs.parameters.x was not supplied");
  });

  test("of the workflow keep to their enum", () => {
    const spec = { arguments: { parameters: [{ name: "p", value: "x", enum: ["a", "b"] }] } };
    const { state } = new Drive(bundleOf([leaf("main")], { spec })).planner;
    assert.deepEqual([state.phase, state.message], ["Error", 'The parameter "p" is "x"']);
  });

  test("do not read tags in what a step printed", () => {
    const steps: Step[][] = [
      [{ name: "a", template: "leaf" }],
      [
        {
          name: "b",
          template: "say",
          arguments: { parameters: [{ name: "text", value: "{{steps.a.outputs.result}}" }] },
        },
      ],
    ];
    const drive = new Drive(bundleOf([{ name: "main", steps }, leaf(), say()]));
    drive.end("wf[0].a", { result: "{{workflow.name}}" });
    assert.equal(drive.said("wf[1].b"), "{{workflow.name}}");
  });
});

describe("outputs", () => {
  const inner = (outputs: Arguments): Drive => {
    const steps: Step[][] = [
      [{ name: "a", template: "leaf" }],
      [{ name: "skipped", template: "leaf", when: "a == b" }],
    ];
    const parameters = [{ name: "p", valueFrom: { path: "/p" } }];
    const made = { parameters, artifacts: [{ name: "f", path: "/f" }] };
    const drive = new Drive(
      bundleOf([{ name: "main", steps, outputs }, leaf("leaf", { outputs: made })]),
    );
    drive.end("wf[0].a", { result: "r", parameters: { p: "7" }, artifacts: { f: stored("f1") } });
    return drive;
  };

  test("of a template are made of those of its steps", () => {
    const drive = inner({
      parameters: [
        { name: "one", valueFrom: { parameter: "{{steps.a.outputs.parameters.p}}" } },
        { name: "sum", valueFrom: { expression: "asInt(steps.a.outputs.parameters.p) + 1" } },
        {
          name: "gone",
          valueFrom: { parameter: "{{steps.skipped.outputs.parameters.p}}", default: "d" },
        },
      ],
      artifacts: [
        { name: "same", from: "{{steps.a.outputs.artifacts.f}}" },
        {
          name: "within",
          from: "{{steps.a.outputs.artifacts.f}}",
          subPath: "{{steps.a.outputs.result}}",
        },
        {
          name: "chosen",
          fromExpression: "steps.a.outputs.result == 'r' ? steps.a.outputs.artifacts.f : nil",
        },
        { name: "none", from: "{{steps.skipped.outputs.artifacts.f}}", optional: true },
      ],
    });
    const artifact = stored("f1");
    assert.deepEqual(drive.planner.state.outputs, {
      parameters: [
        { name: "one", value: "7" },
        { name: "sum", value: "8" },
        { name: "gone", value: "d" },
      ],
      artifacts: [
        { name: "same", artifact: { kind: "stored", artifact } },
        { name: "within", artifact: { kind: "stored", artifact, subPath: "r" } },
        { name: "chosen", artifact: { kind: "stored", artifact } },
      ],
    });
  });

  test("that cannot be made end the template in error", () => {
    const drive = inner({
      parameters: [{ name: "x", valueFrom: { parameter: "{{steps.a.outputs.parameters.zz}}" } }],
    });
    assert.equal(drive.planner.state.phase, "Error");
    assert.match(drive.planner.state.message ?? "", /parameters\.zz/);
  });

  test("with a globalName are known everywhere", () => {
    const outputs = {
      parameters: [{ name: "p", valueFrom: { path: "/p" }, globalName: "all" }],
      artifacts: [{ name: "f", path: "/f", globalName: "file" }],
    };
    const steps: Step[][] = [
      [{ name: "a", template: "leaf" }],
      [
        {
          name: "b",
          template: "say",
          arguments: {
            parameters: [{ name: "text", value: "{{workflow.outputs.parameters.all}}" }],
            artifacts: [{ name: "f", from: "{{workflow.outputs.artifacts.file}}" }],
          },
        },
      ],
    ];
    const reads = say("say", {
      inputs: {
        parameters: [{ name: "text" }],
        artifacts: [{ name: "f", path: "/f" }],
      },
    });
    const drive = new Drive(bundleOf([{ name: "main", steps }, leaf("leaf", { outputs }), reads]));
    drive.end("wf[0].a", { parameters: { p: "7" }, artifacts: { f: stored("f1") } });
    assert.equal(drive.said("wf[1].b"), "7");
    assert.deepEqual(drive.works.at(-1)?.inputs[0]?.source, {
      kind: "stored",
      artifact: stored("f1"),
    });
    assert.deepEqual(drive.planner.state.outputs.parameters, [{ name: "all", value: "7" }]);
  });
});

describe("artifacts", () => {
  test("are given, raw, keys of the repository, or left out", () => {
    const inputs = {
      artifacts: [
        { name: "given", path: "/given", mode: 0o755 },
        { name: "raw", path: "/raw", raw: { data: "of {{workflow.name}}" } },
        { name: "key", path: "/key", s3: { key: "{{workflow.name}}/x" }, archive: { none: {} } },
        { name: "not", path: "/not", optional: true },
      ],
    };
    const outputs = {
      artifacts: [
        {
          name: "o",
          path: "/o",
          s3: { key: "{{node.name}}.txt" },
          archive: { tar: { compressionLevel: 9 } },
        },
      ],
    };
    const spec = { arguments: { artifacts: [{ name: "given" }] } };
    const drive = new Drive(bundleOf([leaf("main", { inputs, outputs })], { spec }), {
      artifacts: { given: stored("g") },
    });
    assert.deepEqual(drive.works[0]?.inputs, [
      {
        name: "given",
        path: "/given",
        source: { kind: "stored", artifact: stored("g") },
        mode: 0o755,
      },
      { name: "raw", path: "/raw", source: { kind: "raw", data: "of wf" } },
      { name: "key", path: "/key", source: { kind: "key", key: "wf/x" }, archive: "none" },
      { name: "not", path: "/not", optional: true },
    ]);
    assert.deepEqual(drive.works[0]?.outputs.artifacts, [
      { name: "o", path: "/o", optional: false, key: "wf.txt", archive: { kind: "tar", level: 9 } },
    ]);
  });

  test("that are not given are an error of their step", () => {
    const inputs = { artifacts: [{ name: "f", path: "/f" }] };
    const steps: Step[][] = [[{ name: "a", template: "needs" }]];
    const drive = new Drive(bundleOf([{ name: "main", steps }, leaf("needs", { inputs })]));
    assert.equal(drive.node("wf[0].a").message, "inputs.artifacts.f was not supplied");
  });
});

describe("templates", () => {
  const library: WorkflowTemplate[] = [
    {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "WorkflowTemplate",
      metadata: { name: "tools" },
      spec: {
        templates: [{ name: "both", steps: [[{ name: "x", template: "leaf" }]] }, leaf()],
      },
    },
  ];

  test("of a library know their own neighbours", () => {
    const steps: Step[][] = [[{ name: "a", templateRef: { name: "tools", template: "both" } }]];
    const drive = new Drive(bundleOf([{ name: "main", steps }], { library }));
    assert.deepEqual(drive.runs, ["wf[0].a[0].x"]);
    assert.equal(drive.node("wf[0].a").template, "tools/both");
    assert.equal(drive.node("wf[0].a[0].x").template, "tools/leaf");
  });

  test("that are not there are an error of their step", () => {
    for (const [more, message] of [
      [{ template: "none" }, "template none not found"],
      [{ templateRef: { name: "none", template: "x" } }, "workflow template none not found"],
      [
        { templateRef: { name: "tools", template: "x" } },
        "template x not found in workflow template tools",
      ],
      [
        { templateRef: { name: "tools", template: "leaf", clusterScope: true } },
        "workflow template tools not found",
      ],
    ] as const) {
      const drive = new Drive(
        bundleOf([{ name: "main", steps: [[{ name: "a", ...more }]] }], { library }),
      );
      assert.equal(drive.node("wf[0].a").message, message);
    }
  });

  test("are chosen by tags too", () => {
    const steps: Step[][] = [[{ name: "a", template: "{{item}}", withItems: ["leaf", "say"] }]];
    const drive = new Drive(bundleOf([{ name: "main", steps }, leaf(), say()]));
    assert.equal(drive.node("wf[0].a(1:say)").template, "say");
  });

  test("stand in their step", () => {
    const inline = { wasm: { module: "m.wasm", args: ["{{node.name}}"] } };
    const drive = new Drive(bundleOf([{ name: "main", steps: [[{ name: "a", inline }]] }]));
    assert.equal(drive.said("wf[0].a"), "wf[0].a");
    assert.equal(drive.node("wf[0].a").template, "main/a");
  });

  test("of containers and scripts are work of their kind, with environments resolved", () => {
    const env = [
      { name: "A", value: "{{workflow.name}}" },
      { name: "B", valueFrom: { configMapKeyRef: { name: "m", key: "k" } } },
      { name: "C", valueFrom: { configMapKeyRef: { name: "m", key: "no", optional: true } } },
    ];
    const main: Template = {
      name: "main",
      script: { image: "i", source: "echo {{node.name}}", env },
    };
    const drive = new Drive(bundleOf([main], { configMaps: { m: { k: "v" } } }));
    const [work] = drive.works;
    assert.deepEqual([work?.kind, drive.node("wf").type], ["container", "Pod"]);
    assert.deepEqual(work?.program, {
      image: "i",
      source: "echo wf",
      env: [
        { name: "A", value: "wf" },
        { name: "B", value: "v" },
        { name: "C", value: "" },
      ],
    });
  });
});

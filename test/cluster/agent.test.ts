import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import { rewriteText } from "../../src/argo/mod.ts";
import { recordOf, textOf, type KubeObject } from "../../src/kubernetes/mod.ts";
import { clusterTests } from "./needed.ts";
import { ClusterSetting } from "./setting.ts";

describe("workflows of Argo's on a cluster", clusterTests, () => {
  let setting: ClusterSetting;
  const stack = new AsyncDisposableStack();
  before(async () => {
    setting = stack.use(await ClusterSetting.start());
    stack.use(await setting.controller({ container: podOf }));
    stack.use(await setting.agent());
  });
  after(() => stack.disposeAsync());

  const say = (name = "say"): object => ({
    name,
    inputs: { parameters: [{ name: "text" }] },
    plugin: { wasm: { image: setting.image, args: ["echo", "{{inputs.parameters.text}}"] } },
  });

  test("one step succeeds, and its node has its result, exit code and log", async () => {
    await setting.submit("one", {
      entrypoint: "main",
      templates: [
        { name: "main", plugin: { wasm: { image: setting.image, args: ["line", "hello"] } } },
      ],
    });
    const over = await setting.ended("one");
    assert.equal(phaseOf(over), "Succeeded", JSON.stringify(over["status"]));
    assert.equal(nodeOf(over, "one").outputs?.result, "hello");
    const keys = [...setting.s3.bucket("artifacts").keys()];
    assert(
      keys.some((key) => /^one\/.*\/main\.log$/.test(key)),
      keys.join(),
    );
  });

  test("a loop of plain words and a step that reads all of them", async () => {
    await setting.submit("loop", {
      entrypoint: "main",
      templates: [
        say(),
        {
          name: "main",
          steps: [
            [
              {
                name: "each",
                template: "say",
                arguments: { parameters: [{ name: "text", value: "{{item}}!" }] },
                withItems: ["a", "b", "c"],
              },
            ],
            [
              {
                name: "all",
                template: "say",
                arguments: {
                  parameters: [{ name: "text", value: "{{steps.each.outputs.result}}" }],
                },
              },
            ],
          ],
        },
      ],
    });
    const over = await setting.ended("loop");
    assert.equal(phaseOf(over), "Succeeded", JSON.stringify(over["status"]));
    assert.equal(nodeOf(over, "loop[1].all").outputs?.result, '["a!","b!","c!"]');
  });

  test("a container hands a parameter and a file to a module, and that to a container", async () => {
    await setting.s3.put("artifacts", "made/by/pod", Buffer.from("from the pod"));
    await setting.submit("mixed", {
      entrypoint: "main",
      templates: [
        {
          name: "main",
          dag: {
            tasks: [
              { name: "first", template: "pod" },
              {
                name: "second",
                template: "module",
                dependencies: ["first"],
                arguments: {
                  parameters: [{ name: "word", value: "{{tasks.first.outputs.parameters.word}}" }],
                  artifacts: [{ name: "in", from: "{{tasks.first.outputs.artifacts.out}}" }],
                },
              },
              {
                name: "third",
                template: "reader",
                dependencies: ["second"],
                arguments: {
                  parameters: [{ name: "word", value: "{{tasks.second.outputs.parameters.word}}" }],
                  artifacts: [{ name: "in", from: "{{tasks.second.outputs.artifacts.out}}" }],
                },
              },
            ],
          },
        },
        {
          name: "pod",
          container: { image: "alpine" },
          outputs: {
            parameters: [{ name: "word", valueFrom: { path: "/word" } }],
            artifacts: [{ name: "out", path: "/out" }],
          },
        },
        {
          name: "module",
          inputs: { parameters: [{ name: "word" }], artifacts: [{ name: "in", path: "/in" }] },
          plugin: {
            wasm: {
              image: setting.image,
              args: [
                "write",
                "/word",
                "{{inputs.parameters.word}} and the module's",
                ";",
                "write",
                "/out",
                "written",
                ";",
                "cat",
                "/in",
              ],
            },
          },
          outputs: {
            parameters: [{ name: "word", valueFrom: { path: "/word" } }],
            artifacts: [{ name: "out", path: "/out", archive: { none: {} } }],
          },
        },
        {
          name: "reader",
          inputs: { parameters: [{ name: "word" }], artifacts: [{ name: "in", path: "/in" }] },
          container: { image: "alpine", args: ["{{inputs.parameters.word}}"] },
        },
      ],
    });
    const over = await setting.ended("mixed");
    assert.equal(phaseOf(over), "Succeeded", JSON.stringify(over["status"]));
    assert.equal(nodeOf(over, "mixed.second").outputs?.result, "from the pod");
    assert.deepEqual(podsSaw, ["the pod's and the module's", "written"]);
  });

  test("a step that fails tells why, and the workflow fails", async () => {
    await setting.submit("bad", {
      entrypoint: "main",
      templates: [
        {
          name: "main",
          plugin: { wasm: { image: setting.image, args: ["error", "no page", ";", "exit", "3"] } },
        },
      ],
    });
    const over = await setting.ended("bad");
    assert.equal(phaseOf(over), "Failed");
    assert.match(nodeOf(over, "bad").message ?? "", /exit code 3.*no page/);
  });

  test("a workflow that is terminated stops its steps at once", async () => {
    await setting.submit("stopped", {
      entrypoint: "main",
      templates: [
        { name: "main", plugin: { wasm: { image: setting.image, args: ["sleep", "60000"] } } },
      ],
    });
    await new Promise((done) => setTimeout(done, 500));
    const workflows = {
      group: "argoproj.io",
      version: "v1alpha1",
      plural: "workflows",
      namespaced: true,
    };
    await setting.admin.patch(
      workflows,
      "stopped",
      { spec: { shutdown: "Terminate" } },
      { namespace: "default" },
    );
    const over = await setting.ended("stopped", "default", 10);
    assert.equal(phaseOf(over), "Failed");
  });

  test("300 steps at once all succeed, and share the pulls and the patches", async () => {
    await setting.submit("many", {
      entrypoint: "main",
      templates: [
        say(),
        {
          name: "main",
          steps: [
            [
              {
                name: "each",
                template: "say",
                arguments: { parameters: [{ name: "text", value: "{{item}}" }] },
                withSequence: { count: "300" },
              },
            ],
          ],
        },
      ],
    });
    const over = await setting.ended("many", "default", 60);
    assert.equal(phaseOf(over), "Succeeded", JSON.stringify(over["status"]).slice(0, 2000));
    const nodes = Object.values(recordOf(recordOf(over["status"])["nodes"])).map(recordOf);
    assert.equal(
      nodes.filter(({ type, phase }) => type === "Plugin" && phase === "Succeeded").length,
      300,
    );
  });

  test("a map of 10,000 items is one node, with a result that the next step reads", async () => {
    const pages = JSON.stringify(Array.from({ length: 10_000 }, (_, at) => at));
    await setting.submit("map", {
      entrypoint: "main",
      templates: [
        {
          name: "each",
          inputs: { parameters: [{ name: "pages" }] },
          plugin: {
            wasm: {
              image: setting.image,
              args: ["echo", "$(item)"],
              map: { items: "{{inputs.parameters.pages}}", parallelism: 16, results: "all" },
            },
          },
          outputs: { artifacts: [{ name: "all", path: "/out/all", archive: { none: {} } }] },
        },
        say(),
        {
          name: "main",
          steps: [
            [
              {
                name: "each",
                template: "each",
                arguments: { parameters: [{ name: "pages", value: pages }] },
              },
            ],
            [
              {
                name: "all",
                template: "say",
                arguments: {
                  parameters: [{ name: "text", value: "{{steps.each.outputs.result}}" }],
                },
              },
            ],
          ],
        },
      ],
    });
    const over = await setting.ended("map", "default", 60);
    assert.equal(phaseOf(over), "Succeeded", JSON.stringify(over["status"]).slice(0, 2000));
    const nodes = Object.values(recordOf(recordOf(over["status"])["nodes"])).map(recordOf);
    assert.equal(nodes.filter(({ type }) => type === "Plugin").length, 2);
    assert.equal(nodeOf(over, "map[0].each").outputs?.result, pages);
    const key = [...setting.s3.bucket("artifacts").keys()].find((one) =>
      /^map\/.*\/all$/.test(one),
    );
    const lines = String(await setting.s3.get("artifacts", key ?? ""));
    assert.equal(lines.trimEnd().split("\n").length, 10_000);
  });

  test("letterflow, as its users write it, makes of a letter in the repository what it makes on one machine", async () => {
    const example = join(import.meta.dirname, "../../examples/letterflow");
    for (const file of globSync("*.wasm", { cwd: join(example, "guests") })) {
      const name = `atalanta-examples/${basename(file, ".wasm")}:1`;
      await setting.push(name, join(example, "guests", file));
    }
    await setting.s3.put("artifacts", "in/letter.tiff", readFileSync(join(example, "letter.tiff")));
    const written = readFileSync(join(example, "workflow.yaml"), "utf8")
      .replaceAll("ghcr.io", setting.registry.host)
      .replace("- name: doc\n", "- name: doc\n        s3: {key: in/letter.tiff}\n");
    const { text, changed, problems } = rewriteText(written, "workflow.yaml");
    assert.deepEqual(problems, []);
    assert.equal(changed, 4);
    const { spec } = recordOf(parse(text));
    await setting.submit("letterflow", recordOf(spec));
    const over = await setting.ended("letterflow");
    assert.equal(phaseOf(over), "Succeeded", JSON.stringify(over["status"]).slice(0, 3000));
    const nodes = Object.values(recordOf(recordOf(over["status"])["nodes"])).map(recordOf);
    const pages = nodes.filter(({ templateName }) => templateName === "deskew");
    assert(pages.length >= 2);
    assert(pages.every(({ type, phase }) => type === "Plugin" && phase === "Succeeded"));
    const keys = [...setting.s3.bucket("artifacts").keys()];
    assert.equal(keys.filter((key) => key.startsWith("letterflow/letter/")).length, pages.length);
    assert.equal(keys.filter((key) => key.startsWith("letterflow/thumbs/")).length, pages.length);
    assert(
      keys.some((key) => key.endsWith("/sheet.tgz")),
      keys.join(" "),
    );
  });

  const podsSaw: string[] = [];

  async function podOf(
    work: Parameters<
      NonNullable<Parameters<ClusterSetting["controller"]>[0]>["container"] & object
    >[0],
    inputs: Parameters<
      NonNullable<Parameters<ClusterSetting["controller"]>[0]>["container"] & object
    >[1],
  ): Promise<object> {
    const inner = inputs.get("in");
    if (!inner) {
      return {
        outputs: {
          parameters: [{ name: "word", value: "the pod's" }],
          artifacts: [
            {
              name: "out",
              artifact: { kind: "file", digest: `sha256:${"0".repeat(64)}`, size: 1 },
              copy: { place: { s3: { key: "made/by/pod" } }, packed: "none" },
            },
          ],
        },
      };
    }
    podsSaw.push(...(work.program.args ?? []).map(String));
    podsSaw.push(String(await setting.s3.get("artifacts", inner.s3?.key ?? "")));
    return {};
  }
});

interface NodeView {
  readonly phase?: string;
  readonly message?: string;
  readonly outputs?: { readonly result?: string };
}

function phaseOf(workflow: KubeObject): string {
  return textOf(recordOf(workflow["status"])["phase"]) ?? "";
}

function nodeOf(workflow: KubeObject, name: string): NodeView {
  const nodes = Object.values(recordOf(recordOf(workflow["status"])["nodes"])).map(recordOf);
  return nodes.find((node) => node["name"] === name) ?? {};
}

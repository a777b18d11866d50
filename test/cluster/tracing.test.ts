import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { recordOf, textOf, type KubeObject } from "../../src/kubernetes/mod.ts";
import { Collector, type SeenSpan } from "../telemetry/collector.ts";
import { workflows } from "./controller.ts";
import { clusterTests } from "./needed.ts";
import { AgentProcess } from "./process.ts";
import { ClusterSetting } from "./setting.ts";

describe("traces of an agent", clusterTests, () => {
  let setting: ClusterSetting;
  let collector: Collector;
  const stack = new AsyncDisposableStack();
  before(async () => {
    setting = stack.use(await ClusterSetting.start());
    stack.use(await setting.controller({ onError: () => undefined }));
    collector = stack.use(await Collector.start());
    process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url;
    process.env["OTEL_BSP_SCHEDULE_DELAY"] = "200";
    stack.use(await new AgentProcess(setting, setting.cluster.kubeconfig).ready());
  });
  after(async () => {
    delete process.env["OTEL_EXPORTER_OTLP_ENDPOINT"];
    delete process.env["OTEL_BSP_SCHEDULE_DELAY"];
    await stack.disposeAsync();
  });

  const run = async (
    name: string,
    annotations: object,
    args: readonly string[],
  ): Promise<KubeObject> => {
    await setting.admin.create(workflows, {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: { name, namespace: "default", annotations: annotations as Record<string, string> },
      spec: {
        entrypoint: "main",
        templates: [
          { name: "say", plugin: { wasm: { image: setting.image, args } } },
          {
            name: "main",
            steps: [[{ name: "a", template: "say" }], [{ name: "b", template: "say" }]],
          },
        ],
      },
    });
    return setting.ended(name);
  };
  const spansOf = async (traceId: string, count: number): Promise<readonly SeenSpan[]> => {
    const found = (): readonly SeenSpan[] =>
      collector.spans.filter((span) => span.traceId === traceId);
    for (let left = 100; found().length < count && left > 0; left -= 1) await sleep(100);
    return found();
  };
  const resultOf = (workflow: KubeObject, node: string): string => {
    const nodes = Object.values(recordOf(recordOf(workflow["status"])["nodes"])).map(recordOf);
    return textOf(recordOf(nodes.find(({ name }) => name === node)?.["outputs"])["result"]) ?? "";
  };

  test("all steps of a workflow are in one trace, each with its parts, and the module may go on with it", async () => {
    const over = await run("traced", {}, ["env", "TRACEPARENT"]);
    const traceId = createHash("sha256")
      .update(over.metadata.uid ?? "")
      .digest("hex")
      .slice(0, 32);
    const spans = await spansOf(traceId, 12);
    const steps = spans.filter(({ name }) => name === "say");
    assert.equal(steps.length, 2, spans.map(({ name }) => name).join());
    for (const { spanId, attributes, status } of steps) {
      const parts = spans.filter(({ parentId }) => parentId === spanId).map(({ name }) => name);
      assert.deepEqual(parts.toSorted(), [
        "queue",
        "read workflow",
        "run",
        "send log",
        "write result",
      ]);
      assert.equal(attributes.get("k8s.namespace.name"), "default");
      assert.equal(attributes.get("argo.workflow.name"), "traced");
      assert.equal(attributes.get("argo.node.phase"), "Succeeded");
      assert.equal(attributes.get("process.exit.code"), "0");
      assert.equal(status, 0);
    }
    const told = resultOf(over, "traced[0].a");
    assert.match(told, new RegExp(`^00-${traceId}-`));
    assert(steps.some(({ spanId }) => told.includes(spanId)));
    const running = spans.find(({ name }) => name === "run");
    assert.match(running?.attributes.get("oci.manifest.digest") ?? "", /^sha256:/);
  });

  test("a failure is an error in its span", async () => {
    const over = await run("failing", {}, ["error", "no page", ";", "exit", "3"]);
    const traceId = createHash("sha256")
      .update(over.metadata.uid ?? "")
      .digest("hex")
      .slice(0, 32);
    const step = (await spansOf(traceId, 6)).find(({ name }) => name === "say");
    assert.equal(step?.status, 2);
    assert.match(step?.message ?? "", /exit code 3.*no page/);
    assert.equal(step?.attributes.get("process.exit.code"), "3");
  });

  test("the trace of the controller is gone on with, and one that whoever started it names", async () => {
    const engine = "1".repeat(32);
    await run("of-the-engine", { "workflows.argoproj.io/trace-id": engine }, ["echo", "x"]);
    assert((await spansOf(engine, 12)).length >= 12);
    const parent = `00-${"2".repeat(32)}-${"3".repeat(16)}-01`;
    await run("of-the-user", { "atalanta.dev/traceparent": parent }, ["echo", "x"]);
    const steps = (await spansOf("2".repeat(32), 12)).filter(({ name }) => name === "say");
    assert.deepEqual(
      steps.map(({ parentId }) => parentId),
      ["3".repeat(16), "3".repeat(16)],
    );
  });
});

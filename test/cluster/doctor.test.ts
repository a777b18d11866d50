import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import { listOf, recordOf, textOf, type Kind, type KubeObject } from "../../src/kubernetes/mod.ts";
import { crdKind } from "./cluster.ts";
import { clusterTests } from "./needed.ts";
import { ClusterSetting } from "./setting.ts";

const program = resolve(import.meta.dirname, "../../src/cli/main.ts");
const deployments: Kind = { group: "apps", version: "v1", plural: "deployments", namespaced: true };
const configMaps: Kind = { group: "", version: "v1", plural: "configmaps", namespaced: true };
const clusterRoles: Kind = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "clusterroles",
  namespaced: false,
};

interface Found {
  readonly check: string;
  readonly level: string;
  readonly message: string;
  readonly fix?: string;
}

describe("atalanta doctor", clusterTests, () => {
  let setting: ClusterSetting;
  before(async () => {
    setting = await ClusterSetting.start();
    await setting.cluster.namespace("argo");
  });
  after(() => setting[Symbol.asyncDispose]());

  const doctor = async (
    args: readonly string[] = [],
    kubeconfig = setting.cluster.kubeconfig,
  ): Promise<{ code: number; found: Map<string, Found>; stderr: string }> =>
    new Promise((done) => {
      execFile(
        process.execPath,
        ["--no-warnings", program, "doctor", "--kubeconfig", kubeconfig, "--json", ...args],
        (error, stdout, stderr) => {
          const lines = stdout.split("\n").filter(Boolean);
          const found = lines.map((line) => JSON.parse(line) as Found);
          done({
            code: Number(error?.code ?? 0),
            found: new Map(found.map((one) => [one.check, one])),
            stderr,
          });
        },
      );
    });

  const controller = (tag: string, container: object = {}): KubeObject => ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "workflow-controller", namespace: "argo" },
    spec: {
      selector: { matchLabels: { app: "workflow-controller" } },
      template: {
        metadata: { labels: { app: "workflow-controller" } },
        spec: {
          serviceAccountName: "argo",
          containers: [
            {
              name: "workflow-controller",
              image: `quay.io/argoproj/workflow-controller:${tag}`,
              ...container,
            },
          ],
        },
      },
    },
  });

  const argo = resolve(import.meta.dirname, "../../deploy/argo");
  const valuesOf = async (name: string): Promise<KubeObject> =>
    parse(await readFile(join(argo, name), "utf8")) as KubeObject;

  test("the values for Argo's chart are what it asks for, and it finds what the chart names after its release", async () => {
    const { extraEnv, extraArgs } = recordOf((await valuesOf("values.yaml"))["controller"]);
    const agent = await valuesOf("values-agent.yaml");
    const name = "argo-argo-workflows-workflow-controller";
    const controllerOf = (configMap: unknown): KubeObject => {
      const args = ["--configmap", configMap, ...listOf(extraArgs)];
      const made = controller("v4.1.2", { env: extraEnv, args });
      return { ...made, metadata: { ...made.metadata, name } };
    };
    // As Argo's chart writes it.
    await setting.admin.create(deployments, controllerOf(`${name}-configmap`));
    await setting.admin.create(configMaps, {
      metadata: { name: `${name}-configmap`, namespace: "argo" },
      data: { config: "parallelism: 5\n" },
    });
    const own = textOf(recordOf(recordOf(agent["controller"])["configMap"])["name"]) ?? "";
    try {
      const { found } = await doctor();
      for (const check of ["requeue-time", "qps"])
        assert.equal(found.get(check)?.level, "ok", JSON.stringify(found.get(check)));
      assert.equal(found.get("agent-pods")?.level, "bad");
      const edit = new RegExp(`kubectl edit configmap ${name}-configmap .* to the text of config`);
      assert.match(found.get("agent-pods")?.fix ?? "", edit);
      const data = { config: "parallelism: 5\n", disableAgentPodCreation: "true" };
      await setting.admin.patch(configMaps, `${name}-configmap`, { data }, { namespace: "argo" });
      const both = (await doctor()).found.get("agent-pods");
      assert.match(both?.message ?? "", /does not start with that/);

      await setting.admin.delete(deployments, name, { namespace: "argo" });
      await setting.admin.create(deployments, controllerOf(own));
      const [object] = listOf(agent["extraObjects"]).map(recordOf);
      assert.equal(recordOf(object?.["metadata"])["name"], own);
      const metadata = { name: own, namespace: "argo" };
      await setting.admin.create(configMaps, { ...object, metadata });
      const after = (await doctor()).found.get("agent-pods");
      assert.equal(after?.level, "ok", JSON.stringify(after));
    } finally {
      await setting.admin.delete(deployments, name, { namespace: "argo" });
      for (const map of [own, `${name}-configmap`])
        await setting.admin.delete(configMaps, map, { namespace: "argo" });
    }
  });

  test("a cluster without a controller and an agent", async () => {
    const { code, found } = await doctor();
    assert.equal(code, 0);
    assert.equal(found.get("api-server")?.level, "ok");
    assert.equal(found.get("argo-kinds")?.level, "ok");
    assert.equal(found.get("wasm-key")?.level, "warn");
    assert.match(found.get("wasm-key")?.fix ?? "", /atalanta rewrite/);
    assert.equal(found.get("controller")?.level, "warn");
    assert.equal(found.get("agent")?.level, "warn");
  });

  test("an untuned controller of 4.1: each obstacle with what to do, and after that none", async () => {
    const at = { namespace: "argo" };
    const { admin } = setting;
    await admin.create(deployments, controller("v4.1.2"), at);
    const before = await doctor();
    assert.equal(before.code, 1);
    assert.equal(before.found.get("argo-version")?.level, "ok");
    assert.equal(before.found.get("agent-pods")?.level, "bad");
    assert.match(before.found.get("agent-pods")?.fix ?? "", /disableAgentPodCreation":"true"/);
    assert.equal(before.found.get("requeue-time")?.level, "slow");
    assert.match(
      before.found.get("requeue-time")?.message ?? "",
      /10s \(the default\).*every step takes 20 s/,
    );
    assert.equal(before.found.get("qps")?.level, "slow");
    assert.equal(before.found.get("controller-role")?.level, "bad");
    assert.match(before.found.get("controller-role")?.fix ?? "", /--serviceaccount=argo:argo/);
    await admin.create(
      configMaps,
      {
        metadata: { name: "workflow-controller-configmap" },
        data: { config: "disableAgentPodCreation: true\n" },
      },
      at,
    );
    const tuned = {
      args: ["--qps=500", "--burst", "1000"],
      env: [{ name: "DEFAULT_REQUEUE_TIME", value: "100ms" }],
    };
    await admin.delete(deployments, "workflow-controller", at);
    await admin.create(deployments, controller("v4.1.2", tuned), at);
    await admin.create(clusterRoles, {
      metadata: { name: "patches" },
      rules: [
        { apiGroups: ["argoproj.io"], resources: ["workflowtasksets/status"], verbs: ["patch"] },
      ],
    });
    await admin.create(
      { ...clusterRoles, plural: "clusterrolebindings" },
      {
        metadata: { name: "patches" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "patches" },
        subjects: [{ kind: "ServiceAccount", name: "argo", namespace: "argo" }],
      },
    );
    const after = await doctor();
    assert.equal(after.code, 0, JSON.stringify([...after.found.values()]));
    for (const check of ["agent-pods", "requeue-time", "qps", "controller-role"]) {
      assert.equal(after.found.get(check)?.level, "ok", check);
    }
    await admin.delete(deployments, "workflow-controller", at);
    await admin.create(deployments, controller("v3.6.10"), at);
    assert.equal((await doctor()).found.get("argo-version")?.level, "bad");
  });

  test("a probe runs one step from end to end, measures it, and leaves nothing", async () => {
    await using controlling = await setting.controller();
    await using agent = await setting.agent({ identity: "one" });
    const { found } = await doctor(["--probe", setting.image]);
    assert.equal(found.get("agent")?.level, "ok");
    assert.match(
      found.get("probe")?.message ?? "",
      /ended as Failed: Error \(exit code|took \d+ ms/,
    );
    const { items } = await setting.admin.list(
      { group: "argoproj.io", version: "v1alpha1", plural: "workflows", namespaced: true },
      { namespace: "default" },
    );
    assert.equal(items.length, 0);
    assert(controlling.operations > 0 && agent.agent.running === 0);
  });

  test("somebody who may do nothing is told what could not be seen, and a cluster without Argo what to install", async () => {
    const kubeconfig = await setting.cluster.kubeconfigOf("default", "nobody");
    const { found } = await doctor([], kubeconfig);
    assert.equal(found.get("argo-kinds")?.level, "unknown");
    assert.equal(found.get("controller")?.level, "unknown");
    assert.match(found.get("your-role")?.message ?? "", /patch workflowtasksets\/status/);
    await setting.admin.delete(crdKind, "workflowtasksets.argoproj.io");
    const { found: without, code } = await doctor();
    assert.equal(without.get("argo-kinds")?.level, "bad");
    assert.equal(code, 1);
    const { code: unreachable, stderr } = await doctor(["--context", "none"]);
    assert.equal(unreachable, 2);
    assert.match(stderr, /has no context \\"none\\"/);
  });
});

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { recordOf, textOf, type Kind, type KubeObject } from "../../src/kubernetes/mod.ts";
import { clusterTests } from "./needed.ts";
import { AgentProcess } from "./process.ts";
import { ClusterSetting, isOver } from "./setting.ts";
import { workflows } from "./controller.ts";

const rbac = { group: "rbac.authorization.k8s.io", version: "v1" };
const clusterRoleBindings: Kind = { ...rbac, plural: "clusterrolebindings", namespaced: false };
const roles: Kind = { ...rbac, plural: "roles", namespaced: true };
const roleBindings: Kind = { ...rbac, plural: "rolebindings", namespaced: true };
const core = { group: "", version: "v1", namespaced: true };
const secrets: Kind = { ...core, plural: "secrets" };
const serviceAccounts: Kind = { ...core, plural: "serviceaccounts" };

describe("tenants of one agent", clusterTests, () => {
  let setting: ClusterSetting;
  let agent: AgentProcess;
  let probe = "";
  const stack = new AsyncDisposableStack();
  before(async () => {
    setting = stack.use(await ClusterSetting.start());
    probe = await setting.push(
      "guests/probe:1",
      resolve(import.meta.dirname, "../guests/probe/probe.wasm"),
    );
    for (const namespace of ["hog", "small"]) {
      await setting.namespace(namespace);
      await setting.admin.create(serviceAccounts, { metadata: { name: "default", namespace } });
      await setting.admin.create(secrets, {
        metadata: { name: "own", namespace },
        stringData: { value: `of ${namespace}` },
      });
      // As its users make it: the account of workflows may read the secrets of its namespace.
      await setting.admin.create(roles, {
        metadata: { name: "secrets", namespace },
        rules: [{ apiGroups: [""], resources: ["secrets"], verbs: ["get"] }],
      });
      await setting.admin.create(roleBindings, {
        metadata: { name: "secrets", namespace },
        roleRef: { apiGroup: rbac.group, kind: "Role", name: "secrets" },
        subjects: [{ kind: "ServiceAccount", name: "default", namespace }],
      });
    }
    stack.use(await setting.controller({ onError: () => undefined }));
    const kubeconfig = await setting.cluster.kubeconfigOf("default", "agent");
    await setting.admin.create(clusterRoleBindings, {
      metadata: { name: "agent" },
      roleRef: { apiGroup: rbac.group, kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ kind: "ServiceAccount", name: "agent", namespace: "default" }],
    });
    const flags = [
      "--authority=service-account",
      "--max-namespace-cpus=1",
      "--max-namespace-memory=512Mi",
    ];
    agent = stack.use(await new AgentProcess(setting, kubeconfig, flags).ready());
  });
  after(() => stack.disposeAsync());

  const loop = (count: number, wasm: object): Readonly<Record<string, unknown>> => ({
    entrypoint: "main",
    templates: [
      { name: "each", plugin: { wasm } },
      {
        name: "main",
        steps: [[{ name: "each", template: "each", withSequence: { count: String(count) } }]],
      },
    ],
  });
  const one = (wasm: object): Readonly<Record<string, unknown>> => ({
    entrypoint: "main",
    templates: [{ name: "main", plugin: { wasm } }],
  });
  const phaseOf = (workflow: KubeObject): string | undefined =>
    textOf(recordOf(workflow["status"])["phase"]);

  test("300 endless modules of one namespace keep no other waiting: its steps end while they compute", async () => {
    await setting.submit(
      "endless",
      loop(300, { image: probe, args: ["loop"], limits: { cpuTime: "2s" } }),
      "hog",
    );
    await sleep(3000);
    for (let round = 0; round < 5; round += 1) {
      const name = `quick-${round}`;
      await setting.submit(name, one({ image: setting.image, args: ["echo", "1"] }), "small");
      assert.equal(phaseOf(await setting.ended(name, "small", 20)), "Succeeded");
    }
    const hog = await setting.admin.get(workflows, "endless", { namespace: "hog" });
    assert(!isOver(hog), "it was over before");
    await setting.admin.patch(
      workflows,
      "endless",
      { spec: { shutdown: "Terminate" } },
      { namespace: "hog" },
    );
    await setting.ended("endless", "hog", 30);
  });

  test("a module that takes all memory it can get ends itself alone, and its namespace goes on", async () => {
    await setting.submit(
      "greedy",
      loop(8, { image: probe, args: ["grow"], limits: { memory: "4Gi" } }),
      "hog",
    );
    await setting.submit(
      "beside",
      one({ image: setting.image, args: ["sleep", "2000", ";", "echo", "1"] }),
      "small",
    );
    assert.equal(phaseOf(await setting.ended("beside", "small", 30)), "Succeeded");
    await setting.ended("greedy", "hog", 60);
    await setting.submit("again", one({ image: setting.image, args: ["echo", "1"] }), "hog");
    assert.equal(phaseOf(await setting.ended("again", "hog", 30)), "Succeeded");
    assert.equal(agent.child.exitCode, null);
  });

  test("a step reads the secrets of its own namespace, as its account may, and none of another's", async () => {
    const reading = (name: string): object => ({
      image: setting.image,
      args: ["env", "VALUE"],
      env: [{ name: "VALUE", valueFrom: { secretKeyRef: { name, key: "value" } } }],
    });
    await setting.submit("own", one(reading("own")), "small");
    const own = await setting.ended("own", "small");
    assert.match(JSON.stringify(own["status"]), /of small/);
    // There is no way to name another namespace; a name with a path in it is no name.
    for (const name of ["../../hog/secrets/own", "hog/own"]) {
      const workflow = `other-${name.length}`;
      await setting.submit(workflow, one(reading(name)), "small");
      const other = await setting.ended(workflow, "small");
      assert.notEqual(phaseOf(other), "Succeeded");
      assert.doesNotMatch(JSON.stringify(other["status"]), /of hog/);
    }
    await setting.admin.create(serviceAccounts, {
      metadata: { name: "poor", namespace: "small" },
    });
    await setting.submit("poor", { ...one(reading("own")), serviceAccountName: "poor" }, "small");
    const poor = await setting.ended("poor", "small");
    assert.equal(phaseOf(poor), "Error");
    assert.match(JSON.stringify(poor["status"]), /forbidden/);
    await setting.submit(
      "nobody",
      { ...one(reading("own")), serviceAccountName: "nobody" },
      "small",
    );
    const nobody = await setting.ended("nobody", "small");
    assert.match(
      JSON.stringify(nobody["status"]),
      /service account .*nobody.* is not in the namespace small/,
    );
  });

  test("guests run in processes of their namespace, and none in the one that has the token", async () => {
    for (const namespace of ["hog", "small"])
      await setting.submit(
        `where-${namespace}`,
        one({ image: setting.image, args: ["sleep", "3000"] }),
        namespace,
      );
    await sleep(1500);
    const family = childrenOf(agent.child.pid ?? 0);
    const busy = family.filter((pid) => commandOf(pid).includes("--permission"));
    assert(busy.length >= 2, `${family.length} processes: ${family.map(commandOf).join("\n")}`);
    for (const pid of busy) {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      assert.doesNotMatch(environment, /KUBE|TOKEN|HOME=/);
      const open = readdirSync(`/proc/${pid}/fd`).length;
      assert(open < 64, `${open} descriptors`);
    }
    for (const namespace of ["hog", "small"]) await setting.ended(`where-${namespace}`, namespace);
  });
});

function childrenOf(pid: number): readonly number[] {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const direct = tasks.flatMap((task) =>
    readFileSync(join("/proc", String(pid), "task", task, "children"), "utf8")
      .trim()
      .split(" ")
      .filter(Boolean)
      .map(Number),
  );
  return direct.flatMap((child) => [child, ...childrenOf(child)]);
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
}

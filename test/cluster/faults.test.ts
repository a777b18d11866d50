import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { recordOf, textOf, type Kind, type KubeObject } from "../../src/kubernetes/mod.ts";
import { taskSets, workflows } from "./controller.ts";
import { clusterTests } from "./needed.ts";
import { ClusterSetting, isOver } from "./setting.ts";

const program = resolve(import.meta.dirname, "../../bin/atalanta.js");
const roles: Kind = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "clusterrolebindings",
  namespaced: false,
};

/** An agent as an operator starts it. */
class AgentProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  log = "";

  constructor(setting: ClusterSetting, kubeconfig: string, more: readonly string[] = []) {
    const home = mkdtempSync(join(setting.folder, "home-"));
    // Registries on this machine are an operator's to allow.
    writeFileSync(
      join(home, "atalanta.yaml"),
      `registries:\n  "${setting.registry.host}":\n    plainHttp: true\npermissions:\n  http:\n    allowedAddresses: ["127.0.0.0/8"]\n`,
    );
    this.child = spawn(
      process.execPath,
      [
        program,
        "agent",
        `--kubeconfig=${kubeconfig}`,
        "--authority=agent",
        "--listen=",
        `--config=${join(home, "atalanta.yaml")}`,
        "--store-address=127.0.0.0/8",
        "--log-level=debug",
        ...more,
      ],
      {
        env: { ...process.env, HOME: home, ATALANTA_HOME: join(home, "atalanta") },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.log += text));
  }

  async ready(): Promise<this> {
    for (let left = 300; !this.log.includes("Follows the task sets"); left -= 1) {
      assert(left > 0 && this.child.exitCode === null, this.log);
      await sleep(50);
    }
    return this;
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

describe("an agent's bad days", clusterTests, () => {
  let setting: ClusterSetting;
  let kubeconfig: string;
  const stack = new AsyncDisposableStack();
  before(async () => {
    setting = stack.use(await ClusterSetting.start());
    kubeconfig = await setting.cluster.kubeconfigOf("default", "agent");
    await setting.admin.create(roles, {
      metadata: { name: "agent" },
      roleRef: {
        apiGroup: "rbac.authorization.k8s.io",
        kind: "ClusterRole",
        name: "cluster-admin",
      },
      subjects: [{ kind: "ServiceAccount", name: "agent", namespace: "default" }],
    });
    stack.use(await setting.controller({ onError: () => undefined }));
  });
  after(() => stack.disposeAsync());

  const manySteps = (
    count: number,
    args: readonly string[],
  ): Readonly<Record<string, unknown>> => ({
    entrypoint: "main",
    templates: [
      { name: "each", plugin: { wasm: { image: setting.image, args } } },
      {
        name: "main",
        steps: [[{ name: "each", template: "each", withSequence: { count: String(count) } }]],
      },
    ],
  });

  const succeeded = (workflow: KubeObject): number =>
    Object.values(recordOf(recordOf(workflow["status"])["nodes"]))
      .map(recordOf)
      .filter(({ type, phase }) => type === "Plugin" && phase === "Succeeded").length;

  const over = async (name: string, count: number): Promise<void> => {
    const workflow = await setting.ended(name, "default", 120);
    assert.equal(
      textOf(recordOf(workflow["status"])["phase"]),
      "Succeeded",
      JSON.stringify(workflow["status"]).slice(0, 1000),
    );
    assert.equal(succeeded(workflow), count);
  };

  test("a replica that is killed in the middle of 400 steps loses none: the other does what has no result", async () => {
    const replicas = ["--replicas", "agents", "--max-steps", "16"];
    await using one = await new AgentProcess(setting, kubeconfig, replicas).ready();
    await using other = await new AgentProcess(setting, kubeconfig, replicas).ready();
    await sleep(4000);
    const names = ["k0", "k1", "k2", "k3"];
    for (const name of names)
      await setting.submit(name, manySteps(100, ["sleep", "200", ";", "echo", "1"]));
    await sleep(1500);
    const did = one.log.split("Step Succeeded").length - 1;
    assert(did > 0, "the one that is killed had work");
    await one.kill();
    for (const name of names) await over(name, 100);
    assert(other.log.includes("Step Succeeded"));
  });

  test("steps go on when the API server is away for a while, and their results come when it is back", async () => {
    await using agent = await new AgentProcess(setting, kubeconfig).ready();
    await setting.submit("away", manySteps(60, ["sleep", "1500", ";", "echo", "1"]));
    await sleep(1000);
    await setting.cluster.killServer();
    await sleep(8000);
    await setting.cluster.restartServer();
    await setting.cluster.compact();
    await over("away", 60);
    assert(agent.log.includes("tries again"));
  });

  test("SIGTERM lets what runs end and writes it down", async () => {
    const agent = await new AgentProcess(setting, kubeconfig).ready();
    await setting.submit("drained", manySteps(10, ["sleep", "1500", ";", "echo", "1"]));
    for (let left = 100; !agent.log.includes("node"); left -= 1) {
      const object = await setting.admin
        .get(taskSets, "drained", { namespace: "default" })
        .catch(() => undefined);
      if (object) break;
      assert(left > 0);
      await sleep(50);
    }
    await sleep(700);
    const ended = once(agent.child, "exit");
    agent.child.kill("SIGTERM");
    const [code] = (await ended) as [number];
    assert.equal(code, 0, agent.log);
    await over("drained", 10);
  });

  test("a late result does not overwrite what the engine has decided", async () => {
    await using agent = await new AgentProcess(setting, kubeconfig).ready();
    await setting.submit("late", {
      entrypoint: "main",
      templates: [
        {
          name: "main",
          plugin: { wasm: { image: setting.image, args: ["sleep", "1200", ";", "echo", "1"] } },
        },
      ],
    });
    await sleep(600);
    await setting.admin.patch(
      workflows,
      "late",
      { spec: { shutdown: "Stop" } },
      { namespace: "default" },
    );
    await setting.ended("late");
    await sleep(1500);
    const object = await setting.admin.get(taskSets, "late", { namespace: "default" });
    assert.deepEqual(recordOf(recordOf(object["status"])["nodes"]), {});
    assert(isOver(await setting.admin.get(workflows, "late", { namespace: "default" })));
    assert(agent.log.includes("called off"));
  });

  test("one result that is too large fails alone", async () => {
    await using agent = await new AgentProcess(setting, kubeconfig).ready();
    const parameters = [0, 1, 2].map((index) => ({
      name: `p${index}`,
      valueFrom: { path: "/large" },
    }));
    await setting.submit("outsized", {
      entrypoint: "main",
      templates: [
        {
          name: "main",
          steps: [
            [
              { name: "small", template: "small" },
              { name: "large", template: "large", continueOn: { error: true, failed: true } },
            ],
          ],
        },
        { name: "small", plugin: { wasm: { image: setting.image, args: ["echo", "1"] } } },
        {
          name: "large",
          plugin: {
            wasm: { image: setting.image, args: ["write", "/large", "x".repeat(200_000)] },
          },
          outputs: { parameters },
        },
      ],
    });
    const workflow = await setting.ended("outsized");
    const nodes = Object.values(recordOf(recordOf(workflow["status"])["nodes"])).map(recordOf);
    assert.equal(nodes.find(({ displayName }) => displayName === "small")?.["phase"], "Succeeded");
    const large = nodes.find(({ displayName }) => displayName === "large");
    assert.equal(large?.["phase"], "Error", JSON.stringify(large).slice(0, 500));
    assert.match(textOf(large["message"]) ?? "", /bytes.*artifact/);
    assert.equal(agent.child.exitCode, null);
  });

  test("who may not write results says so, and goes on when it may", async () => {
    const reader = await setting.cluster.kubeconfigOf("default", "reader");
    await setting.admin.create(roles, {
      metadata: { name: "reader" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "reads" },
      subjects: [{ kind: "ServiceAccount", name: "reader", namespace: "default" }],
    });
    const reads: Kind = { ...roles, plural: "clusterroles" };
    const rule = {
      apiGroups: ["argoproj.io", ""],
      resources: ["*"],
      verbs: ["get", "list", "watch"],
    };
    await setting.admin.create(reads, { metadata: { name: "reads" }, rules: [rule] });
    await using agent = await new AgentProcess(setting, reader).ready();
    await setting.submit("forbidden", manySteps(3, ["echo", "1"]));
    for (let left = 200; !agent.log.includes("Cannot write results"); left -= 1) {
      assert(left > 0, agent.log);
      await sleep(50);
    }
    assert.match(agent.log, /cannot patch resource \\"workflowtasksets\/status\\"/);
    await setting.admin.patch(reads, "reads", {
      rules: [{ ...rule, verbs: [...rule.verbs, "patch"] }],
    });
    await over("forbidden", 3);
  });
});

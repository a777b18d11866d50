import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { listOf, recordOf, textOf, type Kind, type KubeObject } from "../../src/kubernetes/mod.ts";
import { taskSets, workflows } from "./controller.ts";
import { clusterTests } from "./needed.ts";
import { AgentProcess } from "./process.ts";
import { ClusterSetting, isOver } from "./setting.ts";

const roles: Kind = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "clusterrolebindings",
  namespaced: false,
};

describe("an agent's bad days", clusterTests, () => {
  let setting: ClusterSetting;
  let kubeconfig: string;
  /** The controller may not, as with the roles that Argo comes with. */
  let mayNotClean = false;
  /** Results that were there, and then others. */
  const overwritten: string[] = [];
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
    const onError = (): void => undefined;
    stack.use(await setting.controller({ onError, mayNotClean: () => mayNotClean }));
    stack.use(
      setting.admin.follow(taskSets, {
        namespace: "default",
        onChange: (now, before) => overwritten.push(...changedResults(now, before)),
      }),
    );
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

  /** For the table of faults: what is lost would have failed the test before, and what is done twice as well. */
  const counted = (context: TestContext, steps: number): void => {
    assert.deepEqual(overwritten, []);
    context.diagnostic(`steps ${steps}, lost 0, results overwritten 0`);
  };

  const over = async (name: string, count: number): Promise<void> => {
    const workflow = await setting.ended(name, "default", 120);
    assert.equal(
      textOf(recordOf(workflow["status"])["phase"]),
      "Succeeded",
      JSON.stringify(workflow["status"]).slice(0, 1000),
    );
    assert.equal(succeeded(workflow), count);
  };

  test("a replica that is killed in the middle of 1,000 steps loses none: the other does what has no result", async (context) => {
    const replicas = ["--replicas", "agents", "--max-steps", "16"];
    await using one = await new AgentProcess(setting, kubeconfig, replicas).ready();
    await using other = await new AgentProcess(setting, kubeconfig, replicas).ready();
    await sleep(4000);
    const names = Array.from({ length: 8 }, (_, index) => `k${index}`);
    for (const name of names)
      await setting.submit(name, manySteps(125, ["sleep", "100", ";", "echo", "1"]));
    await sleep(2500);
    const did = one.log.split("Step Succeeded").length - 1;
    assert(did > 0 && did < 900, `the one that is killed has done ${did}`);
    await one.kill();
    for (const name of names) await over(name, 125);
    assert(other.log.includes("Step Succeeded"));
    counted(context, 1000);
  });

  test("a replica that is frozen, and wakes when the other has done its work, changes nothing", async (context) => {
    const replicas = ["--replicas", "frozen", "--max-steps", "16"];
    await using one = await new AgentProcess(setting, kubeconfig, replicas).ready();
    await using other = await new AgentProcess(setting, kubeconfig, replicas).ready();
    await sleep(4000);
    const names = Array.from({ length: 6 }, (_, index) => `f${index}`);
    for (const name of names)
      await setting.submit(name, manySteps(20, ["sleep", "1000", ";", "echo", "1"]));
    for (let left = 200; !one.log.includes("Step Succeeded"); left -= 1) {
      assert(left > 0, "the one that freezes had work");
      await sleep(50);
    }
    one.child.kill("SIGSTOP");
    for (const name of names) await over(name, 20);
    one.child.kill("SIGCONT");
    await sleep(3000);
    assert.equal(one.child.exitCode, null);
    for (const name of names) {
      const object = await setting.admin.get(taskSets, name, { namespace: "default" });
      assert.deepEqual(recordOf(recordOf(object["status"])["nodes"]), {});
    }
    assert(other.log.includes("Step Succeeded"));
    counted(context, 120);
  });

  test("where the controller may not change the status of task sets, steps run one after the other, and end with their workflow for good", async () => {
    mayNotClean = true;
    try {
      const agent = await new AgentProcess(setting, kubeconfig).ready();
      await using _ = agent;
      const each = (name: string): readonly object[] => [{ name, template: "each" }];
      const chain = manySteps(1, ["echo", "1"]);
      const [template] = listOf(chain["templates"]);
      await setting.submit("uncleaned", {
        entrypoint: "main",
        templates: [template, { name: "main", steps: ["a", "b", "c"].map(each) }],
      });
      await over("uncleaned", 3);
      await setting.submit("left", manySteps(3, ["sleep", "60000"]));
      await sleep(1500);
      await setting.admin.patch(
        workflows,
        "left",
        { spec: { shutdown: "Stop" } },
        { namespace: "default" },
      );
      for (let left = 500; agent.log.split("Step called off").length < 4; left -= 1) {
        assert(left > 0, agent.log);
        await sleep(50);
      }
      await agent.kill();
      // The tasks are still there, and the next one knows better than to do them.
      const { spec } = await setting.admin.get(taskSets, "left", { namespace: "default" });
      assert.equal(Object.keys(recordOf(recordOf(spec)["tasks"])).length, 3);
      await using next = await new AgentProcess(setting, kubeconfig).ready();
      await sleep(2000);
      assert.equal(next.log.split("Step called off").length, 4, next.log);
      assert(!next.log.includes('"Step Succeeded"'));
    } finally {
      mayNotClean = false;
    }
  });

  test("steps go on when the API server is away for a minute, and their results come when it is back", async () => {
    const replicas = ["--replicas", "away"];
    await using one = await new AgentProcess(setting, kubeconfig, replicas).ready();
    await using other = await new AgentProcess(setting, kubeconfig, replicas).ready();
    await sleep(4000);
    const names = ["away0", "away1", "away2"];
    for (const name of names)
      await setting.submit(name, manySteps(20, ["sleep", "1500", ";", "echo", "1"]));
    await sleep(1000);
    await setting.cluster.killServer();
    await sleep(60_000);
    await setting.cluster.restartServer();
    await setting.cluster.compact();
    for (const name of names) await over(name, 20);
    assert(`${one.log}${other.log}`.includes("tries again"));
    assert.deepEqual(overwritten, []);
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

/** Results that were written down and now say something else. That they are taken away is the engine's. */
function changedResults(
  now: KubeObject | undefined,
  before: KubeObject | undefined,
): readonly string[] {
  if (!now || !before || now.metadata.uid !== before.metadata.uid) return [];
  const nodes = recordOf(recordOf(now["status"])["nodes"]);
  return Object.entries(recordOf(recordOf(before["status"])["nodes"]))
    .filter(([id, result]) => {
      const { phase } = recordOf(result);
      if (phase === undefined || phase === "Pending" || phase === "Running") return false;
      return id in nodes && JSON.stringify(nodes[id]) !== JSON.stringify(result);
    })
    .map(([id]) => `${now.metadata.name}: ${id}`);
}

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createCollector } from "../../src/argo/mod.ts";
import { Failure, toFailure } from "../../src/errors/mod.ts";
import { recordOf, type Kind, type KubeObject } from "../../src/kubernetes/mod.ts";
import { workflows } from "./controller.ts";
import { clusterTests } from "./needed.ts";
import { AgentProcess } from "./process.ts";
import { ClusterSetting } from "./setting.ts";

const secrets: Kind = { group: "", version: "v1", plural: "secrets", namespaced: true };
const events: Kind = { group: "", version: "v1", plural: "events", namespaced: true };
const rbac = { group: "rbac.authorization.k8s.io", version: "v1" };
const finalizer = "atalanta.dev/artifact-gc";
const at = { namespace: "default" };

describe("artifact GC of modules' outputs", clusterTests, () => {
  let setting: ClusterSetting;
  const stack = new AsyncDisposableStack();
  before(async () => {
    setting = stack.use(await ClusterSetting.start());
    stack.use(await setting.controller({ onError: () => undefined }));
  });
  after(() => stack.disposeAsync());

  const spec = (strategy: string, more: object = {}): Readonly<Record<string, unknown>> => ({
    entrypoint: "main",
    artifactGC: { strategy, ...more },
    templates: [
      {
        name: "main",
        plugin: {
          wasm: {
            image: setting.image,
            args: [
              "line",
              "said",
              ";",
              "write",
              "/tmp/a",
              "a",
              ";",
              "write",
              "/tmp/b",
              "b",
              ";",
              "mkdir",
              "/tmp/d",
              ";",
              "write",
              "/tmp/d/c",
              "c",
            ],
          },
        },
        outputs: {
          artifacts: [
            { name: "a", path: "/tmp/a" },
            { name: "b", path: "/tmp/b", artifactGC: { strategy: "Never" } },
            { name: "d", path: "/tmp/d", archive: { none: {} } },
          ],
        },
      },
    ],
  });
  const keysOf = (name: string): readonly string[] =>
    [...setting.s3.bucket("artifacts").keys()]
      .filter((key) => key.startsWith(`${name}/`))
      .toSorted();
  const until = async (what: () => unknown, seconds = 20): Promise<void> => {
    for (let left = seconds * 10; left > 0; left -= 1) {
      if (await what()) return;
      await sleep(100);
    }
    assert.fail(String(what));
  };
  const isGone = async (name: string): Promise<boolean> =>
    setting.admin.get(workflows, name, at).then(
      () => false,
      (thrown: unknown) => toFailure(thrown).code === "cluster-missing",
    );
  const agent = (
    kubeconfig = setting.cluster.kubeconfig,
    ...more: readonly string[]
  ): Promise<AgentProcess> => new AgentProcess(setting, kubeconfig, more).ready();
  const run = async (name: string, strategy: string, more: object = {}): Promise<KubeObject> => {
    await setting.submit(name, spec(strategy, more));
    const over = await setting.ended(name);
    assert.equal(recordOf(over["status"])["phase"], "Succeeded", JSON.stringify(over["status"]));
    return over;
  };

  test("OnWorkflowCompletion deletes them when the workflow has ended, but for those that say Never", async () => {
    await using running = await agent();
    await run("completion", "OnWorkflowCompletion");
    await until(() => keysOf("completion").length === 1);
    assert.match(keysOf("completion")[0] ?? "", /\/b\.tgz$/);
    await setting.admin.delete(workflows, "completion", at);
    await until(() => isGone("completion"));
    assert.equal(keysOf("completion").length, 1);
    assert.match(running.log, /Deleted artifacts/);
  });

  test("OnWorkflowDeletion keeps the workflow until they are deleted, also when no agent was there meanwhile", async () => {
    {
      await using running = await agent();
      const over = await run("deletion", "OnWorkflowDeletion");
      assert.deepEqual(over.metadata.finalizers, [finalizer]);
      await sleep(500);
      assert.equal(keysOf("deletion").length, 4);
      await running.kill();
    }
    await setting.admin.delete(workflows, "deletion", at);
    await sleep(300);
    assert.equal(await isGone("deletion"), false);
    await using later = await agent();
    await until(() => isGone("deletion"));
    assert.equal(later.child.exitCode, null);
    assert.equal(keysOf("deletion").length, 1);
  });

  test("a workflow without artifactGC is not touched, nor what others left", async () => {
    await using running = await agent();
    await setting.s3.put("artifacts", "never/other", Buffer.from("x"));
    const over = await run("never", "Never");
    assert.equal(over.metadata.finalizers, undefined);
    await setting.admin.delete(workflows, "never", at);
    await until(() => isGone("never"));
    assert.equal(keysOf("never").length, 5);
    assert.doesNotMatch(running.log, /Deleted artifacts/);
  });

  test("what cannot be deleted is tried again and told; forceFinalizerRemoval lets it go at once", async () => {
    await using running = await agent();
    await run("stuck", "OnWorkflowDeletion");
    await run("forced", "OnWorkflowDeletion", { forceFinalizerRemoval: true });
    const login = await setting.admin.get(secrets, "s3-login", at);
    await setting.admin.delete(secrets, "s3-login", at);
    // What was read stays known for five seconds.
    await sleep(6000);
    for (const name of ["stuck", "forced"]) await setting.admin.delete(workflows, name, at);
    await until(() => isGone("forced"));
    assert.equal(await isGone("stuck"), false);
    const { metadata: _metadata, ...rest } = login;
    await setting.admin.create(secrets, {
      ...rest,
      metadata: { name: "s3-login", namespace: "default" },
    });
    await until(() => isGone("stuck"), 30);
    assert.equal(keysOf("stuck").length, 1);
    assert.equal(keysOf("forced").length, 4);
    const { items } = await setting.admin.list(events, at);
    const told = items.filter(({ reason }) => reason === "WasmArtifactsNotDeleted");
    assert(
      told.some(({ message }) => /secret.*s3-login/.test(String(message))),
      running.log,
    );
  });

  test("after so many tries it lets a workflow go", async () => {
    await using running = await agent(setting.cluster.kubeconfig, "--no-artifact-gc");
    await run("tried", "OnWorkflowDeletion");
    let tries = 0;
    const last: boolean[] = [];
    await using collector = createCollector({
      cluster: setting.admin,
      isOurs: () => true,
      lookEveryMs: 20,
      firstWaitMs: 1,
      collect: async () => {
        tries += 1;
        return { deleted: 0, failures: [new Failure("store-unavailable", "away")] };
      },
      observer: { trouble: (_workflow, _failure, isLast) => void last.push(isLast) },
    });
    const { uid = "" } = (await setting.admin.get(workflows, "tried", at)).metadata;
    await collector.mark({ namespace: "default", name: "tried", uid });
    await setting.admin.delete(workflows, "tried", at);
    await until(() => isGone("tried"));
    assert.equal(tries, last.length);
    assert.deepEqual(last.filter(Boolean), [true]);
    assert.equal(running.child.exitCode, null);
  });

  test("an agent that may not keep workflows says so, and steps go on", async () => {
    const kubeconfig = await setting.cluster.kubeconfigOf("default", "poor");
    const roles: Kind = { ...rbac, plural: "clusterroles", namespaced: false };
    await setting.admin.create(roles, {
      metadata: { name: "poor" },
      rules: [
        {
          apiGroups: ["argoproj.io"],
          resources: ["workflowtasksets", "workflows"],
          verbs: ["get", "list", "watch"],
        },
        { apiGroups: ["argoproj.io"], resources: ["workflowtasksets/status"], verbs: ["patch"] },
        { apiGroups: [""], resources: ["secrets"], verbs: ["get"] },
      ],
    });
    await setting.admin.create(
      { ...rbac, plural: "clusterrolebindings", namespaced: false },
      {
        metadata: { name: "poor" },
        roleRef: { apiGroup: rbac.group, kind: "ClusterRole", name: "poor" },
        subjects: [{ kind: "ServiceAccount", name: "poor", namespace: "default" }],
      },
    );
    await using running = await agent(kubeconfig);
    await run("poor", "OnWorkflowDeletion");
    assert.match(running.log, /Cannot delete artifacts.*forbidden/);
  });

  test("--release lets all workflows go, for who takes the agents away", async () => {
    {
      await using running = await agent();
      await run("released", "OnWorkflowDeletion");
      assert.equal(running.child.exitCode, null);
    }
    const said = await new Promise<string>((done) => {
      const program = resolve(import.meta.dirname, "../../src/cli/main.ts");
      const words = [
        "--no-warnings",
        program,
        "agent",
        "--release",
        "--kubeconfig",
        setting.cluster.kubeconfig,
      ];
      execFile(process.execPath, words, (_error, _stdout, stderr) => done(stderr));
    });
    assert.match(said, /can be deleted without an agent now/);
    await setting.admin.delete(workflows, "released", at);
    await until(() => isGone("released"));
    assert.equal(keysOf("released").length, 4);
  });
});

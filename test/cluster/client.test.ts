import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { clusterFrom, joinReplicas, type Kind, type KubeObject } from "../../src/kubernetes/mod.ts";
import { TestCluster } from "./cluster.ts";
import { clusterTests } from "./needed.ts";

const workflows: Kind = {
  group: "argoproj.io",
  version: "v1alpha1",
  plural: "workflows",
  namespaced: true,
};
const configMaps: Kind = { group: "", version: "v1", plural: "configmaps", namespaced: true };
const roles: Kind = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "roles",
  namespaced: true,
};
const bindings: Kind = { ...roles, plural: "rolebindings" };

const configMap = (name: string, data: Record<string, string> = {}): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name },
  data,
});

describe("a real API server", clusterTests, () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start();
  });
  after(() => cluster[Symbol.asyncDispose]());

  test("takes, gives, changes and removes objects, and says what it does not take", async () => {
    const { admin } = cluster;
    const made = await admin.create(configMaps, configMap("a", { x: "1" }));
    assert.equal(made.metadata.namespace, "default");
    const patched = await admin.patch(configMaps, "a", { data: { x: null, y: "2" } });
    assert.deepEqual(patched["data"], { y: "2" });
    const guard = {
      metadata: { resourceVersion: made.metadata.resourceVersion },
      data: { z: "3" },
    };
    await assert.rejects(admin.patch(configMaps, "a", guard), { code: "cluster-conflict" });
    await assert.rejects(admin.create(configMaps, configMap("a")), { code: "cluster-conflict" });
    await assert.rejects(admin.get(configMaps, "none"), {
      code: "cluster-missing",
      message: /none/,
    });
    await assert.rejects(admin.create(configMaps, configMap("No_Name")), {
      code: "cluster-invalid",
    });
    await admin.delete(configMaps, "a");
    await admin.delete(configMaps, "a");
    await assert.rejects(admin.get(configMaps, "../secrets"), { code: "cluster-missing" });
  });

  test("drops a template's unknown keys, as a cluster with Argo's full definitions does", async () => {
    const template = { name: "main", wasm: { image: "a" }, plugin: { wasm: { image: "b" } } };
    const made = await cluster.admin.create(workflows, {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: { name: "pruned" },
      spec: { entrypoint: "main", templates: [template] },
    });
    const { wasm: _dropped, ...kept } = template;
    assert.deepEqual(made["spec"], { entrypoint: "main", templates: [kept] });
  });

  test("lists more than a page", async () => {
    const { admin } = cluster;
    await cluster.namespace("many");
    const all = Array.from({ length: 1203 }, (_, index) => `m${index}`);
    for (let from = 0; from < all.length; from += 50) {
      await Promise.all(
        all
          .slice(from, from + 50)
          .map((name) => admin.create(configMaps, configMap(name), { namespace: "many" })),
      );
    }
    const { items } = await admin.list(configMaps, { namespace: "many" });
    assert.equal(new Set(items.map(({ metadata }) => metadata.name)).size, 1203);
  });

  test("lets a service account do what its role says, by a token that was asked for", async () => {
    const kubeconfig = await cluster.kubeconfigOf("default", "reader");
    await using reader = await clusterFrom({ kubeconfig, environment: {} });
    await cluster.admin.create(configMaps, configMap("seen", { a: "b" }));
    await assert.rejects(reader.get(configMaps, "seen"), {
      code: "cluster-refused",
      message: /system:serviceaccount:default:reader/,
    });
    await cluster.admin.create(roles, {
      metadata: { name: "reader" },
      rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get"] }],
    });
    await cluster.admin.create(bindings, {
      metadata: { name: "reader" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "reader" },
      subjects: [{ kind: "ServiceAccount", name: "reader", namespace: "default" }],
    });
    for (let left = 50; ; left -= 1) {
      try {
        assert.deepEqual((await reader.get(configMaps, "seen"))["data"], { a: "b" });
        break;
      } catch (thrown) {
        if (left === 0) throw thrown;
        await sleep(100);
      }
    }
    const { token, expires } = await cluster.admin.token("reader", {
      namespace: "default",
      seconds: 600,
    });
    assert(Math.abs(expires.getTime() - Date.now() - 600_000) < 60_000);
    const same = cluster.admin.as(async () => token);
    await assert.rejects(same.list(configMaps, { namespace: "default" }), {
      code: "cluster-refused",
    });
  });

  test("is followed through a crash and a compaction: every change is told once, and what was missed is made up", async () => {
    const { admin } = cluster;
    await cluster.namespace("followed");
    const told: string[] = [];
    const troubles: Error[] = [];
    const at = { namespace: "followed" };
    await admin.create(configMaps, configMap("first"), at);
    await using follower = admin.follow(configMaps, {
      ...at,
      keep: ({ metadata }) => metadata.name,
      onChange: (now, was) =>
        told.push(`${was === undefined ? "+" : now === undefined ? "-" : "~"}${now ?? was}`),
      onTrouble: (thrown) => troubles.push(thrown),
    });
    await follower.ready;
    await admin.create(configMaps, configMap("second"), at);
    await admin.patch(configMaps, "first", { data: { a: "1" } }, at);
    await until(() => told.length === 3);
    await cluster.killServer();
    await sleep(300);
    await cluster.restartServer();
    await admin.delete(configMaps, "second", at);
    await admin.create(configMaps, configMap("third"), at);
    await cluster.compact();
    await admin.create(configMaps, configMap("fourth"), at);
    await until(() => told.length === 6);
    assert.deepEqual(told.slice(0, 3), ["+first", "+second", "~first"]);
    assert.deepEqual(told.slice(3).toSorted(), ["+fourth", "+third", "-second"]);
    const names = [...follower.all()].map(String);
    assert.deepEqual(names.toSorted(), ["first", "fourth", "third"]);
  });

  test("knows which replicas live: one that leaves is gone at once, one that says nothing after its time", async () => {
    const options = { namespace: "default", group: "replicas-test", seconds: 2 };
    const changes: string[] = [];
    const join = (identity: string, signal?: AbortSignal) =>
      joinReplicas(cluster.admin, {
        ...options,
        identity,
        ...(signal ? { signal } : {}),
        onChange: (living) => changes.push(`${identity}: ${living.join(" ")}`),
      });
    await using a = await join("a");
    const b = await join("b");
    const silent = new AbortController();
    const c = await join("c", silent.signal);
    await until(() => a.living.length === 3);
    await b[Symbol.asyncDispose]();
    await until(() => a.living.join("") === "ac");
    // As one that was frozen: its lease stays.
    silent.abort();
    await until(() => a.living.join("") === "a");
    await c[Symbol.asyncDispose]();
    assert.deepEqual(changes.filter((change) => change.startsWith("a:")).slice(-2), [
      "a: a c",
      "a: a",
    ]);
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let left = 300; !condition(); left -= 1) {
    assert(left > 0, "it has taken too long");
    await sleep(50);
  }
}

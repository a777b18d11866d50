import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { KubeObject } from "../../src/kubernetes/mod.ts";
import { chart, Helm, kinds } from "./chart.ts";
import { TestCluster } from "./cluster.ts";
import { clusterTests } from "./needed.ts";

describe("the chart", clusterTests, () => {
  let helm: Helm;
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start();
    helm = await Helm.open(cluster);
    await cluster.namespace("atalanta");
    await cluster.namespace("team");
  });
  after(() => cluster[Symbol.asyncDispose]());

  const run = (...args: readonly string[]): ReturnType<Helm["run"]> => helm.run(args);
  const rendered = (...args: readonly string[]): KubeObject[] => helm.rendered(args);

  test("is in order for helm itself, and its values are checked", () => {
    const lint = run("lint", chart, "--set", "image.repository=x");
    assert.equal(lint.status, 0, lint.stdout);
    assert.match(run("template", "a", chart).stderr, /image\.repository is needed/);
    assert.match(
      run("template", "a", chart, "--set", "image.repository=x,authority=root").stderr,
      /authority/,
    );
    assert.match(
      run("template", "a", chart, "--set", "image.repository=x,replica=3").stderr,
      /replica/,
    );
  });

  test("in whatever way it is set, the API server takes all of it", async () => {
    for (const more of [
      [],
      ["--set", "namespaces={team}"],
      ["--set", "authority=agent,replicas=1,networkPolicy=false,controller.role=false"],
      ["--set", `image.digest=sha256:${"a".repeat(64)},webhook.enabled=true`],
      ["--set", "webhook.enabled=true,webhook.definitions=false,webhook.replicas=1"],
      ["--set", "maxNamespaceCpus=1,maxNamespaceMemory=1Gi"],
      ["--set", "authority=agent,webIdentity=true,environment.AWS_REGION=eu-west-1"],
    ]) {
      for (const object of rendered(...more)) {
        const kind = kinds.get(object.kind ?? "");
        assert(kind, String(object.kind));
        await cluster.admin.create(kind, object, { dryRun: true });
      }
    }
  });

  test("gives no role more than what is used, and no container more than it needs", () => {
    const objects = rendered("--set", "namespaces={team}");
    const rules = objects
      .filter(({ kind }) => kind === "Role" || kind === "ClusterRole")
      .flatMap((role) => role["rules"] as { resources: string[]; verbs: string[] }[]);
    assert(!JSON.stringify(rules).includes('"*"'));
    assert(!rules.some(({ resources }) => resources.includes("secrets")));
    assert.deepEqual(
      objects.filter(({ kind }) => kind === "ClusterRole").map(({ metadata }) => metadata.name),
      ["agents-atalanta-argo-controller"],
    );
    const deployment = JSON.stringify(objects.find(({ kind }) => kind === "Deployment"));
    for (const word of [
      '"readOnlyRootFilesystem":true',
      '"runAsNonRoot":true',
      '"drop":["ALL"]',
      '"RuntimeDefault"',
      '"allowPrivilegeEscalation":false',
    ]) {
      assert(deployment.includes(word), word);
    }
  });

  test("is installed, upgraded and removed, and nothing is left", async () => {
    const values = ["-n", "atalanta", "--set", "image.repository=registry.example.com/atalanta"];
    const installed = run("install", "agents", chart, ...values);
    assert.equal(installed.status, 0, installed.stderr);
    assert.match(installed.stdout, /disableAgentPodCreation/);
    const upgraded = run(
      "upgrade",
      "agents",
      chart,
      ...values,
      "--set",
      "maxSteps=10,namespaces={team},webhook.enabled=true",
    );
    assert.equal(upgraded.status, 0, upgraded.stderr);
    // There are no nodes here, so its job would not run.
    const flags = ["-n", "atalanta", "--wait", "--timeout", "30s", "--no-hooks"];
    const removed = run("uninstall", "agents", ...flags);
    assert.equal(removed.status, 0, removed.stderr);
    for (const kind of kinds.values()) {
      if (kind.group === "keda.sh") continue;
      const { items } = await cluster.admin.list(kind, {
        labelSelector: "app.kubernetes.io/name=atalanta",
      });
      assert.deepEqual(
        items.map(({ metadata }) => metadata.name),
        [],
        kind.plural,
      );
    }
  });
});

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { parseAllDocuments } from "yaml";
import type { KubeObject, Kind } from "../../src/kubernetes/mod.ts";
import { install } from "../servers/install.ts";
import { TestCluster } from "./cluster.ts";
import { clusterTests } from "./needed.ts";

const chart = resolve(import.meta.dirname, "../../deploy/helm/atalanta");
const kinds: ReadonlyMap<string, Kind> = new Map(
  (
    [
      ["", "v1", "serviceaccounts", "ServiceAccount"],
      ["", "v1", "configmaps", "ConfigMap"],
      ["apps", "v1", "deployments", "Deployment"],
      ["rbac.authorization.k8s.io", "v1", "roles", "Role"],
      ["rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"],
      ["rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole"],
      ["rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding"],
      ["networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"],
      ["policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"],
      ["", "v1", "services", "Service"],
      ["batch", "v1", "jobs", "Job"],
      [
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
      ],
      [
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
      ],
    ] as const
  ).map(([group, version, plural, kind]) => [
    kind,
    { group, version, plural, namespaced: !/^Cluster|Configuration$/.test(kind) },
  ]),
);

describe("the chart", clusterTests, () => {
  let helm = "";
  let cluster: TestCluster;
  before(async () => {
    const installed = (await install(() => undefined, ["helm"])).get("helm");
    assert(installed && "program" in installed, "helm cannot be built");
    helm = installed.program;
    cluster = await TestCluster.start();
    await cluster.namespace("atalanta");
    await cluster.namespace("team");
  });
  after(() => cluster[Symbol.asyncDispose]());

  const run = (
    ...args: readonly string[]
  ): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(helm, args, {
      encoding: "utf8",
      env: { ...process.env, KUBECONFIG: cluster.kubeconfig, HOME: cluster.folder },
    });
  const rendered = (...args: readonly string[]): KubeObject[] => {
    const { status, stdout, stderr } = run(
      "template",
      "agents",
      chart,
      "-n",
      "atalanta",
      "--set",
      "image.repository=registry.example.com/atalanta",
      ...args,
    );
    assert.equal(status, 0, stderr);
    return parseAllDocuments(stdout).flatMap((document) => {
      const object = document.toJSON() as KubeObject | null;
      return object ? [object] : [];
    });
  };

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

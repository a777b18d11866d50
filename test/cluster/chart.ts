// The chart as helm makes it out of values.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { parseAllDocuments } from "yaml";
import type { KubeObject, Kind } from "../../src/kubernetes/mod.ts";
import { install } from "../servers/install.ts";
import type { TestCluster } from "./cluster.ts";

export const chart: string = resolve(import.meta.dirname, "../../deploy/helm/atalanta");
/** Kinds of the chart, by name. */
export const kinds: ReadonlyMap<string, Kind> = new Map(
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
      ["autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"],
      ["keda.sh", "v1alpha1", "scaledobjects", "ScaledObject"],
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

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Helm {
  readonly #program: string;
  readonly #cluster: TestCluster;

  private constructor(program: string, cluster: TestCluster) {
    this.#program = program;
    this.#cluster = cluster;
  }

  static async open(cluster: TestCluster): Promise<Helm> {
    const installed = (await install(() => undefined, ["helm"])).get("helm");
    assert(installed && "program" in installed, "helm cannot be built");
    return new Helm(installed.program, cluster);
  }

  run(args: readonly string[], input?: string): Ended {
    return spawnSync(this.#program, args, {
      encoding: "utf8",
      env: { ...process.env, KUBECONFIG: this.#cluster.kubeconfig, HOME: this.#cluster.folder },
      ...(input === undefined ? {} : { input }),
    });
  }

  /** What helm makes for the release `agents` in the namespace `atalanta`, with values as YAML or JSON on its stdin (`-f -`). */
  template(args: readonly string[], input?: string): Ended {
    const image = ["--set", "image.repository=registry.example.com/atalanta"];
    return this.run(["template", "agents", chart, "-n", "atalanta", ...image, ...args], input);
  }

  rendered(args: readonly string[], input?: string): KubeObject[] {
    const { status, stdout, stderr } = this.template(args, input);
    assert.equal(status, 0, stderr);
    return parseAllDocuments(stdout).flatMap((document) => {
      const object = document.toJSON() as KubeObject | null;
      return object ? [object] : [];
    });
  }
}

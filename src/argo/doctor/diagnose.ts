import { randomBytes } from "node:crypto";
import { parse } from "yaml";
import { Failure, toFailure } from "../../errors/mod.ts";
import {
  listOf,
  recordOf,
  textOf,
  type Cluster,
  type Kind,
  type KubeObject,
} from "../../kubernetes/mod.ts";
import { parseDurationMs } from "../../limits/mod.ts";
import { workflows } from "../kinds.ts";

export interface Finding {
  /** A word for scripts. */
  readonly check: string;
  /** `bad` keeps steps from running; `slow` and `warn` do not; `unknown`: it could not be looked at. */
  readonly level: "ok" | "slow" | "warn" | "bad" | "unknown";
  readonly message: string;
  readonly fix?: string;
}

export interface DoctorOptions {
  readonly cluster: Cluster;
  /** Where workflows run. */
  readonly namespace: string;
  /** Where the controller is; absent: it is looked for. */
  readonly argoNamespace?: string;
  /** Runs a workflow of one step with this image, and measures it. */
  readonly probe?: string;
  readonly signal: AbortSignal;
}

const group = "argoproj.io";
const deployments: Kind = { group: "apps", version: "v1", plural: "deployments", namespaced: true };
const configMaps: Kind = { group: "", version: "v1", plural: "configmaps", namespaced: true };
const pods: Kind = { group: "", version: "v1", plural: "pods", namespaced: true };
const crds: Kind = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  namespaced: false,
};
const leases: Kind = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  namespaced: true,
};

/** Argo's own time until it looks at a workflow again. */
const usualRequeueMs = 10_000;
const tunedRequeueMs = 100;
const usualQps = 20;
const probeMs = 90_000;

function variable(container: Controller["container"], name: string): string | undefined {
  const found = listOf(container["env"])
    .map(recordOf)
    .find((one) => one["name"] === name);
  return textOf(found?.["value"]);
}

/** What the controller was told: by a flag, else by its variable. */
function setting(container: Controller["container"], name: string): string | undefined {
  const words = [...listOf(container["args"]), ...listOf(container["command"])].map(String);
  const at = words.findIndex((word) => word === `--${name}` || word.startsWith(`--${name}=`));
  if (at < 0) return variable(container, `ARGO_${name.toUpperCase().replaceAll("-", "_")}`);
  return words[at]?.includes("=") ? words[at]?.split("=")[1] : words[at + 1];
}

/** All findings, each as it is made. Rejects only when the cluster cannot be reached at all. */
export async function* diagnose(options: DoctorOptions): AsyncGenerator<Finding> {
  const doctor = new Doctor(options);
  yield await doctor.reach();
  yield* doctor.definitions();
  const controller = await doctor.controller();
  yield* controller.findings;
  if (controller.found) {
    yield await doctor.podCreation(controller.found);
    yield* doctor.pace(controller.found);
    yield await doctor.controllerRole(controller.found);
  }
  yield* doctor.agent();
  yield* doctor.ourRoles();
  if (options.probe !== undefined) yield await doctor.probe(options.probe, controller.found);
}

interface Controller {
  readonly namespace: string;
  /** Of its Deployment. */
  readonly name: string;
  readonly serviceAccount: string;
  readonly container: Readonly<Record<string, unknown>>;
}

class Doctor {
  readonly #options: DoctorOptions;
  readonly #cluster: Cluster;

  constructor(options: DoctorOptions) {
    this.#options = options;
    this.#cluster = options.cluster;
  }

  async reach(): Promise<Finding> {
    const begun = performance.now();
    const version = recordOf(await this.#cluster.raw("GET", "/version", undefined, this.#call));
    const ms = Math.round(performance.now() - begun);
    const name = `Kubernetes ${textOf(version["gitVersion"]) ?? "of an unknown version"} at ${this.#cluster.server} answers in ${ms} ms`;
    if (ms < 500) return { check: "api-server", level: "ok", message: name };
    return {
      check: "api-server",
      level: "slow",
      message: name,
      fix: "Every step needs at least three requests: look at the network and at the load of the API server.",
    };
  }

  async *definitions(): AsyncGenerator<Finding> {
    const name = `workflowtasksets.${group}`;
    const found = await this.#maybe(() => this.#cluster.get(crds, name, this.#call));
    if (found === "refused") {
      yield {
        check: "argo-kinds",
        level: "unknown",
        message: "Custom resource definitions may not be read by you",
      };
    } else if (!found) {
      yield {
        check: "argo-kinds",
        level: "bad",
        message: `The kind WorkflowTaskSet is not there: Argo Workflows (3.3 or later) is not installed`,
        fix: "Install Argo Workflows 4.1 or later: https://argo-workflows.readthedocs.io/en/latest/installation/",
      };
      return;
    } else yield { check: "argo-kinds", level: "ok", message: "Argo's kinds are there" };
    yield await this.#pruning();
  }

  /** Whether a `wasm:` key would reach the cluster. */
  async #pruning(): Promise<Finding> {
    const object: KubeObject = {
      apiVersion: `${group}/v1alpha1`,
      kind: "Workflow",
      metadata: { generateName: "atalanta-doctor-" },
      spec: { entrypoint: "x", templates: [{ name: "x", wasm: { image: "x" } }] },
    };
    try {
      const at = { namespace: this.#options.namespace, dryRun: true, ...this.#call };
      const made = await this.#cluster.create(workflows, object, at);
      const [template] = listOf(recordOf(made["spec"])["templates"]).map(recordOf);
      if (template?.["plugin"] !== undefined) {
        return {
          check: "wasm-key",
          level: "ok",
          message:
            "Every tool may write wasm: in a template: the admission webhook makes plugin of it",
        };
      }
      if (template?.["wasm"] !== undefined) {
        return {
          check: "wasm-key",
          level: "bad",
          message:
            "The cluster keeps the key wasm: of a template and nobody makes plugin of it, so Argo finds no type in the template",
          fix: "If the admission webhook is installed: kubectl get pods,events -A -l app.kubernetes.io/managed-by=Helm | grep webhook, and its log. If it is not: --set webhook.enabled=true for the chart, or `atalanta webhook forget`, and `atalanta submit`.",
        };
      }
      return {
        check: "wasm-key",
        level: "warn",
        message:
          "The cluster drops the key wasm: of a template (Argo's full definitions), so kubectl and argo refuse it",
        fix: "Submit with `atalanta submit`, or pipe through `atalanta rewrite`; plugin: {wasm: …} is taken by every tool.",
      };
    } catch (thrown) {
      return {
        check: "wasm-key",
        level: "unknown",
        message: `Whether the key wasm: reaches the cluster could not be tried: ${toFailure(thrown).message}`,
      };
    }
  }

  async controller(): Promise<{
    readonly found?: Controller;
    readonly findings: readonly Finding[];
  }> {
    const { argoNamespace } = this.#options;
    const all = await this.#maybe(() =>
      this.#cluster.list(deployments, {
        ...(argoNamespace === undefined ? {} : { namespace: argoNamespace }),
        ...this.#call,
      }),
    );
    if (all === "refused" || !all) {
      return {
        findings: [
          {
            check: "controller",
            level: "unknown",
            message:
              "Deployments may not be listed by you, so the controller could not be looked at",
            fix: "Name its namespace with --argo-namespace, or run this as somebody who may.",
          },
        ],
      };
    }
    for (const deployment of all.items) {
      const spec = recordOf(recordOf(recordOf(deployment["spec"])["template"])["spec"]);
      for (const container of listOf(spec["containers"]).map(recordOf)) {
        const image = textOf(container["image"]) ?? "";
        if (
          !/workflow-controller/.test(image) &&
          !listOf(container["command"]).includes("workflow-controller")
        )
          continue;
        const found: Controller = {
          namespace: deployment.metadata.namespace ?? "",
          name: deployment.metadata.name ?? "",
          serviceAccount: textOf(spec["serviceAccountName"]) ?? "default",
          container,
        };
        return { found, findings: [this.#version(image, found)] };
      }
    }
    return {
      findings: [
        {
          check: "controller",
          level: "warn",
          message: `There is no workflow controller${argoNamespace === undefined ? "" : ` in ${argoNamespace}`}`,
          fix: "Install Argo Workflows, or name its namespace with --argo-namespace.",
        },
      ],
    };
  }

  #version(image: string, { namespace }: Controller): Finding {
    const [, major, minor] = /:v?(\d+)\.(\d+)/.exec(image) ?? [];
    const where = `The workflow controller in ${namespace} (${image})`;
    if (major === undefined || minor === undefined) {
      return {
        check: "argo-version",
        level: "unknown",
        message: `${where} does not tell its version`,
        fix: "The shared agent needs Argo 4.1 or later.",
      };
    }
    if (Number(major) > 4 || (Number(major) === 4 && Number(minor) >= 1))
      return { check: "argo-version", level: "ok", message: where };
    return {
      check: "argo-version",
      level: "bad",
      message: `${where} is older than 4.1, which is the first that can leave task sets to an agent`,
      fix: "Upgrade Argo Workflows to 4.1 or later. (Older ones do not know disableAgentPodCreation, and do not start with it.)",
    };
  }

  async podCreation({ namespace, container }: Controller): Promise<Finding> {
    const check = "agent-pods";
    // Argo's chart names it after the release.
    const name = setting(container, "configmap") ?? "workflow-controller-configmap";
    const found = await this.#maybe(() =>
      this.#cluster.get(configMaps, name, { namespace, ...this.#call }),
    );
    if (found === "refused")
      return {
        check,
        level: "unknown",
        message: `The ConfigMap ${name} of ${namespace} may not be read by you`,
      };
    const data = recordOf(found?.["data"]);
    const config = textOf(data["config"]);
    let value: unknown = data["disableAgentPodCreation"];
    try {
      if (config !== undefined) value ??= recordOf(parse(config))["disableAgentPodCreation"];
    } catch {
      return {
        check,
        level: "bad",
        message: `The key config of ${name} in ${namespace} is no YAML`,
        fix: "Correct it; the controller does not start with it.",
      };
    }
    if (config !== undefined && Object.keys(data).length > 1)
      return {
        check,
        level: "bad",
        message: `${name} in ${namespace} has the key config and others beside it, and the controller does not start with that`,
        fix: "Move what the other keys say into the text of config.",
      };
    if (value === true || value === "true")
      return {
        check,
        level: "ok",
        message: "The controller leaves task sets to the agent (disableAgentPodCreation)",
      };
    return {
      check,
      level: "bad",
      message:
        "The controller starts an agent pod of its own for each workflow, which fails Wasm steps: disableAgentPodCreation is not set",
      fix:
        config === undefined
          ? `kubectl patch configmap ${name} -n ${namespace} --type merge -p '{"data":{"disableAgentPodCreation":"true"}}'`
          : `kubectl edit configmap ${name} -n ${namespace}  # and add the line "disableAgentPodCreation: true" to the text of config; a key beside it keeps the controller from starting`,
    };
  }

  *pace({ container, namespace, name }: Controller): Generator<Finding> {
    const requeue = variable(container, "DEFAULT_REQUEUE_TIME");
    let requeueMs = usualRequeueMs;
    try {
      if (requeue !== undefined) requeueMs = parseDurationMs(requeue);
    } catch {
      yield {
        check: "requeue-time",
        level: "unknown",
        message: `DEFAULT_REQUEUE_TIME is "${requeue}"`,
      };
    }
    const step = (2 * requeueMs) / 1000;
    if (requeueMs <= 250)
      yield {
        check: "requeue-time",
        level: "ok",
        message: `DEFAULT_REQUEUE_TIME is ${requeueMs} ms: a step takes about ${step} s of the controller's`,
      };
    else {
      yield {
        check: "requeue-time",
        level: "slow",
        message: `DEFAULT_REQUEUE_TIME is ${requeue ?? "10s (the default)"}: every step takes ${step} s, however fast it is`,
        fix: `kubectl set env deployment/${name} -n ${namespace} DEFAULT_REQUEUE_TIME=${tunedRequeueMs}ms  # a step then takes about ${(2 * tunedRequeueMs) / 1000} s`,
      };
    }
    const qps = Number(setting(container, "qps") ?? usualQps);
    if (qps >= 200)
      yield {
        check: "qps",
        level: "ok",
        message: `The controller may send ${qps} requests a second`,
      };
    else {
      yield {
        check: "qps",
        level: "slow",
        message: `The controller may send ${qps} requests a second (--qps), which is ${Math.max(1, Math.floor(qps / 8))} sequential steps a second for the whole cluster`,
        fix: "Add --qps=500 --burst=1000 to its arguments.",
      };
    }
  }

  /** In all releases the controller may not take consumed results out of task sets. */
  async controllerRole({ namespace, serviceAccount }: Controller): Promise<Finding> {
    const check = "controller-role";
    const user = `system:serviceaccount:${namespace}:${serviceAccount}`;
    const answer = await this.#maybe(() =>
      this.#cluster.raw(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
          apiVersion: "authorization.k8s.io/v1",
          kind: "SubjectAccessReview",
          spec: {
            user,
            groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`],
            resourceAttributes: {
              namespace: this.#options.namespace,
              verb: "patch",
              group,
              resource: "workflowtasksets",
              subresource: "status",
            },
          },
        },
        this.#call,
      ),
    );
    if (answer === "refused" || answer === undefined)
      return {
        check,
        level: "unknown",
        message: "What the controller may do could not be asked by you",
      };
    if (recordOf(recordOf(answer)["status"])["allowed"] === true)
      return { check, level: "ok", message: "The controller may clean up task sets" };
    return {
      check,
      level: "bad",
      message: `The controller (${user}) may not patch workflowtasksets/status, as in all releases of Argo: results stay in the task sets, which grow, and a retried workflow takes old results`,
      fix: `kubectl create clusterrole atalanta-argo-controller --verb=patch --resource=workflowtasksets.argoproj.io/status && kubectl create clusterrolebinding atalanta-argo-controller --clusterrole=atalanta-argo-controller --serviceaccount=${namespace}:${serviceAccount}`,
    };
  }

  async *agent(): AsyncGenerator<Finding> {
    const found = await this.#maybe(() =>
      this.#cluster.list(leases, { labelSelector: "atalanta.dev/replicas", ...this.#call }),
    );
    const running = await this.#maybe(() =>
      this.#cluster.list(pods, { labelSelector: "app.kubernetes.io/name=atalanta", ...this.#call }),
    );
    if (found === "refused" && running === "refused") {
      yield {
        check: "agent",
        level: "unknown",
        message: "Whether an agent runs could not be seen by you",
      };
      return;
    }
    const living = found && found !== "refused" ? found.items.length : 0;
    const seen = running && running !== "refused" ? running.items : [];
    const ready = seen.filter((pod) =>
      listOf(recordOf(pod["status"])["conditions"])
        .map(recordOf)
        .some(({ type, status }) => type === "Ready" && status === "True"),
    );
    if (living > 0 || ready.length > 0) {
      yield {
        check: "agent",
        level: "ok",
        message: `${Math.max(living, ready.length)} agent${Math.max(living, ready.length) === 1 ? "" : "s"} at work`,
      };
    } else if (seen.length > 0) {
      const [pod] = seen;
      yield {
        check: "agent",
        level: "bad",
        message: `${seen.length} pods of the agent are there, and none is ready`,
        fix: `kubectl logs -n ${pod?.metadata.namespace ?? ""} ${pod?.metadata.name ?? ""}`,
      };
    } else
      yield {
        check: "agent",
        level: "warn",
        message:
          "No agent is to be seen: nobody runs Wasm steps (one without --replicas outside of the cluster cannot be seen)",
        fix: "Start one: atalanta agent --replicas atalanta-agent",
      };
  }

  /** What an agent of ours would need, asked for who runs this. */
  async *ourRoles(): AsyncGenerator<Finding> {
    const missing: string[] = [];
    for (const [verb, resource, subresource, apiGroup] of [
      ["watch", "workflowtasksets", "", group],
      ["patch", "workflowtasksets", "status", group],
      ["get", "workflows", "", group],
      ["patch", "workflows", "", group],
      ["create", "serviceaccounts", "token", ""],
      ["get", "serviceaccounts", "", ""],
      ["create", "events", "", ""],
    ] as const) {
      const answer = await this.#maybe(() =>
        this.#cluster.raw(
          "POST",
          "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
          {
            apiVersion: "authorization.k8s.io/v1",
            kind: "SelfSubjectAccessReview",
            spec: {
              resourceAttributes: {
                namespace: this.#options.namespace,
                verb,
                group: apiGroup,
                resource,
                ...(subresource === "" ? {} : { subresource }),
              },
            },
          },
          this.#call,
        ),
      );
      if (answer === "refused" || recordOf(recordOf(answer)["status"])["allowed"] !== true) {
        missing.push(`${verb} ${resource}${subresource === "" ? "" : `/${subresource}`}`);
      }
    }
    if (missing.length === 0)
      yield {
        check: "your-role",
        level: "ok",
        message: `You may do what an agent does in ${this.#options.namespace}`,
      };
    else
      yield {
        check: "your-role",
        level: "warn",
        message: `You could not run an agent in ${this.#options.namespace}: missing are ${missing.join(", ")}`,
        fix: "Only the agent's own service account needs them; the chart gives them to it.",
      };
  }

  async probe(image: string, controller: Controller | undefined): Promise<Finding> {
    const { namespace, signal } = this.#options;
    const name = `atalanta-doctor-${randomBytes(4).toString("hex")}`;
    const begun = performance.now();
    await this.#cluster.create(
      workflows,
      {
        apiVersion: `${group}/v1alpha1`,
        kind: "Workflow",
        metadata: { name, namespace },
        spec: { entrypoint: "probe", templates: [{ name: "probe", plugin: { wasm: { image } } }] },
      },
      { namespace, signal },
    );
    const over = Promise.withResolvers<Finding>();
    const timer = setTimeout(() => {
      over.resolve({
        check: "probe",
        level: "bad",
        message: `A workflow of one step did not end in ${probeMs / 1000} s`,
        fix: controller
          ? "Look at the findings above, and at the logs of the agent and of the controller."
          : "There is no controller.",
      });
    }, probeMs);
    const stop = (): void => over.reject(new Failure("aborted", "The probe was stopped"));
    signal.addEventListener("abort", stop, { once: true });
    const following = this.#cluster.follow(workflows, {
      namespace,
      fieldSelector: `metadata.name=${name}`,
      onChange: (now) => {
        const status = recordOf(now?.["status"]);
        const phase = textOf(status["phase"]) ?? "";
        if (!["Succeeded", "Failed", "Error"].includes(phase)) return;
        const ms = Math.round(performance.now() - begun);
        const nodes = Object.values(recordOf(status["nodes"])).map(recordOf);
        const why =
          nodes.map(({ message }) => textOf(message)).find(Boolean) ??
          textOf(status["message"]) ??
          "";
        if (phase === "Succeeded")
          over.resolve({
            check: "probe",
            level: ms < 1500 ? "ok" : "slow",
            message: `A workflow of one step took ${ms} ms`,
            ...(ms < 1500 ? {} : { fix: "See requeue-time and qps." }),
          });
        else
          over.resolve({
            check: "probe",
            level: "bad",
            message: `A workflow of one step ended as ${phase}: ${why}`,
            fix: "See the message.",
          });
      },
    });
    try {
      return await over.promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      await following[Symbol.asyncDispose]();
      await this.#cluster.delete(workflows, name, { namespace }).catch(() => undefined);
    }
  }

  get #call(): { readonly signal: AbortSignal } {
    return { signal: this.#options.signal };
  }

  async #maybe<Value>(ask: () => Promise<Value>): Promise<Value | "refused" | undefined> {
    try {
      return await ask();
    } catch (thrown) {
      const { code } = toFailure(thrown);
      if (code === "cluster-refused") return "refused";
      if (code === "cluster-missing") return undefined;
      throw thrown;
    }
  }
}

import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { stringify } from "yaml";
import { Failure } from "../errors/mod.ts";
import { AgentLog } from "./agent-log.ts";
import { logEnded, openSteps, serveSteps, stepOptions, type StepOptions } from "./cluster-steps.ts";
import { positive } from "./options.ts";

interface ServeOptions extends StepOptions {
  readonly port: number;
  readonly tokenFile: string;
}

interface ManifestOptions {
  readonly image: string;
  readonly name: string;
  readonly namespace?: string;
  readonly memory: string;
}

const usualPort = 4355;

/** `atalanta executor-plugin` */
export function addExecutorPlugin(program: Command): void {
  const plugin = program
    .command("executor-plugin")
    .description(
      "Execute Wasm steps beside Argo's own agent pods: Argo 3.3 or later, without a change of the controller",
    );
  stepOptions(plugin.command("serve"))
    .description("Serve Argo's agent in the same pod")
    .option("--port <number>", "where it is asked", positive("--port"), usualPort)
    .option("--token-file <file>", "what the agent has to send", "/var/run/argo/token")
    .addHelpText(
      "after",
      `
Examples:
  atalanta executor-plugin serve
  atalanta executor-plugin serve --authority agent --config /etc/atalanta/atalanta.yaml`,
    )
    .action(serve);
  plugin
    .command("manifest")
    .description("Print the ConfigMap that makes Argo start it, and its service account and roles")
    .requiredOption("--image <reference>", "of a container with atalanta in it")
    .option("--name <name>", "of the plugin", "atalanta")
    .option(
      "--namespace <name>",
      "where workflows run, or the controller does for all; default: said when it is applied",
    )
    .option("--memory <size>", "limit of the container", "512Mi")
    .addHelpText(
      "after",
      `
The controller needs ARGO_EXECUTOR_PLUGINS=true in its environment. Set ARGO_AGENT_PATCH_RATE=250ms there as well: results wait for it.

Examples:
  atalanta executor-plugin manifest --image registry.example.com/atalanta:0.1.0 | kubectl apply -n argo -f -`,
    )
    .action((options: ManifestOptions) => {
      process.stdout.write(manifest(options));
    });
}

async function serve(options: ServeOptions): Promise<void> {
  const log = new AgentLog(options.logLevel);
  const argo = await import("../argo/mod.ts");
  await using stack = new AsyncDisposableStack();
  const { wasm, drainMs } = await openSteps(options, { log, stack });
  const server = stack.use(
    await argo.createPluginServer({
      // Argo's own agent executes http templates here.
      executors: [wasm],
      port: options.port,
      token: async () => (await tokenOf(options.tokenFile)).trim(),
      observer: { ended: (step, result) => logEnded(log, step, result) },
    }),
  );
  log.write("info", "Serves Argo's agent", { port: server.port });
  await serveSteps(drainMs, { drain: (signal) => server.drain(signal) });
}

async function tokenOf(file: string): Promise<string> {
  try {
    const token = await readFile(file, "utf8");
    if (token.trim() !== "") return token;
    throw new Error("it is empty");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("secret-missing", `Cannot read the token of Argo's agent: ${reason}`, {
      cause,
      hint: "Argo mounts it at /var/run/argo/token; name another file with --token-file.",
    });
  }
}

/** What Argo looks for, with every key that it demands of the container. */
function manifest({ image, name, namespace, memory }: ManifestOptions): string {
  const full = `${name}-executor-plugin`;
  const where = namespace === undefined ? {} : { namespace };
  const container = {
    name: full,
    image,
    args: ["executor-plugin", "serve", "--authority", "agent"],
    env: [{ name: "ATALANTA_HOME", value: "/tmp/atalanta" }],
    ports: [{ containerPort: usualPort }],
    resources: { requests: { cpu: "50m", memory: "128Mi" }, limits: { cpu: "1", memory } },
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65_532,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
  };
  const rules = [
    { apiGroups: ["argoproj.io"], resources: ["workflows"], verbs: ["get"] },
    { apiGroups: [""], resources: ["secrets", "configmaps"], verbs: ["get"] },
  ];
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: full };
  const objects = [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: full, ...where } },
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: {
        name: `${full}.service-account-token`,
        ...where,
        annotations: { "kubernetes.io/service-account.name": full },
      },
      type: "kubernetes.io/service-account-token",
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "Role",
      metadata: { name: full, ...where },
      rules,
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: full, ...where },
      roleRef,
      subjects: [{ kind: "ServiceAccount", name: full, ...where }],
    },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: {
        name: full,
        ...where,
        labels: { "workflows.argoproj.io/configmap-type": "ExecutorPlugin" },
      },
      data: {
        "sidecar.automountServiceAccountToken": "true",
        "sidecar.container": stringify(container),
      },
    },
  ];
  return objects.map((object) => stringify(object, { lineWidth: 0 })).join("---\n");
}

import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { homedir, hostname } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { InvalidArgumentError, type Command } from "commander";
import type { Agent, AgentObserver, ForeignPlugin, StepEvents } from "../argo/mod.ts";
import { Failure } from "../errors/mod.ts";
import { parseDurationMs } from "../limits/mod.ts";
import { parseTrust } from "../runner/mod.ts";
import { readOperatorFile } from "./configuration.ts";
import { homeFolder } from "./home.ts";
import { interrupted } from "./interrupt.ts";
import { AgentLog, type Level } from "./agent-log.ts";
import { AgentMetrics } from "./agent-metrics.ts";
import { limitsOfHost } from "./limits.ts";
import { collect, configHelp, limitHelp, pair, positive } from "./options.ts";

interface Options {
  readonly namespace: readonly string[];
  readonly instanceId?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly replicas?: string;
  readonly authority: "service-account" | "agent";
  readonly trust: string;
  readonly config?: string;
  readonly limit: readonly string[];
  readonly storeAddress: readonly string[];
  readonly plugin: readonly string[];
  readonly pluginToken: readonly string[];
  readonly maxSteps: number;
  readonly maxNamespaceSteps: number;
  readonly maxWorkflowSteps: number;
  readonly drain: string;
  readonly listen: string;
  readonly logLevel: Level;
}

/** Where clusters have their services. What is local to a machine or a link is not in it. */
const clusterAddresses = [
  "10.0.0.0/8",
  "100.64.0.0/10",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "fc00::/7",
];

/** `atalanta agent` */
export function addAgent(program: Command): void {
  program
    .command("agent")
    .description("Execute the Wasm steps of Argo Workflows on a cluster, without pods")
    .option("--namespace <name>", "only workflows of this namespace (repeatable)", collect, [])
    .option("--instance-id <id>", "only those of the controller with this instance id")
    .option("--kubeconfig <file>", "default: KUBECONFIG, the pod that this runs in, ~/.kube/config")
    .option("--context <name>", "of the kubeconfig")
    .option(
      "--replicas <group>",
      "share the work with all agents of this group, by Leases in its own namespace",
    )
    .option(
      "--authority <whose>",
      "who reads the secrets of steps: service-account (of the workflow, by a token that is asked for) or agent",
      one("service-account", "agent"),
      "service-account",
    )
    .option("--trust <class>", "the least trust class of every step", "process")
    .option("--config <file>", configHelp)
    .option("--limit <key=value>", limitHelp, collect, [])
    .option(
      "--store-address <range>",
      "addresses where stores of artifacts and the hosts of http templates may be, beside public ones (repeatable; default: private networks)",
      collect,
      [],
    )
    .option(
      "--plugin <key=url>",
      "ask there for templates of another executor plugin (repeatable)",
      collect,
      [],
    )
    .option("--plugin-token <key=file>", "its bearer token (repeatable)", collect, [])
    .option("--max-steps <number>", "steps at once", positive("--max-steps"), 256)
    .option(
      "--max-namespace-steps <number>",
      "of one namespace",
      positive("--max-namespace-steps"),
      128,
    )
    .option(
      "--max-workflow-steps <number>",
      "of one workflow",
      positive("--max-workflow-steps"),
      128,
    )
    .option("--drain <duration>", "how long steps may go on after SIGTERM", "25s")
    .option(
      "--listen <address>",
      "for /healthz, /readyz and /metrics; empty for none",
      "127.0.0.1:9464",
    )
    .option(
      "--log-level <level>",
      "debug, info, warn or error",
      one("debug", "info", "warn", "error"),
      "info",
    )
    .addHelpText(
      "after",
      `
The controller must leave task sets to it: set disableAgentPodCreation: true in workflow-controller-configmap (Argo 4.1 or later).
Logs go to stderr, a line of JSON for each.

Examples:
  atalanta agent --namespace argo
  atalanta agent --replicas atalanta-agent --listen 0.0.0.0:9464`,
    )
    .action(runAgent);
}

function pluginsOf({ plugin, pluginToken }: Options): readonly ForeignPlugin[] {
  const tokens = new Map(pluginToken.map((text) => pair("--plugin-token", text)));
  return plugin.map((text) => {
    const [key, address] = pair("--plugin", text);
    const url = URL.parse(address);
    if (url?.protocol !== "http:" && url?.protocol !== "https:") {
      throw new Failure("invalid-argument", `--plugin "${text}" names no http or https URL`, {
        hint: "Write KEY=http://HOST:PORT.",
      });
    }
    const tokenFile = tokens.get(key);
    return { key, url, ...(tokenFile === undefined ? {} : { tokenFile }) };
  });
}

/** For artifacts on their way; what agents left behind that are dead is removed. */
async function ownFolder(): Promise<string> {
  const all = join(homeFolder(), "agent");
  await mkdir(all, { recursive: true, mode: 0o700 });
  for (const name of await readdir(all)) {
    const [, pid] = /^run-(\d+)$/.exec(name) ?? [];
    if (pid !== undefined && !isAlive(Number(pid)))
      await rm(join(all, name), { recursive: true, force: true });
  }
  return join(all, `run-${process.pid}`);
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "EPERM";
  }
}

function one<Word extends string>(...words: readonly Word[]): (text: string) => Word {
  return (text) => {
    const found = words.find((word) => word === text);
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`Write ${words.join(" or ")}.`);
  };
}

async function runAgent(options: Options): Promise<void> {
  const log = new AgentLog(options.logLevel);
  const operator = await readOperatorFile(options.config);
  const drainMs = parseDurationMs(options.drain);
  const { clusterFrom } = await import("../kubernetes/mod.ts");
  const argo = await import("../argo/mod.ts");
  const { dockerCredentials, imagePolicy } = await import("../oci/mod.ts");
  const { createRunners } = await import("../runner/mod.ts");
  await using stack = new AsyncDisposableStack();
  const cluster = stack.use(
    await clusterFrom({
      ...(options.kubeconfig === undefined ? {} : { kubeconfig: options.kubeconfig }),
      ...(options.context === undefined ? {} : { context: options.context }),
      environment: process.env,
    }),
  );
  const folder = await ownFolder();
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const runners = stack.use(createRunners({ stagingFolder: join(folder, "staging") }));
  const trust = parseTrust(options.trust, "--trust");
  if (trust === "process") runners.prepare(trust);
  for (const weakness of trust === "process" ? await runners.weaknesses() : []) {
    log.write("warn", "The class process lacks a wall here", { weakness });
  }
  const authorities =
    operator.authorities.length === 0 ? [] : [...rootCertificates, ...operator.authorities];
  const reader = argo.clusterReader(cluster, options.authority);
  const storeAddresses = options.storeAddress.length > 0 ? options.storeAddress : clusterAddresses;
  const steps = stack.use(
    await argo.createWasmSteps({
      reader,
      runners,
      folder,
      imagesFolder: join(homeFolder(), "agent", "images"),
      trust,
      limits: limitsOfHost(options.limit, operator.limits),
      permissions: operator.permissions,
      storeAddresses,
      ...(authorities.length === 0 ? {} : { authorities }),
      registry: {
        credentials: dockerCredentials({ environment: process.env, home: homedir() }),
        environment: process.env,
        registries: operator.registries,
        allowedAddresses: operator.permissions.allowedAddresses ?? [],
      },
      ...(operator.policy ? { policy: imagePolicy(operator.policy) } : {}),
      ...(operator.imageCacheBytes === undefined
        ? {}
        : { imageCacheBytes: operator.imageCacheBytes }),
      environment: process.env,
    }),
  );
  const http = argo.createHttpSteps({
    allowedAddresses: [...storeAddresses, ...(operator.permissions.allowedAddresses ?? [])],
    secret: argo.stepSecrets(reader),
    ...(authorities.length === 0 ? {} : { authorities }),
  });
  const metrics = new AgentMetrics();
  const identity = `${hostname()}-${randomBytes(4).toString("hex")}`;
  const agent = stack.use(
    await argo.createAgent({
      cluster,
      executors: [steps, http, argo.createForeignSteps(pluginsOf(options))],
      ceilings: {
        steps: options.maxSteps,
        namespaceSteps: options.maxNamespaceSteps,
        workflowSteps: options.maxWorkflowSteps,
      },
      ...(options.namespace.length === 0 ? {} : { namespaces: options.namespace }),
      ...(options.instanceId === undefined ? {} : { instanceId: options.instanceId }),
      ...(options.replicas === undefined
        ? {}
        : { replicas: { namespace: cluster.namespace, group: options.replicas, identity } }),
      observer: observed(log, metrics, new argo.StepEvents(cluster, "atalanta-agent")),
    }),
  );
  let isReady = false;
  agent.ready.then(
    () => {
      isReady = true;
      log.write("info", "Follows the task sets", { server: cluster.server, identity });
    },
    () => undefined,
  );
  if (options.listen !== "") {
    const server = await listen(options.listen, metrics, agent, () => isReady);
    stack.defer(() => void server.close());
    stack.defer(() => server.closeAllConnections());
  }
  await new Promise<void>((resolve) => {
    if (interrupted.aborted) resolve();
    interrupted.addEventListener("abort", () => resolve(), { once: true });
  });
  isReady = false;
  log.write("info", "Ends when what runs has ended", {
    running: agent.running,
    waiting: agent.waiting,
  });
  await agent.drain(AbortSignal.timeout(drainMs));
  // It did what it was asked to.
  process.once("exit", () => (process.exitCode = 0));
}

function observed(
  log: AgentLog,
  metrics: AgentMetrics,
  events: Pick<StepEvents, "failed" | "trouble" | "taken">,
): AgentObserver {
  return {
    ended: (step, result, times, taskSet) => {
      metrics.ended(result.phase, times);
      const { namespace, name } = step.workflow;
      log.write(result.phase === "Succeeded" ? "debug" : "info", `Step ${result.phase}`, {
        namespace,
        workflow: name,
        node: step.nodeId,
        ...(result.message === undefined ? {} : { message: result.message }),
        waitedMs: Math.round(times.waitedMs),
        ranMs: Math.round(times.ranMs),
      });
      if (result.phase !== "Succeeded") events.failed(step, result, taskSet);
    },
    written: (_step, times) => metrics.written(times),
    taken: (step, times) => {
      metrics.taken(times);
      events.taken(step, times);
    },
    healed: ({ namespace, name }) =>
      log.write("warn", "Took an entry away that belongs to no node, and stopped the workflow", {
        namespace,
        taskSet: name,
      }),
    cancelled: ({ workflow, nodeId }) => {
      metrics.cancelled();
      log.write("debug", "Step called off", {
        namespace: workflow.namespace,
        workflow: workflow.name,
        node: nodeId,
      });
    },
    conflict: () => metrics.conflict(),
    trouble: (taskSet, failure) => {
      const { namespace, name } = taskSet;
      metrics.trouble();
      events.trouble(taskSet, failure);
      log.write("warn", "Cannot write results; tries again", {
        namespace,
        taskSet: name,
        reason: failure.message,
      });
    },
    lost: (failure) => {
      metrics.trouble();
      log.write("warn", "The cluster does not answer; tries again", { reason: failure.message });
    },
  };
}

async function listen(
  address: string,
  metrics: AgentMetrics,
  agent: Pick<Agent, "waiting" | "running">,
  isReady: () => boolean,
): Promise<Server> {
  const [, host = "", port = ""] = /^(?:\[?([^\]]*)\]?:)?(\d{1,5})$/.exec(address) ?? [];
  if (port === "") {
    throw new Failure("invalid-argument", `--listen "${address}" is no address`, {
      hint: "Write HOST:PORT, such as 0.0.0.0:9464.",
    });
  }
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    const text = (status: number, body: string): void => {
      response
        .writeHead(status, { "content-type": "text/plain; version=0.0.4; charset=utf-8" })
        .end(body);
    };
    if (path === "/healthz") text(200, "ok\n");
    else if (path === "/readyz") text(isReady() ? 200 : 503, isReady() ? "ok\n" : "not ready\n");
    else if (path === "/metrics") {
      metrics.text(agent).then(
        (body) => text(200, body),
        () => text(500, ""),
      );
    } else text(404, "There are /healthz, /readyz and /metrics.\n");
  });
  server.headersTimeout = 5000;
  server.maxConnections = 64;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", (cause) => {
    reject(
      new Failure("invalid-argument", `Cannot listen at ${address}: ${cause.message}`, {
        cause,
        hint: "Name another address with --listen.",
      }),
    );
  });
  server.listen(Number(port), host === "" ? "127.0.0.1" : host, () => resolve());
  await promise;
  return server;
}

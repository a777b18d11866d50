import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import { hostname } from "node:os";
import type { Command } from "commander";
import type { Agent, AgentObserver, ForeignPlugin, StepEvents, StepTraces } from "../argo/mod.ts";
import { Failure } from "../errors/mod.ts";
import { listening } from "../network/mod.ts";
import { logEnded, openSteps, serveSteps, stepOptions, type StepOptions } from "./cluster-steps.ts";
import { AgentLog } from "./agent-log.ts";
import { AgentMetrics } from "./agent-metrics.ts";
import { openCluster } from "./cluster.ts";
import { interrupted } from "./interrupt.ts";
import { address as addressOf, collect, pair, positive } from "./options.ts";

interface Options extends StepOptions {
  readonly namespace: readonly string[];
  readonly instanceId?: string;
  readonly replicas?: string;
  readonly plugin: readonly string[];
  readonly pluginToken: readonly string[];
  readonly maxSteps: number;
  readonly maxNamespaceSteps: number;
  readonly maxWorkflowSteps: number;
  readonly artifactGc: boolean;
  readonly release?: boolean;
  readonly listen: string;
}

/** `atalanta agent` */
export function addAgent(program: Command): void {
  stepOptions(program.command("agent"))
    .description("Execute the Wasm steps of Argo Workflows on a cluster, without pods")
    .option("--namespace <name>", "only workflows of this namespace (repeatable)", collect, [])
    .option("--instance-id <id>", "only those of the controller with this instance id")
    .option(
      "--replicas <group>",
      "share the work with all agents of this group, by Leases in its own namespace",
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
    .option("--no-artifact-gc", "leave artifacts alone that artifactGC says are to be deleted")
    .option(
      "--release",
      "take the finalizer for artifacts off all workflows, so that they can be deleted without an agent, and end",
    )
    .option(
      "--listen <address>",
      "for /healthz, /readyz and /metrics; empty for none",
      "127.0.0.1:9464",
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

async function runAgent(options: Options): Promise<void> {
  const log = new AgentLog(options.logLevel);
  const argo = await import("../argo/mod.ts");
  await using stack = new AsyncDisposableStack();
  const namespaces = options.namespace.length === 0 ? {} : { namespaces: options.namespace };
  if (options.release) {
    const found = stack.use(await openCluster(options));
    const count = await argo.releaseWorkflows(found, { ...namespaces, signal: interrupted });
    log.write("info", "Workflows can be deleted without an agent now", { count });
    return;
  }
  let collector: ReturnType<typeof argo.createCollector> | undefined;
  const { cluster, wasm, http, traces, drainMs } = await openSteps(options, {
    log,
    stack,
    onCollectable: async (workflow) => collector?.mark(workflow),
  });
  const metrics = new AgentMetrics();
  const identity = `${hostname()}-${randomBytes(4).toString("hex")}`;
  const events = new argo.StepEvents(cluster, "atalanta-agent");
  const agent = stack.use(
    await argo.createAgent({
      cluster,
      executors: [wasm, http, argo.createForeignSteps(pluginsOf(options))],
      ceilings: {
        steps: options.maxSteps,
        namespaceSteps: options.maxNamespaceSteps,
        workflowSteps: options.maxWorkflowSteps,
      },
      ...namespaces,
      ...(options.instanceId === undefined ? {} : { instanceId: options.instanceId }),
      ...(options.replicas === undefined
        ? {}
        : { replicas: { namespace: cluster.namespace, group: options.replicas, identity } }),
      observer: observed(log, { metrics, events, traces }),
    }),
  );
  if (options.artifactGc) {
    collector = stack.use(
      argo.createCollector({
        cluster,
        ...namespaces,
        isOurs: (uid) => agent.isOurs(uid),
        collect: (workflow, strategies, signal) => wasm.collect(workflow, strategies, signal),
        observer: {
          collected: ({ namespace, name }, deleted) =>
            log.write("info", "Deleted artifacts", { namespace, workflow: name, deleted }),
          trouble: (workflow, { message }, last) => {
            events.notDeleted(workflow, message, last);
            log.write("warn", "Cannot delete artifacts", {
              namespace: workflow.namespace,
              workflow: workflow.name,
              reason: message,
              ...(last ? { last } : {}),
            });
          },
        },
      }),
    );
  }
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
  await serveSteps(drainMs, {
    ending: () => {
      isReady = false;
      log.write("info", "Ends when what runs has ended", {
        running: agent.running,
        waiting: agent.waiting,
      });
    },
    drain: (signal) => agent.drain(signal),
  });
}

function observed(
  log: AgentLog,
  {
    metrics,
    events,
    traces,
  }: {
    readonly metrics: AgentMetrics;
    readonly events: Pick<StepEvents, "failed" | "trouble" | "taken">;
    readonly traces: StepTraces | undefined;
  },
): AgentObserver {
  return {
    ended: (step, result, times, taskSet) => {
      metrics.ended(result.phase, times);
      traces?.queued(step, times.waitedMs, times.ranMs);
      logEnded(log, step, result, {
        waitedMs: Math.round(times.waitedMs),
        ranMs: Math.round(times.ranMs),
      });
      if (result.phase !== "Succeeded") events.failed(step, result, taskSet);
    },
    written: (step, times) => {
      metrics.written(times);
      traces?.written(step, times.patchMs);
    },
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
  const { host, port } = addressOf("--listen", address);
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
  await listening(server, { host, port, hint: "Name another address with --listen." });
  return server;
}

// Agents against an API server of the tests, with steps that the test ends by hand.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  createAgent,
  type Agent,
  type AgentObserver,
  type NodeResult,
  type Step,
  type StepExecutor,
} from "../../src/argo/mod.ts";
import { clusterFrom, recordOf, type Cluster, type KubeObject } from "../../src/kubernetes/mod.ts";
import { ApiServer, phaseIn } from "./api-server.ts";

type Json = Readonly<Record<string, unknown>>;
export const tasksOf = "workflowtasksets";

/** `plugin: {wasm: {say}}` ends at once with that result; one without waits for the test. */
export class HandExecutor implements StepExecutor {
  readonly begun: Step[] = [];
  readonly stopped: string[] = [];
  readonly #waiting = new Map<string, (result: NodeResult) => void>();

  accepts(template: Json): boolean {
    return "wasm" in recordOf(template["plugin"]);
  }

  async execute(step: Step, { signal }: { readonly signal: AbortSignal }): Promise<NodeResult> {
    this.begun.push(step);
    const { say, times } = recordOf(recordOf(step.template["plugin"])["wasm"]);
    if (typeof say === "string")
      return { phase: "Succeeded", outputs: { result: say.repeat(Number(times ?? 1)) } };
    const { promise, resolve } = Promise.withResolvers<NodeResult>();
    this.#waiting.set(step.nodeId, resolve);
    signal.addEventListener("abort", () => {
      this.stopped.push(step.nodeId);
      resolve({ phase: "Error", message: "stopped" });
    });
    return promise;
  }

  end(nodeId: string, result: NodeResult = { phase: "Succeeded" }): void {
    this.#waiting.get(nodeId)?.(result);
  }

  get ids(): readonly string[] {
    return this.begun.map(({ nodeId }) => nodeId);
  }
}

export const waiting: Json = { plugin: { wasm: {} } };

export function saying(say: string, times = 1): Json {
  return { plugin: { wasm: { say, times } } };
}

export interface AgentsOptions {
  readonly ceilings?: { steps?: number; namespaceSteps?: number; workflowSteps?: number };
  readonly runningAfterMs?: number;
  readonly lookEveryMs?: number;
  readonly observer?: AgentObserver;
  readonly replica?: string;
  readonly namespaces?: readonly string[];
}

export class Agents implements AsyncDisposable {
  readonly api: ApiServer;
  readonly #stack: AsyncDisposableStack;
  readonly #kubeconfig: string;

  private constructor(api: ApiServer, stack: AsyncDisposableStack, kubeconfig: string) {
    this.api = api;
    this.#stack = stack;
    this.#kubeconfig = kubeconfig;
  }

  static async start(): Promise<Agents> {
    await using stack = new AsyncDisposableStack();
    const api = stack.use(await ApiServer.start());
    const folder = await mkdtemp(join(tmpdir(), "atalanta-agent-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const kubeconfig = join(folder, "kubeconfig");
    const context = { cluster: "test", user: "test", namespace: "team" };
    await writeFile(
      kubeconfig,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "test",
        contexts: [{ name: "test", context }],
        clusters: [{ name: "test", cluster: { server: api.url } }],
        users: [{ name: "test", user: { token: "t" } }],
      }),
    );
    return new Agents(api, stack.move(), kubeconfig);
  }

  async cluster(): Promise<Cluster> {
    const cluster = await clusterFrom({ kubeconfig: this.#kubeconfig, environment: {} });
    return this.#stack.use(cluster);
  }

  async agent(executor: StepExecutor, options: AgentsOptions = {}): Promise<Agent> {
    const { replica, ...rest } = options;
    const agent = this.#stack.use(
      await createAgent({
        cluster: await this.cluster(),
        executors: [executor],
        lookEveryMs: 100,
        ...rest,
        ...(replica === undefined
          ? {}
          : { replicas: { namespace: "team", group: "g", identity: replica, seconds: 3 } }),
      }),
    );
    await agent.ready;
    return agent;
  }

  /** A workflow with a task set, as the engine makes them. */
  submit(
    name: string,
    tasks: Readonly<Record<string, Json>>,
    more: { uid?: string; namespace?: string; workflow?: Json; spec?: Json } = {},
  ): void {
    const { uid = `uid-${name}`, namespace = "team", spec = {}, workflow = {} } = more;
    const startedAt = new Date(Date.now() + this.api.clockMs).toISOString();
    const nodes = Object.fromEntries(Object.keys(tasks).map((id) => [id, { phase: "Pending" }]));
    this.api.put("workflows", {
      metadata: { name, namespace, uid },
      spec,
      status: { phase: "Running", startedAt, nodes, ...workflow },
    });
    this.api.put(tasksOf, taskSet(name, tasks, uid, namespace));
  }

  /** The engine takes a result, as it does: the entry goes first, and then the task. */
  take(name: string, id: string, namespace = "team"): void {
    this.api.merge(tasksOf, name, { status: { nodes: { [id]: null } } }, namespace);
    this.api.merge(tasksOf, name, { spec: { tasks: { [id]: null } } }, namespace);
  }

  phase(name: string, id: string, namespace = "team"): string | undefined {
    return phaseIn(this.api.get(tasksOf, name, namespace), id);
  }

  entry(name: string, id: string): Json {
    const status = recordOf(this.api.get(tasksOf, name)?.["status"]);
    return recordOf(recordOf(status["nodes"])[id]);
  }

  /** How often the status was written. */
  get patches(): number {
    return this.api.asked.filter(({ subresource }) => subresource === "status").length;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

export function taskSet(
  name: string,
  tasks: Json,
  uid = `uid-${name}`,
  namespace = "team",
): KubeObject {
  return {
    apiVersion: "argoproj.io/v1alpha1",
    kind: "WorkflowTaskSet",
    metadata: {
      name,
      namespace,
      ownerReferences: [{ apiVersion: "argoproj.io/v1alpha1", kind: "Workflow", name, uid }],
    },
    spec: { tasks },
  };
}

/** Waits until it is so. */
export async function until(what: () => unknown, seconds = 20): Promise<void> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const is = await what();
    if (is !== false && is !== undefined) return;
    if (performance.now() > end) throw new Error(`never: ${what.toString()}`);
    await sleep(5);
  }
}

import { setTimeout as sleep } from "node:timers/promises";
import { parseDurationMs } from "../../limits/mod.ts";
import {
  joinReplicas,
  ownerAmong,
  recordOf,
  textOf,
  type Follower,
  type Kind,
} from "../../kubernetes/mod.ts";
import { toFailure } from "../../errors/mod.ts";
import type { NodeResult, Step } from "../model.ts";
import type { Agent, AgentObserver, AgentOptions } from "./mod.ts";
import { FairQueue } from "./queue.ts";
import { taskSets, viewOf, type TaskSetView } from "./view.ts";
import { TaskSetWork, type WorkOptions } from "./work.ts";

const usual = { steps: 256, namespaceSteps: 128, workflowSteps: 128 };
const runningAfterMs = 30_000;
/** A controller that may not change a task set's status never takes a task away; then only its workflow says that it is over. */
const lookEveryMs = 10_000;

const workflows: Kind = {
  group: "argoproj.io",
  version: "v1alpha1",
  plural: "workflows",
  namespaced: true,
};

/** Starts an agent. It works until it is disposed of, whatever becomes of the cluster in between. */
export async function createAgent(options: AgentOptions): Promise<Agent> {
  const agent = new SharedAgent(options);
  await agent.start();
  return agent;
}

class SharedAgent implements Agent {
  readonly #options: AgentOptions;
  readonly #queue: FairQueue;
  readonly #work = new Map<string, TaskSetWork>();
  readonly #followers: Follower<TaskSetView>[] = [];
  readonly #stop = new AbortController();
  readonly #observer: AgentObserver;
  /** Absent: not known yet, or not any more. */
  #living: readonly string[] | undefined;
  #replicas: AsyncDisposable | undefined;
  #draining = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#queue = new FairQueue({ ...usual, ...options.ceilings });
    this.#observer = options.observer ?? {};
  }

  get waiting(): number {
    return this.#queue.waiting;
  }

  get running(): number {
    return this.#queue.running;
  }

  get ready(): Promise<void> {
    return Promise.all(this.#followers.map(({ ready }) => ready)).then(() => undefined);
  }

  async start(): Promise<void> {
    const { cluster, namespaces = [undefined], instanceId, replicas } = this.#options;
    if (replicas) {
      this.#replicas = await joinReplicas(cluster, {
        ...replicas,
        onChange: (living) => this.#shared(living),
        onTrouble: (failure) => this.#observer.lost?.(failure),
      });
    }
    const label = "workflows.argoproj.io/controller-instanceid";
    for (const namespace of namespaces) {
      this.#followers.push(
        cluster.follow(taskSets, {
          ...(namespace === undefined ? {} : { namespace }),
          labelSelector: instanceId === undefined ? `!${label}` : `${label}=${instanceId}`,
          keep: viewOf,
          onChange: (now, before) => this.#change(now, before),
          onTrouble: (failure) => this.#observer.lost?.(failure),
        }),
      );
    }
    void this.#lookAfter();
  }

  #change(now: TaskSetView | undefined, before: TaskSetView | undefined): void {
    const view = now ?? before;
    if (!view) return;
    const key = `${view.namespace}/${view.name}`;
    let work = this.#work.get(key);
    const over = !now || now.completed || (work && work.uid !== now.uid);
    if (work && over) {
      work.stop("The workflow is over");
      this.#work.delete(key);
      work = undefined;
    }
    if (!now || now.completed) return;
    if (work) work.see(now);
    else if (now.tasks.size > 0 && now.workflow.uid !== "") {
      work = new TaskSetWork(now, this.#workOptions());
      if (this.#draining) work.close();
      this.#work.set(key, work);
    }
    // What is known of tasks that the engine has taken is nothing.
    if (work && now.tasks.size === 0 && work.idle) this.#work.delete(key);
  }

  #workOptions(): WorkOptions {
    const { cluster, executors } = this.#options;
    return {
      cluster,
      executors,
      queue: this.#queue,
      observer: this.#observer,
      isOurs: (uid) => this.#isOurs(uid),
      runningAfterMs: this.#options.runningAfterMs ?? runningAfterMs,
      long: (step, seenAt) => this.#deadlineOf(step, seenAt),
    };
  }

  #isOurs(uid: string): boolean | undefined {
    const { replicas } = this.#options;
    if (!replicas) return true;
    if (!this.#living) return undefined;
    return ownerAmong(this.#living, uid) === replicas.identity;
  }

  /** Replicas came or went. While ours does not count, nothing is begun or written; what runs goes on. */
  #shared(living: readonly string[]): void {
    const { replicas } = this.#options;
    this.#living = replicas && living.includes(replicas.identity) ? living : undefined;
    if (!this.#living) return;
    for (const [key, work] of this.#work) {
      if (this.#isOurs(work.view.workflow.uid)) work.see(work.view);
      else {
        work.stop("Another replica does it");
        this.#work.delete(key);
      }
    }
    for (const follower of this.#followers) {
      for (const view of follower.all()) {
        if (!this.#work.has(`${view.namespace}/${view.name}`)) this.#change(view, undefined);
      }
    }
  }

  /** When a step that is told to run has to end, and how that is told: the engine keeps deadlines only while it is pending. */
  async #deadlineOf(
    step: Step,
    seenAt: number,
  ): Promise<{ readonly result: NodeResult; readonly inMs: number } | undefined> {
    const { namespace, name } = step.workflow;
    const ends: { readonly result: NodeResult; readonly inMs: number }[] = [];
    const timeout = textOf(step.template["timeout"]);
    if (timeout !== undefined) {
      const message = `Node exceeded its timeout of ${timeout}`;
      ends.push({
        result: { phase: "Failed", message },
        inMs: parseDurationMs(timeout) - (performance.now() - seenAt),
      });
    }
    const workflow = await this.#options.cluster.get(workflows, name, {
      namespace,
      signal: this.#stop.signal,
    });
    const seconds = recordOf(workflow["spec"])["activeDeadlineSeconds"];
    const started = Date.parse(textOf(recordOf(workflow["status"])["startedAt"]) ?? "");
    if (typeof seconds === "number" && !Number.isNaN(started)) {
      ends.push({
        result: { phase: "Failed", message: "Step exceeded its deadline" },
        inMs: started + seconds * 1000 - Date.now(),
      });
    }
    return ends.toSorted((one, other) => one.inMs - other.inMs)[0];
  }

  async #lookAfter(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(lookEveryMs, undefined, { signal, ref: false }).catch(() => undefined);
      for (const [key, work] of this.#work) {
        if (signal.aborted) return;
        if (work.view.tasks.size === 0 && work.idle) this.#work.delete(key);
        else if (work.active.length > 0) await this.#look(key, work).catch(() => undefined);
      }
    }
  }

  /** Whether a workflow still wants its steps. */
  async #look(key: string, work: TaskSetWork): Promise<void> {
    const { namespace, workflow } = work.view;
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(lookEveryMs)]);
    try {
      const object = await this.#options.cluster.get(workflows, workflow.name, {
        namespace,
        signal,
      });
      const phase = textOf(recordOf(object["status"])["phase"]) ?? "";
      const ended = phase !== "" && phase !== "Pending" && phase !== "Running";
      const terminated = recordOf(object["spec"])["shutdown"] === "Terminate";
      if (object.metadata.uid === workflow.uid && !ended && !terminated) return;
    } catch (thrown) {
      if (toFailure(thrown).code !== "cluster-missing") throw thrown;
    }
    work.stop("The workflow is over");
    if (this.#work.get(key) === work) this.#work.delete(key);
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#draining = true;
    for (const work of this.#work.values()) work.close();
    while (!signal.aborted) {
      for (const work of this.#work.values()) await work.flush();
      if ([...this.#work.values()].every(({ idle }) => idle)) return;
      await sleep(20, undefined, { signal }).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const follower of this.#followers) await follower[Symbol.asyncDispose]();
    for (const work of this.#work.values()) work.stop("The agent ends");
    await Promise.all([...this.#work.values()].map((work) => work.flush()));
    await this.#replicas?.[Symbol.asyncDispose]();
  }
}

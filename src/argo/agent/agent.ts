import { setTimeout as sleep } from "node:timers/promises";
import { joinReplicas, ownerAmong, type Follower } from "../../kubernetes/mod.ts";
import { toFailure } from "../../errors/mod.ts";
import { taskSets } from "../kinds.ts";
import { ClusterClock } from "./clock.ts";
import type { Agent, AgentObserver, AgentOptions } from "./mod.ts";
import { Pace } from "./pace.ts";
import { FairQueue } from "./queue.ts";
import { Strays } from "./stray.ts";
import { isOlder, viewOf, type TaskSetView } from "./view.ts";
import { TaskSetWork } from "./work.ts";
import { workflowState, type WorkflowState } from "./workflow.ts";

const usual = { steps: 256, namespaceSteps: 128, workflowSteps: 128 };
const runningAfterMs = 30_000;
/** A controller that may not change a task set's status never takes a task away; then only its workflow says that it is over. */
const usualLookMs = 10_000;
const lookMs = 10_000;

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
  readonly #leaving = new Set<TaskSetWork>();
  readonly #followers: Follower<TaskSetView>[] = [];
  readonly #clock = new ClusterClock();
  readonly #pace = new Pace();
  readonly #strays: Strays;
  readonly #stop = new AbortController();
  readonly #observer: AgentObserver;
  /** Absent: not known yet, or not any more. */
  #living: readonly string[] | undefined;
  #replicas: AsyncDisposable | undefined;
  #draining = false;
  /** What was there before us may be done with. */
  #isNew = true;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#queue = new FairQueue({ ...usual, ...options.ceilings });
    this.#observer = options.observer ?? {};
    this.#strays = new Strays(options.cluster);
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
    this.ready.then(
      () => (this.#isNew = false),
      () => undefined,
    );
    void this.#lookAfter();
  }

  #change(now: TaskSetView | undefined, before: TaskSetView | undefined): void {
    const view = now ?? before;
    if (!view) return;
    const key = `${view.namespace}/${view.name}`;
    const work = this.#work.get(key);
    if (work && (!now || now.completed || work.view.uid !== now.uid)) {
      work.stop("The workflow is over");
      this.#work.delete(key);
    }
    if (!now || now.completed) return;
    const known = this.#work.get(key);
    if (!known) this.#begin(key, now, this.#isNew);
    else if (known.isOver) {
      // It was over for us; whether something is due again, only the workflow knows.
      if (isOlder(known.view, now)) this.#begin(key, now, true);
    } else {
      known.see(now);
      // What is known of tasks that the engine has taken is nothing.
      if (now.tasks.size === 0 && known.idle) this.#work.delete(key);
    }
  }

  #begin(key: string, view: TaskSetView, unsure: boolean): void {
    if (this.#draining || view.tasks.size === 0 || view.workflow.uid === "") return;
    const { cluster, executors } = this.#options;
    const work = new TaskSetWork(view, {
      cluster,
      executors,
      queue: this.#queue,
      observer: this.#observer,
      clock: this.#clock,
      pace: this.#pace,
      isOurs: (uid) => this.#belongs(uid),
      runningAfterMs: this.#options.runningAfterMs ?? runningAfterMs,
      look: (now) => this.#look(now),
      unsure,
    });
    this.#work.set(key, work);
  }

  isOurs(uid: string): boolean {
    return this.#belongs(uid) === true;
  }

  /** Undefined while nobody knows. */
  #belongs(uid: string): boolean | undefined {
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
      if (work.isOver) continue;
      if (this.isOurs(work.view.workflow.uid)) work.see(work.view);
      else {
        this.#work.delete(key);
        this.#leaving.add(work);
        void work.handOver().finally(() => this.#leaving.delete(work));
      }
    }
    for (const view of this.#views()) {
      const key = `${view.namespace}/${view.name}`;
      if (!view.completed && !this.#work.has(key)) this.#begin(key, view, true);
    }
  }

  *#views(): IterableIterator<TaskSetView> {
    for (const follower of this.#followers) yield* follower.all();
  }

  #look({ namespace, workflow }: TaskSetView): Promise<WorkflowState> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(lookMs)]);
    return workflowState(this.#options.cluster, { namespace, ...workflow }, signal);
  }

  /** What no change of a task set tells. */
  async #lookAfter(): Promise<void> {
    const { signal } = this.#stop;
    const { lookEveryMs = usualLookMs } = this.#options;
    while (!signal.aborted) {
      await sleep(lookEveryMs, undefined, { signal, ref: false }).catch(() => undefined);
      for (const [key, work] of this.#work) {
        if (signal.aborted) return;
        if (work.isOver) continue;
        if (work.view.tasks.size === 0 && work.idle) this.#work.delete(key);
        else if (work.isStale(lookEveryMs)) {
          const state = await this.#look(work.view).catch(() => undefined);
          if (state) work.consider(state);
        }
      }
      await this.#removeStrays(signal);
    }
  }

  async #removeStrays(signal: AbortSignal): Promise<void> {
    const ours = [...this.#views()].filter(({ workflow }) => this.isOurs(workflow.uid));
    for (const view of this.#strays.due(ours)) {
      if (signal.aborted) return;
      try {
        const removed = await this.#strays.remove(view, await this.#look(view), signal);
        if (removed) this.#observer.healed?.(view);
      } catch (thrown) {
        const failure = toFailure(thrown);
        if (failure.code !== "cluster-conflict") this.#observer.trouble?.(view, failure);
      }
    }
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#draining = true;
    for (const work of this.#work.values()) work.close();
    while (!signal.aborted && ![...this.#work.values()].every(({ idle, isOver }) => idle || isOver))
      await sleep(20, undefined, { signal }).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    this.#stop.abort();
    for (const follower of this.#followers) await follower[Symbol.asyncDispose]();
    const all = [...this.#work.values(), ...this.#leaving];
    for (const work of all) work.stop("The agent ends");
    await Promise.all(all.map((work) => work.flush()));
    await this.#replicas?.[Symbol.asyncDispose]();
  }
}

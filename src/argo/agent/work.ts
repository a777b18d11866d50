import { setTimeout as sleep } from "node:timers/promises";
import { Failure, toFailure } from "../../errors/mod.ts";
import type { Cluster, ObjectMeta } from "../../kubernetes/mod.ts";
import type { NodeResult, Step, StepExecutor, Template } from "../model.ts";
import type { AgentObserver } from "./mod.ts";
import type { FairQueue } from "./queue.ts";
import { isTerminal, taskSets, viewOf, type TaskSetView } from "./view.ts";

/** Results that come within this time after one go together. */
const gatherMs = 8;
/** Above it results wait until the engine has taken earlier ones: an object of the API has 1.5 MiB. */
const statusBytes = 900 * 1024;
/** One result: the node of the workflow has it as well. */
const resultBytes = 512 * 1024;
const messageBytes = 8 * 1024;
const firstWaitMs = 100;
const longestWaitMs = 10_000;

export interface WorkOptions {
  readonly cluster: Cluster;
  readonly executors: readonly StepExecutor[];
  readonly queue: FairQueue;
  readonly observer: AgentObserver;
  /** Whether this replica does the work of a workflow now; undefined while nobody knows. */
  readonly isOurs: (workflowUid: string) => boolean | undefined;
  /** A step that takes longer is told to run, from when on its deadlines are ours. */
  readonly runningAfterMs: number;
  /** When a step that is told to run has to end, and with which result. */
  readonly long: (
    step: Step,
    seenAt: number,
  ) => Promise<{ readonly result: NodeResult; readonly inMs: number } | undefined>;
}

interface Node {
  readonly step: Step;
  readonly seenAt: number;
  readonly stop: AbortController;
  leave: () => void;
  /** Which is to be written down. */
  result: NodeResult | undefined;
  /** It is written down; it stays known until the engine takes the task away. */
  sent: boolean;
  startedAt: number | undefined;
  running: NodeJS.Timeout | undefined;
  deadline: NodeJS.Timeout | undefined;
}

/** The tasks of one task set: what is due is started, what vanishes is stopped, and results are written by one hand. */
export class TaskSetWork {
  readonly #options: WorkOptions;
  readonly #nodes = new Map<string, Node>();
  /** Results that are on no server yet. */
  readonly #unsent = new Set<string>();
  readonly #stop = new AbortController();
  #view: TaskSetView;
  #writing: Promise<void> | undefined;
  #closing = false;

  constructor(view: TaskSetView, options: WorkOptions) {
    this.#view = view;
    this.#options = options;
    this.see(view);
  }

  get uid(): string {
    return this.#view.uid;
  }

  get view(): TaskSetView {
    return this.#view;
  }

  /** Steps that wait or run. */
  get active(): readonly Step[] {
    return [...this.#nodes.values()].filter(({ result }) => !result).map(({ step }) => step);
  }

  get idle(): boolean {
    return this.#unsent.size === 0 && this.active.length === 0;
  }

  /** How the task set is now. */
  see(view: TaskSetView): void {
    if (isOlder(view, this.#view)) return;
    this.#view = view;
    for (const [id, node] of this.#nodes) {
      if (view.tasks.has(id)) continue;
      // Stopped, timed out or taken: whichever, nobody wants to hear of it any more.
      this.#forget(id, node, "The engine does not wait for it any more");
    }
    if (this.#closing || this.#options.isOurs(view.workflow.uid) !== true) return;
    for (const [id, template] of view.tasks) {
      if (!this.#nodes.has(id) && !isTerminal(view.phases.get(id))) this.#begin(id, template);
    }
    if (this.#unsent.size > 0) this.#write();
  }

  /** Nothing new is begun. */
  close(): void {
    this.#closing = true;
  }

  /** Everything is given up. */
  stop(reason: string): void {
    for (const [id, node] of this.#nodes) this.#forget(id, node, reason);
    this.#stop.abort(new Failure("aborted", reason));
  }

  /** Resolves when no result is left to be written. */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  #begin(id: string, template: Template): void {
    const executor = this.#options.executors.find((one) => one.accepts(template));
    if (!executor) return;
    const { namespace, workflow } = this.#view;
    const step: Step = {
      workflow: { namespace, ...workflow },
      nodeId: id,
      template,
    };
    const node: Node = {
      step,
      seenAt: performance.now(),
      stop: new AbortController(),
      leave: () => undefined,
      result: undefined,
      sent: false,
      startedAt: undefined,
      running: undefined,
      deadline: undefined,
    };
    this.#nodes.set(id, node);
    this.#options.observer.seen?.(step);
    node.running = setTimeout(
      () => this.#tellRunning(id, node),
      template["pendingTimeout"] === undefined ? this.#options.runningAfterMs : 0,
    );
    node.running.unref();
    node.leave = this.#options.queue.add({
      namespace,
      workflow: workflow.uid,
      start: () => this.#execute(id, node, executor),
    });
  }

  async #execute(id: string, node: Node, executor: StepExecutor): Promise<void> {
    const { step, stop } = node;
    if (stop.signal.aborted) return;
    node.startedAt = performance.now();
    let result: NodeResult;
    try {
      result = await executor.execute(step, { signal: stop.signal });
    } catch (thrown) {
      result = { phase: "Error", message: toFailure(thrown).message };
    }
    if (stop.signal.aborted || node.result) return;
    this.#ended(id, node, result);
  }

  #ended(id: string, node: Node, result: NodeResult): void {
    clearTimeout(node.running);
    clearTimeout(node.deadline);
    node.result = bounded(result);
    const now = performance.now();
    this.#options.observer.ended?.(node.step, node.result, {
      waitedMs: (node.startedAt ?? now) - node.seenAt,
      ranMs: now - (node.startedAt ?? now),
    });
    this.#unsent.add(id);
    this.#write();
  }

  /** From now on the engine keeps no deadline of the step. */
  #tellRunning(id: string, node: Node): void {
    if (node.result || this.#nodes.get(id) !== node) return;
    this.#unsent.add(id);
    this.#write();
    this.#options.long(node.step, node.seenAt).then(
      (end) => {
        if (!end || node.result || this.#nodes.get(id) !== node) return;
        node.deadline = setTimeout(() => this.#fail(id, node, end.result), Math.max(0, end.inMs));
        node.deadline.unref();
      },
      (thrown: unknown) => this.#options.observer.trouble?.(this.#view, toFailure(thrown)),
    );
  }

  /** Ends a step with a result of ours. */
  #fail(id: string, node: Node, result: NodeResult): void {
    if (node.result) return;
    this.#ended(id, node, result);
    node.leave();
    node.stop.abort(new Failure("aborted", result.message ?? "It was ended"));
  }

  #forget(id: string, node: Node, reason: string): void {
    clearTimeout(node.running);
    clearTimeout(node.deadline);
    this.#nodes.delete(id);
    this.#unsent.delete(id);
    node.leave();
    if (!node.result) {
      node.stop.abort(new Failure("aborted", reason));
      this.#options.observer.cancelled?.(node.step);
    }
  }

  #write(): void {
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = undefined));
  }

  async #writeAll(): Promise<void> {
    let waitMs = firstWaitMs;
    // What ends in the same moment goes along.
    await Promise.resolve();
    // After a refusal, so many go one by one.
    let alone = 0;
    while (this.#unsent.size > 0 && !this.#stop.signal.aborted) {
      if (this.#options.isOurs(this.#view.workflow.uid) !== true) return;
      const ids = alone > 0 ? this.#batch().slice(0, 1) : this.#batch();
      if (ids.length === 0) {
        // The engine takes what is there first; its next change wakes this.
        return;
      }
      try {
        await this.#patch(ids);
        waitMs = firstWaitMs;
        if (alone > 0) alone -= 1;
        if (this.#unsent.size > 0) await sleep(gatherMs);
      } catch (thrown) {
        if (this.#stop.signal.aborted) return;
        const failure = toFailure(thrown);
        if (failure.code === "cluster-conflict") {
          this.#options.observer.conflict?.();
          if (!(await this.#reread())) return;
          continue;
        }
        if (failure.code === "cluster-missing") return this.stop("The task set is gone");
        if (isRefusedContent(failure)) {
          const [only = ""] = ids;
          if (ids.length > 1) alone = ids.length;
          if (ids.length > 1 || this.#refused(only, failure)) continue;
        }
        this.#options.observer.trouble?.(this.#view, failure);
        await sleep(waitMs * (0.5 + Math.random()), undefined, { signal: this.#stop.signal }).catch(
          () => undefined,
        );
        waitMs = Math.min(longestWaitMs, waitMs * 2);
        if (!(await this.#reread().catch(() => true))) return;
      }
    }
  }

  /** What goes next: as much as the object has room for, and at least one when nothing of ours is there. */
  #batch(): readonly string[] {
    const ids: string[] = [];
    let room = statusBytes - this.#view.statusBytes;
    for (const id of this.#unsent) {
      const node = this.#nodes.get(id);
      if (!node || !this.#view.tasks.has(id) || isTerminal(this.#view.phases.get(id))) {
        // Somebody has written a result, and that one counts.
        this.#unsent.delete(id);
        if (node?.result) node.sent = true;
        continue;
      }
      const size = node.result ? JSON.stringify(node.result).length + 200 : 200;
      if (size > room && (ids.length > 0 || this.#view.phases.size > 0)) continue;
      room -= size;
      ids.push(id);
    }
    return ids;
  }

  async #patch(ids: readonly string[]): Promise<void> {
    const { namespace, name, uid, version } = this.#view;
    const nodes: Record<string, NodeResult> = {};
    const told = new Map<string, NodeResult | undefined>();
    for (const id of ids) {
      const result = this.#nodes.get(id)?.result;
      told.set(id, result);
      nodes[id] = result ?? { phase: "Running" };
    }
    const begun = performance.now();
    const object = await this.#options.cluster.patch(
      taskSets,
      name,
      {
        metadata: { uid, resourceVersion: version },
        status: {
          nodes: Object.fromEntries(Object.entries(nodes).map(([id, it]) => [id, written(it)])),
        },
      },
      { namespace, subresource: "status", metadataOnly: true, signal: this.#stop.signal },
    );
    const ended = performance.now();
    for (const [id, result] of told) {
      const node = this.#nodes.get(id);
      // What has ended while it was told to run is told next.
      if (node?.result !== result) continue;
      this.#unsent.delete(id);
      if (!node || !result) continue;
      node.sent = true;
      this.#options.observer.written?.(node.step, {
        totalMs: ended - node.seenAt,
        patchMs: ended - begun,
      });
    }
    this.#wrote(object.metadata, nodes);
  }

  /** The view as it is with what was written: the object itself comes as an event, and is not read twice. */
  #wrote(metadata: ObjectMeta, nodes: Readonly<Record<string, NodeResult>>): void {
    const version = metadata.resourceVersion ?? "";
    if (Number(version) <= Number(this.#view.version)) return;
    const phases = new Map(this.#view.phases);
    for (const [id, { phase }] of Object.entries(nodes)) phases.set(id, phase);
    const statusBytes = this.#view.statusBytes + JSON.stringify(nodes).length;
    this.#view = { ...this.#view, version, phases, statusBytes };
  }

  /** Whether there is still something to write to. */
  async #reread(): Promise<boolean> {
    const { namespace, name, uid } = this.#view;
    const signal = this.#stop.signal;
    try {
      const view = viewOf(await this.#options.cluster.get(taskSets, name, { namespace, signal }));
      if (view.uid !== uid) {
        this.stop("The task set was made anew");
        return false;
      }
      this.see(view);
      return true;
    } catch (thrown) {
      if (toFailure(thrown).code !== "cluster-missing") throw thrown;
      this.stop("The task set is gone");
      return false;
    }
  }

  /** One that the server does not take must not keep others back: it is told to have failed. False when not even that can be told. */
  #refused(id: string, { message }: Failure): boolean {
    const node = this.#nodes.get(id);
    if (!node?.result) {
      this.#unsent.delete(id);
      return true;
    }
    if (node.result.outputs === undefined) return false;
    const size = JSON.stringify(node.result).length;
    node.result = {
      phase: "Error",
      message: `The cluster did not take the result of ${size} bytes: ${message.slice(0, 500)}. Hand large data out as an artifact, or have fewer steps at once.`,
    };
    return true;
  }
}

/** Versions of one object count up. */
function isOlder(one: TaskSetView, other: TaskSetView): boolean {
  return one.uid === other.uid && Number(one.version) < Number(other.version);
}

function isRefusedContent({ code, message }: Failure): boolean {
  return code === "cluster-invalid" || /too large|exceeds the (?:maximum|limit)/i.test(message);
}

/** Explicit nulls, so that nothing of an earlier entry stays. */
function written({ phase, message, outputs }: NodeResult): Readonly<Record<string, unknown>> {
  return { phase, message: message ?? null, outputs: outputs ?? null, progress: null };
}

function bounded(result: NodeResult): NodeResult {
  const size = JSON.stringify(result.outputs ?? {}).length;
  if (size > resultBytes) {
    return {
      phase: "Error",
      message: `The outputs of the step have ${size} bytes together; ${resultBytes} may be. Hand large data out as an artifact.`,
    };
  }
  const { message } = result;
  if (message === undefined || message.length <= messageBytes) return result;
  return { ...result, message: `${message.slice(0, messageBytes)}…` };
}

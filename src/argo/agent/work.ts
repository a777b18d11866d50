import { Failure, toFailure } from "../../errors/mod.ts";
import { parseDurationMs } from "../../limits/mod.ts";
import { textOf, type Cluster } from "../../kubernetes/mod.ts";
import type { NodeResult, Step, StepExecutor, Template } from "../model.ts";
import type { ClusterClock } from "./clock.ts";
import type { AgentObserver } from "./mod.ts";
import type { Pace } from "./pace.ts";
import type { FairQueue } from "./queue.ts";
import { bytesOf, isOlder, isTerminal, type TaskSetView } from "./view.ts";
import type { WorkflowState } from "./workflow.ts";
import { ResultWriter, type Outbox } from "./writer.ts";

/** One result: the node of the workflow has it as well. */
const resultBytes = 512 * 1024;
const messageLength = 8 * 1024;
/** A result that is written, and then neither there nor taken, is looked into so often before the step is done again. */
const missedBefore = 2;
const longestTimerMs = 2 ** 31 - 1;
const running: NodeResult = { phase: "Running" };

export interface WorkOptions {
  readonly cluster: Cluster;
  readonly executors: readonly StepExecutor[];
  readonly queue: FairQueue;
  readonly observer: AgentObserver;
  readonly clock: ClusterClock;
  readonly pace: Pace;
  /** Whether this replica does the work of a workflow now; undefined while nobody knows. */
  readonly isOurs: (workflowUid: string) => boolean | undefined;
  /** A step that runs for longer is told to, from when on its deadlines are ours. */
  readonly runningAfterMs: number;
  /** The workflow of these steps as it is now. */
  readonly look: (view: TaskSetView) => Promise<WorkflowState>;
  /** What is due may be so no more: of a task set that we did not see come, the workflow is asked before anything runs. */
  readonly unsure: boolean;
}

interface Node {
  readonly step: Step;
  readonly seenAt: number;
  readonly stop: AbortController;
  leave: () => void;
  /** It is the engine's until it takes the task away, so it stays known for so long. */
  result: NodeResult | undefined;
  startedAt: number | undefined;
  sentAt: number | undefined;
  /** How often nothing was seen of a result that was written. */
  missed: number;
  /** It is told to run, or somebody before us has told so. */
  told: boolean;
  running: NodeJS.Timeout | undefined;
  deadline: NodeJS.Timeout | undefined;
}

/** The tasks of one task set: what is due is started, what vanishes is stopped, and results are written by one hand. */
export class TaskSetWork implements Outbox {
  readonly #options: WorkOptions;
  readonly #nodes = new Map<string, Node>();
  /** Tasks that are still there although the workflow has done with them. */
  readonly #settled = new Set<string>();
  /** Tasks that may be done with: they were there before they were ours. */
  readonly #unsure: Set<string>;
  readonly #stop = new AbortController();
  readonly #writer: ResultWriter;
  #view: TaskSetView;
  #looked: Promise<WorkflowState | undefined> | undefined;
  #closed = false;
  #isLeaving = false;

  constructor(view: TaskSetView, options: WorkOptions) {
    this.#view = view;
    this.#options = options;
    this.#unsure = new Set(options.unsure ? view.tasks.keys() : []);
    const { cluster, pace } = options;
    this.#writer = new ResultWriter(cluster, this, { pace, signal: this.#stop.signal });
    this.see(view);
  }

  get view(): TaskSetView {
    return this.#view;
  }

  /** It has given up everything, and begins nothing any more. */
  get isOver(): boolean {
    return this.#stop.signal.aborted;
  }

  get idle(): boolean {
    return this.#writer.idle && [...this.#nodes.values()].every(({ result }) => result);
  }

  /** A step that is told to run may last; nobody waits for it. */
  get expectsMore(): boolean {
    if (this.#isLeaving) return false;
    for (const { result, startedAt, told } of this.#nodes.values())
      if (!result && startedAt !== undefined && !told) return true;
    return false;
  }

  get mayWrite(): boolean {
    return this.#isLeaving || this.#options.isOurs(this.#view.workflow.uid) === true;
  }

  /** How the task set is now. */
  see(view: TaskSetView): void {
    if (this.isOver || isOlder(view, this.#view)) return;
    this.#view = view;
    for (const [id, node] of this.#nodes) {
      if (!view.tasks.has(id)) {
        if (node.sentAt !== undefined)
          this.#options.observer.taken?.(node.step, { afterMs: performance.now() - node.sentAt });
        // Stopped, timed out or taken: whichever, nobody wants to hear of it any more.
        this.#forget(id, node, "The engine does not wait for it any more");
      } else if (!node.result && isTerminal(view.phases.get(id))) {
        this.#forget(id, node, "Another replica has its result");
      }
    }
    for (const ids of [this.#settled, this.#unsure]) {
      for (const id of ids) if (!view.tasks.has(id)) ids.delete(id);
    }
    const isOurs = this.#options.isOurs(view.workflow.uid) === true;
    if (!isOurs) for (const id of view.tasks.keys()) this.#unsure.add(id);
    if (this.#closed || !isOurs) return;
    for (const [id, template] of view.tasks) {
      if (this.#nodes.has(id) || this.#settled.has(id)) continue;
      if (!isTerminal(view.phases.get(id))) this.#begin(id, template);
    }
    this.#writer.wake();
  }

  /** Nothing is begun any more; what runs ends. */
  close(): void {
    this.#closed = true;
    for (const [id, node] of this.#nodes) {
      if (node.startedAt === undefined && !node.result) this.#forget(id, node, "The agent ends");
    }
  }

  /** Another replica takes over: what has ended is still written, and the other does the rest. */
  async handOver(): Promise<void> {
    this.#isLeaving = true;
    this.#closed = true;
    for (const [id, node] of this.#nodes) {
      if (!node.result) this.#forget(id, node, "Another replica does it");
    }
    this.#writer.wake();
    const late = setTimeout(() => this.stop("Another replica does it"), 5000);
    await this.#writer.flush();
    clearTimeout(late);
    this.stop("Another replica does it");
  }

  /** Everything is given up. */
  stop(reason: string): void {
    for (const [id, node] of this.#nodes) this.#forget(id, node, reason);
    this.#stop.abort(new Failure("aborted", reason));
  }

  /** Resolves when it writes no more. */
  flush(): Promise<void> {
    return this.#writer.flush();
  }

  /** Whether something has lasted for so long that the workflow should be asked. */
  isStale(afterMs: number): boolean {
    const then = performance.now() - afterMs;
    if (this.#settled.size > 0) return true;
    return [...this.#nodes].some(([id, { startedAt, sentAt, result }]) =>
      result
        ? sentAt !== undefined && sentAt < then && !isTerminal(this.#view.phases.get(id))
        : startedAt !== undefined && startedAt < then,
    );
  }

  /** What the workflow says: an engine that may not change a task set never takes a task away, and some changes are never seen. */
  consider(state: WorkflowState): void {
    if (state.isOver) return this.stop("The workflow is over");
    for (const [id, node] of this.#nodes) {
      const phase = state.nodes?.get(id)?.phase;
      if (!node.result && isTerminal(phase)) this.#settle(id, node);
      else if (!node.result && node.told) this.#keepDeadline(id, node, state);
      else if (node.sentAt !== undefined && !isTerminal(this.#view.phases.get(id))) {
        // It was taken, and is asked for again: a retry between two looks of ours, or an engine that lost it.
        const isAsked = phase === "Pending" || phase === "Running";
        node.missed = isAsked ? node.missed + 1 : 0;
        if (node.missed >= missedBefore) this.#forget(id, node, "It is asked for again");
      }
    }
    for (const id of this.#settled) {
      if (state.nodes && !isTerminal(state.nodes.get(id)?.phase)) this.#settled.delete(id);
    }
    this.see(this.#view);
  }

  #begin(id: string, template: Template): void {
    const executor = this.#options.executors.find((one) => one.accepts(template));
    if (!executor) return;
    const { namespace, workflow, phases } = this.#view;
    const step: Step = { workflow: { namespace, ...workflow }, nodeId: id, template };
    const node: Node = {
      step,
      seenAt: performance.now(),
      stop: new AbortController(),
      leave: () => undefined,
      result: undefined,
      startedAt: undefined,
      sentAt: undefined,
      missed: 0,
      told: phases.get(id) === "Running",
      running: undefined,
      deadline: undefined,
    };
    this.#nodes.set(id, node);
    this.#options.observer.seen?.(step);
    node.leave = this.#options.queue.add({
      namespace,
      workflow: workflow.uid,
      start: () => this.#execute(id, node, executor),
    });
    if (node.told) void this.#takeDeadline(id, node);
  }

  async #execute(id: string, node: Node, executor: StepExecutor): Promise<void> {
    const { step, stop } = node;
    if (this.#unsure.has(id)) {
      const state = await (this.#looked ??= this.#options.look(this.#view).catch(() => undefined));
      if (state?.isOver) this.stop("The workflow is over");
      else if (isTerminal(state?.nodes?.get(id)?.phase)) this.#settle(id, node);
    }
    if (stop.signal.aborted) return;
    node.startedAt = performance.now();
    if (!node.told) {
      // A step that waits for its turn is pending, so its time begins here.
      const afterMs = tellsAfterMs(step.template, this.#options.runningAfterMs);
      node.running = setTimeout(() => this.#tellRunning(id, node), afterMs);
      node.running.unref();
    }
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
    const startedAt = node.startedAt ?? now;
    const times = { waitedMs: startedAt - node.seenAt, ranMs: now - startedAt };
    this.#options.observer.ended?.(node.step, node.result, times, this.#view);
    this.#writer.add(id);
  }

  /** From now on the engine keeps no deadline of the step. */
  #tellRunning(id: string, node: Node): void {
    if (node.result || this.#nodes.get(id) !== node) return;
    node.told = true;
    this.#writer.add(id);
  }

  async #takeDeadline(id: string, node: Node): Promise<void> {
    try {
      this.#keepDeadline(id, node, await this.#options.look(this.#view));
    } catch (thrown) {
      // It is looked at again while it runs.
      if (!this.isOver) this.trouble(toFailure(thrown));
    }
  }

  #keepDeadline(id: string, node: Node, state: WorkflowState): void {
    if (node.result || this.#nodes.get(id) !== node) return;
    const end = this.#endOf(id, node, state);
    clearTimeout(node.deadline);
    if (!end || end.inMs > longestTimerMs) return;
    node.deadline = setTimeout(
      () => this.#fail(id, node, { phase: "Failed", message: end.message }),
      Math.max(0, end.inMs),
    );
    node.deadline.unref();
  }

  /** When a step has to end that the engine believes to run, and how that is told. */
  #endOf(
    id: string,
    node: Node,
    { endsAt, nodes }: WorkflowState,
  ): { readonly message: string; readonly inMs: number } | undefined {
    const now = this.#options.clock.now();
    const ends: { readonly message: string; readonly inMs: number }[] = [];
    const timeout = timeoutOf(node.step.template["timeout"]);
    if (timeout !== undefined) {
      // Somebody before us may have begun it.
      const before = now - (nodes?.get(id)?.startedAt ?? now);
      ends.push({
        message: `The step exceeded its timeout of ${textOf(node.step.template["timeout"]) ?? timeout}`,
        inMs: timeout - Math.max(performance.now() - node.seenAt, before),
      });
    }
    if (endsAt !== undefined)
      ends.push({ message: "Step exceeded its deadline", inMs: endsAt - now });
    return ends.toSorted((one, other) => one.inMs - other.inMs)[0];
  }

  /** Ends a step with a result of ours. */
  #fail(id: string, node: Node, result: NodeResult): void {
    if (node.result || this.#nodes.get(id) !== node) return;
    this.#ended(id, node, result);
    node.leave();
    node.stop.abort(new Failure("aborted", result.message ?? "It was ended"));
  }

  #settle(id: string, node: Node): void {
    this.#forget(id, node, "The workflow has done with it");
    this.#settled.add(id);
  }

  #forget(id: string, node: Node, reason: string): void {
    clearTimeout(node.running);
    clearTimeout(node.deadline);
    if (this.#nodes.get(id) === node) this.#nodes.delete(id);
    this.#writer.remove(id);
    node.leave();
    if (!node.result) {
      node.stop.abort(new Failure("aborted", reason));
      this.#options.observer.cancelled?.(node.step);
    }
  }

  entry(id: string): NodeResult | undefined {
    const node = this.#nodes.get(id);
    return node?.result ?? (node?.told ? running : undefined);
  }

  accepted(
    entries: ReadonlyMap<string, NodeResult>,
    { view, metadata, patchMs }: Parameters<Outbox["accepted"]>[1],
  ): void {
    this.#view = view;
    this.#options.clock.wrote(metadata);
    const now = performance.now();
    for (const [id, entry] of entries) {
      const node = this.#nodes.get(id);
      if (!node) continue;
      if (entry === running) void this.#takeDeadline(id, node);
      else if (node.result === entry) {
        node.sentAt = now;
        this.#options.observer.written?.(node.step, { totalMs: now - node.seenAt, patchMs });
      }
    }
  }

  superseded(id: string): void {
    const node = this.#nodes.get(id);
    if (node) node.sentAt ??= performance.now();
  }

  refused(id: string, { message }: Failure): boolean {
    const node = this.#nodes.get(id);
    if (!node?.result) return false;
    const size = bytesOf(node.result);
    const said = `The cluster did not take the result of ${size} bytes: ${message.slice(0, 500)}. Hand large data out as an artifact, or have fewer steps at once.`;
    const { outputs, message: before } = node.result;
    // What it refuses a second time may be the words themselves.
    if (outputs !== undefined) node.result = { phase: "Error", message: said };
    else if (before !== refusedTwice) node.result = { phase: "Error", message: refusedTwice };
    else return false;
    return true;
  }

  gone(reason: string): void {
    this.stop(reason);
  }

  conflict(): void {
    this.#options.observer.conflict?.();
  }

  trouble(failure: Error): void {
    this.#options.observer.trouble?.(this.#view, failure);
  }
}

const refusedTwice = "The cluster did not take the result of the step";

/** Most of the time for which a node may be pending is left for the engine to see that it is not. */
function tellsAfterMs(template: Template, usualMs: number): number {
  const pendingMs = timeoutOf(template["pendingTimeout"]);
  if (pendingMs === undefined) return usualMs;
  return pendingMs <= 30_000 ? 0 : Math.min(usualMs, pendingMs / 2);
}

/** The engine has looked at it before; what is none is none for it, too. */
function timeoutOf(value: unknown): number | undefined {
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  try {
    return value === "" ? undefined : parseDurationMs(value);
  } catch {
    return undefined;
  }
}

function bounded(result: NodeResult): NodeResult {
  const size = bytesOf(result.outputs ?? {});
  if (size > resultBytes) {
    return {
      phase: "Error",
      message: `The outputs of the step have ${size} bytes together; ${resultBytes} may be. Hand large data out as an artifact.`,
    };
  }
  const { message } = result;
  if (message === undefined || message.length <= messageLength) return result;
  return { ...result, message: `${message.slice(0, messageLength)}…` };
}

import type { Dispatcher } from "../dispatch/mod.ts";
import { Failure, toFailure, type FailureRecord } from "../errors/mod.ts";
import type { RunTaskOptions, TaskResult } from "../task/mod.ts";
import type { Claim, Recorded, Requested, Summary } from "./journal/mod.ts";
import { Outstanding } from "./outstanding.ts";
import {
  createPlanner,
  type Effect,
  type Planner,
  type RunEvent,
  type RunNode,
  type RunState,
  type Work,
} from "./plan/mod.ts";
import { toTask } from "./tasks.ts";

/** How often a run looks for requests and locks of other processes; each look costs microseconds. */
const pollMs = 150;
/** Tasks handed over beyond the dispatcher's capacity, so that it never runs dry. */
const spareTasks = 4;
const longestTimerMs = 2 ** 31 - 1;

type PullPolicy = NonNullable<Work["program"]["imagePullPolicy"]>;

export interface RunWorkflowOptions {
  /** The right to go on with the run; stays the caller's to dispose of. */
  readonly claim: Claim;
  readonly dispatcher: Dispatcher;
  /** Stops the guests and leaves the run as it is, to be resumed. */
  readonly signal?: AbortSignal;
  /** Nodes that began, changed or ended, once that is in the journal. */
  readonly onChange?: (nodes: readonly RunNode[], state: RunState) => void;
  /** What a guest writes, as it comes. Without it nothing is sent while guests run. */
  readonly onOutput?: (node: string, stream: "stdout" | "stderr", bytes: Uint8Array) => void;
  /** The digest that an image has now; undefined where a file stands for it. Without this each step looks for itself. */
  readonly resolveImage?: (
    image: string,
    options: { readonly signal: AbortSignal; readonly pullPolicy?: PullPolicy },
  ) => Promise<string | undefined>;
  /** An artifact of a node on its way from or to a store. */
  readonly onTransfer?: (
    node: string,
    transfer: Parameters<NonNullable<RunTaskOptions["onTransfer"]>>[0],
  ) => void;
  /** Something that a person should know and that changes nothing. */
  readonly onNotice?: (message: string) => void;
  /** Milliseconds since 1970; default: the machine's clock. */
  readonly now?: () => number;
}

/**
 * Runs a workflow from where its journal ends to its end. Every event is in the journal before anything follows from it. Rejects with
 * `aborted` after the signal and `storage` when the journal cannot be written; the run can then be resumed, and nothing accepted is lost.
 */
export function runWorkflow(options: RunWorkflowOptions): Promise<RunState> {
  return carryOn(options, () => []);
}

/** Like `runWorkflow`, with what a user asks of the run, decided when its state is known. With `leave` it is only written down. */
export async function carryOn(
  options: RunWorkflowOptions,
  decide: (found: Replayed) => readonly Requested[],
  leave = false,
): Promise<RunState> {
  const { claim } = options;
  const found = replay(claim.recorded);
  if (claim.recorded.count > 0) checkReplay(claim, found.planner.state);
  const run = new Run(options, found);
  return run.toTheEnd(decide(found), leave);
}

/** A run as its journal tells it. */
export interface Replayed {
  readonly planner: Planner;
  readonly outstanding: Outstanding;
  readonly lastAt: number;
  /** What later runs may recall, with the time when it was made. */
  readonly remembers: readonly Remember[];
  /** Digest of each module that ran, by its path or image. */
  readonly modules: Map<string, string>;
  /** What each image was when the run first used it: it stays that. */
  readonly images: Map<string, string>;
}

interface Remember {
  readonly effect: Extract<Effect, { readonly type: "remember" }>;
  readonly at: number;
}

/** Folds what was recorded. Reads the events once, so a long run is never in memory twice. */
export function replay(recorded: Recorded): Replayed {
  const planner = createPlanner(recorded.begin);
  const outstanding = new Outstanding();
  const remembers: Remember[] = [];
  const modules = new Map<string, string>();
  const images = new Map<string, string>();
  let lastAt = 0;
  for (const event of recorded.events) {
    lastAt = event.at;
    const work = event.type === "ended" ? outstanding.work.get(event.node) : undefined;
    if (work && event.type === "ended") {
      noteModule(modules, work, event.result);
      noteImage(images, work, event.result);
    }
    const effects = planner.apply(event);
    outstanding.note(event, effects);
    for (const effect of effects) {
      if (effect.type === "remember") remembers.push({ effect, at: event.at });
    }
  }
  planner.changed();
  return { planner, outstanding, lastAt, remembers, modules, images };
}

interface Running {
  readonly work: Work;
  readonly stop: AbortController;
}

class Run {
  readonly #options: RunWorkflowOptions;
  readonly #claim: Claim;
  readonly #planner: Planner;
  readonly #outstanding: Outstanding;
  readonly #modules: Map<string, string>;
  readonly #images: Map<string, string>;
  readonly #now: () => number;
  readonly #done = Promise.withResolvers<void>();
  /** Has happened and is not in the journal yet. */
  readonly #inbox: RunEvent[] = [];
  /** Waits for its turn at the dispatcher, in order. */
  readonly #ready = new Map<string, Work>();
  readonly #running = new Set<Running>();
  /** The latest of a node; what is left of an earlier attempt may still be stopping. */
  readonly #latest = new Map<string, Running>();
  #lastAt: number;
  #scheduled: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** No work begins, e.g. while another run has a lock that this one held when its process died. */
  #heldBack = false;
  #over = false;

  constructor(options: RunWorkflowOptions, found: Replayed) {
    this.#options = options;
    this.#claim = options.claim;
    this.#planner = found.planner;
    this.#outstanding = found.outstanding;
    this.#modules = found.modules;
    this.#images = found.images;
    this.#lastAt = found.lastAt;
    this.#now = options.now ?? Date.now;
    for (const { effect, at } of found.remembers) this.#claim.remember(effect, effect.outputs, at);
  }

  async toTheEnd(requests: readonly Requested[], leave: boolean): Promise<RunState> {
    const { signal } = this.#options;
    const interrupt = (): void => this.#end(interrupted(this.#claim.name));
    const poll = setInterval(() => this.#guarded(() => this.#poll()), pollMs);
    signal?.addEventListener("abort", interrupt);
    try {
      // Whoever only leaves word starts nothing.
      this.#heldBack = leave;
      if (signal?.aborted) interrupt();
      else this.#guarded(() => this.#begin(requests, leave));
      if (leave) this.#end();
      await this.#done.promise;
      return this.#planner.state;
    } finally {
      signal?.removeEventListener("abort", interrupt);
      clearInterval(poll);
      clearTimeout(this.#timer);
      clearImmediate(this.#scheduled);
      await this.#stopAll();
    }
  }

  /** What the process before left undone is done again, the events first that change what that is. */
  #begin(requests: readonly Requested[], leave: boolean): void {
    const { recorded } = this.#claim;
    const { held, asked, work } = this.#outstanding;
    if (!leave && held.size > 0 && !this.#claim.retakeLocks(held)) {
      this.#heldBack = true;
      const keys = [...held.values()].flat().map(({ key }) => key);
      this.#options.onNotice?.(`Waits for locks that another run has now: ${keys.join(", ")}`);
    }
    for (const [node, locks] of asked) this.#claim.askLocks(node, locks);
    for (const item of work.values()) this.#ready.set(item.node, item);
    if (recorded.count === 0) this.#post({ type: "begun", at: this.#time() });
    for (const requested of requests) this.#post({ ...requested, at: this.#time() });
    this.#answerRequests();
    this.#wake();
    this.#deliver();
    for (const recall of this.#outstanding.recalls.values()) this.#recall(recall);
    for (const [node, reason] of this.#outstanding.cancelled) this.#cancel(node, reason);
    this.#deliver();
    this.#takeLocks();
    this.#start();
    // The process before may have died right after the end.
    if (this.#outstanding.finished) this.#end();
  }

  #time(): number {
    this.#lastAt = Math.max(this.#lastAt, Math.trunc(this.#now()));
    return this.#lastAt;
  }

  #post(event: RunEvent): void {
    if (this.#over || (this.#outstanding.finished && event.type !== "retried")) return;
    this.#inbox.push(event);
    // All that ends in one turn of the event loop shares one transaction.
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined;
      this.#guarded(() => this.#deliver());
    });
  }

  /** Records what has happened and then lets it have its effects, until nothing follows at once any more. */
  #deliver(answered: readonly number[] = []): void {
    let ids = answered;
    while (this.#inbox.length > 0 && !this.#over) {
      const events: RunEvent[] = [];
      const effects: Effect[] = [];
      for (const event of this.#inbox.splice(0)) {
        // What came in the same moment as the end changes nothing any more.
        if (this.#outstanding.finished && event.type !== "retried") continue;
        events.push(event);
        const asked = this.#planner.apply(event);
        this.#outstanding.note(event, asked);
        effects.push(...asked);
      }
      this.#claim.append(events, summaryOf(this.#planner.state), ids);
      ids = [];
      for (const effect of effects) this.#carryOut(effect);
      this.#takeLocks();
      this.#start();
      this.#tell();
      if (this.#outstanding.finished) this.#end();
    }
  }

  #tell(): void {
    const { onChange } = this.#options;
    const ids = this.#planner.changed();
    if (!onChange || ids.length === 0) return;
    const { state } = this.#planner;
    onChange(
      ids.map((id) => state.nodes.get(id)).filter((node) => node !== undefined),
      state,
    );
  }

  #carryOut(effect: Effect): void {
    switch (effect.type) {
      case "start":
        this.#ready.set(effect.work.node, effect.work);
        break;
      case "cancel":
        this.#cancel(effect.node, effect.reason);
        break;
      case "wake":
        this.#wake();
        break;
      case "lock":
        this.#claim.askLocks(effect.node, effect.locks);
        break;
      case "unlock":
        this.#claim.unlock(effect.node);
        break;
      case "recall":
        this.#recall(effect);
        break;
      case "remember":
        this.#claim.remember(effect, effect.outputs, this.#lastAt);
        break;
      case "finish":
        break;
    }
  }

  #start(): void {
    const most = this.#options.dispatcher.capacity + spareTasks;
    for (const [node, work] of this.#ready) {
      if (this.#running.size >= most || this.#heldBack || this.#over) return;
      this.#ready.delete(node);
      const running = { work, stop: new AbortController() };
      this.#running.add(running);
      this.#latest.set(node, running);
      void this.#work(running);
    }
  }

  /** Never rejects: whatever becomes of the work is an event, or nothing when the run was left. */
  async #work(running: Running): Promise<void> {
    const { dispatcher, onOutput, onTransfer } = this.#options;
    const { work, stop } = running;
    const { node, attempt } = work;
    const handedOverAt = this.#now();
    let result: TaskResult;
    try {
      const digest = await this.#pinned(work, stop.signal);
      const task = toTask(work, this.#claim.recorded.begin, handedOverAt, digest);
      result = await dispatcher.dispatch(task, {
        signal: stop.signal,
        ...(onTransfer ? { onTransfer: (transfer) => onTransfer(node, transfer) } : {}),
        ...(onOutput ? { onOutput: (stream, bytes) => onOutput(node, stream, bytes) } : {}),
      });
    } catch (thrown) {
      result = without(toFailure(thrown));
    }
    this.#running.delete(running);
    if (this.#latest.get(node) === running) this.#latest.delete(node);
    // What was stopped because the run is left has not ended: it begins again when the run is resumed.
    if (this.#over) return;
    this.#guarded(() => {
      if (result.failure?.code === "storage") throw fullDisk(this.#claim.name, result.failure);
      noteImage(this.#images, work, result);
      const changed = noteModule(this.#modules, work, result);
      if (changed !== undefined) this.#options.onNotice?.(changed);
      const startedAt = Math.trunc(handedOverAt + result.timings.queueMs);
      this.#post({ type: "ended", at: this.#time(), node, attempt, startedAt, result });
      this.#start();
    });
  }

  /** The digest of the work's image: all steps of a run have the same one, whatever becomes of the tag meanwhile. */
  async #pinned(work: Work, signal: AbortSignal): Promise<string | undefined> {
    const image = imageOf(work);
    const { resolveImage } = this.#options;
    if (image === undefined || !resolveImage) return undefined;
    const known = this.#images.get(image);
    if (known !== undefined) return known;
    const { imagePullPolicy: pullPolicy } = work.program;
    const found = await resolveImage(image, { signal, ...(pullPolicy ? { pullPolicy } : {}) });
    // Another step may have looked it up meanwhile, and its answer counts.
    const digest = this.#images.get(image) ?? found;
    if (digest !== undefined) this.#images.set(image, digest);
    return digest;
  }

  #cancel(node: string, reason: string): void {
    const failure = new Failure("aborted", reason);
    const waiting = this.#ready.get(node);
    if (waiting) {
      this.#ready.delete(node);
      const { attempt } = waiting;
      const at = this.#time();
      this.#post({ type: "ended", at, node, attempt, startedAt: at, result: without(failure) });
    } else this.#latest.get(node)?.stop.abort(failure);
  }

  #recall({ node, cache, key, maxAgeMs }: Extract<Effect, { readonly type: "recall" }>): void {
    const at = this.#time();
    const outputs = this.#claim.recall({ cache, key }, maxAgeMs === undefined ? 0 : at - maxAgeMs);
    this.#post({ type: "recalled", at, node, outputs });
  }

  #wake(): void {
    clearTimeout(this.#timer);
    if (this.#outstanding.wakes.size === 0) return;
    const wait = Math.min(...this.#outstanding.wakes) - this.#now();
    if (wait <= 0) {
      this.#post({ type: "woke", at: this.#time() });
      return;
    }
    this.#timer = setTimeout(
      () => this.#guarded(() => this.#wake()),
      Math.min(wait, longestTimerMs),
    );
  }

  #poll(): void {
    if (this.#over) return;
    if (this.#heldBack && this.#claim.retakeLocks(this.#outstanding.held)) {
      this.#heldBack = false;
      this.#start();
    }
    if (this.#claim.changed()) this.#answerRequests();
    this.#takeLocks();
    this.#deliver();
  }

  #answerRequests(): void {
    const requests = this.#claim.requests();
    if (requests.length === 0) return;
    for (const { requested } of requests) this.#post({ ...requested, at: this.#time() });
    this.#deliver(requests.map(({ id }) => id));
  }

  #takeLocks(): void {
    if (this.#outstanding.asked.size === 0 || this.#heldBack) return;
    for (const node of this.#claim.takeLocks()) {
      this.#post({ type: "locked", at: this.#time(), node });
    }
  }

  /** A journal that cannot be written, or a bug, leaves the run; what is in the journal stays true. */
  #guarded(work: () => void): void {
    try {
      if (!this.#over) work();
    } catch (thrown) {
      this.#end(toFailure(thrown));
    }
  }

  #end(failure?: Failure): void {
    this.#over = true;
    if (failure) this.#done.reject(failure);
    else this.#done.resolve();
  }

  /** Guests that still run are stopped and waited for. */
  async #stopAll(): Promise<void> {
    this.#over = true;
    for (const { stop } of this.#running) stop.abort(new Failure("aborted", "The run was left"));
    while (this.#running.size > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function summaryOf({ phase, message, finishedAt, suspended, progress }: RunState): Summary {
  return {
    phase,
    ...(message === undefined ? {} : { message }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
    suspended,
    progress: { done: progress.done, total: progress.total },
  };
}

/** The list was written from the state that the planner had then; another one now means that the planner changed its mind. */
function checkReplay(claim: Claim, state: RunState): void {
  const now = JSON.stringify(summaryOf(state));
  const then = JSON.stringify(summaryOf({ ...state, ...claim.summary }));
  if (now === then) return;
  throw new Failure(
    "journal-format",
    `The journal of "${claim.name}" leads to another state than the one it was left in`,
    { hint: "Resume it with the version of Atalanta that began it, or begin it anew." },
  );
}

function interrupted(name: string): Failure {
  return new Failure("aborted", `The run "${name}" was interrupted`, {
    hint: `Go on with: atalanta resume ${name}`,
  });
}

/** Not the step's fault and true for all steps: the run is left as it is, to be resumed when there is room. */
function fullDisk(name: string, { message, hint }: FailureRecord): Failure {
  return new Failure("storage", `The run "${name}" cannot go on: ${message}`, {
    hint: `${hint ?? "Make room or give write permission."} Then go on with: atalanta resume ${name}`,
  });
}

function without(failure: Failure): TaskResult {
  return {
    phase: "Error",
    message: failure.message,
    failure: failure.toJSON(),
    outputs: { parameters: [], artifacts: [] },
    timings: { queueMs: 0, pullMs: 0, compileMs: 0, instantiateMs: 0, runMs: 0, artifactsMs: 0 },
  };
}

/** Says so when a module is not the one that ran under this name before. */
function noteModule(
  modules: Map<string, string>,
  work: Work,
  result: TaskResult,
): string | undefined {
  const name = "module" in work.program ? work.program.module : undefined;
  const digest = result.moduleDigest;
  if (name === undefined || digest === undefined) return undefined;
  const before = modules.get(name);
  modules.set(name, digest);
  if (before === undefined || before === digest) return undefined;
  return `The module "${name}" has changed since an earlier step of this run: ${before} is now ${digest}`;
}

function imageOf({ kind, program }: Work): string | undefined {
  return kind === "wasm" ? program.image : undefined;
}

function noteImage(images: Map<string, string>, work: Work, { imageDigest }: TaskResult): void {
  const image = imageOf(work);
  if (image !== undefined && imageDigest !== undefined) images.set(image, imageDigest);
}

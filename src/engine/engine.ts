import { readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../errors/mod.ts";
import { limitFailure } from "../limits/mod.ts";
import type { HttpAnswer } from "../wasi/mod.ts";
import { usedUp } from "./guest.ts";
import { interrupt, type Interruption } from "./interrupt.ts";
import { Lines } from "./lines.ts";
import type { Engine, EngineOptions, Invocation, Module, Result, RunOptions } from "./mod.ts";
import { tooMany } from "./kept.ts";
import { Modules, type Compiled } from "./modules.ts";
import { Requests } from "./requests.ts";
import { aborted, endedBy, lostThread, refused, resultOf } from "./results.ts";
import { removeLeftovers, temporaryFolder } from "./staging.ts";
import { hasBegun, send, startThread, usedCpuMs, type Thread } from "./threads.ts";
import type { FromWorker } from "./worker.ts";

/** How long an interrupted thread may take to answer before it is thrown away. */
const interruptMs = 2000;
/** Threads beyond those that one group needs go when nobody has used them for so long. */
const idleMs = 10_000;
/** From so many on, the stacks of those who wait may matter; how often that is looked at. */
const crowd = 256;
const lookMs = 20;
/** Folders of ours below the system's temporary one. */
const stagingPrefix = "atalanta-";

interface Job {
  readonly id: number;
  readonly group: string;
  readonly compiled: Compiled;
  readonly invocation: Invocation;
  readonly options: RunOptions;
  readonly resolve: (result: Result) => void;
  readonly stopListening: () => void;
  readonly requests: Requests | undefined;
  settled: boolean;
  /** The guest has ended, but what it wrote is not taken yet. */
  over: boolean;
  /** Where it runs or waits; absent while it is in the queue. */
  place: Place | undefined;
  startedAt: number;
  /** When its wall time is over. */
  deadline: number;
  /** Since when it could go on, but its thread has another guest. */
  heldUpAt: number | undefined;
  /** CPU time until it was last parked. */
  cpuMs: number;
  /** Memory that it holds while it is parked. */
  heldBytes: number;
  /** What it is to be woken with. */
  answer: HttpAnswer | undefined;
  limit: NodeJS.Timeout | undefined;
  cpuLimit: NodeJS.Timeout | undefined;
  waking: NodeJS.Timeout | undefined;
}

/** A thread with what the pool knows of it. */
interface Place {
  readonly thread: Thread;
  /** Modules that it was sent, with their sizes. */
  readonly known: Map<string, number>;
  /** Guests may come. */
  ready: boolean;
  /** The group that it was started for, until it is ready. */
  promisedTo: string | undefined;
  /** The guest that has the thread. */
  running: Job | undefined;
  /** Guests whose stacks lie aside, how many of each group, and those of them whose time has come. */
  readonly parked: Set<Job>;
  readonly parkedOf: Map<string, number>;
  readonly due: Lines<Job>;
  /** Parked guests that were dropped while `running` has the thread. */
  readonly dropped: number[];
  idleSince: number;
  /** Set while `running` is being interrupted. */
  stopping: { readonly close: () => void; readonly end: (cpuMs: number) => void } | undefined;
}

/** Starts an engine; threads are started when they are first needed. */
export function createEngine(options: EngineOptions = {}): Engine {
  return new ThreadEngine(options);
}

class ThreadEngine implements Engine {
  /** Threads that guests of one group have at once, and threads of all groups. */
  readonly #size: number;
  readonly #most: number;
  readonly #parkedBytes: number;
  readonly #stagingFolder: string;
  readonly #modules = new Modules();
  readonly #places = new Set<Place>();
  readonly #queue = new Lines<Job>();
  /** Threads that each group has, or that are being started for it. */
  readonly #load = new Map<string, number>();
  #nextId = 1;
  /** Guests that run or are parked. */
  #active = 0;
  /** All that wait and their memory; nobody new is started while that is above the ceiling. */
  #parkedCount = 0;
  #heldBytes = 0;
  /** What the whole process has of the machine's memory, and when that was looked at. */
  #residentBytes = 0;
  #residentAt = 0;
  /** Whether a thread lies ready for when one is thrown away; so since it has happened. */
  #spare = false;
  #retiring: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: EngineOptions) {
    this.#size = options.threads ?? availableParallelism();
    this.#most = options.mostThreads ?? this.#size * 4;
    this.#parkedBytes = options.parkedBytes ?? (process.constrainedMemory() || totalmem()) / 2;
    if (options.stagingFolder === undefined) void removeLeftovers(tmpdir(), stagingPrefix);
    this.#stagingFolder = options.stagingFolder ?? temporaryFolder(stagingPrefix);
  }

  load(...asked: Parameters<Engine["load"]>): Promise<Module> {
    return this.#modules.load(...asked);
  }

  run(module: Module, invocation: Invocation, options: RunOptions = {}): Promise<Result> {
    const compiled = this.#modules.compiled(module);
    if (!compiled || this.#closed) {
      return Promise.reject(
        new Failure(
          "internal",
          "The module was not loaded by this engine, or the engine is closed",
        ),
      );
    }
    const failure = refused(invocation) ?? this.#tooMany(invocation);
    if (failure) return Promise.resolve(endedBy("failed", failure));
    const { signal } = options;
    if (signal?.aborted) return Promise.resolve(endedBy("stopped", aborted()));
    return new Promise((resolve) => {
      const stop = (): void => this.#stop(job, aborted());
      const stopListening = (): void => signal?.removeEventListener("abort", stop);
      const job: Job = {
        id: this.#nextId++,
        group: invocation.group ?? "",
        compiled,
        invocation,
        options,
        resolve,
        stopListening,
        requests: Requests.of(options),
        settled: false,
        over: false,
        place: undefined,
        startedAt: 0,
        deadline: 0,
        heldUpAt: undefined,
        cpuMs: 0,
        heldBytes: 0,
        answer: undefined,
        limit: undefined,
        cpuLimit: undefined,
        waking: undefined,
      };
      signal?.addEventListener("abort", stop);
      this.#queue.push(job);
      this.#schedule();
    });
  }

  /** Whoever waits for a sandbox has arguments and stdin in our memory. */
  #tooMany({ limits }: Invocation): Failure | undefined {
    const most = limits.sandboxes * 10;
    if (this.#queue.size < most) return undefined;
    return limitFailure("sandboxes", limits, `${most} guests wait for a sandbox already`);
  }

  /** Gives free threads what is to run: first who has waited there, then who is in the queue. */
  #schedule(): void {
    if (this.#closed) return;
    const may = ({ group }: Job): boolean => (this.#load.get(group) ?? 0) < this.#size;
    for (const place of this.#places) {
      const job = place.running || place.due.size === 0 ? undefined : place.due.shift(may);
      if (job) this.#wake(place, job);
    }
    const mayBegin = (job: Job): boolean =>
      may(job) && this.#active < Math.min(job.invocation.limits.sandboxes, mostSandboxes);
    // Who waits comes to an end by itself, so the queue always moves on.
    while (this.#queue.size > 0 && !this.#crowded()) {
      const job = this.#queue.peek(mayBegin);
      if (!job) return;
      const place = this.#pick(job);
      if (place === "start") this.#start(job.invocation.limits.stackBytes, job.group);
      else if (place) {
        this.#queue.shift(mayBegin);
        this.#give(place, job);
      } else return;
    }
  }

  /**
   * Where a guest is to begin, or that a thread is to be started for it. Whoever is parked on a thread is held up by who runs there, so a
   * thread where nobody is parked is the best, then one where only its own group is. But who will be parked goes where others are.
   */
  #pick({ group, compiled, invocation }: Job): Place | "start" | undefined {
    const { stackBytes } = invocation.limits;
    const free: Place[] = [];
    let occupied = 0;
    let withParked = 0;
    let coming = 0;
    for (const place of this.#places) {
      if (place.promisedTo !== undefined) coming++;
      if (place.parkedOf.has(group)) withParked++;
      const own = place.running?.group ?? place.promisedTo;
      if (place.parkedOf.has(group) || own === group) occupied++;
      if (place.ready && !place.running && place.thread.stackBytes === stackBytes) free.push(place);
    }
    const own = fewest(free.filter((place) => place.parkedOf.has(group)));
    if (own && compiled.parks && withParked >= this.#size) return own;
    const empty = free.find(({ parked }) => parked.size === 0);
    if (empty) return empty;
    // Each that waits has a thread on its way already.
    if (coming >= this.#queue.size) return undefined;
    const allowed = Math.max(this.#size, Math.floor(this.#most / 2));
    if (occupied < allowed && this.#places.size < this.#most) return "start";
    const chosen = fewest(
      free.filter(({ parkedOf }) => parkedOf.has(group) && parkedOf.size === 1),
    );
    return chosen ?? fewest(free) ?? (this.#retireOther(stackBytes) ? "start" : undefined);
  }

  /** Ends an idle thread with another size of stack, when there are as many threads as there may be. */
  #retireOther(stackBytes: number): boolean {
    if (this.#places.size < this.#most) return true;
    for (const place of this.#places) {
      if (!isIdle(place) || place.thread.stackBytes === stackBytes) continue;
      this.#end(place);
      return true;
    }
    return false;
  }

  /** Whether those who wait have all the memory that they may have. What their stacks have touched can be seen in the process alone. */
  #crowded(): boolean {
    if (this.#heldBytes > this.#parkedBytes) return true;
    if (this.#parkedCount < crowd) return false;
    const now = performance.now();
    if (now - this.#residentAt > lookMs) {
      this.#residentAt = now;
      this.#residentBytes = process.memoryUsage.rss();
    }
    return this.#residentBytes > this.#parkedBytes;
  }

  #park(place: Place, job: Job, heldBytes: number): void {
    this.#parkedCount++;
    place.parked.add(job);
    place.parkedOf.set(job.group, (place.parkedOf.get(job.group) ?? 0) + 1);
    job.compiled.parks = true;
    job.heldBytes = heldBytes;
    this.#heldBytes += heldBytes;
  }

  /** False when it was not parked there. */
  #unpark(place: Place, job: Job): boolean {
    if (!place.parked.delete(job)) return false;
    this.#parkedCount--;
    const others = (place.parkedOf.get(job.group) ?? 1) - 1;
    if (others > 0) place.parkedOf.set(job.group, others);
    else place.parkedOf.delete(job.group);
    place.due.remove(job);
    this.#heldBytes -= job.heldBytes;
    return true;
  }

  #occupy(place: Place, job: Job): void {
    place.running = job;
    this.#count(job.group, 1);
    // An idle thread must not keep the process alive, a busy one must.
    place.thread.worker.ref();
    const { cpuMs } = job.invocation.limits;
    const leftMs = Math.max(1, job.deadline - performance.now());
    // Nobody computes longer than the clock goes.
    if (cpuMs - job.cpuMs < leftMs) this.#watchCpu(place, job, cpuMs - job.cpuMs);
    job.limit = setTimeout(() => this.#overtime(job), leftMs);
  }

  #free(place: Place): void {
    const { running } = place;
    if (!running) return;
    place.running = undefined;
    place.dropped.length = 0;
    place.idleSince = performance.now();
    clearTimeout(running.cpuLimit);
    this.#count(running.group, -1);
    place.thread.worker.unref();
  }

  #count(group: string, change: number): void {
    const load = (this.#load.get(group) ?? 0) + change;
    if (load > 0) this.#load.set(group, load);
    else this.#load.delete(group);
  }

  /** Starts a thread, for a group or to lie ready. */
  #start(stackBytes: number, group?: string): void {
    const thread = startThread(this.#stagingFolder, stackBytes);
    const place: Place = {
      thread,
      known: new Map(),
      ready: false,
      promisedTo: group,
      running: undefined,
      parked: new Set(),
      parkedOf: new Map(),
      due: new Lines(),
      dropped: [],
      idleSince: performance.now(),
      stopping: undefined,
    };
    this.#places.add(place);
    if (group !== undefined) this.#count(group, 1);
    // Somebody may wait for it.
    thread.worker.ref();
    thread.worker.on("message", (message: FromWorker) => this.#receive(place, message));
    thread.worker.on("error", (cause: Error) => {
      const full = "code" in cause && cause.code === "ERR_WORKER_OUT_OF_MEMORY";
      const failure = new Failure(
        full ? "limit-memory" : "runner-lost",
        `The thread that ran the guest died: ${cause.message}`,
        { cause },
      );
      if (!place.ready) this.#failOne(group, failure);
      this.#discard(place, "failed", failure);
    });
    if (this.#places.size > this.#size) this.#retireLater();
  }

  /** A thread that cannot be started fails who it was for: the next one may have better luck, but somebody must be told. */
  #failOne(group: string | undefined, failure: Failure): void {
    const job = this.#queue.shift((waiting) => waiting.group === group);
    if (job) this.#settle(job, endedBy("failed", failure));
  }

  #kept(place: Place): void {
    place.ready = true;
    place.thread.worker.unref();
    if (place.promisedTo === undefined) return;
    this.#count(place.promisedTo, -1);
    place.promisedTo = undefined;
  }

  #retireLater(): void {
    this.#retiring ??= setInterval(() => {
      const now = performance.now();
      for (const place of this.#places) {
        if (this.#places.size <= this.#size) break;
        if (isIdle(place) && now - place.idleSince > idleMs) this.#end(place);
      }
      if (this.#places.size > this.#size) return;
      this.#spare = false;
      clearInterval(this.#retiring);
      this.#retiring = undefined;
    }, idleMs / 2).unref();
  }

  /** Ends a thread that nobody needs. */
  #end(place: Place): void {
    this.#places.delete(place);
    void place.thread.worker.terminate();
  }

  /** Since a thread has been thrown away, the next one lies ready: starting it takes longer than most guests. */
  #prepareSpare(stackBytes: number): void {
    if (!this.#spare || this.#closed || this.#places.size > this.#most) return;
    for (const place of this.#places) {
      if (!place.running && place.parked.size === 0 && place.promisedTo === undefined) return;
    }
    this.#start(stackBytes);
  }

  #give(place: Place, job: Job): void {
    const { compiled, invocation, id } = job;
    job.place = place;
    job.startedAt = performance.now();
    job.deadline = job.startedAt + invocation.limits.timeMs;
    this.#active++;
    this.#occupy(place, job);
    if (!place.known.has(compiled.key)) {
      if (tooMany([...place.known.values(), compiled.sizeBytes])) {
        place.known.clear();
        send(place.thread, { type: "forget" });
      }
      place.known.set(compiled.key, compiled.sizeBytes);
      const { key, module, starts, memory } = compiled;
      send(place.thread, { type: "module", key, module, starts, ...(memory ? { memory } : {}) });
    }
    send(place.thread, {
      type: "run",
      id,
      key: compiled.key,
      request: {
        arguments: invocation.arguments,
        environment: invocation.environment,
        stdin: alone(invocation.stdin),
        mounts: invocation.mounts,
        preopens: invocation.preopens ?? ["/"],
        collect: invocation.collect,
        limits: invocation.limits,
        live: job.options.onOutput !== undefined,
        http: job.options.http !== undefined,
        ...(invocation.entry === undefined ? {} : { entry: invocation.entry }),
        ...(job.options.input || job.options.pour
          ? {
              streams: {
                stdin: job.options.input !== undefined,
                stdout: job.options.pour !== undefined,
              },
            }
          : {}),
      },
    });
    this.#prepareSpare(place.thread.stackBytes);
  }

  /** A parked guest may go on, as soon as its thread is free. That it must wait for this does not count as its time. */
  #due(place: Place, job: Job): void {
    clearTimeout(job.limit);
    job.heldUpAt = performance.now();
    place.due.push(job);
    this.#schedule();
  }

  #wake(place: Place, job: Job): void {
    this.#unpark(place, job);
    job.deadline += performance.now() - (job.heldUpAt ?? 0);
    job.heldUpAt = undefined;
    this.#occupy(place, job);
    const { id, answer } = job;
    job.answer = undefined;
    send(place.thread, { type: "wake", id, ...(answer ? { answer } : {}) });
  }

  /** Its wall time is over; but when this thread was busy for long, the message that it has ended may lie in our own queue. */
  #overtime(job: Job): void {
    setImmediate(() => {
      if (job.settled || job.heldUpAt !== undefined) return;
      const { limits } = job.invocation;
      const what = "The guest ran out of time";
      this.#stop(job, limitFailure("time", limits, what, "Look for an endless loop."));
    });
  }

  /** Looks at a guest's CPU time when it can first be over, and again when it is not. */
  #watchCpu(place: Place, job: Job, inMs: number): void {
    const look = async (): Promise<void> => {
      const watch = job.cpuLimit;
      const used = await usedCpuMs(place.thread).catch(() => 0);
      if (place.running !== job || job.cpuLimit !== watch || place.stopping) return;
      const { limits } = job.invocation;
      job.cpuMs = used;
      if (used >= limits.cpuMs) this.#stop(job, usedUp(limits));
      else this.#watchCpu(place, job, limits.cpuMs - used);
    };
    job.cpuLimit = setTimeout(() => void look(), Math.max(1, inMs));
  }

  #receive(place: Place, message: FromWorker): void {
    // What a thread still says while it ends came too late; the wait for its end keeps the process alive.
    if (!this.#places.has(place)) return;
    if (message.type === "ready") {
      // Thrown away while it started: it is awaited to its end, and must go on keeping the process alive.
      if (!this.#places.has(place)) return;
      this.#kept(place);
      this.#schedule();
      return;
    }
    const job = place.running;
    if (!job || job.id !== message.id) return;
    if (message.type === "dropped") {
      place.stopping?.end(message.cpuMs);
      return;
    }
    // Whatever a guest still says while it is stopped came too late.
    if (place.stopping) return;
    if (message.type === "output") {
      job.options.onOutput?.(message.stream, message.bytes);
      return;
    }
    if (message.type === "pour") {
      job.requests?.pour(message.bytes);
      return;
    }
    if (message.type === "close") {
      job.requests?.close(message.handle);
      return;
    }
    this.#free(place);
    if (message.type === "parked") {
      const { until } = message;
      job.cpuMs = message.cpuMs;
      this.#park(place, job, message.heldBytes);
      if (until.kind === "answer") void this.#ask(place, job, until.ask);
      else job.waking = setTimeout(() => this.#due(place, job), Math.min(until.ms, longestTimerMs));
    }
    if (message.type === "done") void this.#done(job, resultOf(message.outcome));
    this.#schedule();
  }

  /** A guest has ended when what it wrote is taken. */
  async #done(job: Job, result: Result): Promise<void> {
    const { requests } = job;
    if (!requests?.isPouring) return this.#settle(job, result);
    job.over = true;
    clearTimeout(job.limit);
    const failure = await requests.poured();
    this.#settle(job, failure ? endedBy("stopped", failure, result.usage) : result);
  }

  /** Wakes a guest with what it asked for. */
  async #ask(place: Place, job: Job, ask: Parameters<Requests["answer"]>[0]): Promise<void> {
    const answer = await job.requests?.answer(ask);
    // It may have been stopped meanwhile.
    if (!place.parked.has(job)) return;
    if (answer instanceof Failure) this.#stop(job, answer);
    else {
      job.answer = answer;
      this.#due(place, job);
    }
  }

  /** Ends a job from outside, wherever it is. */
  #stop(job: Job, failure: Failure): void {
    const { place } = job;
    if (job.over) this.#settle(job, endedBy("stopped", failure));
    else if (!place) {
      this.#queue.remove(job);
      this.#settle(job, endedBy("stopped", failure));
    } else if (this.#unpark(place, job)) {
      send(place.thread, { type: "drop", id: job.id });
      if (place.running) place.dropped.push(job.id);
      this.#cleanUp(job);
      this.#settle(job, stopped(job, failure));
      this.#schedule();
    } else if (place.running !== job || place.stopping) return;
    // A new thread is the surest way, and costs nobody anything when nobody waits on the old one.
    else if (place.parked.size === 0) this.#discard(place, "stopped", failure);
    else this.#interrupt(place, job, failure);
  }

  /** Ends the running guest and keeps its thread, for those who are parked there. */
  #interrupt(place: Place, job: Job, failure: Failure): void {
    const { thread } = place;
    const drop = (): void => send(thread, { type: "drop", id: job.id });
    let order: Interruption | undefined;
    /** Whether an order is on its way: it may hit anything yet. */
    let ordered = false;
    let next: NodeJS.Timeout | undefined;
    // When the guest ended at this very moment, the order hits the next thing that the thread executes: one of the messages that say
    // that it is to be dropped. So it is given again until one of them is answered.
    const give = (): void => {
      if (!ordered && hasBegun(thread, job.id)) {
        ordered = true;
        order?.again();
        order ??= interrupt(thread.name, () => {
          ordered = false;
          drop();
        });
        if (!order) return this.#discard(place, "stopped", failure);
      }
      drop();
      next = setTimeout(give, order ? 20 : 1);
    };
    const tooLate = setTimeout(() => this.#discard(place, "stopped", failure), interruptMs);
    const close = (): void => {
      clearTimeout(next);
      clearTimeout(tooLate);
      order?.[Symbol.dispose]();
      place.stopping = undefined;
    };
    place.stopping = {
      close,
      end: (cpuMs) => {
        if (ordered) return;
        close();
        job.cpuMs = cpuMs;
        // What was ended may have been a message of ours that was just taken in: that somebody parked is to be dropped.
        for (const id of place.dropped) send(thread, { type: "drop", id });
        this.#free(place);
        this.#cleanUp(job);
        this.#settle(job, stopped(job, failure));
        this.#schedule();
      },
    };
    give();
  }

  /** Throws a thread away. The failure is of the guest that runs; guests that are parked are lost with it. */
  #discard(place: Place, kind: "stopped" | "failed", failure: Failure): void {
    if (!this.#places.delete(place)) return;
    const { running, promisedTo } = place;
    const lost = [...place.parked];
    for (const job of lost) this.#unpark(place, job);
    if (promisedTo !== undefined) this.#count(promisedTo, -1);
    place.stopping?.close();
    this.#free(place);
    this.#spare ||= place.ready;
    this.#prepareSpare(place.thread.stackBytes);
    void this.#lookAtLast(place, running).then(() => {
      const why = this.#closed ? aborted() : lostThread();
      for (const job of running ? [running, ...lost] : lost) {
        this.#cleanUp(job);
        if (job === running) this.#settle(job, stopped(job, failure, kind));
        else this.#settle(job, stopped(job, why, this.#closed ? "stopped" : "failed"));
      }
      this.#schedule();
    });
  }

  /** Ends a thread, after a look at what its guest has used. */
  async #lookAtLast({ thread }: Place, running: Job | undefined): Promise<void> {
    // Somebody waits for its result.
    thread.worker.ref();
    if (running && !this.#closed) {
      const late = sleep(lastLookMs, undefined, { ref: false });
      const used = await Promise.race([usedCpuMs(thread).catch(() => undefined), late]);
      if (used !== undefined) running.cpuMs = used;
    }
    await endOf(thread);
  }

  #settle(job: Job, result: Result): void {
    if (job.settled) return;
    job.settled = true;
    if (job.place) this.#active--;
    clearTimeout(job.limit);
    clearTimeout(job.cpuLimit);
    clearTimeout(job.waking);
    job.requests?.[Symbol.dispose]();
    job.stopListening();
    job.resolve(result);
  }

  /** Removes what a guest that did not come to its end has left. */
  #cleanUp(job: Job): void {
    const folder = join(this.#stagingFolder, `guest-${job.id}`);
    rmSync(folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#retiring);
    for (const job of this.#queue.all()) this.#stop(job, aborted());
    const places = [...this.#places];
    for (const place of places) this.#discard(place, "stopped", aborted());
    await Promise.all(places.map(({ thread }) => endOf(thread)));
    rmSync(this.#stagingFolder, { recursive: true, force: true });
  }
}

const longestTimerMs = 2 ** 31 - 1;
/** A guest that computes is asked for its CPU time before its end, but only so long. */
const lastLookMs = 20;
/** Nobody waits longer for a thread's end. */
const endMs = 1000;

/** Ends a thread. Whoever waits for this goes on in any case: that nothing lasts longer than its limit does not rest on V8 alone. */
async function endOf({ worker }: Thread): Promise<void> {
  const late = new AbortController();
  const { signal } = late;
  const wait = sleep(endMs, undefined, { signal }).catch(() => undefined);
  await Promise.race([worker.terminate(), wait]);
  late.abort();
}

/**
 * Linux counts a process's mappings and ends one that has too many: a parked guest's stack and memory are five. What is left is for everything else.
 */
const mostSandboxes = ((): number => {
  try {
    const mappings = Number(readFileSync("/proc/sys/vm/max_map_count", "utf8"));
    return Math.max(100, Math.floor((mappings - 10_000) / 5));
  } catch {
    return Infinity;
  }
})();

function stopped(job: Job, failure: Failure, kind: "stopped" | "failed" = "stopped"): Result {
  const runMs = performance.now() - job.startedAt;
  const { cpuMs } = job;
  return endedBy(kind, failure, {
    instantiateMs: 0,
    runMs,
    cpuMs,
    memoryBytes: 0,
    filesCreated: 0,
    filesBytesWritten: 0,
  });
}

const nothing = new Uint8Array(0);

/** Bytes in a buffer of their own: a view would cross to the thread with all of its buffer. */
function alone(bytes: Uint8Array = nothing): Uint8Array {
  return bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}

function isIdle({ ready, running, parked }: Place): boolean {
  return ready && !running && parked.size === 0;
}

function fewest(places: readonly Place[]): Place | undefined {
  return places.toSorted((left, right) => left.parked.size - right.parked.size)[0];
}

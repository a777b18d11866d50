import { createHash, randomUUID } from "node:crypto";
import { readFileSync, rmSync, statSync } from "node:fs";
import { availableParallelism, tmpdir, totalmem } from "node:os";
import { basename, extname, join } from "node:path";
import { Worker } from "node:worker_threads";
import { Failure } from "../errors/mod.ts";
import { defaultLimits, limitFailure, type Limits } from "../limits/mod.ts";
import type { HttpAnswer } from "../wasi/mod.ts";
import { ceilingsOf, withCeilings } from "./ceilings.ts";
import type { GuestOutcome } from "./guest.ts";
import type { Engine, EngineOptions, Invocation, Module, Result, RunOptions } from "./mod.ts";
import { interrupt } from "./interrupt.ts";
import { Requests } from "./requests.ts";
import { removeLeftovers, stagingFolder } from "./staging.ts";
import type { FromWorker, ToWorker } from "./worker.ts";

/** Compiled modules kept; the least recently used goes first. */
const keptModules = 64;

/** Guests that may wait on one thread; more of them wait in the queue. */
const parkedPerThread = 1000;
/** How long an interrupted thread may take to answer before it is thrown away. */
const interruptMs = 2000;
const longestTimerMs = 2 ** 31 - 1;
/** Folders of ours below the system's temporary one. */
const stagingPrefix = "atalanta-";
/** V8's heap of one thread: trees of its guests, what they throw, and no guest's linear memory. */
const threadHeapMebibytes = 1024;

interface Job {
  readonly id: number;
  readonly compiled: Compiled;
  readonly invocation: Invocation;
  readonly options: RunOptions;
  readonly resolve: (result: Result) => void;
  readonly stopListening: () => void;
  /** Where it runs or waits; absent while it is in the queue. */
  thread: Thread | undefined;
  /** Memory that it holds while it is parked. */
  heldBytes: number;
  /** What it is to be woken with. */
  answer: HttpAnswer | undefined;
  readonly requests: Requests | undefined;
  limit: NodeJS.Timeout | undefined;
  waking: NodeJS.Timeout | undefined;
}

interface Compiled {
  readonly key: string;
  readonly module: WebAssembly.Module;
}

interface Thread {
  readonly worker: Worker;
  readonly name: string;
  readonly known: Set<string>;
  /** The guest that has the thread. */
  running: Job | undefined;
  /** Guests whose stacks lie aside, and those of them whose time has come. */
  readonly parked: Set<Job>;
  readonly due: Job[];
  /** Set while `running` is being interrupted. */
  stopping: { readonly close: () => void; readonly end: () => void } | undefined;
}

/** Starts an engine; threads are started when they are first needed. */
export function createEngine(options: EngineOptions = {}): Engine {
  return new ThreadEngine(options);
}

class ThreadEngine implements Engine {
  readonly #size: number;
  readonly #parkedBytes: number;
  readonly #stagingFolder: string;
  readonly #compiled = new WeakMap<Module, Compiled>();
  readonly #cache = new Map<string, Module>();
  /** Digests by what the file looked like: a loop of many steps reads and hashes its module once. */
  readonly #files = new Map<string, string>();
  readonly #threads = new Set<Thread>();
  readonly #queue: Job[] = [];
  #nextId = 1;
  /** Memory of all that wait; nobody new is started while it is above the ceiling. */
  #heldBytes = 0;
  #closed = false;

  constructor(options: EngineOptions) {
    this.#size = options.threads ?? availableParallelism();
    this.#parkedBytes = options.parkedBytes ?? (process.constrainedMemory() || totalmem()) / 2;
    if (options.stagingFolder === undefined) void removeLeftovers(tmpdir(), stagingPrefix);
    this.#stagingFolder = options.stagingFolder ?? temporaryFolder();
  }

  async load(
    source: { readonly path: string } | { readonly bytes: Uint8Array; readonly name: string },
    options: { readonly signal?: AbortSignal; readonly limits?: Limits } = {},
  ): Promise<Module> {
    options.signal?.throwIfAborted();
    const limits = options.limits ?? defaultLimits;
    const name = "path" in source ? basename(source.path) : source.name;
    const looks = "path" in source ? appearance(source.path, limits) : undefined;
    const same = looks === undefined ? undefined : this.#files.get(looks);
    const loadedBefore = this.#cached(`${same} ${ceilingsOf(limits)}`);
    if (loadedBefore) return loadedBefore;
    const bytes = "path" in source ? read(source.path, limits) : source.bytes;
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    const key = `${digest} ${ceilingsOf(limits)}`;
    if (looks !== undefined) {
      if (this.#files.size >= keptModules) this.#files.clear();
      this.#files.set(looks, digest);
    }
    const known = this.#cached(key);
    if (known) return known;
    const start = performance.now();
    const module = await compile(withCeilings(bytes, name, limits), name);
    const loaded: Module = {
      digest,
      name,
      compileMs: performance.now() - start,
      sizeBytes: bytes.length,
      imports: WebAssembly.Module.imports(module).map((item) => `${item.module}.${item.name}`),
      exports: WebAssembly.Module.exports(module).map((item) => item.name),
    };
    this.#compiled.set(loaded, { key, module });
    this.#cache.set(key, loaded);
    const [oldest] = this.#cache.keys();
    if (this.#cache.size > keptModules && oldest !== undefined) this.#cache.delete(oldest);
    return loaded;
  }

  #cached(key: string): Module | undefined {
    const known = this.#cache.get(key);
    if (!known) return undefined;
    this.#cache.delete(key);
    this.#cache.set(key, known);
    return known;
  }

  run(module: Module, invocation: Invocation, options: RunOptions = {}): Promise<Result> {
    const compiled = this.#compiled.get(module);
    if (!compiled || this.#closed) {
      return Promise.reject(
        new Failure(
          "internal",
          "The module was not loaded by this engine, or the engine is closed",
        ),
      );
    }
    const refused = refuse(invocation);
    if (refused) return Promise.resolve(without({ kind: "failed", failure: refused.toJSON() }));
    const { signal } = options;
    if (signal?.aborted) return Promise.resolve(aborted());
    return new Promise((resolve) => {
      const stop = (): void => this.#stop(job, aborted());
      const stopListening = (): void => signal?.removeEventListener("abort", stop);
      const job: Job = {
        id: this.#nextId++,
        compiled,
        invocation,
        options,
        resolve,
        stopListening,
        thread: undefined,
        heldBytes: 0,
        answer: undefined,
        requests: options.http && new Requests(options.http),
        limit: undefined,
        waking: undefined,
      };
      signal?.addEventListener("abort", stop);
      this.#queue.push(job);
      this.#schedule();
    });
  }

  /** Gives free threads what is to run: first who has waited there, then who is in the queue. */
  #schedule(): void {
    for (const thread of this.#threads) {
      const job = thread.running ? undefined : thread.due.shift();
      if (!job) continue;
      this.#unpark(thread, job);
      this.#occupy(thread, job);
      send(thread, { type: "wake", id: job.id, ...(job.answer ? { answer: job.answer } : {}) });
      job.answer = undefined;
    }
    // Who waits comes to an end by itself, so the queue always moves on.
    while (this.#queue.length > 0 && this.#heldBytes <= this.#parkedBytes) {
      const thread = this.#pick();
      const job = thread && this.#queue.shift();
      if (!thread || !job) return;
      this.#give(thread, job);
    }
  }

  #park(thread: Thread, job: Job, heldBytes: number): void {
    thread.parked.add(job);
    job.heldBytes = heldBytes;
    this.#heldBytes += heldBytes;
  }

  /** False when it was not parked there. */
  #unpark(thread: Thread, job: Job): boolean {
    if (!thread.parked.delete(job)) return false;
    this.#heldBytes -= job.heldBytes;
    return true;
  }

  /** A free thread; rather one where nobody waits, because whoever waits there is held up by who runs. */
  #pick(): Thread | undefined {
    const free = [...this.#threads].filter(
      ({ running, parked }) => running === undefined && parked.size < parkedPerThread,
    );
    const empty = free.find(({ parked }) => parked.size === 0);
    if (empty) return empty;
    if (this.#threads.size < this.#size) return this.#startThread();
    return free.toSorted((left, right) => left.parked.size - right.parked.size)[0];
  }

  #occupy(thread: Thread, job: Job): void {
    thread.running = job;
    // An idle thread must not keep the process alive, a busy one must.
    thread.worker.ref();
  }

  #free(thread: Thread): void {
    thread.running = undefined;
    thread.worker.unref();
  }

  #startThread(): Thread {
    // Built code has the extension of its source's.
    const file = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
    const name = `guests-${randomUUID()}`;
    const worker = new Worker(file, {
      name,
      workerData: { stagingFolder: this.#stagingFolder },
      env: {},
      stdin: false,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: threadHeapMebibytes },
    });
    const thread: Thread = {
      worker,
      name,
      known: new Set(),
      running: undefined,
      parked: new Set(),
      due: [],
      stopping: undefined,
    };
    this.#threads.add(thread);
    worker.on("message", (message: FromWorker) => this.#receive(thread, message));
    worker.on("error", (cause: Error) => {
      const full = "code" in cause && cause.code === "ERR_WORKER_OUT_OF_MEMORY";
      const failure = new Failure(
        full ? "limit-memory" : "runner-lost",
        `The thread that ran the guest died: ${cause.message}`,
        { cause },
      );
      this.#discard(thread, without({ kind: "failed", failure: failure.toJSON() }));
    });
    worker.unref();
    return thread;
  }

  #give(thread: Thread, job: Job): void {
    const { compiled, invocation, id } = job;
    job.thread = thread;
    this.#occupy(thread, job);
    if (!thread.known.has(compiled.key)) {
      if (thread.known.size >= keptModules) {
        thread.known.clear();
        send(thread, { type: "forget" });
      }
      thread.known.add(compiled.key);
      send(thread, { type: "module", key: compiled.key, module: compiled.module });
    }
    const { limits } = invocation;
    send(thread, {
      type: "run",
      id,
      key: compiled.key,
      request: {
        arguments: invocation.arguments,
        environment: invocation.environment,
        stdin: invocation.stdin ?? new Uint8Array(0),
        mounts: invocation.mounts,
        preopens: invocation.preopens ?? ["/"],
        collect: invocation.collect,
        limits,
        live: job.options.onOutput !== undefined,
        http: job.requests !== undefined,
      },
    });
    job.limit = setTimeout(
      () => {
        const failure = new Failure("limit-time", `The guest ran longer than ${limits.timeMs} ms`, {
          hint: "Raise limits.time of the step, or look for an endless loop.",
        });
        this.#stop(job, without({ kind: "stopped", failure: failure.toJSON() }));
      },
      Math.min(limits.timeMs, longestTimerMs),
    );
  }

  #receive(thread: Thread, message: FromWorker): void {
    const job = thread.running;
    if (!job || job.id !== message.id) return;
    if (message.type === "dropped") {
      thread.stopping?.end();
      return;
    }
    // Whatever a guest still says while it is stopped came too late.
    if (thread.stopping) return;
    if (message.type === "output") {
      job.options.onOutput?.(message.stream, message.bytes);
      return;
    }
    if (message.type === "close") {
      job.requests?.close(message.handle);
      return;
    }
    this.#free(thread);
    if (message.type === "asks") void this.#ask(thread, job, message);
    if (message.type === "parked") {
      this.#park(thread, job, message.heldBytes);
      const wake = (): void => {
        thread.due.push(job);
        this.#schedule();
      };
      job.waking = setTimeout(wake, Math.min(message.ms, longestTimerMs));
    }
    this.#schedule();
    if (message.type === "done") settle(job, toResult(message.outcome));
  }

  /** Wakes a guest with what it asked for. */
  async #ask(
    thread: Thread,
    job: Job,
    { ask, heldBytes }: Extract<FromWorker, { readonly type: "asks" }>,
  ): Promise<void> {
    this.#park(thread, job, heldBytes);
    const answer = await job.requests?.answer(ask);
    // It may have been stopped meanwhile.
    if (!thread.parked.has(job)) return;
    if (answer instanceof Failure) {
      this.#stop(job, without({ kind: "stopped", failure: answer.toJSON() }));
      return;
    }
    job.answer = answer;
    thread.due.push(job);
    this.#schedule();
  }

  /** Ends a job from outside, wherever it is. */
  #stop(job: Job, result: Result): void {
    const { thread } = job;
    if (!thread) {
      const place = this.#queue.indexOf(job);
      if (place >= 0) this.#queue.splice(place, 1);
      settle(job, result);
    } else if (this.#unpark(thread, job)) {
      const place = thread.due.indexOf(job);
      if (place >= 0) thread.due.splice(place, 1);
      send(thread, { type: "drop", id: job.id });
      this.#cleanUp(job);
      settle(job, result);
      this.#schedule();
    } else if (thread.running !== job || thread.stopping) return;
    // A new thread is the surest way, and costs nobody anything when nobody waits on the old one.
    else if (thread.parked.size === 0) this.#discard(thread, result);
    else this.#interrupt(thread, job, result);
  }

  /** Ends the running guest and keeps its thread, for those who are parked there. */
  #interrupt(thread: Thread, job: Job, result: Result): void {
    let done = false;
    const drop = (): void => send(thread, { type: "drop", id: job.id });
    const session = interrupt(thread.name, () => {
      done = true;
      drop();
    });
    if (!session) {
      this.#discard(thread, result);
      return;
    }
    // When the guest ended at this very moment, the order hits the next thing that the thread executes: one of these.
    const again = setInterval(drop, 20);
    const tooLate = setTimeout(() => this.#discard(thread, result), interruptMs);
    const close = (): void => {
      clearInterval(again);
      clearTimeout(tooLate);
      session[Symbol.dispose]();
      thread.stopping = undefined;
    };
    thread.stopping = {
      close,
      end: () => {
        if (!done) return;
        close();
        this.#free(thread);
        this.#cleanUp(job);
        settle(job, result);
        this.#schedule();
      },
    };
    drop();
  }

  /** Throws a thread away. `result` is for the guest that runs; guests that are parked are lost with it. */
  #discard(thread: Thread, result: Result): void {
    if (!this.#threads.delete(thread)) return;
    const { running } = thread;
    const lost = [...thread.parked];
    for (const job of lost) this.#unpark(thread, job);
    thread.stopping?.close();
    void thread.worker.terminate().then(() => {
      for (const job of running ? [running, ...lost] : lost) {
        this.#cleanUp(job);
        settle(job, job === running ? result : this.#closed ? aborted() : lostThread());
      }
      if (!this.#closed) this.#schedule();
    });
  }

  /** Removes what a guest that did not come to its end has left. */
  #cleanUp(job: Job): void {
    const folder = join(this.#stagingFolder, `guest-${job.id}`);
    rmSync(folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const job of this.#queue.toReversed()) this.#stop(job, aborted());
    const threads = [...this.#threads];
    for (const thread of threads) this.#discard(thread, aborted());
    await Promise.all(threads.map((thread) => thread.worker.terminate()));
    rmSync(this.#stagingFolder, { recursive: true, force: true });
  }
}

function temporaryFolder(): string {
  try {
    return stagingFolder(tmpdir(), stagingPrefix);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("storage", `Cannot make a folder for large files: ${reason}`, {
      cause,
      hint: "Set TMPDIR to a folder that may be written.",
    });
  }
}

function send(thread: Thread, message: ToWorker): void {
  thread.worker.postMessage(message);
}

function settle(job: Job, result: Result): void {
  clearTimeout(job.limit);
  clearTimeout(job.waking);
  job.requests?.[Symbol.dispose]();
  job.stopListening();
  job.resolve(result);
}

function lostThread(): Result {
  const failure = new Failure(
    "runner-lost",
    "The thread on which the guest waited had to be ended",
    {
      hint: "Another guest on it could not be stopped; run the step again.",
    },
  );
  return without({ kind: "failed", failure: failure.toJSON() });
}

/** Changes whenever the file does; nothing for a file that was changed just now, when the clock of the file system could hide one more change. */
function appearance(path: string, limits: Limits): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (!found || found.size > limits.moduleBytes) return undefined;
  if (Date.now() - Number(found.ctimeMs) < 1000) return undefined;
  return `${found.dev} ${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs} ${path}`;
}

function read(path: string, limits: Limits): Uint8Array {
  try {
    const { size } = statSync(path);
    if (size > limits.moduleBytes) {
      throw limitFailure("moduleSize", limits, `"${path}" has ${size} bytes`);
    }
    return readFileSync(path);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("module-not-found", `Cannot read the module "${path}": ${reason}`, {
      cause,
      hint: "Check the path; it is relative to the folder you are in, or to the workflow file.",
    });
  }
}

async function compile(bytes: Uint8Array, name: string): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    const reason =
      cause instanceof Error
        ? cause.message.replace(/^WebAssembly\.compile\(\): /, "")
        : String(cause);
    throw new Failure("module-invalid", `"${name}" does not compile: ${reason}`, {
      cause,
      hint: "The file is damaged, or it uses a proposal that V8 does not have.",
    });
  }
}

function refuse(invocation: Invocation): Failure | undefined {
  const { limits, environment } = invocation;
  let size = 0;
  for (const text of invocation.arguments) size += Buffer.byteLength(text) + 1;
  for (const [name, value] of environment)
    size += Buffer.byteLength(name) + Buffer.byteLength(value) + 2;
  const texts = [...invocation.arguments, ...[...environment].flat()];
  if (texts.some((text) => text.includes("\0"))) {
    return new Failure("invalid-argument", "An argument or variable contains a zero byte", {
      hint: "Hand binary data over as an artifact or on stdin.",
    });
  }
  if (size <= limits.argumentBytes) return undefined;
  return limitFailure(
    "arguments",
    limits,
    `Arguments and environment have ${size} bytes`,
    "Hand large data over as an artifact or on stdin.",
  );
}

function toResult(outcome: GuestOutcome): Result {
  const { end, instantiateMs, runMs, memoryBytes, filesBytesWritten, ...rest } = outcome;
  return { ...rest, ...end, usage: { instantiateMs, runMs, memoryBytes, filesBytesWritten } };
}

function without(end: Extract<GuestOutcome["end"], { readonly failure: unknown }>): Result {
  const usage = { instantiateMs: 0, runMs: 0, memoryBytes: 0, filesBytesWritten: 0 };
  const nothing = { stdout: new Uint8Array(0), stderr: new Uint8Array(0), collected: [] };
  return { ...nothing, usage, limitsReached: [], ...end };
}

function aborted(): Result {
  const failure = new Failure("aborted", "The guest was stopped by its caller");
  return without({ kind: "stopped", failure: failure.toJSON() });
}

import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { Worker } from "node:worker_threads";
import { Failure } from "../errors/mod.ts";
import { defaultLimits, type Limits } from "../limits/mod.ts";
import { withCeilings } from "./ceilings.ts";
import type { GuestOutcome } from "./guest.ts";
import type { Engine, EngineOptions, Invocation, Module, Result, RunOptions } from "./mod.ts";
import type { FromWorker, ToWorker } from "./worker.ts";

/** Compiled modules kept; the least recently used goes first. */
const keptModules = 64;

interface Job {
  readonly id: number;
  readonly compiled: Compiled;
  readonly invocation: Invocation;
  readonly options: RunOptions;
  readonly resolve: (result: Result) => void;
  readonly stopListening: () => void;
}

interface Compiled {
  readonly key: string;
  readonly module: WebAssembly.Module;
}

interface Thread {
  readonly worker: Worker;
  readonly known: Set<string>;
  job: Job | undefined;
  timer: NodeJS.Timeout | undefined;
}

/** Starts an engine; threads are started when they are first needed. */
export function createEngine(options: EngineOptions = {}): Engine {
  return new ThreadEngine(options);
}

class ThreadEngine implements Engine {
  readonly #size: number;
  readonly #stagingFolder: string;
  readonly #compiled = new WeakMap<Module, Compiled>();
  readonly #cache = new Map<string, Module>();
  readonly #threads = new Set<Thread>();
  readonly #queue: Job[] = [];
  #nextId = 1;
  #closed = false;

  constructor(options: EngineOptions) {
    this.#size = options.threads ?? availableParallelism();
    this.#stagingFolder = options.stagingFolder ?? mkdtempSync(join(tmpdir(), "atalanta-"));
  }

  async load(
    source: { readonly path: string } | { readonly bytes: Uint8Array; readonly name: string },
    options: { readonly signal?: AbortSignal; readonly limits?: Limits } = {},
  ): Promise<Module> {
    options.signal?.throwIfAborted();
    const limits = options.limits ?? defaultLimits;
    const name = "path" in source ? basename(source.path) : source.name;
    const bytes = "path" in source ? read(source.path, limits) : source.bytes;
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    const key = `${digest} ${limits.memoryBytes} ${limits.tableElements}`;
    const known = this.#cache.get(key);
    if (known) {
      this.#cache.delete(key);
      this.#cache.set(key, known);
      return known;
    }
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
      };
      signal?.addEventListener("abort", stop);
      this.#queue.push(job);
      this.#schedule();
    });
  }

  #schedule(): void {
    while (this.#queue.length > 0) {
      let idle = [...this.#threads].find((thread) => thread.job === undefined);
      if (!idle && this.#threads.size < this.#size) idle = this.#startThread();
      const job = idle && this.#queue.shift();
      if (!idle || !job) return;
      this.#give(idle, job);
    }
  }

  #startThread(): Thread {
    // Built code has the extension of its source's.
    const file = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
    const worker = new Worker(file, {
      workerData: { stagingFolder: this.#stagingFolder },
      env: {},
      stdin: false,
      execArgv: [],
    });
    const thread: Thread = { worker, known: new Set(), job: undefined, timer: undefined };
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
    thread.job = job;
    // An idle thread must not keep the process alive, a busy one must.
    thread.worker.ref();
    const send = (message: ToWorker): void => thread.worker.postMessage(message);
    if (!thread.known.has(compiled.key)) {
      if (thread.known.size >= keptModules) thread.known.clear();
      thread.known.add(compiled.key);
      send({ type: "module", key: compiled.key, module: compiled.module });
    }
    const { limits } = invocation;
    send({
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
      },
    });
    thread.timer = setTimeout(
      () => {
        const failure = new Failure("limit-time", `The guest ran longer than ${limits.timeMs} ms`, {
          hint: "Raise limits.time of the step, or look for an endless loop.",
        });
        this.#stop(job, without({ kind: "stopped", failure: failure.toJSON() }));
      },
      Math.min(limits.timeMs, 2 ** 31 - 1),
    );
  }

  #receive(thread: Thread, message: FromWorker): void {
    const { job } = thread;
    if (!job || job.id !== message.id) return;
    if (message.type === "output") {
      job.options.onOutput?.(message.stream, message.bytes);
      return;
    }
    clearTimeout(thread.timer);
    thread.job = undefined;
    thread.worker.unref();
    job.stopListening();
    this.#schedule();
    job.resolve(toResult(message.outcome));
  }

  /** Ends a job from outside: a queued one is dropped, a running one costs its thread. */
  #stop(job: Job, result: Result): void {
    const place = this.#queue.indexOf(job);
    if (place >= 0) {
      this.#queue.splice(place, 1);
      job.stopListening();
      job.resolve(result);
      return;
    }
    const thread = [...this.#threads].find((candidate) => candidate.job === job);
    if (thread) this.#discard(thread, result);
  }

  #discard(thread: Thread, result: Result): void {
    if (!this.#threads.delete(thread)) return;
    clearTimeout(thread.timer);
    const { job } = thread;
    thread.job = undefined;
    void thread.worker.terminate().then(() => {
      if (job)
        rmSync(join(this.#stagingFolder, `guest-${job.id}`), { recursive: true, force: true });
      job?.stopListening();
      job?.resolve(result);
      if (!this.#closed) this.#schedule();
    });
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

function read(path: string, limits: Limits): Uint8Array {
  try {
    const { size } = statSync(path);
    if (size > limits.moduleBytes) {
      throw new Failure(
        "module-too-large",
        `"${path}" has ${size} bytes; the ceiling is ${limits.moduleBytes}`,
      );
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
  return new Failure(
    "limit-arguments",
    `Arguments and environment have ${size} bytes; the ceiling is ${limits.argumentBytes}`,
    {
      hint: "Hand large data over as an artifact or on stdin.",
    },
  );
}

function toResult(outcome: GuestOutcome): Result {
  const { end, instantiateMs, runMs, memoryBytes, filesBytesWritten, ...rest } = outcome;
  return { ...rest, ...end, usage: { instantiateMs, runMs, memoryBytes, filesBytesWritten } };
}

function without(end: Extract<GuestOutcome["end"], { readonly failure: unknown }>): Result {
  const usage = { instantiateMs: 0, runMs: 0, memoryBytes: 0, filesBytesWritten: 0 };
  return { stdout: new Uint8Array(0), stderr: new Uint8Array(0), collected: [], usage, ...end };
}

function aborted(): Result {
  const failure = new Failure("aborted", "The guest was stopped by its caller");
  return without({ kind: "stopped", failure: failure.toJSON() });
}

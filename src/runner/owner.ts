import {
  aborted,
  endedBy,
  functionsOf,
  KeptModules,
  nameOf,
  type Engine,
  type Invocation,
  type Module,
  type ModuleSource,
  type Result,
  type RunOptions,
} from "../engine/mod.ts";
import { Failure, toFailure } from "../errors/mod.ts";
import { defaultLimits, type Limits } from "../limits/mod.ts";
import type { Pool } from "./pool.ts";

interface Known {
  readonly key: string;
  readonly source: ModuleSource;
  readonly limits: Limits;
}

/** The engine of one owner in the class `process`: here modules are read and hashed, and everything else happens there. */
export class OwnerEngine implements Engine {
  readonly #pool: Pool;
  readonly #owner: string;
  readonly #kept = new KeptModules();
  readonly #known = new WeakMap<Module, Known>();

  constructor(pool: Pool, owner: string) {
    this.#pool = pool;
    this.#owner = owner;
  }

  async load(
    source: ModuleSource,
    options: { readonly signal?: AbortSignal; readonly limits?: Limits } = {},
  ): Promise<Module> {
    const { signal, limits = defaultLimits } = options;
    signal?.throwIfAborted();
    const found = this.#kept.find(source, limits);
    if (!("key" in found)) return found;
    const { key, bytes, digest } = found;
    const name = nameOf(source);
    const loading = this.#pool.use(this.#owner, (process) =>
      process.load(key, name, limits, () => bytes),
    );
    const loaded = await (signal ? orAborted(loading, signal) : loading);
    const module: Module = {
      digest,
      name,
      sizeBytes: bytes.length,
      ...functionsOf(bytes, name),
      ...loaded,
    };
    this.#known.set(module, { key, source, limits });
    // A handle may hold the bytes that it was made of, so these are kept only so long, too.
    this.#kept.keep(key, module);
    return module;
  }

  async run(module: Module, invocation: Invocation, options: RunOptions = {}): Promise<Result> {
    const known = this.#known.get(module);
    if (!known) throw new Failure("internal", "The module was not loaded by this engine");
    if (options.signal?.aborted) return endedBy("stopped", aborted());
    const { signal } = options;
    const { promise: left, resolve: leave } = Promise.withResolvers<Result>();
    const stop = (): void => leave(endedBy("stopped", aborted()));
    // Once the process has the guest, it is the process that stops it.
    const begun = (): void => signal?.removeEventListener("abort", stop);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return await Promise.race([left, this.#begin(module, known, { invocation, options, begun })]);
    } catch (thrown) {
      return endedBy("failed", toFailure(thrown));
    } finally {
      begun();
    }
  }

  #begin(
    module: Module,
    known: Known,
    asked: {
      readonly invocation: Invocation;
      readonly options: RunOptions;
      readonly begun: () => void;
    },
  ): Promise<Result> {
    const { invocation, options, begun } = asked;
    return this.#pool.use(this.#owner, async (process) => {
      // A process that took the place of a lost one has never seen it.
      await process.load(known.key, module.name, known.limits, () => this.#again(module, known));
      if (options.signal?.aborted) return endedBy("stopped", aborted());
      return process.run(known.key, invocation, options, begun);
    });
  }

  #again(module: Module, { source, limits }: Known): Uint8Array {
    const { bytes, digest } = this.#kept.read(source, limits);
    if (digest === module.digest) return bytes;
    throw new Failure("module-not-found", `"${module.name}" has changed while it was in use`, {
      hint: "Run the step again; it will take the module as it is now.",
    });
  }

  /** The process belongs to the runners, which end it. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** A compilation that nobody waits for any more goes on: it is another's too. */
async function orAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

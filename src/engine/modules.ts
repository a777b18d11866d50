import { setFlagsFromString } from "node:v8";
import { Failure } from "../errors/mod.ts";
import { defaultLimits, limitFailure, type Limits } from "../limits/mod.ts";
import { withCeilings } from "./ceilings.ts";
import { functionsOf, KeptModules, type Unknown } from "./kept.ts";
import { ownImports, withMemoryImport, type MemorySize } from "./memory.ts";
import type { Engine, Module } from "./mod.ts";
import { nameOf, type ModuleSource } from "./source.ts";
import { inSteps } from "./steps.ts";
import { startAsExport, startExport } from "./start.ts";

export interface Compiled {
  readonly key: string;
  readonly module: WebAssembly.Module;
  readonly sizeBytes: number;
  /** Whether it exports a start function for us. */
  readonly starts: boolean;
  /** Of the memory that each guest of it is given; absent when it makes its own. */
  readonly memory: MemorySize | undefined;
  /** Whether a guest of it has ever waited. */
  parks: boolean;
}

type LoadOptions = NonNullable<Parameters<Engine["load"]>[1]>;

/** Modules by digest and ceilings, each compiled once. */
export class Modules {
  readonly #compiled = new WeakMap<Module, Compiled>();
  readonly #kept = new KeptModules();
  readonly #loading = new Map<string, Promise<Module>>();

  /** What threads are given; undefined for a module of another engine. */
  compiled(module: Module): Compiled | undefined {
    return this.#compiled.get(module);
  }

  async load(source: ModuleSource, options: LoadOptions = {}): Promise<Module> {
    const { signal, limits = defaultLimits } = options;
    signal?.throwIfAborted();
    const name = nameOf(source);
    const found = this.#kept.find(source, limits);
    if (!("key" in found)) return found;
    const { key } = found;
    let loading = this.#loading.get(key);
    if (!loading) {
      // Whoever comes meanwhile waits for the same compilation, so it belongs to no single caller's signal.
      loading = this.#compile(found, name, limits);
      this.#loading.set(key, loading);
      const forget = (): void => void this.#loading.delete(key);
      loading.then(forget, forget);
    }
    return within(loading, { name, limits, signal });
  }

  async #compile({ key, bytes, digest }: Unknown, name: string, limits: Limits): Promise<Module> {
    const start = performance.now();
    const whole = prepared(bytes, name, limits);
    const given = withMemoryImport(whole, name);
    const held = given?.bytes ?? whole;
    let module = await compile(held, name);
    const startable = startAsExport(held, name);
    if (startable) module = await compile(startable, name);
    const all = WebAssembly.Module.imports(module);
    const imports = given ? ownImports(all) : all;
    const loaded: Module = {
      digest,
      name,
      compileMs: performance.now() - start,
      sizeBytes: bytes.length,
      ...functionsOf(bytes, name),
      imports: imports.map((item) => `${item.module}.${item.name}`),
      exports: WebAssembly.Module.exports(module)
        .map((item) => item.name)
        .filter((item) => startable === undefined || item !== startExport),
    };
    const sizeBytes = bytes.length;
    this.#compiled.set(loaded, {
      key,
      module,
      sizeBytes,
      starts: startable !== undefined,
      memory: given?.size,
      parks: false,
    });
    this.#kept.keep(key, loaded);
    return loaded;
  }
}

/**
 * Waits no longer than the ceiling of compile time and the caller's signal. V8 has no way to stop a compilation, so it goes on behind a
 * caller who left; how long is bounded by the ceilings of a module's parts.
 */
async function within(
  loading: Promise<Module>,
  given: {
    readonly name: string;
    readonly limits: Limits;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<Module> {
  const { name, limits, signal } = given;
  let timer: NodeJS.Timeout | undefined;
  let stop: (() => void) | undefined;
  const left = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(tooLong(name, limits)), limits.compileMs);
    stop = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", stop, { once: true });
  });
  try {
    const loaded = await Promise.race([loading, left]);
    // A timer may be late.
    if (loaded.compileMs > limits.compileMs) throw tooLong(name, limits);
    return loaded;
  } finally {
    clearTimeout(timer);
    if (stop) signal?.removeEventListener("abort", stop);
  }
}

function tooLong(name: string, limits: Limits): Failure {
  return limitFailure("compileTime", limits, `"${name}" takes too long to compile`);
}

/** With our ceilings, and so that it can be stopped. */
function prepared(bytes: Uint8Array, name: string, limits: Limits): Uint8Array {
  const held = withCeilings(bytes, name, limits);
  return inSteps(held, name) ?? held;
}

async function compile(bytes: Uint8Array, name: string): Promise<WebAssembly.Module> {
  // Or loops of V8's first compiler look for an order to stop only after 13 MB of executed code, and one that fills large memory again
  // and again takes hours for that: neither ending its thread nor the debugger's order stops it, not even the end of the process.
  setFlagsFromString("--no-wasm-dynamic-tiering");
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

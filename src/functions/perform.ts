import { createHash } from "node:crypto";
import type { Engine, HttpHandler, Result, RunOptions } from "../engine/mod.ts";
import { Failure, toFailure } from "../errors/mod.ts";
import { hostLimits, resolveLimits, type Limits } from "../limits/mod.ts";
import type { Gate } from "../network/mod.ts";
import type { Images } from "../oci/mod.ts";
import { strongest, type Runners, type Trust } from "../runner/mod.ts";
import { makeReady, type ReadyProgram } from "../task/mod.ts";
import { callsThrough } from "./calls.ts";
import { checkCall, describeWord, given, outcomeOf } from "./convention.ts";
import { describeFunction, parseDescription, type ModuleDescription } from "./description.ts";
import type {
  FunctionCall,
  Outcome,
  Performance,
  Performer,
  PerformOptions,
  Program,
} from "./mod.ts";

export interface PerformerOptions {
  /** Its caller disposes of it. */
  readonly runners: Runners;
  /** The least class of every guest. */
  readonly trust?: Trust;
  /** Opened when a module is first an image. Absent: only files can be had. */
  readonly images?: () => Promise<Images>;
  /** Throws for a module file that may not run; absent: none may. */
  readonly checkFile?: (path: string) => void;
  /** Module files that stand for images, by reference. */
  readonly overrides?: ReadonlyMap<string, string>;
  readonly hostLimits?: Limits;
  /** Absent: no host can be reached. */
  readonly gate?: Gate;
  /** Modules that are kept ready; default 64. */
  readonly keptModules?: number;
}

/** How long a module may take to say which functions it has, and how much it may say. */
const describeLimits = { time: "5s", cpuTime: "5s", output: "1Mi" };
const logBytes = 64 * 1024;

/** A module that lies ready for calls. */
interface Warm {
  readonly ready: ReadyProgram;
  readonly engine: Engine;
  readonly limits: Limits;
  readonly loadMs: number;
  /** What the module says of itself; undefined when it says nothing. */
  readonly description: ModuleDescription | undefined;
  /** The same as it was said. */
  readonly text: string | undefined;
}

/** Makes a performer; modules are loaded when they are first called, and the most used ones stay. */
export function createPerformer(options: PerformerOptions): Performer {
  return new LocalPerformer(options);
}

class LocalPerformer implements Performer {
  readonly #options: PerformerOptions;
  readonly #hostLimits: Limits;
  readonly #warm = new Map<string, Promise<Warm>>();
  readonly #keys = new WeakMap<Program, Map<string, string>>();
  #closed = false;

  constructor(options: PerformerOptions) {
    this.#options = options;
    this.#hostLimits = options.hostLimits ?? hostLimits();
  }

  async perform(call: FunctionCall, options: PerformOptions = {}): Promise<Performance> {
    try {
      return await this.#perform(call, options);
    } catch (thrown) {
      return failed(thrown);
    }
  }

  async #perform(call: FunctionCall, options: PerformOptions): Promise<Performance> {
    const { signal } = options;
    const key = this.#keyOf(call);
    const known = this.#warm.get(key);
    const warm = await (known ?? this.#load(key, call, signal));
    if (known) this.#use(key, known);
    const about = describeFunction(warm.description, call.function, nameOf(call.program));
    checkCall(call, about);
    const result = await this.#run(warm, call, options);
    const poured = options.pour !== undefined;
    const { usage } = result;
    return {
      outcome: outcomeOf(result, about, poured),
      log: result.stderr.subarray(Math.max(0, result.stderr.length - logBytes)),
      usage: {
        cold: !known,
        loadMs: known ? 0 : warm.loadMs,
        runMs: usage.instantiateMs + usage.runMs,
        cpuMs: usage.cpuMs,
        memoryBytes: usage.memoryBytes,
      },
    };
  }

  async #run(
    { ready, engine, limits }: Warm,
    call: FunctionCall,
    options: PerformOptions,
  ): Promise<Result> {
    const { signal, input, pour, onLog, call: onward } = options;
    const { program } = call;
    const words = given(call);
    const allowedHosts = program.permissions?.http?.allowedHosts;
    using passage =
      allowedHosts && this.#options.gate
        ? await this.#options.gate.open({ allowedHosts, secrets: [], limits })
        : undefined;
    const permitted = program.permissions?.call;
    const http: HttpHandler | undefined =
      permitted && onward
        ? callsThrough({ permitted: permitted.functions, call: onward, otherwise: passage?.http })
        : passage?.http;
    const runOptions: RunOptions = {
      ...(signal ? { signal } : {}),
      ...(input ? { input } : {}),
      ...(pour ? { pour } : {}),
      ...(http ? { http } : {}),
      ...(onLog ? { onOutput: (stream, bytes) => void (stream === "stderr" && onLog(bytes)) } : {}),
    };
    return engine.run(
      ready.module,
      {
        arguments: [...ready.arguments, ...words.arguments],
        environment: new Map([
          ...ready.environment,
          ...Object.entries(program.environment ?? {}),
          ["ATALANTA_CALL_ID", call.id],
          ...(call.key === undefined ? [] : [["ATALANTA_IDEMPOTENCY_KEY", call.key] as const]),
          ...(call.traceparent === undefined ? [] : [["TRACEPARENT", call.traceparent] as const]),
        ]),
        stdin: words.stdin,
        mounts: ready.mounts,
        collect: [],
        limits,
        group: call.owner,
        ...(ready.module.exports.includes(call.function) ? { entry: call.function } : {}),
      },
      runOptions,
    );
  }

  async describe(
    asked: Pick<FunctionCall, "owner" | "program">,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<ModuleDescription & { readonly digest: string }> {
    const key = this.#keyOf(asked);
    const warm = await (this.#warm.get(key) ?? this.#load(key, asked, signal));
    if (warm.description) return { ...warm.description, digest: warm.ready.module.digest };
    throw new Failure(
      "functions-invalid",
      `"${nameOf(asked.program)}" does not say which functions it has`,
      {
        hint: "Any function of it can be called all the same; docs/functions.md says how a module describes them.",
      },
    );
  }

  async load(
    asked: Pick<FunctionCall, "owner" | "program">,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<{ readonly text: string | undefined; readonly digest: string }> {
    const key = this.#keyOf(asked);
    const { text, ready } = await (this.#warm.get(key) ?? this.#load(key, asked, signal));
    return { text, digest: ready.module.digest };
  }

  async resolve(image: string, options: { readonly signal?: AbortSignal } = {}): Promise<string> {
    const { images } = this.#options;
    if (!images) throw noImages(image);
    return (await images()).resolve(image, options);
  }

  warm(): readonly string[] {
    return [...this.#warm.keys()].map((key) => key.split(" ")[0] ?? "");
  }

  /** Whoever comes meanwhile waits for the same. */
  #load(
    key: string,
    asked: Pick<FunctionCall, "owner" | "program">,
    signal: AbortSignal | undefined,
  ): Promise<Warm> {
    if (this.#closed) return Promise.reject(new Failure("shutting-down", "The process ends"));
    const loading = this.#make(asked);
    this.#use(key, loading);
    loading.catch(() => {
      if (this.#warm.get(key) === loading) this.#warm.delete(key);
    });
    const most = this.#options.keptModules ?? 64;
    for (const oldest of this.#warm.keys()) {
      if (this.#warm.size <= most) break;
      this.#forget(oldest);
    }
    return signal ? orAborted(loading, signal) : loading;
  }

  #use(key: string, warm: Promise<Warm>): void {
    this.#warm.delete(key);
    this.#warm.set(key, warm);
  }

  #forget(key: string): void {
    const warm = this.#warm.get(key);
    this.#warm.delete(key);
    void warm?.then(({ ready }) => ready[Symbol.dispose]()).catch(() => undefined);
  }

  async #make({ program, owner }: Pick<FunctionCall, "owner" | "program">): Promise<Warm> {
    const start = performance.now();
    const { runners, trust, images, checkFile, overrides } = this.#options;
    if ("path" in program.module) {
      if (!checkFile) throw noFiles(program.module.path);
      checkFile(program.module.path);
    }
    const engine = runners.engine({ trust: strongest(trust, program.trust), owner });
    const limits = resolveLimits(program.limits, this.#hostLimits);
    const ready = await makeReady(
      { module: program.module, arguments: [], afterEntrypoint: true },
      {
        engine,
        limits,
        signal: undefined,
        ...(images ? { images } : {}),
        ...(overrides ? { overrides } : {}),
      },
    );
    try {
      // An image's own command is not for functions.
      const own = { ...ready, arguments: ready.arguments.slice(0, 1) };
      const loadMs = performance.now() - start;
      const text = await this.#said(own, engine, program);
      const description = text === undefined ? undefined : parseDescription(text, nameOf(program));
      return {
        ready: { ...own, [Symbol.dispose]: () => ready[Symbol.dispose]() },
        engine,
        limits,
        loadMs,
        description,
        text,
      };
    } catch (thrown) {
      ready[Symbol.dispose]();
      throw thrown;
    }
  }

  /** What the module's section says, or the module itself when it is asked. */
  async #said(ready: ReadyProgram, engine: Engine, program: Program): Promise<string | undefined> {
    const { functions, exports } = ready.module;
    if (functions !== undefined) return functions;
    if (!exports.includes("_start")) return undefined;
    const result = await engine.run(ready.module, {
      arguments: [...ready.arguments, describeWord],
      environment: new Map(ready.environment),
      mounts: ready.mounts,
      collect: [],
      limits: resolveLimits({ ...program.limits, ...describeLimits }, this.#hostLimits),
    });
    if (result.kind !== "exited" || result.exitCode !== 0) return undefined;
    const text = Buffer.from(result.stdout).toString();
    // Another program may have printed anything.
    if (!text.startsWith("{") || !text.includes('"functions"')) return undefined;
    return text;
  }

  /** What lies ready is told apart by all that it was made of. */
  #keyOf({ program, owner }: Pick<FunctionCall, "owner" | "program">): string {
    let keys = this.#keys.get(program);
    if (!keys) this.#keys.set(program, (keys = new Map()));
    let key = keys.get(owner);
    if (key === undefined) {
      const { module, limits, trust } = program;
      const name = "path" in module ? module.path : (module.digest ?? module.image);
      const rest = createHash("sha256").update(JSON.stringify([module, limits, trust, owner]));
      key = `${name} ${rest.digest("base64url")}`;
      keys.set(owner, key);
    }
    return key;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const all = [...this.#warm.values()];
    for (const key of this.#warm.keys()) this.#forget(key);
    await Promise.allSettled(all);
  }
}

function failed(thrown: unknown): Performance {
  const outcome: Outcome = { kind: "failed", failure: toFailure(thrown).toJSON() };
  const usage = { cold: false, loadMs: 0, runMs: 0, cpuMs: 0, memoryBytes: 0 };
  return { outcome, log: new Uint8Array(0), usage };
}

function nameOf({ module }: Program): string {
  return "path" in module ? module.path : module.image;
}

function noFiles(path: string): Failure {
  return new Failure(
    "module-not-found",
    `"${path}" is a file, and only images can be called here`,
    {
      hint: "Push it to a registry (atalanta image push), and call it by that name.",
    },
  );
}

function noImages(image: string): Failure {
  return new Failure("module-not-found", `There is no way to images here, so not to "${image}"`, {
    hint: "Name a module file.",
  });
}

async function orAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

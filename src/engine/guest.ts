import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Failure, toFailure, type FailureRecord } from "../errors/mod.ts";
import { limitFailure, type LimitKey, type Limits } from "../limits/mod.ts";
import { Output } from "./output.ts";
import {
  Collector,
  Exit,
  http,
  preview1,
  Tree,
  type Collected,
  type HttpAnswer,
  type HttpAsk,
  type Mount,
} from "../wasi/mod.ts";
import { memoryImport } from "./memory.ts";
import { guestStack, keptFrames } from "./stack.ts";
import { startExport } from "./start.ts";

/** An invocation as it crosses to the thread. */
export interface GuestRequest {
  readonly arguments: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  readonly stdin: Uint8Array;
  readonly mounts: readonly Mount[];
  readonly preopens: readonly string[];
  readonly collect: readonly string[];
  readonly limits: Limits;
  /** Whether output is sent while the guest runs. */
  readonly live: boolean;
  /** Whether somebody answers HTTP requests. */
  readonly http: boolean;
  /** Called instead of `_start`, where the module has it. */
  readonly entry?: string;
  /** Whether stdin goes on after `stdin`, and whether stdout is taken piece by piece. */
  readonly streams?: { readonly stdin: boolean; readonly stdout: boolean };
}

export interface GuestOutcome {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly collected: readonly Collected[];
  readonly instantiateMs: number;
  readonly runMs: number;
  readonly cpuMs: number;
  readonly memoryBytes: number;
  readonly filesCreated: number;
  readonly filesBytesWritten: number;
  /** Ceilings that the guest got an error for. */
  readonly limitsReached: readonly LimitKey[];
  readonly end:
    | { readonly kind: "exited"; readonly exitCode: number }
    | { readonly kind: "trapped"; readonly message: string; readonly stack: readonly string[] }
    | { readonly kind: "stopped" | "failed"; readonly failure: FailureRecord };
}

/** A compiled module. */
export interface GuestProgram {
  readonly module: WebAssembly.Module;
  /** Its own, without the memory that it is given. */
  readonly imports: readonly Import[];
  /** Names of what it imports. */
  readonly wanted: ReadonlySet<string>;
  /** Whether it has a start function. */
  readonly starts: boolean;
}

export interface GuestPlace {
  readonly stagingFolder: string;
  readonly staging: string;
  readonly onOutput: ((stream: "stdout" | "stderr", bytes: Uint8Array) => void) | undefined;
  /** For a module that is given its memory: one that is all zero, and where it goes when nothing runs on it any more. */
  readonly memory?: {
    readonly take: () => WebAssembly.Memory;
    readonly giveBack: (memory: WebAssembly.Memory) => void;
  };
  /** CPU time of this guest so far, in milliseconds. */
  readonly cpuMs: () => number;
  /** Settles after a time, without this thread; absent: a wait blocks the thread. */
  readonly park?: (ms: number) => Promise<void>;
  /** For a guest whose streams come and go in pieces: asks while it is parked. */
  readonly stream?: (ask: HttpAsk) => Promise<HttpAnswer>;
  readonly onPour?: (bytes: Uint8Array<ArrayBuffer>) => void;
  /** For a module that imports HTTP. Requests are answered while the guest is parked; without `ask` they are denied. */
  readonly http?: {
    readonly ask: ((ask: HttpAsk) => Promise<HttpAnswer>) | undefined;
    readonly close: (handle: number) => void;
  };
}

Error.stackTraceLimit = keptFrames;

/** One fresh instance of a module with its tree, from its start to what it left. */
export class Guest {
  readonly #program: GuestProgram;
  readonly #request: GuestRequest;
  readonly #place: GuestPlace;
  readonly #tree: Tree;
  readonly #output: Output;
  readonly #reached = new Set<LimitKey>();
  readonly #start = performance.now();
  #started = this.#start;
  #folder: string | undefined;
  #memory: WebAssembly.Memory | undefined;
  /** The memory that it was given, until it is given back. */
  #given: WebAssembly.Memory | undefined;
  /** Bytes of stdout that nobody has said to be done with. */
  #poured = 0;
  /** Whether what is called returns an exit code. */
  #answers = false;
  #ended: () => { readonly thrown: unknown } | undefined = () => undefined;

  constructor(program: GuestProgram, request: GuestRequest, place: GuestPlace) {
    this.#program = program;
    this.#request = request;
    this.#place = place;
    this.#output = new Output(place.onOutput);
    this.#tree = new Tree(request.limits, () => {
      if (this.#folder === undefined) {
        this.#folder = join(place.stagingFolder, place.staging);
        mkdirSync(this.#folder);
      }
      return this.#folder;
    });
  }

  /** Runs the start function and `_start` to their end; a promise when the guest may be parked on the way. */
  run(): GuestOutcome | Promise<GuestOutcome> {
    let entries;
    try {
      entries = this.#instantiate();
      if (!this.#place.park && !this.#place.stream) {
        let value: unknown;
        for (const entry of entries) if (!this.#ended()) value = entry();
        return this.#finish(this.#returned(value));
      }
    } catch (thrown) {
      return this.#finish(this.#endOf(thrown));
    }
    return this.#runAside(entries).then(
      (value) => this.#finish(this.#returned(value)),
      (thrown: unknown) => this.#finish(this.#endOf(thrown)),
    );
  }

  /** Runs on stacks that can be put aside. */
  async #runAside(entries: readonly (() => unknown)[]): Promise<unknown> {
    let value: unknown;
    for (const entry of entries) if (!this.#ended()) value = await WebAssembly.promising(entry)();
    return value;
  }

  /** Waits until what was written is done with. */
  async #drain(stream: (ask: HttpAsk) => Promise<HttpAnswer>): Promise<void> {
    this.#poured = 0;
    await stream({ kind: "drain" });
  }

  async #more(stream: (ask: HttpAsk) => Promise<HttpAnswer>): Promise<Uint8Array | undefined> {
    this.#output.flush();
    const answer = await stream({ kind: "read", handle: 0 });
    if (answer.kind === "piece") return answer.bytes;
    const why = answer.kind === "refused" ? answer.message : answer.kind;
    throw new Failure("aborted", `What the guest reads broke off: ${why}`);
  }

  /** What it has of the host's memory, in bytes: its linear memory, its files and what it wrote. */
  get heldBytes(): number {
    const output = this.#output.size("stdout") + this.#output.size("stderr");
    return (this.#memory?.buffer.byteLength ?? 0) + this.#tree.memoryBytes + output;
  }

  /** Lets go of a guest that will not run on. */
  abandon(): void {
    this.#tree.close();
  }

  /** What is to be called, in order: a start function, then `_start`. */
  #instantiate(): readonly (() => unknown)[] {
    const { arguments: args, environment, stdin, mounts, preopens, limits } = this.#request;
    for (const mount of mounts) this.#tree.mount(mount);
    const { park, stream } = this.#place;
    const { streams } = this.#request;
    const wasi = preview1({
      arguments: args,
      environment,
      stdin,
      tree: this.#tree,
      preopens,
      limits,
      wanted: this.#program.wanted,
      reached: (limit) => this.#reached.add(limit),
      cpuTimeNs: () => BigInt(Math.round(this.#place.cpuMs() * 1e6)),
      output: (stream, bytes) => this.#write(stream, bytes),
      ...(park ? { park: (ms: number) => this.#park(park, ms) } : {}),
      ...(stream && streams?.stdin ? { more: () => this.#more(stream) } : {}),
      pours: streams?.stdout === true,
    });
    this.#ended = wasi.ended;
    const offered = {
      wasi_snapshot_preview1: wasi.imports,
      ...(this.#place.http ? { atalanta_http: this.#http(this.#place.http, wasi.ended) } : {}),
    };
    const { module, imports } = this.#program;
    checkImports(imports, offered);
    const given = this.#place.memory?.take();
    this.#given = given;
    const all = given ? { ...offered, ...memoryImport(given) } : offered;
    const instance = new WebAssembly.Instance(module, all);
    if (instance.exports["memory"] instanceof WebAssembly.Memory) {
      this.#memory = instance.exports["memory"];
      wasi.attach(this.#memory);
    }
    this.#started = performance.now();
    const named =
      this.#request.entry === undefined ? undefined : instance.exports[this.#request.entry];
    if (typeof named === "function" && named.length === 0) {
      this.#answers = true;
      const first = instance.exports["_initialize"];
      const all = [
        ...(this.#program.starts ? [instance.exports[startExport]] : []),
        ...(typeof first === "function" ? [first] : []),
        named,
      ];
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- V8 has checked the start function's type, and a function without parameters may always be called
      return all as (() => unknown)[];
    }
    const entry = instance.exports["_start"];
    if (typeof entry !== "function" || entry.length > 0) {
      throw noEntry("_initialize" in instance.exports, typeof entry === "function");
    }
    const entries = this.#program.starts ? [instance.exports[startExport], entry] : [entry];
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- V8 has checked the start function's type, and a function without parameters may always be called
    return entries as (() => void)[];
  }

  #park(park: (ms: number) => Promise<void>, ms: number): Promise<void> {
    this.#output.flush();
    return park(ms);
  }

  #http(
    { ask, close }: NonNullable<GuestPlace["http"]>,
    ended: () => { readonly thrown: unknown } | undefined,
  ): Record<string, WebAssembly.ImportValue> {
    return http({
      memory: () => this.#memory,
      ended,
      ask:
        ask &&
        ((asked) => {
          this.#output.flush();
          return ask(asked);
        }),
      close,
      limits: this.#request.limits,
    });
  }

  #write(stream: "stdout" | "stderr", bytes: Uint8Array): Promise<void> | undefined {
    const { onPour, stream: ask } = this.#place;
    if (stream === "stdout" && ask && onPour && this.#request.streams?.stdout) {
      // A copy it must be: it goes to another thread.
      onPour(new Uint8Array(bytes));
      this.#poured += bytes.length;
      return this.#poured < pouredBytes ? undefined : this.#drain(ask);
    }
    const { outputBytes } = this.#request.limits;
    const room = outputBytes - this.#output.size(stream);
    // Only what fits is copied, and a copy it must be: a view would cross to the other thread with all of the guest's memory.
    if (room > 0) this.#output.write(stream, bytes.slice(0, room));
    if (bytes.length <= room) return undefined;
    throw limitFailure(
      "output",
      this.#request.limits,
      `The guest wrote ${this.#output.size(stream) + bytes.length - Math.max(0, room)} bytes to ${stream}`,
      "Write large data to a file and hand it out as an artifact.",
    );
  }

  /** A guest that caught what ended it, and then returned, was ended all the same. */
  #returned(value: unknown): GuestOutcome["end"] {
    const ended = this.#ended();
    if (ended) return this.#endOf(ended.thrown);
    if (!this.#answers || typeof value !== "number" || value === 0) return exitedWell;
    return { kind: "exited", exitCode: value >>> 0 };
  }

  #endOf(given: unknown): GuestOutcome["end"] {
    // Whatever a guest makes of it, the first thing that ended it counts.
    const thrown = this.#ended()?.thrown ?? given;
    if (thrown instanceof Exit) return { kind: "exited", exitCode: thrown.exitCode };
    if (thrown instanceof RangeError && thrown.message.includes("Out of memory")) {
      const failure = new Failure(
        "limit-memory",
        `The host has no memory left: ${thrown.message}`,
        {
          hint: "Lower limits.memory of the steps, or run fewer of them at once.",
        },
      );
      return { kind: "failed", failure: failure.toJSON() };
    }
    if (thrown instanceof RangeError && thrown.message.includes("call stack")) {
      const [innermost] = guestStack(thrown.stack ?? "", this.#program.module);
      const place = innermost === undefined ? "" : `, at last in ${innermost.slice(0, 200)}`;
      const { limits } = this.#request;
      const failure = limitFailure(
        "stack",
        limits,
        `The guest's calls are nested too deep${place}`,
      );
      return { kind: "stopped", failure: failure.toJSON() };
    }
    if (thrown instanceof WebAssembly.RuntimeError || thrown instanceof RangeError) {
      const stack = guestStack(thrown.stack ?? "", this.#program.module);
      return { kind: "trapped", message: thrown.message, stack };
    }
    if (thrown instanceof WebAssembly.Exception) {
      return { kind: "trapped", message: "uncaught exception", stack: [] };
    }
    // Our calls answer their own type errors; this one comes from V8, which could not give our number back.
    const failure = thrown instanceof TypeError ? otherSignature(thrown) : toFailure(thrown);
    const kind = failure.code.startsWith("limit-") ? "stopped" : "failed";
    return { kind, failure: failure.toJSON() };
  }

  #finish(ended: GuestOutcome["end"]): GuestOutcome {
    const now = performance.now();
    this.#output.flush();
    let end = ended;
    let collected: readonly Collected[] = [];
    try {
      const { collect, limits } = this.#request;
      const collector = new Collector(this.#tree, limits.filesBytes);
      collected = collect.map((path) => collector.take(path));
    } catch (thrown) {
      end = { kind: "failed", failure: toFailure(thrown).toJSON() };
    }
    // A guest whose time was over shortly before its end is treated as one that was stopped.
    const cpuMs = this.#place.cpuMs();
    const { limits } = this.#request;
    if (cpuMs > limits.cpuMs) end = { kind: "stopped", failure: usedUp(limits).toJSON() };
    const { bytesWritten, fileCount } = this.#tree;
    this.#tree.close();
    const handedOut = collected.some((item) => item.kind !== "missing");
    if (this.#folder !== undefined && !handedOut) {
      rmSync(this.#folder, { recursive: true, force: true });
    }
    const memoryBytes = this.#memory?.buffer.byteLength ?? 0;
    if (this.#given) this.#place.memory?.giveBack(this.#given);
    return {
      stdout: this.#output.take("stdout"),
      stderr: this.#output.take("stderr"),
      collected,
      instantiateMs: this.#started - this.#start,
      runMs: now - this.#started,
      cpuMs,
      memoryBytes,
      filesCreated: fileCount,
      filesBytesWritten: bytesWritten,
      limitsReached: [...this.#reached],
      end,
    };
  }
}

/** The guest has used up its CPU time. */
export function usedUp(limits: Limits): Failure {
  return limitFailure(
    "cpuTime",
    limits,
    "The guest used up its CPU time",
    "Look for an endless loop.",
  );
}

/** A guest whose stdout is taken piece by piece waits when so much of it is not done with. */
const pouredBytes = 1024 * 1024;

const exitedWell = { kind: "exited", exitCode: 0 } as const;

export function noEntry(reactor: boolean, present: boolean): Failure {
  const what = reactor
    ? 'The module is a reactor: it exports "_initialize" and no "_start"'
    : present
      ? 'The module\'s function "_start" wants parameters'
      : 'The module exports no function "_start"';
  return new Failure("module-entry", what, {
    hint: "Build it as a command (a program with main), not as a library (without -mexec-model=reactor, --no-entry or -buildmode=c-shared).",
  });
}

function otherSignature(cause: TypeError): Failure {
  return new Failure(
    "module-import",
    `The module imports a function with a signature that is not preview 1's: ${cause.message}`,
    { hint: "Build it for wasip1 with an unchanged standard library.", cause },
  );
}

type Import = ReturnType<typeof WebAssembly.Module.imports>[number];
type Offered = Readonly<Record<string, object>>;

/** Whether a sandbox offers what a module imports. */
export function isOffered({ module, name, kind }: Import, offered: Offered): boolean {
  return (
    kind === "function" &&
    Object.hasOwn(offered, module) &&
    Object.hasOwn(offered[module] ?? {}, name)
  );
}

/** Throws for the first import that no sandbox offers. */
export function checkImports(imports: readonly Import[], offered: Offered): void {
  const missing = imports.find((wanted) => !isOffered(wanted, offered));
  if (!missing) return;
  const spawn = imports.find(({ module, name }) => module === "wasi" && name === "thread-spawn");
  if (spawn || missing.kind === "memory") {
    const what = spawn
      ? 'starts threads: it imports "wasi.thread-spawn"'
      : `imports its memory "${missing.module}.${missing.name}", as modules with threads do`;
    throw new Failure("module-unsupported", `The module ${what}`, {
      hint: "A guest runs on one thread, in a memory of its own. Build it for wasm32-wasip1 (not wasip1-threads, without -pthread and --import-memory).",
    });
  }
  throw new Failure(
    "module-import",
    `The module imports the ${missing.kind} "${missing.module}.${missing.name}", which the sandbox does not offer`,
    {
      hint: "Build it for wasip1; only functions of wasi_snapshot_preview1 and atalanta_http can be imported.",
    },
  );
}

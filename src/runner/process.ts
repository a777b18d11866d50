import { spawn, type ChildProcess } from "node:child_process";
import { Socket } from "node:net";
import {
  aborted,
  endedBy,
  tooMany,
  type Invocation,
  type Module,
  type Result,
  type RunOptions,
} from "../engine/mod.ts";
import { Failure, toFailure, type FailureRecord } from "../errors/mod.ts";
import { limitFailure, type Limits } from "../limits/mod.ts";
import { Body, Channel } from "./channel.ts";
import { Calls } from "./calls.ts";
import { parse, type FromRunner, type SaidResult } from "./parse.ts";
import { Place, type Given } from "./place.ts";
import type { Program } from "./program.ts";
import { leakedDescriptors, newUser, type Walls } from "./walls.ts";
import { channelDescriptor, type RunnerSettings, type ToRunner } from "./wire.ts";

/** A start takes a tenth of a second; this is for a machine that is busy. */
const startMs = 30_000;
/** A guest is stopped in milliseconds; a process that does not say so by then has something else in mind. */
const stopMs = 3000;
/** What may come from a process that has nothing to hand out. */
const smallBytes = 1024 * 1024;
/** Names of imports and exports of a module, whose count and size have ceilings. */
const moduleBytes = 64 * 1024 * 1024;
/** All paths of what is handed out have a ceiling of 64 MiB, and each entry some bytes around its path. */
const pathsBytes = 160 * 1024 * 1024;
/** Files of a guest that lie in memory: 32 MiB, and what they grow by. */
const memoryFilesBytes = 80 * 1024 * 1024;
/** What a process says on stderr when it does not start. */
const lastWordsBytes = 4096;
const mostWordsBytes = 1024 * 1024;
/** Pieces of output that may come one by one; then they are of this size, or so far apart. */
const singleOutputs = 20_000;
const gatheredBytes = 4096;
/** Both streams before each sleep, and the shortest that puts a guest aside has two milliseconds. */
const gatheredMs = 0.5;

export interface StartOptions {
  readonly walls: Walls;
  readonly base: string;
  readonly name: string;
  readonly threads: number;
  readonly parkedBytes: number;
  readonly program: Program;
  /** What is started instead; for tests. */
  readonly standIn?: string;
}

interface Running {
  readonly invocation: Invocation;
  readonly options: RunOptions;
  readonly given: Given;
  readonly calls: Calls;
  readonly resolve: (result: Result) => void;
  readonly limit: NodeJS.Timeout;
  readonly stopListening: () => void;
  stopping: NodeJS.Timeout | undefined;
  /** What it may still write on each stream. */
  readonly room: { stdout: number; stderr: number };
  outputs: number;
  /** It has ended there, and what it left is taken over. */
  over: boolean;
  readonly since: number;
}

interface Loading {
  readonly limits: Limits;
  readonly resolve: (loaded: Loaded) => void;
  readonly reject: (failure: Failure) => void;
  readonly limit: NodeJS.Timeout;
}

type Loaded = Pick<Module, "compileMs" | "imports" | "exports">;

/** One runner process, as the process sees it that started it and believes nothing it says. */
export class RunnerProcess {
  readonly #child: ChildProcess;
  readonly #channel: Channel;
  readonly #place: Place;
  readonly #walls: Walls;
  readonly #user: number | undefined;
  readonly #running = new Map<number, Running>();
  readonly #loading = new Map<number, Loading>();
  /** Modules that it has, in the order of their use, by a key of the caller's. */
  readonly #modules = new Map<
    string,
    { readonly number: number; readonly loaded: Promise<Loaded>; readonly sizeBytes: number }
  >();
  readonly #ready = Promise.withResolvers<undefined>();
  readonly #gone = Promise.withResolvers<undefined>();
  #nextId = 1;
  #isReady = false;
  #lastWords = "";
  #saidBytes = 0;
  #lost: string | undefined;
  #preparing = 0;

  static async start(options: StartOptions): Promise<RunnerProcess> {
    const user = options.walls.ownUser ? newUser() : undefined;
    const place = await Place.make(options.base, options.name, user);
    return new RunnerProcess(options, place, user);
  }

  private constructor(options: StartOptions, place: Place, user: number | undefined) {
    this.#place = place;
    this.#walls = options.walls;
    this.#user = user;
    this.#ready.promise.catch(() => undefined);
    const [file, ...parameters] = [
      ...options.walls.wrapper(user),
      options.program.node,
      ...nodeOptions(place.folder, options.program),
      options.standIn ?? options.program.main,
      JSON.stringify({
        threads: options.threads,
        parkedBytes: options.parkedBytes,
        close: leakedDescriptors(),
      } satisfies RunnerSettings),
    ];
    const becomes = user !== undefined && !parameters.includes("--reuid");
    this.#child = spawn(file, parameters, {
      env: {},
      cwd: place.folder,
      // A group of its own: what a terminal sends to ours is not for it.
      detached: true,
      stdio: ["ignore", "ignore", "pipe", "pipe"],
      ...(becomes ? { uid: user, gid: user } : {}),
    });
    const stream = this.#child.stdio[channelDescriptor];
    if (!(stream instanceof Socket)) throw new Failure("internal", "The runner has no channel");
    this.#channel = new Channel(stream, {
      receive: (header, body) => this.#receive(header, body),
      ceilings: () => this.#ceilings(),
      broken: (problem) => this.#punish(problem),
      ended: () => this.kill("it closed its channel"),
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      if (this.#lastWords.length < lastWordsBytes) this.#lastWords += chunk.toString("latin1");
      this.#saidBytes += chunk.length;
      // Nobody reads on; the rest waits there.
      if (this.#saidBytes > mostWordsBytes) this.#child.stderr?.pause();
    });
    this.#child.on("error", (cause) => this.#end(cause.message));
    this.#child.on("exit", (code, signal) => this.#end(signal ?? `exit code ${code}`));
    const timer = setTimeout(() => this.kill(`it was not ready after ${startMs} ms`), startMs);
    timer.unref();
    const started = (): void => clearTimeout(timer);
    this.#ready.promise.then(started, started);
    this.#hold();
  }

  /** The process group; absent when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get alive(): boolean {
    return this.#lost === undefined;
  }

  get isReady(): boolean {
    return this.#isReady && this.alive;
  }

  /** Rejects when it does not start. */
  get ready(): Promise<undefined> {
    return this.#ready.promise;
  }

  /** When it and all that it started are gone, and its folders too. */
  get gone(): Promise<undefined> {
    return this.#gone.promise;
  }

  /** Compiles there, once for each key. `bytes` is asked only when it is needed. */
  async load(key: string, name: string, limits: Limits, bytes: () => Uint8Array): Promise<Loaded> {
    const known = this.#modules.get(key);
    if (known) {
      this.#modules.delete(key);
      this.#modules.set(key, known);
      return known.loaded;
    }
    const id = this.#nextId++;
    const content = bytes();
    const { promise, resolve: done, reject } = Promise.withResolvers<Loaded>();
    if (this.#lost !== undefined) throw lost(this.#lost);
    const late = (): void => {
      // Nothing else ends a compilation.
      const failure = limitFailure("compileTime", limits, `"${name}" is not compiled yet`);
      this.#loading.delete(id);
      reject(failure);
      this.kill("a module took too long to compile");
    };
    // The engine there answers at the ceiling itself; whoever does not is ended.
    const limit = setTimeout(late, limits.compileMs + stopMs);
    this.#loading.set(id, { limits, resolve: done, reject, limit });
    this.#modules.set(key, { number: id, loaded: promise, sizeBytes: content.length });
    promise.catch(() => this.#modules.delete(key));
    this.#hold();
    this.#send({ type: "load", id, module: id, name, limits }, [content]);
    this.#forgetOldest();
    return promise;
  }

  /**
   * Runs a guest of a module that was loaded with that key. Never rejects. Once `begun` was called, the guest ends when the signal
   * says so; what is laid ready before takes its time, and is laid for nobody when the caller has left.
   */
  async run(
    key: string,
    invocation: Invocation,
    options: RunOptions,
    begun: () => void,
  ): Promise<Result> {
    const { signal } = options;
    const id = this.#nextId++;
    const body = new Body();
    const stdin = body.add(invocation.stdin ?? new Uint8Array(0));
    let laid;
    this.#preparing++;
    this.#hold();
    try {
      laid = this.#place.give(id, invocation.mounts, body);
      if (laid.copies.length > 0) await Promise.all(laid.copies);
    } catch (thrown) {
      await this.#place.takeBack(id);
      return endedBy("failed", cannotPrepare(thrown));
    } finally {
      this.#preparing--;
      this.#rest();
    }
    if (signal?.aborted) {
      await this.#place.takeBack(id);
      return endedBy("stopped", aborted());
    }
    begun();
    const { mounts, given } = laid;
    const module = this.#modules.get(key)?.number;
    if (this.#lost !== undefined || module === undefined) {
      if (given.size > 0) await this.#place.takeBack(id);
      return endedBy("failed", lost(this.#lost ?? "it does not know the module"));
    }
    const result = await new Promise<Result>((resolve) => {
      const stop = (): void => this.#stop(id);
      signal?.addEventListener("abort", stop);
      this.#running.set(id, {
        invocation,
        options,
        given,
        calls: new Calls(options, (call, answer, parts) =>
          this.#send({ type: "answer", id, call, answer }, parts),
        ),
        resolve,
        limit: setTimeout(() => this.#punish("a guest that never ends"), this.#latest(invocation)),
        stopListening: () => signal?.removeEventListener("abort", stop),
        stopping: undefined,
        room: { stdout: invocation.limits.outputBytes, stderr: invocation.limits.outputBytes },
        outputs: 0,
        over: false,
        since: performance.now(),
      });
      this.#hold();
      this.#send(
        {
          type: "run",
          id,
          module,
          arguments: invocation.arguments,
          environment: [...invocation.environment],
          stdin,
          mounts,
          ...(invocation.preopens ? { preopens: invocation.preopens } : {}),
          collect: invocation.collect,
          limits: invocation.limits,
          live: options.onOutput !== undefined,
          http: options.http !== undefined,
          ...(invocation.entry === undefined ? {} : { entry: invocation.entry }),
          ...(options.input || options.pour
            ? {
                streams: {
                  stdin: options.input !== undefined,
                  stdout: options.pour !== undefined,
                },
              }
            : {}),
        },
        body.parts,
      );
    });
    if (given.size > 0) await this.#place.takeBack(id);
    return result;
  }

  /** Ends it at once, with all that it started; `why` is for those whose guests are lost by that. */
  kill(why: string): void {
    this.#lost ??= why;
    this.#channel.close();
    const { pid } = this.#child;
    if (pid === undefined) return;
    // Its end is waited for, if only to remove what it leaves.
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.ref();
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // It is gone already.
    }
  }

  #send(message: ToRunner, parts: readonly Uint8Array[] = []): void {
    this.#channel.send(message, parts);
  }

  /**
   * A guest ends by its own limit there, and those before it by theirs. The time of all of them together is more than it can
   * honestly take, and it is a time.
   */
  #latest(invocation: Invocation): number {
    let allMs = invocation.limits.timeMs;
    for (const running of this.#running.values()) allMs += running.invocation.limits.timeMs;
    return Math.min(allMs + stopMs, 2 ** 31 - 1);
  }

  #ceilings(): { readonly headerBytes: number; readonly bodyBytes: number } {
    let headerBytes = smallBytes;
    let bodyBytes = smallBytes;
    if (this.#loading.size > 0) headerBytes = moduleBytes;
    for (const { invocation } of this.#running.values()) {
      const { outputBytes } = invocation.limits;
      const handsOut = invocation.collect.length > 0;
      bodyBytes = Math.max(bodyBytes, 2 * outputBytes + (handsOut ? memoryFilesBytes : 0));
      if (handsOut) headerBytes = Math.max(headerBytes, pathsBytes);
      // A request's body; the gate looks at what it may have.
      if (handsOut || this.#running.size > 0) bodyBytes = Math.max(bodyBytes, moduleBytes);
    }
    return { headerBytes, bodyBytes };
  }

  #receive(header: unknown, body: Uint8Array): void {
    try {
      this.#believe(parse(header, body));
    } catch (thrown) {
      this.#punish(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }

  #believe(message: FromRunner): void {
    if (message.type === "ready") {
      this.#isReady = true;
      this.#ready.resolve(undefined);
      this.#rest();
      return;
    }
    const { id } = message;
    const loading = this.#loading.get(id);
    if (message.type === "loaded" || (message.type === "refused" && loading)) {
      if (!loading) throw new Error(`a module ${id} that nobody asked for`);
      this.#loading.delete(id);
      clearTimeout(loading.limit);
      if (message.type === "loaded") {
        const { compileMs, imports, exports } = message;
        loading.resolve({ compileMs, imports, exports });
      } else loading.reject(rebuilt(message.failure));
      this.#rest();
      return;
    }
    const running = this.#running.get(id);
    // Each word of an end would take its files over once more.
    if (!running || running.over) throw new Error(`a guest ${id} that does not run`);
    if (message.type === "done") void this.#done(id, running, message.result);
    else if (message.type === "refused")
      this.#settle(id, running, endedBy("failed", rebuilt(message.failure)));
    else if (message.type === "output" && message.stream === "stdout" && running.options.pour) {
      if (!running.stopping) running.calls.pour(message.bytes);
    } else if (message.type === "output") {
      running.room[message.stream] -= message.bytes.length;
      if (running.room[message.stream] < 0) throw new Error("more output than its ceiling");
      // An engine gathers small writes.
      running.outputs++;
      const bytes =
        2 * running.invocation.limits.outputBytes - running.room.stdout - running.room.stderr;
      const passedMs = performance.now() - running.since;
      const most = singleOutputs + bytes / gatheredBytes + passedMs / gatheredMs;
      if (running.outputs > most) throw new Error("output in too many pieces");
      if (!running.stopping) running.options.onOutput?.(message.stream, message.bytes);
    } else {
      // What waited is handed on before each of them.
      running.outputs -= 2;
      running.calls.take(message);
    }
  }

  async #done(id: number, running: Running, said: SaidResult): Promise<void> {
    const { outputBytes } = running.invocation.limits;
    const { stdout, stderr, usage, limitsReached, end } = said;
    running.over = true;
    clearTimeout(running.limit);
    clearTimeout(running.stopping);
    try {
      if (Math.max(stdout.length, stderr.length) > outputBytes) throw new Error("too much output");
      const nothing = end.kind !== "exited" && said.collected.length === 0;
      const paths = nothing ? [] : running.invocation.collect;
      const { limits } = running.invocation;
      const taken = await this.#place.take(paths, said.collected, { given: running.given, limits });
      if (taken.tookFiles) this.#send({ type: "release", id });
      const { collected } = taken;
      await running.calls.poured;
      this.#settle(id, running, { stdout, stderr, usage, limitsReached, collected, ...end });
    } catch (thrown) {
      // A full disk of ours is nothing to blame it for, but a file that is not what it said is.
      const ours = thrown instanceof Error && "code" in thrown;
      if (thrown instanceof Failure) this.#settle(id, running, endedBy("stopped", thrown));
      else if (ours) this.#settle(id, running, endedBy("failed", cannotTake(thrown)));
      else this.#punish(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }

  #settle(id: number, running: Running, result: Result): void {
    if (!this.#running.delete(id)) return;
    clearTimeout(running.limit);
    clearTimeout(running.stopping);
    running.stopListening();
    running.calls[Symbol.dispose]();
    this.#rest();
    running.resolve(result);
  }

  #stop(id: number): void {
    const running = this.#running.get(id);
    if (!running || running.stopping || running.over) return;
    running.stopping = setTimeout(() => this.#punish("a guest that cannot be stopped"), stopMs);
    this.#send({ type: "stop", id });
  }

  /** What no process of ours would do: it is another's by now. */
  #punish(problem: string): void {
    this.kill(`it sent ${problem}`);
    this.#loseAll();
  }

  #end(how: string): void {
    const first = this.#lost === undefined;
    this.#lost ??= how;
    this.#channel.close();
    if (!this.#isReady) {
      const words = this.#lastWords.split("\n").find((line) => /error|cannot|fail/i.test(line));
      const reason = words === undefined ? this.#lost : `${this.#lost}: ${words.trim()}`;
      this.#ready.reject(notStarted(reason));
    }
    if (first) this.kill(how);
    this.#loseAll();
    void this.#cleanUp();
  }

  #loseAll(): void {
    const failure = lost(this.#lost ?? "it ended");
    for (const [id, running] of this.#running)
      this.#settle(id, running, endedBy("failed", failure));
    for (const [id, loading] of this.#loading) {
      this.#loading.delete(id);
      clearTimeout(loading.limit);
      loading.reject(failure);
    }
  }

  /** Nothing of the process's is touched before all that could change it meanwhile is gone. */
  async #cleanUp(): Promise<void> {
    if (this.#user !== undefined && !this.#walls.wholeGroup) await endAllOf(this.#user);
    await this.#place.remove().catch(() => undefined);
    this.#gone.resolve(undefined);
  }

  /** An idle process must not keep ours alive, a busy one must. */
  #hold(): void {
    this.#child.ref();
    for (const stream of this.#streams()) stream.ref();
  }

  #rest(): void {
    if (this.#running.size + this.#loading.size + this.#preparing > 0) return;
    this.#child.unref();
    for (const stream of this.#streams()) stream.unref();
  }

  #streams(): readonly Socket[] {
    const { stdio } = this.#child;
    return [stdio[2], stdio[channelDescriptor]].filter((stream) => stream instanceof Socket);
  }

  /** As its engine does, but never the one that was just sent. */
  #forgetOldest(): void {
    for (const [key, { number }] of this.#modules) {
      const sizes = this.#modules.values().map(({ sizeBytes }) => sizeBytes);
      if (this.#modules.size === 1 || !tooMany(sizes)) return;
      this.#modules.delete(key);
      this.#send({ type: "forget", module: number });
    }
  }
}

function nodeOptions(folder: string, { code }: Program): readonly string[] {
  return [
    "--no-warnings",
    "--permission",
    // Guests run on threads, and one that must be stopped beside others is interrupted by the debugger's means.
    "--allow-worker",
    "--allow-inspector",
    `--allow-fs-read=${code}/*`,
    // With the star, because what Node cannot see it takes for a file.
    `--allow-fs-read=${folder}/in/*`,
    `--allow-fs-read=${folder}/out/*`,
    `--allow-fs-write=${folder}/out/*`,
    "--disable-sigusr1",
    "--disallow-code-generation-from-strings",
  ];
}

/** All processes of a user that is nobody else's. */
function endAllOf(user: number): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn("/bin/sh", ["-c", "kill -KILL -1"], {
      env: {},
      cwd: "/",
      stdio: "ignore",
      uid: user,
      gid: user,
    });
    child.on("error", () => resolve());
    child.on("exit", () => resolve());
  });
}

function rebuilt({ code, message, hint }: FailureRecord): Failure {
  return new Failure(code, message, hint === undefined ? {} : { hint });
}

function lost(how: string): Failure {
  return new Failure("runner-lost", `The runner process that had the guest ended: ${how}`, {
    hint: "Whatever the guest did is lost; run the step again, or give it a retryStrategy.",
  });
}

function notStarted(reason: string): Failure {
  return new Failure("runner-start", `A runner process did not start: ${reason}`, {
    hint: "Check that the machine has memory and processes left, and that other users may read where Atalanta and Node are installed.",
  });
}

function cannotPrepare(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  return new Failure("storage", `Cannot lay an input ready: ${toFailure(thrown).message}`, {
    cause: thrown,
    hint: "Check that the disk has room and that nobody removed the input.",
  });
}

function cannotTake(thrown: unknown): Failure {
  return new Failure("storage", `Cannot take an output over: ${toFailure(thrown).message}`, {
    cause: thrown,
    hint: "Check that the disk has room.",
  });
}

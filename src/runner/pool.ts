import { Failure } from "../errors/mod.ts";
import { RunnerProcess, type StartOptions } from "./process.ts";

export interface PoolOptions {
  readonly start: (name: string) => Promise<StartOptions>;
  readonly spares: number;
  readonly mostProcesses: number;
  readonly idleMs: number;
}

interface Owned {
  readonly process: RunnerProcess;
  idleSince: number;
}

/** A start costs a processor some time, which the guest that took the spare is to have first. */
const refillMs = 50;

/** Runner processes: one for each owner that has something to run, and some that wait for one. */
export class Pool implements AsyncDisposable {
  readonly #options: PoolOptions;
  readonly #owned = new Map<string, Owned>();
  readonly #spares = new Set<RunnerProcess>();
  readonly #starting = new Map<string, Promise<RunnerProcess>>();
  readonly #waiting: (() => void)[] = [];
  readonly #all = new Set<RunnerProcess>();
  #sweeping: NodeJS.Timeout | undefined;
  #refilling: NodeJS.Timeout | undefined;
  #nextName = 1;
  #closed = false;
  #startedAhead: Promise<unknown> | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Starts spare processes, so that the first guest finds one. */
  prepare(): void {
    this.#startedAhead ??= this.#refill();
  }

  /** The process of an owner; a spare one when it has none. */
  async of(owner: string): Promise<RunnerProcess> {
    const known = this.#owned.get(owner);
    if (known?.process.alive) {
      known.idleSince = Infinity;
      return known.process;
    }
    let starting = this.#starting.get(owner);
    if (!starting) {
      starting = this.#begin(owner).finally(() => this.#starting.delete(owner));
      this.#starting.set(owner, starting);
    }
    return starting;
  }

  processes(): readonly { readonly owner: string | undefined; readonly pid: number }[] {
    const owners = new Map([...this.#owned].map(([owner, { process }]) => [process, owner]));
    return [...this.#all].flatMap((process) =>
      process.alive && process.pid !== undefined
        ? [{ owner: owners.get(process), pid: process.pid }]
        : [],
    );
  }

  async #begin(owner: string): Promise<RunnerProcess> {
    this.prepare();
    while (this.#owned.size >= this.#options.mostProcesses && !this.#makeRoom()) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    if (this.#closed) throw closed();
    const spare = await this.#spare();
    if (this.#closed) throw closed();
    const owned: Owned = { process: spare, idleSince: Infinity };
    this.#owned.set(owner, owned);
    spare.onIdle(() => {
      owned.idleSince = performance.now();
      this.#waiting.shift()?.();
    });
    void spare.gone.then(() => {
      if (this.#owned.get(owner) === owned) this.#owned.delete(owner);
      this.#waiting.shift()?.();
    });
    this.#sweeping ??= setInterval(
      () => this.#sweep(),
      Math.max(10, this.#options.idleMs / 4),
    ).unref();
    return spare;
  }

  /** One that is ready before one that is not. */
  async #spare(): Promise<RunnerProcess> {
    const alive = [...this.#spares].filter((process) => process.alive);
    let taken = alive.find((process) => process.isReady) ?? alive[0];
    if (taken) this.#spares.delete(taken);
    else taken = await this.#start();
    this.#refilling ??= setTimeout(() => {
      this.#refilling = undefined;
      void this.#refill();
    }, refillMs).unref();
    try {
      await taken.ready;
    } catch (thrown) {
      taken.kill("it did not start");
      throw thrown;
    }
    return taken;
  }

  async #refill(): Promise<void> {
    for (const spare of this.#spares) if (!spare.alive) this.#spares.delete(spare);
    while (this.#spares.size < this.#options.spares && !this.#closed) {
      try {
        this.#spares.add(await this.#start());
      } catch {
        // Whoever needs one is told.
        return;
      }
    }
  }

  async #start(): Promise<RunnerProcess> {
    const process = await RunnerProcess.start(await this.#options.start(`r${this.#nextName++}`));
    this.#all.add(process);
    void process.gone.then(() => this.#all.delete(process));
    if (this.#closed) process.kill("everything ends");
    return process;
  }

  /** Ends the process that has had nothing to do for the longest time. */
  #makeRoom(): boolean {
    const [first] = [...this.#owned]
      .filter(([, { process }]) => process.busy === 0 || !process.alive)
      .toSorted(([, left], [, right]) => left.idleSince - right.idleSince);
    if (!first) return false;
    const [owner, { process }] = first;
    this.#owned.delete(owner);
    process.kill("another owner needs its place");
    return true;
  }

  #sweep(): void {
    const oldest = performance.now() - this.#options.idleMs;
    for (const [owner, { process, idleSince }] of this.#owned) {
      if (process.alive && (process.busy > 0 || idleSince > oldest)) continue;
      this.#owned.delete(owner);
      process.kill("it had nothing to do");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeping);
    clearTimeout(this.#refilling);
    for (const process of this.#all) process.kill("everything ends");
    for (const waiting of this.#waiting) waiting();
    await this.#startedAhead;
    await Promise.allSettled(this.#starting.values());
    await Promise.all([...this.#all].map((process) => process.gone));
  }
}

function closed(): Failure {
  return new Failure("aborted", "The runners are closed");
}

import { Failure } from "../errors/mod.ts";
import type { RunnerView } from "./mod.ts";
import { RunnerProcess, type StartOptions } from "./process.ts";

export interface PoolOptions {
  readonly start: (name: string) => Promise<StartOptions>;
  readonly spares: number;
  readonly mostProcesses: number;
  readonly idleMs: number;
}

interface Owned {
  readonly process: RunnerProcess;
  users: number;
  idleSince: number;
}

/** A start costs a processor some time, which the guest that took the spare is to have first. */
const refillMs = 50;

/** Runner processes: one for each owner that has something to run, and some that wait for one. */
export class Pool implements AsyncDisposable {
  readonly #options: PoolOptions;
  readonly #owned = new Map<string, Owned>();
  readonly #spares = new Set<RunnerProcess>();
  readonly #starting = new Map<string, { users: number; readonly owned: Promise<Owned> }>();
  readonly #waiting: (() => void)[] = [];
  readonly #all = new Set<RunnerProcess>();
  #sweeping: NodeJS.Timeout | undefined;
  #refilling: NodeJS.Timeout | undefined;
  /** Processes that have an owner or are about to, until they are gone. */
  #taken = 0;
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

  /** Gives the process of an owner to `work`, a spare one when it has none. It is not taken away before that has ended. */
  async use<Value>(
    owner: string,
    work: (process: RunnerProcess) => Promise<Value>,
  ): Promise<Value> {
    const owned = await this.#of(owner);
    try {
      return await work(owned.process);
    } finally {
      owned.users--;
      if (owned.users === 0) {
        owned.idleSince = performance.now();
        this.#waiting.shift()?.();
      }
    }
  }

  /** Counts the caller as a user before anybody else can look. */
  async #of(owner: string): Promise<Owned> {
    const known = this.#owned.get(owner);
    if (known?.process.alive) {
      known.users++;
      return known;
    }
    const starting = this.#starting.get(owner);
    if (starting) {
      starting.users++;
      return starting.owned;
    }
    const next = { users: 1, owned: this.#begin(owner) };
    this.#starting.set(owner, next);
    return next.owned;
  }

  processes(): readonly RunnerView[] {
    const owners = new Map([...this.#owned].map(([owner, { process }]) => [process, owner]));
    return [...this.#all].flatMap((process) =>
      process.alive && process.pid !== undefined
        ? [{ owner: owners.get(process), pid: process.pid, ready: process.isReady }]
        : [],
    );
  }

  async #begin(owner: string): Promise<Owned> {
    // Whoever comes meanwhile finds that it is under way.
    await Promise.resolve();
    this.prepare();
    while (this.#taken >= this.#options.mostProcesses) {
      this.#makeRoom();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      if (this.#closed) {
        this.#starting.delete(owner);
        throw closed();
      }
    }
    this.#taken++;
    let spare;
    try {
      spare = await this.#spare();
      if (this.#closed) throw closed();
    } catch (thrown) {
      this.#starting.delete(owner);
      this.#giveBack();
      throw thrown;
    }
    const users = this.#starting.get(owner)?.users ?? 0;
    this.#starting.delete(owner);
    const owned: Owned = { process: spare, users, idleSince: 0 };
    this.#owned.set(owner, owned);
    void spare.gone.then(() => {
      if (this.#owned.get(owner) === owned) this.#owned.delete(owner);
      this.#giveBack();
    });
    this.#sweeping ??= setInterval(
      () => this.#sweep(),
      Math.max(10, this.#options.idleMs / 4),
    ).unref();
    return owned;
  }

  #giveBack(): void {
    this.#taken--;
    this.#waiting.shift()?.();
  }

  /** One that is ready before one that is not. */
  async #spare(): Promise<RunnerProcess> {
    const alive = [...this.#spares].filter((process) => process.alive);
    const spare = alive.find((process) => process.isReady) ?? alive[0];
    if (spare) this.#spares.delete(spare);
    const taken = spare ?? (await this.#start());
    this.#refilling ??= setTimeout(() => {
      this.#refilling = undefined;
      void this.#refill();
    }, refillMs).unref();
    try {
      await taken.ready;
    } catch (thrown) {
      taken.kill("it did not start");
      if (spare && !this.#closed) return this.#spare();
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

  /** Ends the process that has had nothing to do for the longest time; its place is free when it is gone. */
  #makeRoom(): void {
    const [first] = [...this.#owned]
      .filter(([, { users }]) => users === 0)
      .toSorted(([, left], [, right]) => left.idleSince - right.idleSince);
    if (!first) return;
    const [owner, { process }] = first;
    this.#owned.delete(owner);
    process.kill("another owner needs its place");
  }

  #sweep(): void {
    const oldest = performance.now() - this.#options.idleMs;
    for (const [owner, { process, users, idleSince }] of this.#owned) {
      if (users > 0 || idleSince > oldest) continue;
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
    await Promise.allSettled([...this.#starting.values()].map(({ owned }) => owned));
    await Promise.all([...this.#all].map((process) => process.gone));
  }
}

function closed(): Failure {
  return new Failure("aborted", "The runners are closed");
}

import { Failure, toFailure } from "../../errors/mod.ts";
import type { Performance, Performer } from "../../functions/mod.ts";
import { Ledger, recordOf, type Entry } from "./ledger.ts";
import type {
  Attempt,
  Call,
  CallDispatcher,
  CallOptions,
  CallRecord,
  CallSpan,
  Ended,
  Load,
} from "./model.ts";
import type { Onward } from "./onward.ts";
import { Circuit } from "./circuit.ts";
import { RetryBudget, withRetries } from "./retries.ts";
import { Turns } from "./turns.ts";

export interface EmbeddedOptions {
  readonly performer: Performer;
  /** Database file of calls that must be answered once; default: in memory, so that they are forgotten with the process. */
  readonly file?: string;
  /** How long outcomes are kept; default a day. */
  readonly keptMs?: number;
  /** Calls that may be here at once, waiting or running: of one owner (default 2,000) and of all (20,000). */
  readonly mostOfOwner?: number;
  readonly mostOfAll?: number;
  readonly onAttempt?: (attempt: Attempt) => void;
  /** Begins a span for a call; absent: calls are in no trace but their caller's. */
  readonly trace?: (call: Call) => CallSpan;
  /** Calls of guests to other functions. */
  readonly onward?: Onward;
}

/** What is known of one target. */
interface Target {
  readonly circuit: Circuit;
  readonly budget: RetryBudget;
  readonly turns: Turns;
  waiting: number;
  running: number;
}

/** Targets that are remembered. */
const mostTargets = 10_000;
const sweepMs = 60_000;
const dayMs = 24 * 60 * 60 * 1000;

/** Runs calls in this process. */
export class EmbeddedCalls implements CallDispatcher {
  readonly #options: EmbeddedOptions;
  readonly #ledger: Ledger;
  readonly #owners = new Map<string, number>();
  readonly #targets = new Map<string, Target>();
  /** Calls of the ledger that run here. */
  readonly #open = new Map<
    string,
    { readonly ended: Promise<Ended>; readonly stop: AbortController }
  >();
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  readonly #sweeping: NodeJS.Timeout;
  #here = 0;
  #draining = false;
  #memoryAt = 0;
  #memoryShort = false;

  constructor(options: EmbeddedOptions) {
    this.#options = options;
    this.#ledger = new Ledger(options.file ?? ":memory:", options.keptMs ?? dayMs);
    this.#sweeping = setInterval(() => this.#ledger.sweep(), sweepMs).unref();
    for (const entry of this.#ledger.unfinished())
      void this.#begin(entry, {}).catch(() => undefined);
  }

  async run(call: Call, options: CallOptions = {}): Promise<Ended> {
    if (call.key === undefined) return this.#admitted(call, options);
    const key = keyOf(call);
    const open = this.#open.get(key);
    const entry = this.#ledger.begin(call, false);
    if (entry.ended) return entry.ended;
    if (open) return { ...(await orGone(open.ended, options.signal)), repeated: true };
    // Whoever comes later waits for the same, so it does not end with the first of them.
    return orGone(this.#begin(entry, {}), options.signal);
  }

  async submit(call: Call): Promise<void> {
    this.#check(call);
    const entry = this.#ledger.begin(call, true);
    if (entry.ended || this.#open.has(keyOf(call))) return;
    void this.#begin(entry, {}).catch(() => undefined);
  }

  find(owner: string, id: string): Promise<CallRecord | undefined> {
    const entry = this.#ledger.find(owner, id);
    return Promise.resolve(entry && recordOf(entry, this.#open.has(`${owner} ${id}`)));
  }

  async wait(owner: string, id: string, signal: AbortSignal): Promise<CallRecord | undefined> {
    const open = this.#open.get(`${owner} ${id}`);
    if (open) await orGone(open.ended, signal).catch(() => undefined);
    return this.find(owner, id);
  }

  cancel(owner: string, id: string): Promise<boolean> {
    const open = this.#open.get(`${owner} ${id}`);
    open?.stop.abort(new Failure("aborted", "The call was cancelled"));
    return Promise.resolve(open !== undefined);
  }

  load(): readonly Load[] {
    return [...this.#targets]
      .filter(([, { waiting, running }]) => waiting + running > 0)
      .map(([target, { waiting, running }]) => ({ target, waiting, running }));
  }

  /** Runs a call of the ledger; its outcome is written before anybody is told. */
  #begin(entry: Entry, options: CallOptions): Promise<Ended> {
    const { call } = entry;
    const key = keyOf(call);
    const stop = new AbortController();
    const ended = (async (): Promise<Ended> => {
      let result: Ended;
      try {
        this.#ledger.start(entry);
        result = await this.#admitted(call, { ...options, signal: stop.signal });
      } catch (thrown) {
        const failure = toFailure(thrown);
        // What was not run may be sent again.
        if (failure.retryable && !entry.submitted) throw failure;
        result = notRun(failure);
      }
      // The process ends: the call goes on with the next one.
      if (this.#closing.signal.aborted) throw shuttingDown();
      this.#ledger.end(call, result);
      return result;
    })();
    ended.catch(() => undefined);
    this.#open.set(key, { ended, stop });
    void ended.finally(() => this.#open.delete(key)).catch(() => undefined);
    return ended;
  }

  /** Throws when a call cannot be taken. */
  #check({ owner }: Call): void {
    if (this.#draining) throw shuttingDown();
    const { mostOfOwner = 2000, mostOfAll = 20_000 } = this.#options;
    const own = this.#owners.get(owner) ?? 0;
    if (own >= mostOfOwner || this.#here >= mostOfAll) {
      const whose = own >= mostOfOwner ? `of ${owner} ` : "";
      throw new Failure(
        "queue-full",
        `${own >= mostOfOwner ? own : this.#here} calls ${whose}wait or run already`,
        {
          hint: "Send it again in a second, and fewer at once.",
        },
      );
    }
    if (this.#isMemoryShort()) {
      throw new Failure("queue-full", "The machine has hardly any memory left", {
        hint: "Send it again in a second; give the process more memory, or the functions less.",
      });
    }
  }

  /** Better to refuse a few calls than to lose all of them when the kernel ends the process. */
  #isMemoryShort(): boolean {
    const now = performance.now();
    if (now - this.#memoryAt > memoryMs) {
      this.#memoryAt = now;
      this.#memoryShort = process.availableMemory() < leastMemoryBytes;
    }
    return this.#memoryShort;
  }

  async #admitted(call: Call, options: CallOptions): Promise<Ended> {
    this.#check(call);
    const { owner } = call;
    this.#owners.set(owner, (this.#owners.get(owner) ?? 0) + 1);
    this.#here++;
    const running = this.#attempts(call, options);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
      this.#here--;
      const left = (this.#owners.get(owner) ?? 1) - 1;
      if (left > 0) this.#owners.set(owner, left);
      else this.#owners.delete(owner);
    }
  }

  async #attempts(call: Call, options: CallOptions): Promise<Ended> {
    const target = this.#target(call);
    target.circuit.check(call.target);
    using deadline = withDeadline(call.budgetMs, options.signal, this.#closing.signal);
    const { signal } = deadline;
    const queuedAt = performance.now();
    target.waiting++;
    try {
      await target.turns.take(call.concurrency, signal);
    } finally {
      target.waiting--;
    }
    const queueMs = performance.now() - queuedAt;
    target.running++;
    const span = this.#options.trace?.(call);
    const traced = span ? { ...call, traceparent: span.traceparent } : call;
    try {
      const once = options.input !== undefined || options.pour !== undefined;
      const policy = { budget: target.budget, signal, once };
      const { performance: last, attempts } = await withRetries(call.retry, policy, (attempt) =>
        this.#attempt(traced, { ...options, signal }, { attempt, queueMs }),
      );
      const outcome = deadline.isOver() ? late(call, last.outcome) : last.outcome;
      target.circuit.ended(outcome);
      const error = errorOf(outcome);
      const { cold } = last.usage;
      span?.end({ queueMs, attempts, cold, ...(error === undefined ? {} : { error }) });
      return { ...last, outcome, attempts, queueMs, repeated: false };
    } finally {
      target.running--;
      target.turns.giveBack();
    }
  }

  async #attempt(
    call: Call,
    options: CallOptions & { readonly signal: AbortSignal },
    about: {
      readonly attempt: number;
      readonly queueMs: number;
    },
  ): Promise<Performance> {
    const { performer, onAttempt, onward } = this.#options;
    const { attempt, queueMs } = about;
    const result = await performer.perform(call, {
      ...options,
      ...(onward ? { call: onward.handlerOf(call, this) } : {}),
    });
    const { outcome, usage } = result;
    onAttempt?.({
      target: call.target,
      function: call.function,
      end: outcome.kind === "failed" ? outcome.failure.code : outcome.kind,
      cold: usage.cold,
      queueMs,
      loadMs: usage.loadMs,
      runMs: usage.runMs,
      attempt,
    });
    return result;
  }

  #target({ target: name }: Call): Target {
    let target = this.#targets.get(name);
    if (target) return target;
    if (this.#targets.size >= mostTargets) {
      for (const [other, { waiting, running }] of this.#targets) {
        if (waiting + running > 0) continue;
        this.#targets.delete(other);
        break;
      }
    }
    target = {
      circuit: new Circuit(),
      budget: new RetryBudget(),
      turns: new Turns(),
      waiting: 0,
      running: 0,
    };
    this.#targets.set(name, target);
    return target;
  }

  async drain(mostMs: number): Promise<void> {
    this.#draining = true;
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), mostMs);
    while (this.#running.size > 0) {
      const all = Promise.allSettled(this.#running).then(() => "done" as const);
      if ((await Promise.race([all, late.promise])) === undefined) break;
    }
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    clearInterval(this.#sweeping);
    this.#closing.abort(shuttingDown());
    for (const { stop } of this.#open.values()) stop.abort(shuttingDown());
    await Promise.allSettled(this.#running);
    await Promise.allSettled([...this.#open.values()].map(({ ended }) => ended));
    this.#ledger[Symbol.dispose]();
  }
}

function errorOf(outcome: Performance["outcome"]): string | undefined {
  if (outcome.kind === "returned") return undefined;
  return outcome.kind === "threw" ? outcome.error.message : outcome.failure.message;
}

const memoryMs = 100;
const leastMemoryBytes = 128 * 1024 * 1024;

function keyOf({ owner, id }: Pick<Call, "owner" | "id">): string {
  return `${owner} ${id}`;
}

function shuttingDown(): Failure {
  return new Failure("shutting-down", "This process ends and takes no further calls", {
    hint: "Send it again; another process takes it.",
  });
}

/** The caller's time, and his going away; of one who never goes away, the end of this process. */
function withDeadline(
  budgetMs: number | undefined,
  caller: AbortSignal | undefined,
  closing: AbortSignal,
): Disposable & { readonly signal: AbortSignal; readonly isOver: () => boolean } {
  if (budgetMs === undefined) return { ...endless, signal: caller ?? closing };
  const over = new AbortController();
  const timer = setTimeout(
    () => over.abort(new Failure("deadline", `The call had ${budgetMs} ms, and they are over`)),
    budgetMs,
  );
  return {
    signal: AbortSignal.any([caller ?? closing, over.signal]),
    isOver: () => over.signal.aborted,
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

const endless = { isOver: () => false, [Symbol.dispose]: () => undefined };

/** A guest that was stopped because the caller's time was over. */
function late(call: Call, outcome: Performance["outcome"]): Performance["outcome"] {
  if (outcome.kind !== "failed" || outcome.failure.code !== "aborted") return outcome;
  return { kind: "failed", failure: overdue(call).toJSON() };
}

export function overdue({ budgetMs }: Pick<Call, "budgetMs">): Failure {
  return new Failure("deadline", `The call was given ${budgetMs ?? 0} ms, and they are over`, {
    hint: "Give it more time (Request-Timeout), or make the function faster.",
  });
}

function notRun(failure: Failure): Ended {
  return {
    outcome: { kind: "failed", failure: failure.toJSON() },
    log: new Uint8Array(0),
    usage: { cold: false, loadMs: 0, runMs: 0, cpuMs: 0, memoryBytes: 0 },
    attempts: 0,
    queueMs: 0,
    repeated: false,
  };
}

/** Waits no longer than the caller does; what he waited for goes on. */
async function orGone<Value>(
  work: Promise<Value>,
  signal: AbortSignal | undefined,
): Promise<Value> {
  if (!signal) return work;
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(new Failure("aborted", "The caller has left"));
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

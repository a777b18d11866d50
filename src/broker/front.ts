import { headers, type Msg, type Subscription } from "@nats-io/transport-node";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../errors/mod.ts";
import { mismatch } from "../dispatch/mod.ts";
import { overdue } from "../dispatch/mod.ts";
import { hedged, Latencies } from "../dispatch/mod.ts";
import type {
  Call,
  CallDispatcher,
  CallOptions,
  CallRecord,
  Ended,
  Load,
} from "../dispatch/mod.ts";
import {
  callsStream,
  callSubject,
  codeOf,
  noticeSubject,
  unavailable,
  type Broker,
} from "./connection.ts";
import { findAnswer, frontSubject, mostOfSubject, ownersSubject } from "./runner.ts";
import { packCall, unpackAnswer, unpackCall, type Answered } from "./wire.ts";

export interface NatsCallsOptions {
  readonly broker: Broker;
  /** Calls that this process waits for at once; default 20,000. */
  readonly mostOfAll?: number;
  readonly mostOfOwner?: number;
  readonly onHedge?: (target: string) => void;
}

/** How long a call may look for a broker that takes it. */
const sendMs = 60_000;
/** How often an outcome is looked for whose notice may have been lost. */
const lookMs = 5000;

interface Waiting {
  readonly call: Call;
  readonly resolve: (bytes: Uint8Array) => void;
}

/** Gives calls to a broker and hears of their outcomes; any number of processes may do so. */
export class NatsCalls implements CallDispatcher {
  readonly #broker: Broker;
  readonly #options: NatsCallsOptions;
  readonly #front = randomUUID();
  readonly #waiting = new Map<string, Waiting>();
  readonly #owners = new Map<string, number>();
  readonly #targets = new Map<string, { running: number; readonly latencies: Latencies }>();
  readonly #subscription: Subscription;
  readonly #looking: NodeJS.Timeout;
  readonly #running = new Set<Promise<unknown>>();
  #draining = false;

  constructor(options: NatsCallsOptions) {
    this.#broker = options.broker;
    this.#options = options;
    const { connection } = this.#broker;
    this.#subscription = connection.subscribe(`${frontSubject}${this.#front}.*`, {
      callback: (_error, message) => {
        const id = message.subject.split(".").at(-1) ?? "";
        this.#waiting.get(id)?.resolve(message.data);
      },
    });
    this.#looking = setInterval(() => void this.#look(), lookMs).unref();
    void this.#follow();
  }

  /** After a cut, notices may have been missed. */
  async #follow(): Promise<void> {
    for await (const { type } of this.#broker.connection.status()) {
      if (type === "reconnect") void this.#look();
    }
  }

  async #look(): Promise<void> {
    for (const { call, resolve } of this.#waiting.values()) {
      try {
        const found = await findAnswer(this.#broker, call);
        if (found) resolve(found);
      } catch {
        // The broker is away; it is asked again.
        return;
      }
    }
  }

  async run(call: Call, options: CallOptions = {}): Promise<Ended> {
    this.#check(call);
    const count = (change: number): void => {
      const left = (this.#owners.get(call.owner) ?? 0) + change;
      if (left > 0) this.#owners.set(call.owner, left);
      else this.#owners.delete(call.owner);
    };
    const target = this.#target(call.target);
    count(1);
    target.running++;
    const started = performance.now();
    const running = this.#hedged(call, options, target.latencies);
    this.#running.add(running);
    try {
      const ended = await running;
      if (call.pure && ended.outcome.kind === "returned")
        target.latencies.add(performance.now() - started);
      return ended;
    } finally {
      this.#running.delete(running);
      count(-1);
      target.running--;
    }
  }

  /** A slow call without effects is sent once more, under a name of its own. */
  #hedged(call: Call, options: CallOptions, latencies: Latencies): Promise<Ended> {
    const once = options.input !== undefined || options.pour !== undefined;
    const mayHedge = call.pure && call.key === undefined && !once;
    if (!mayHedge) return this.#once(call, options);
    const stop = options.signal ?? never;
    return hedged(
      (signal, second) =>
        this.#once(second ? { ...call, id: `${call.id}-2` } : call, { ...options, signal }),
      {
        afterMs: latencies.slowMs,
        signal: stop,
        isGood: ({ outcome }) => outcome.kind === "returned",
        onHedge: () => {
          latencies.hedged();
          this.#options.onHedge?.(call.target);
        },
      },
    );
  }

  async #once(call: Call, options: CallOptions): Promise<Ended> {
    const { signal } = options;
    const keyed = call.key !== undefined;
    const { promise, resolve } = Promise.withResolvers<Uint8Array>();
    await using ways = new AsyncDisposableStack();
    const notice = keyed
      ? noticeSubject(call.owner, call.id)
      : `${frontSubject}${this.#front}.${call.id}`;
    if (keyed) {
      const heard = this.#broker.connection.subscribe(notice, {
        callback: (_error, { data }) => resolve(data),
      });
      ways.defer(() => heard.unsubscribe());
      const known = await this.#known(call);
      if (known) return known;
    }
    // Several may wait for one call with a key here; each has a name of its own.
    const name = keyed ? randomUUID() : call.id;
    this.#waiting.set(name, { call, resolve });
    ways.defer(() => void this.#waiting.delete(name));
    const streams = this.#streams(call, options, ways);
    const begun = performance.now();
    const sequence = await this.#send(call, notice, streams, signal);
    // Whoever leaves takes his call along, unless others may wait for it.
    const leave = (): void => {
      if (!keyed) void this.#withdraw(call, sequence);
    };
    const bytes = await waited(promise, {
      signal,
      leftMs: call.budgetMs === undefined ? undefined : call.budgetMs - (performance.now() - begun),
      call,
      leave,
    });
    const answered = await unpackAnswer(bytes, this.#broker.bodies);
    if (keyed && answered.fingerprint !== call.fingerprint) throw mismatch(call);
    const { ended } = answered;
    const queueMs = Math.max(0, performance.now() - begun - ended.usage.runMs - ended.usage.loadMs);
    return { ...ended, queueMs, repeated: keyed && sequence === undefined };
  }

  /** The outcome of a call with this key from before. Throws `idempotency-mismatch`. */
  async #known(call: Call): Promise<Ended | undefined> {
    const bytes = await this.#patiently(() => findAnswer(this.#broker, call), undefined);
    if (!bytes) return undefined;
    const { ended, fingerprint } = await unpackAnswer(bytes, this.#broker.bodies);
    if (fingerprint !== call.fingerprint) throw mismatch(call);
    return { ...ended, repeated: true };
  }

  /** Its place in the stream; undefined when it was there already. */
  async #send(
    call: Call,
    notice: string,
    streams: { readonly input?: string; readonly output?: string },
    signal: AbortSignal | undefined,
  ): Promise<number | undefined> {
    const { broker } = this.#options;
    const bytes = await packCall({ call, notice, ...streams }, broker.bodies);
    const told = headers();
    // The server drops what nobody waits for any more, by its own clock.
    if (call.budgetMs !== undefined)
      told.set("Nats-TTL", `${Math.max(1, Math.ceil(call.budgetMs / 1000))}s`);
    let announced = false;
    return this.#patiently(async () => {
      try {
        await broker.ensureOwner(call.owner);
        if (!announced) {
          announced = true;
          if (this.#isNew(call.owner)) broker.connection.publish(ownersSubject, call.owner);
        }
        const { seq, duplicate } = await broker.stream.publish(
          callSubject(call.owner, call.id),
          bytes,
          {
            msgID: call.id,
            timeout: 3000,
            headers: told,
          },
        );
        return duplicate && call.key !== undefined ? undefined : seq;
      } catch (thrown) {
        if (codeOf(thrown) === mostOfSubject) {
          const isOne = thrown instanceof Error && thrown.message.includes("per subject");
          if (!isOne) throw full(call.owner, this.#broker.options.mostWaiting);
          await this.#compare(call);
          return undefined;
        }
        throw thrown;
      }
    }, signal);
  }

  readonly #announced = new Set<string>();
  #isNew(owner: string): boolean {
    if (this.#announced.has(owner)) return false;
    this.#announced.add(owner);
    return true;
  }

  /** Whether the call that is there is this one. */
  async #compare(call: Call): Promise<void> {
    const found = await this.#stored(call.owner, call.id);
    if (found && found.fingerprint !== call.fingerprint) throw mismatch(call);
  }

  async #stored(owner: string, id: string): Promise<Call | undefined> {
    try {
      const message = await this.#broker.manager.streams.getMessage(callsStream(owner), {
        last_by_subj: callSubject(owner, id),
      });
      return message ? (await unpackCall(message.data, this.#broker.bodies))?.call : undefined;
    } catch (thrown) {
      const code = codeOf(thrown);
      if (code === 10037 || code === 10059) return undefined;
      throw thrown;
    }
  }

  /** Tries as long as the broker is away, within reason: nothing is lost or doubled by sending again. */
  async #patiently<Value>(
    work: () => Promise<Value>,
    signal: AbortSignal | undefined,
  ): Promise<Value> {
    const until = performance.now() + sendMs;
    for (let wait = 50; ; wait = Math.min(1000, wait * 2)) {
      if (signal?.aborted) throw new Failure("aborted", "The caller has left");
      try {
        return await work();
      } catch (thrown) {
        if (thrown instanceof Failure) throw thrown;
        if (performance.now() > until || this.#broker.connection.isClosed()) {
          throw unavailable("The broker took no call", thrown);
        }
        await sleep(wait, undefined, { ref: false });
      }
    }
  }

  async #withdraw({ owner, id }: Call, sequence: number | undefined): Promise<void> {
    this.#broker.connection.publish(`atalanta.cancel.${owner}.${id}`);
    if (sequence === undefined) return;
    await this.#broker.manager.streams
      .deleteMessage(callsStream(owner), sequence, false)
      .catch(() => undefined);
  }

  /** Subjects where a runner gets the input and leaves the result piece by piece. */
  #streams(
    call: Call,
    { input, pour }: CallOptions,
    ways: AsyncDisposableStack,
  ): { readonly input?: string; readonly output?: string } {
    const { connection } = this.#broker;
    const serve = (kind: string, answer: (message: Msg) => Promise<void>): string => {
      const subject = `atalanta.flow.${this.#front}.${call.id}.${kind}`;
      const heard = connection.subscribe(subject, {
        callback: (_error, message) => {
          answer(message).catch(() => {
            const broken = headers();
            broken.set("end", "broken");
            message.respond("", { headers: broken });
          });
        },
      });
      ways.defer(() => heard.unsubscribe());
      return subject;
    };
    // The rest of a piece that is larger than a message.
    let rest: Uint8Array | undefined;
    return {
      ...(input
        ? {
            input: serve("in", async (message) => {
              while (!rest || rest.length === 0) {
                const step = await input.next();
                if (step.done) {
                  const last = headers();
                  last.set("end", "true");
                  message.respond("", { headers: last });
                  return;
                }
                rest = step.value;
              }
              message.respond(rest.subarray(0, pieceBytes));
              rest = rest.subarray(pieceBytes);
            }),
          }
        : {}),
      ...(pour
        ? {
            output: serve("out", async (message) => {
              await pour(new Uint8Array(message.data));
              message.respond("");
            }),
          }
        : {}),
    };
  }

  #check({ owner }: Call): void {
    if (this.#draining)
      throw new Failure("shutting-down", "This process ends and takes no further calls", {
        hint: "Send it again; another process takes it.",
      });
    const { mostOfAll = 20_000, mostOfOwner = 5000 } = this.#options;
    const own = this.#owners.get(owner) ?? 0;
    if (this.#running.size >= mostOfAll || own >= mostOfOwner)
      throw full(owner, Math.min(own, mostOfAll));
  }

  #target(name: string): { running: number; readonly latencies: Latencies } {
    let target = this.#targets.get(name);
    if (target) return target;
    if (this.#targets.size >= mostTargets) {
      const idle = [...this.#targets].find(([, { running }]) => running === 0);
      if (idle) this.#targets.delete(idle[0]);
    }
    target = { running: 0, latencies: new Latencies() };
    this.#targets.set(name, target);
    return target;
  }

  async submit(call: Call): Promise<void> {
    this.#check(call);
    if (call.key !== undefined && (await this.#known(call))) return;
    await this.#send(call, noticeSubject(call.owner, call.id), {}, undefined);
  }

  async find(owner: string, id: string): Promise<CallRecord | undefined> {
    const bytes = await this.#patiently(() => findAnswer(this.#broker, { owner, id }), undefined);
    if (bytes) return recordOf(owner, id, await unpackAnswer(bytes, this.#broker.bodies));
    const call = await this.#patiently(() => this.#stored(owner, id), undefined);
    if (!call) return undefined;
    return {
      id,
      owner,
      target: call.target,
      function: call.function,
      state: "waiting",
      createdAt: "",
    };
  }

  async wait(owner: string, id: string, signal: AbortSignal): Promise<CallRecord | undefined> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const heard = this.#broker.connection.subscribe(noticeSubject(owner, id), {
      callback: () => resolve(undefined),
    });
    try {
      for (;;) {
        const record = await this.find(owner, id);
        if (!record || record.state === "ended" || signal.aborted) return record;
        const stop = new AbortController();
        const any = AbortSignal.any([signal, stop.signal]);
        await Promise.race([
          promise,
          sleep(lookMs, undefined, { signal: any }).catch(() => undefined),
        ]);
        stop.abort();
      }
    } finally {
      heard.unsubscribe();
    }
  }

  async cancel(owner: string, id: string): Promise<boolean> {
    const call = await this.#stored(owner, id);
    if (!call) return false;
    // The outcome is written first, so that no runner's counts any more.
    const { cancelled } = await import("./cancelled.ts");
    await cancelled(this.#broker, call);
    this.#broker.connection.publish(`atalanta.cancel.${owner}.${id}`);
    return true;
  }

  load(): readonly Load[] {
    return [...this.#targets]
      .filter(([, { running }]) => running > 0)
      .map(([target, { running }]) => ({ target, waiting: 0, running }));
  }

  async drain(mostMs: number): Promise<void> {
    this.#draining = true;
    const late = sleep(mostMs, "late", { ref: false });
    while (this.#running.size > 0) {
      if ((await Promise.race([Promise.allSettled(this.#running), late])) === "late") return;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    clearInterval(this.#looking);
    this.#subscription.unsubscribe();
    return Promise.resolve();
  }
}

const mostTargets = 10_000;
const pieceBytes = 256 * 1024;
const never = new AbortController().signal;

/** Until the outcome is there, the caller leaves, or his time is over. */
async function waited(
  outcome: Promise<Uint8Array>,
  asked: {
    readonly signal: AbortSignal | undefined;
    readonly leftMs: number | undefined;
    readonly call: Call;
    readonly leave: () => void;
  },
): Promise<Uint8Array> {
  const { signal, leftMs, call, leave } = asked;
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => {
    leave();
    reject(new Failure("aborted", "The caller has left"));
  };
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { once: true });
  const timer =
    leftMs === undefined
      ? undefined
      : setTimeout(
          () => {
            leave();
            reject(overdue(call));
          },
          Math.max(0, leftMs),
        );
  try {
    return await Promise.race([outcome, promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

function full(owner: string, count: number): Failure {
  return new Failure("queue-full", `${count} calls of ${owner} wait already`, {
    hint: "Send it again in a second, and fewer at once, or start more runners.",
  });
}

function recordOf(
  owner: string,
  id: string,
  { ended, target, createdAt, ...rest }: Answered,
): CallRecord {
  return {
    id,
    owner,
    target,
    function: rest.function,
    state: "ended",
    createdAt,
    endedAt: createdAt,
    ended: { ...ended, repeated: true },
  };
}

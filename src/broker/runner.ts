import { headers, nanos, type Msg, type Subscription } from "@nats-io/transport-node";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, toFailure } from "../errors/mod.ts";
import type { RunTaskOptions, TaskResult } from "../task/mod.ts";
import type { Call, CallDispatcher, CallOptions, Ended } from "../dispatch/mod.ts";
import {
  answersStream,
  answerSubject,
  callsStream,
  codeOf,
  consumerName,
  type Broker,
} from "./connection.ts";
import { Suspects } from "./suspects.ts";
import { packAnswer, unpackCall, type Sent } from "./wire.ts";

export interface NatsRunnerOptions {
  readonly broker: Broker;
  /** Runs the calls that this process takes; retries and circuits are its own. */
  readonly local: CallDispatcher;
  /** Calls that run at once in this process; default 64. */
  readonly capacity?: number;
  readonly onTrouble?: (failure: Failure) => void;
  /** Runs tasks of workflows; absent: they are left to other runners. */
  readonly tasks?: (text: string, run: RunTaskOptions) => Promise<TaskResult>;
}

/** Calls that are asked for lapse on the server after this; then they are asked for anew. */
const askMs = 20_000;
/** How often new namespaces are looked for beside what is announced. */
const ownersMs = 10_000;
export const ownersSubject = "atalanta.owners";
const cancelSubjects = "atalanta.cancel.>";

interface Owner {
  readonly name: string;
  /** Calls that were asked for and have not come. */
  asked: number;
  askedAt: number;
  /** Calls that came and have no place yet. */
  readonly waiting: Taken[];
  lastAt: number;
  /** Nothing is asked for before that: what comes is not understood here. */
  restUntil: number;
}

/** A call that this process has, as the broker counts it. */
interface Taken {
  readonly message: Msg;
  readonly owner: string;
  readonly deliveries: number;
  readonly stop: AbortController;
  id: string | undefined;
}

/** Takes calls of all namespaces in turns and runs them, as long as it lives. */
export class NatsRunner implements AsyncDisposable {
  readonly #broker: Broker;
  readonly #local: CallDispatcher;
  readonly #capacity: number;
  readonly #suspects: Suspects;
  readonly #tasks: NatsRunnerOptions["tasks"];
  readonly #onTrouble: ((failure: Failure) => void) | undefined;
  readonly #owners = new Map<string, Owner>();
  readonly #adding = new Set<string>();
  readonly #taken = new Set<Taken>();
  readonly #inbox: string;
  readonly #subscriptions: Subscription[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #running = 0;
  #draining = false;
  #idle: (() => void) | undefined;

  private constructor(
    { broker, local, capacity = 64, onTrouble, tasks }: NatsRunnerOptions,
    suspects: Suspects,
  ) {
    this.#suspects = suspects;
    this.#tasks = tasks;
    this.#broker = broker;
    this.#local = local;
    this.#capacity = capacity;
    this.#onTrouble = onTrouble;
    this.#inbox = `_INBOX.atalanta.${randomUUID()}`;
  }

  static async start(options: NatsRunnerOptions): Promise<NatsRunner> {
    const { stream, options: settings } = options.broker;
    const suspects = await Suspects.open(stream, settings.deliveries, settings.replicas);
    const runner = new NatsRunner(options, suspects);
    await runner.#start();
    return runner;
  }

  /** Calls that run, and that wait here. */
  get busy(): number {
    return this.#taken.size;
  }

  async #start(): Promise<void> {
    const { connection, options } = this.#broker;
    this.#subscriptions.push(
      connection.subscribe(ownersSubject, {
        callback: (_error, message) => void this.#addOwner(message.string()),
      }),
      connection.subscribe(cancelSubjects, {
        callback: (_error, message) => this.#cancel(message.subject),
      }),
    );
    await this.#findOwners();
    this.#timers.push(
      setInterval(() => void this.#findOwners(), ownersMs).unref(),
      // A call of which nothing is heard goes to another runner.
      setInterval(() => this.#working(), options.silentMs / 3).unref(),
      setInterval(() => this.#askAnew(), 1000).unref(),
    );
    void this.#follow();
  }

  /** What was asked for on a connection that is gone comes no more. */
  async #follow(): Promise<void> {
    for await (const { type } of this.#broker.connection.status()) {
      if (type !== "reconnect") continue;
      for (const owner of this.#owners.values()) owner.asked = 0;
      this.#ask();
      void this.#findOwners();
    }
  }

  async #findOwners(): Promise<void> {
    try {
      const names = this.#broker.manager.streams.names("atalanta.calls.>");
      for await (const name of names) {
        if (name.startsWith(callsStream("")))
          await this.#addOwner(name.slice(callsStream("").length));
      }
    } catch (thrown) {
      this.#trouble(thrown);
    }
  }

  async #addOwner(name: string): Promise<void> {
    if (this.#owners.has(name) || this.#adding.has(name)) return;
    if (!/^[a-z0-9-]{1,63}$/.test(name)) return;
    this.#adding.add(name);
    try {
      await this.#broker.ensureOwner(name, true);
      const owner = { name, asked: 0, askedAt: 0, waiting: [], lastAt: 0, restUntil: 0 };
      // A call comes under its own subject, so only the subscription tells what it was asked for with. What is asked for before it is there comes to nobody.
      this.#subscriptions.push(
        this.#broker.connection.subscribe(`${this.#inbox}.${name}`, {
          callback: (_error, message) => this.#receive(owner, message),
        }),
      );
      this.#owners.set(name, owner);
      this.#ask();
    } catch (thrown) {
      this.#trouble(thrown);
    } finally {
      this.#adding.delete(name);
    }
  }

  /** Asks for as many calls of each namespace as there are places, shared among those that have calls. */
  #ask(): void {
    if (this.#draining) return;
    const now = performance.now();
    const active = [...this.#owners.values()].filter(
      ({ lastAt }) => now - lastAt < activeMs,
    ).length;
    const free = Math.max(0, this.#capacity - this.#running);
    const share = Math.max(1, Math.ceil(free / Math.max(1, active)));
    for (const owner of this.#owners.values()) {
      if (now < owner.restUntil) continue;
      // One is always asked for, so that no namespace waits to be noticed.
      const most = now - owner.lastAt < activeMs ? share : Math.min(share, restingCalls);
      const wanted = (free > 0 ? most : 1) - owner.asked - owner.waiting.length;
      // A few at a time: each question is a message, too.
      if (wanted <= 0 || (owner.asked > 0 && wanted < most / 4)) continue;
      owner.asked += wanted;
      owner.askedAt = now;
      const request = { batch: wanted, expires: nanos(askMs) };
      this.#broker.connection.publish(
        `$JS.API.CONSUMER.MSG.NEXT.${callsStream(owner.name)}.${consumerName}`,
        JSON.stringify(request),
        { reply: `${this.#inbox}.${owner.name}` },
      );
    }
  }

  /** A question may be lost with the server that had it. */
  #askAnew(): void {
    const now = performance.now();
    for (const owner of this.#owners.values()) {
      if (owner.asked > 0 && now - owner.askedAt > askMs + 1000) owner.asked = 0;
    }
    this.#ask();
  }

  #receive(owner: Owner, message: Msg): void {
    const status = message.headers?.code ?? 0;
    if (status > 0) {
      // The question has lapsed, or cannot be answered now.
      owner.asked = 0;
      if (status !== 408) setTimeout(() => this.#ask(), 250).unref();
      else this.#ask();
      return;
    }
    owner.asked = Math.max(0, owner.asked - 1);
    owner.lastAt = performance.now();
    if (this.#draining) {
      message.respond("-NAK");
      return;
    }
    const deliveries = deliveriesOf(message.reply ?? "");
    const taken = {
      message,
      owner: owner.name,
      deliveries,
      stop: new AbortController(),
      id: undefined,
    };
    this.#taken.add(taken);
    owner.waiting.push(taken);
    this.#next();
    this.#ask();
  }

  /** Gives free places to the namespaces in turns. */
  #next(): void {
    while (this.#running < this.#capacity) {
      let found = false;
      for (const [name, owner] of this.#owners) {
        const taken = owner.waiting.shift();
        if (!taken) continue;
        found = true;
        // Whoever had his turn goes to the end.
        this.#owners.delete(name);
        this.#owners.set(name, owner);
        this.#running++;
        void this.#carry(taken).finally(() => {
          this.#running--;
          this.#taken.delete(taken);
          this.#next();
          this.#ask();
          if (this.#taken.size === 0) this.#idle?.();
        });
        break;
      }
      if (!found) return;
    }
  }

  async #carry(taken: Taken): Promise<void> {
    const { message, deliveries } = taken;
    try {
      const sent = await unpackCall(message.data, this.#broker.bodies);
      if (!sent) {
        // A newer one sent it, and a newer one will take it, if this one does not take the next ones from it.
        const owner = this.#owners.get(taken.owner);
        if (owner) owner.restUntil = performance.now() + strangeMs;
        message.respond('-NAK {"delay":20000000}');
        return;
      }
      const { call } = sent;
      taken.id = `${call.owner}.${call.id}`;
      // It came back, or somebody may have sent it again long ago: it may have its outcome.
      if (deliveries > 1 || call.key !== undefined) {
        const known = await this.#find(call);
        if (known) return this.#tell(sent, known, message);
      }
      const ended = deliveries > 1 ? await this.#again(sent, taken) : await this.#run(sent, taken);
      if (!ended) return;
      await this.#answer(sent, ended, taken);
    } catch (thrown) {
      this.#trouble(thrown);
      // Another runner, or this one a little later.
      message.respond('-NAK {"delay":1000000000}');
    }
  }

  /** A call that came back: its runner was lost, was silent, or gave it back. */
  async #again(sent: Sent, taken: Taken): Promise<Ended | undefined> {
    const begun = await this.#suspects.begin(sent.call, taken.stop.signal);
    if (!begun) return this.#bury(sent);
    try {
      return await this.#run(sent, taken);
    } finally {
      begun.end();
    }
  }

  /** Nothing when the call is left to another runner, or nobody waits for it any more. */
  async #run(sent: Sent, taken: Taken): Promise<Ended | undefined> {
    const { call } = sent;
    if (call.task) return this.#runTask(call, taken);
    try {
      const options = this.#streams(sent, taken.stop.signal);
      // Its key has done its work: the broker has it once.
      const { key, ...plain } = call;
      return await this.#local.run(
        { ...plain, ...(key === undefined ? {} : { program: withKey(call.program, key) }) },
        options,
      );
    } catch (thrown) {
      const failure = toFailure(thrown);
      if (taken.stop.signal.aborted) return undefined;
      if (failure.code === "queue-full" || failure.code === "shutting-down") {
        taken.message.respond('-NAK {"delay":100000000}');
        return undefined;
      }
      return notRun(failure);
    }
  }

  async #runTask(call: Call, { stop, message }: Taken): Promise<Ended | undefined> {
    if (!this.#tasks) {
      // Another runner may take tasks.
      message.respond('-NAK {"delay":1000000000}');
      return undefined;
    }
    try {
      const result = await this.#tasks(call.arguments, { signal: stop.signal });
      if (stop.signal.aborted) return undefined;
      const body = Buffer.from(JSON.stringify(result));
      return {
        ...notRun(new Failure("internal", "")),
        outcome: { kind: "returned", type: "json", body },
      };
    } catch (thrown) {
      return stop.signal.aborted ? undefined : notRun(toFailure(thrown));
    }
  }

  /** The ways to the front end for a call whose bytes come and go in pieces. */
  #streams({ input, output }: Sent, signal: AbortSignal): CallOptions {
    const { connection } = this.#broker;
    const exchange = async (subject: string, bytes: Uint8Array): Promise<Msg> => {
      const answer = await connection.request(subject, bytes, { timeout: streamMs });
      if (answer.headers?.get("end") === "broken")
        throw new Failure("aborted", "The caller has left");
      return answer;
    };
    return {
      signal,
      ...(input === undefined
        ? {}
        : {
            input: {
              async next() {
                const piece = await exchange(input, nothing);
                if (piece.headers?.get("end") === "true") return { done: true, value: undefined };
                return { done: false, value: new Uint8Array(piece.data) };
              },
            },
          }),
      ...(output === undefined
        ? {}
        : {
            async pour(bytes) {
              for (let at = 0; at < bytes.length; at += pieceBytes) {
                await exchange(output, bytes.subarray(at, at + pieceBytes));
              }
            },
          }),
    };
  }

  /** Each runner that took it was lost: it is put where somebody can look at it, and answered. */
  async #bury({ call }: Sent): Promise<Ended> {
    const failure = new Failure(
      "call-poison",
      `${this.#suspects.most} runners were lost or silent while they ran the call`,
      {
        hint: "It may end the process that runs it; the dead letters have its arguments.",
      },
    );
    const { program: _program, ...about } = call;
    const letter = {
      reason: failure.toJSON(),
      at: new Date().toISOString(),
      call: { ...about, input: undefined },
    };
    await this.#broker.stream.publish(
      `atalanta.dead.${call.owner}.${call.id}`,
      JSON.stringify(letter),
      {
        msgID: `${call.owner}.${call.id}`,
      },
    );
    return notRun(failure);
  }

  /** Writes the outcome down; the first one counts. Only then the call is done with, and the front end told. */
  async #answer(sent: Sent, ended: Ended, taken: Taken): Promise<void> {
    const { call } = sent;
    const { fingerprint, target, function: called } = call;
    const bytes = await packAnswer(
      {
        ended,
        target,
        function: called,
        createdAt: new Date().toISOString(),
        ...(fingerprint === undefined ? {} : { fingerprint }),
      },
      call,
      this.#broker.bodies,
    );
    const subject = answerSubject(call.owner, call.id);
    const told = headers();
    // Nobody but the front end that waits can ask for it, so it is kept for as long as that may look for it.
    if (sent.notice.startsWith(frontSubject)) told.set("Nats-TTL", shortlyKept);
    for (let wait = 50; ; wait = Math.min(2000, wait * 2)) {
      try {
        await this.#broker.stream.publish(subject, bytes, { timeout: 3000, headers: told });
        return this.#tell(sent, bytes, taken.message);
      } catch (thrown) {
        if (codeOf(thrown) === mostOfSubject) {
          // Another one was first, or it was this one and the receipt was lost.
          const known = await this.#find(call).catch(() => undefined);
          if (known) return this.#tell(sent, known, taken.message);
        }
        this.#trouble(thrown);
        await sleep(wait);
      }
    }
  }

  #tell(sent: Sent, answer: Uint8Array, message: Msg): void {
    const { connection } = this.#broker;
    connection.publish(sent.notice, answer);
    message.respond("+ACK");
  }

  async #find(call: Pick<Call, "owner" | "id">): Promise<Uint8Array | undefined> {
    return findAnswer(this.#broker, call);
  }

  #working(): void {
    for (const { message } of this.#taken) message.respond("+WPI");
  }

  #cancel(subject: string): void {
    const id = subject.slice("atalanta.cancel.".length);
    for (const taken of this.#taken) {
      if (taken.id === id) taken.stop.abort(new Failure("aborted", "The caller has left"));
    }
  }

  #trouble(thrown: unknown): void {
    this.#onTrouble?.(toFailure(thrown));
  }

  /** Takes no further calls and waits for those that it has, at most so long; the others go to other runners at once. */
  async drain(mostMs: number): Promise<void> {
    this.#draining = true;
    for (const owner of this.#owners.values()) {
      for (const taken of owner.waiting.splice(0)) {
        taken.message.respond("-NAK");
        this.#taken.delete(taken);
      }
    }
    if (this.#taken.size > 0) {
      const idle = new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
      await Promise.race([idle, sleep(mostMs, undefined, { ref: false })]);
    }
    for (const { message } of this.#taken) message.respond("-NAK");
    await this.#broker.connection.flush().catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    for (const { stop } of this.#taken) stop.abort();
    return Promise.resolve();
  }
}

/** A namespace that had a call within this time is expected to have more. */
const activeMs = 2000;
const restingCalls = 4;
/** Where a front end hears of calls that it alone waits for. */
export const frontSubject = "atalanta.front.";
const shortlyKept = "300s";
/** How long a runner leaves a namespace alone whose calls are of a version that it does not know. */
const strangeMs = 2000;
/** JetStream's "maximum messages per subject exceeded" is told from a full stream by its text; both have this code. */
export const mostOfSubject = 10077;
/** How long a front end may take for one piece. */
const streamMs = 120_000;
const pieceBytes = 256 * 1024;
const nothing = new Uint8Array(0);

/** The outcome of a call as it was written down. */
export async function findAnswer(
  { manager }: Pick<Broker, "manager">,
  { owner, id }: Pick<Call, "owner" | "id">,
): Promise<Uint8Array | undefined> {
  try {
    const found = await manager.streams.getMessage(answersStream, {
      last_by_subj: answerSubject(owner, id),
    });
    return found?.data;
  } catch (thrown) {
    // There is none.
    if (codeOf(thrown) === 10037) return undefined;
    throw thrown;
  }
}

/** How often a message was delivered, out of the subject of its receipt: `$JS.ACK.[domain.account.]stream.consumer.COUNT.…`. */
function deliveriesOf(reply: string): number {
  const words = reply.split(".");
  const count = Number(words[words.length > 9 ? 6 : 4]);
  return Number.isSafeInteger(count) && count > 0 ? count : 1;
}

/** The guest is told the key, although this process must not look for it. */
function withKey(program: Call["program"], key: string): Call["program"] {
  return { ...program, environment: { ...program.environment, ATALANTA_IDEMPOTENCY_KEY: key } };
}

function notRun(failure: Failure): Ended {
  return {
    outcome: { kind: "failed", failure: failure.toJSON() },
    log: nothing,
    usage: { cold: false, loadMs: 0, runMs: 0, cpuMs: 0, memoryBytes: 0 },
    attempts: 0,
    queueMs: 0,
    repeated: false,
  };
}

import { Kvm, type KV } from "@nats-io/kv";
import { Turns } from "../dispatch/mod.ts";
import type { Call } from "../dispatch/mod.ts";
import type { JetStreamClient } from "@nats-io/jetstream";

const bucket = "atalanta-suspects";
const keptMs = 24 * 60 * 60 * 1000;

/**
 * Calls whose runner was lost. One of them may have ended it, and the others only stood beside. So the second time they run as before, and from
 * the third on one after the other in each process: then it is clear which of them it was, and only that one is counted.
 */
export class Suspects {
  readonly #store: KV;
  readonly #alone = new Turns();
  /** Losses with which a call is over. */
  readonly #most: number;

  private constructor(store: KV, most: number) {
    this.#store = store;
    this.#most = Math.max(3, most);
  }

  static async open(stream: JetStreamClient, most: number, replicas: number): Promise<Suspects> {
    const store = await new Kvm(stream).create(bucket, { history: 1, ttl: keptMs, replicas });
    return new Suspects(store, most);
  }

  /** Counts a further start of a call that came back, after its turn; what it throws back ends the turn. Undefined: it has been lost too often. */
  async begin(
    call: Pick<Call, "owner" | "id">,
    signal: AbortSignal,
  ): Promise<{ readonly losses: number; readonly end: () => void } | undefined> {
    const key = `${call.owner}.${call.id}`;
    const entry = await this.#store.get(key);
    const starts = entry?.operation === "PUT" ? Number(entry.string()) : 0;
    // The first start was counted by nobody.
    if (starts + 1 >= this.#most) return undefined;
    const alone = starts > 0;
    if (alone) await this.#alone.take(1, signal);
    await this.#store.put(key, String(starts + 1));
    return { losses: starts + 1, end: () => (alone ? this.#alone.giveBack() : undefined) };
  }

  get most(): number {
    return this.#most;
  }
}

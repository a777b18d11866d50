import { Failure } from "../../errors/mod.ts";

export interface RateLimitOptions {
  /** Requests in a second, on average, of one token and of one namespace. */
  readonly perSecond: number;
  /** Requests at once; default twice as many. */
  readonly burst?: number;
}

/** Names that are remembered; whoever is forgotten begins anew. */
const mostNames = 10_000;

interface Bucket {
  left: number;
  at: number;
}

/** A bucket of tokens for each name, filled as time goes. */
export class RateLimits {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor({ perSecond, burst = perSecond * 2 }: RateLimitOptions) {
    this.#perMs = perSecond / 1000;
    this.#burst = Math.max(1, burst);
  }

  /** Counts a request of a caller in a namespace. Throws `rate-limited`. */
  take(name: string, namespace: string): void {
    this.#take(`token ${name}`, `"${name}"`);
    this.#take(`namespace ${namespace}`, `the namespace "${namespace}"`);
  }

  #take(key: string, whose: string): void {
    const now = performance.now();
    let bucket = this.#buckets.get(key);
    if (bucket) {
      bucket.left = Math.min(this.#burst, bucket.left + (now - bucket.at) * this.#perMs);
      bucket.at = now;
    } else {
      bucket = { left: this.#burst, at: now };
      this.#buckets.set(key, bucket);
      const [oldest] = this.#buckets.keys();
      if (this.#buckets.size > mostNames && oldest !== undefined) this.#buckets.delete(oldest);
    }
    if (bucket.left < 1) {
      throw new Failure(
        "rate-limited",
        `More requests come from ${whose} than ${this.#perMs * 1000} in a second`,
        {
          hint: `Wait ${Math.ceil((1 - bucket.left) / this.#perMs)} ms, and send fewer.`,
        },
      );
    }
    bucket.left -= 1;
  }
}

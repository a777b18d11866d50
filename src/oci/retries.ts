import { setTimeout as sleep } from "node:timers/promises";
import { Trouble } from "./failures.ts";

export interface RetryOptions {
  /** How often a request is made before its failure is told, the first time included; default 5. */
  readonly attempts?: number;
  /** Wait before the second attempt, on average; each further one waits twice as long; default 200 ms. */
  readonly firstMs?: number;
  /** The longest wait, also when a registry asks for more; default 30 s. */
  readonly mostMs?: number;
}

export const defaultRetries: Required<RetryOptions> = { attempts: 5, firstMs: 200, mostMs: 30_000 };

/** Counts the attempts of one piece of work. */
export class Retries {
  readonly #options: Required<RetryOptions>;
  readonly #signal: AbortSignal;
  #failed = 0;

  constructor(options: Required<RetryOptions>, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  /** Something came of an attempt, so the count begins anew. */
  progress(): void {
    this.#failed = 0;
  }

  /** Waits before the next attempt. Throws what was thrown when there is none, and the signal's reason when that comes. */
  async after(thrown: unknown): Promise<void> {
    this.#signal.throwIfAborted();
    const { attempts, firstMs, mostMs } = this.#options;
    this.#failed++;
    if (!(thrown instanceof Trouble) || thrown.againMs === undefined) throw thrown;
    if (this.#failed >= attempts || thrown.againMs > mostMs) throw thrown;
    // Half of it by chance, so that many who failed together do not come back together.
    const backoffMs = firstMs * 2 ** (this.#failed - 1) * (0.5 + Math.random());
    const waitMs = Math.min(Math.max(backoffMs, thrown.againMs), mostMs);
    await sleep(waitMs, undefined, { signal: this.#signal }).catch(() =>
      this.#signal.throwIfAborted(),
    );
  }
}

/** What `Retry-After` asks for, in milliseconds: seconds or a date (RFC 9110, 10.2.3). */
export function retryAfterMs(value: string | undefined): number {
  if (value === undefined) return 0;
  const ms = /^\d{1,9}$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

import { setTimeout as sleep } from "node:timers/promises";
import type { StoreRetries } from "./mod.ts";
import { Trouble } from "./trouble.ts";

export const defaultRetries: Required<StoreRetries> = { attempts: 5, firstMs: 200, mostMs: 30_000 };

/** Counts the attempts of one piece of work. */
export interface Attempts {
  /** Something came of an attempt, so the count begins anew. */
  progress(): void;
}

/** Does a piece of work again as long as its failure may pass. Throws the last failure, or the signal's reason. */
export async function retried<Value>(
  options: Required<StoreRetries>,
  signal: AbortSignal,
  work: (attempts: Attempts) => Promise<Value>,
): Promise<Value> {
  const { attempts: most, firstMs, mostMs } = options;
  let failed = 0;
  const attempts = { progress: () => (failed = 0) };
  for (;;) {
    signal.throwIfAborted();
    try {
      return await work(attempts);
    } catch (thrown) {
      signal.throwIfAborted();
      failed++;
      if (!(thrown instanceof Trouble) || thrown.againMs === undefined) throw thrown;
      if (failed >= most || thrown.againMs > mostMs) throw thrown;
      // Half of it by chance, so that many who failed together do not come back together.
      const backoffMs = firstMs * 2 ** (failed - 1) * (0.5 + Math.random());
      const waitMs = Math.min(Math.max(backoffMs, thrown.againMs), mostMs);
      await sleep(waitMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}

/** What `Retry-After` asks for, in milliseconds: seconds or a date (RFC 9110, 10.2.3). */
export function retryAfterMs(value: string | undefined): number {
  if (value === undefined) return 0;
  const ms = /^\d{1,9}$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

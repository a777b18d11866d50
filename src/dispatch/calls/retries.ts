import { setTimeout as sleep } from "node:timers/promises";
import type { Outcome, Performance, RetryPolicy } from "../../functions/mod.ts";
import { codes } from "../../errors/mod.ts";

/** Whether an outcome may be another one when the call is run again. */
function mayRepeat(outcome: Outcome, { on }: RetryPolicy): boolean {
  if (outcome.kind === "returned") return false;
  const name = outcome.kind === "threw" ? outcome.error.name : outcome.failure.code;
  if (on) return on.includes(name) || (outcome.kind === "failed" && on.includes("*"));
  // What a guest throws may have done something to the world already.
  return (
    outcome.kind === "failed" &&
    outcome.failure.code !== "aborted" &&
    codes[outcome.failure.code].retryable
  );
}

/** The wait before an attempt (the second is 2): twice as long each time, and by chance between half of it and all of it. */
function backoffMs(attempt: number, { backoffMs: first, mostBackoffMs }: RetryPolicy): number {
  const whole = Math.min(mostBackoffMs, first * 2 ** Math.max(0, attempt - 2));
  return whole / 2 + (Math.random() * whole) / 2;
}

/**
 * Repetitions of one target, over all calls: they may be a tenth of its calls, and ten at any time, so that a target that always fails is not
 * asked as many times more as its policy has attempts.
 */
export class RetryBudget {
  #left = 10;

  called(): void {
    this.#left = Math.min(100, this.#left + 0.1);
  }

  take(): boolean {
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

/** Runs attempts until one is final. `attempt` counts from 1; each rejection is the caller's own. */
export async function withRetries(
  policy: RetryPolicy,
  options: {
    readonly budget: RetryBudget;
    readonly signal: AbortSignal | undefined;
    /** Whether it must not be repeated, because it has eaten its input. */
    readonly once: boolean;
  },
  run: (attempt: number) => Promise<Performance>,
): Promise<{ readonly performance: Performance; readonly attempts: number }> {
  options.budget.called();
  for (let attempt = 1; ; attempt++) {
    const performance = await run(attempt);
    const last = options.once || attempt >= policy.attempts || options.signal?.aborted;
    if (last || !mayRepeat(performance.outcome, policy) || !options.budget.take()) {
      return { performance, attempts: attempt };
    }
    try {
      await sleep(
        backoffMs(attempt + 1, policy),
        undefined,
        options.signal ? { signal: options.signal } : {},
      );
    } catch {
      return { performance, attempts: attempt };
    }
  }
}

/** Ends that are remembered for each function. */
const window = 100;
/** Nobody is asked twice before this. */
const leastMs = 20;

/** When a call of a function without effects is slow enough to ask somebody else, too: when nineteen of twenty have ended by then. */
export class Latencies {
  readonly #times: number[] = [];
  #at = 0;
  #budget = 1;

  /** Somebody else was asked, too. */
  hedged(): void {
    this.#budget -= 1;
  }

  add(ms: number): void {
    this.#budget = Math.min(10, this.#budget + 0.05);
    this.#times[this.#at] = ms;
    this.#at = (this.#at + 1) % window;
  }

  /** After which time a second one may be asked; undefined while too few are known, or too many were asked twice: one call in twenty may be. */
  get slowMs(): number | undefined {
    if (this.#times.length < 20 || this.#budget < 1) return undefined;
    const sorted = this.#times.toSorted((left, right) => left - right);
    return Math.max(leastMs, sorted[Math.floor(sorted.length * 0.95)] ?? leastMs);
  }
}

/**
 * Runs an attempt, and a second one when the first is slow; the first to end well is the answer, and the other one is stopped. `again` is absent where there
 * is nobody else to ask.
 */
export async function hedged<Value>(
  run: (signal: AbortSignal, second: boolean) => Promise<Value>,
  options: {
    readonly afterMs: number | undefined;
    readonly signal: AbortSignal;
    readonly isGood: (value: Value) => boolean;
    readonly onHedge: () => void;
  },
): Promise<Value> {
  const { afterMs, signal } = options;
  if (afterMs === undefined) return run(signal, false);
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const first = run(both, false);
  let timer: NodeJS.Timeout | undefined;
  const slow = new Promise<"slow">((resolve) => {
    timer = setTimeout(() => resolve("slow"), afterMs);
  });
  try {
    const soon = await Promise.race([first, slow]);
    if (soon !== "slow") return soon;
    options.onHedge();
    const second = run(both, true);
    const good = async (attempt: Promise<Value>): Promise<Value> => {
      const value = await attempt;
      if (options.isGood(value)) return value;
      throw new Error("not good");
    };
    return await Promise.any([good(first), good(second)]).catch(() => first);
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}

/**
 * Chance with a seed: the same seed draws the same. Every draw is kept, so that a round that failed can be tried again with fewer
 * and smaller draws (`replayed`); where those end, the rest is 0. So 0 should stand for the simplest choice.
 */
export class Chance {
  readonly draws: number[] = [];
  readonly #given: readonly number[] | undefined;
  #state: number;

  constructor(seed: number, given?: readonly number[]) {
    this.#state = seed >>> 0;
    this.#given = given;
  }

  static replayed(draws: readonly number[]): Chance {
    return new Chance(0, draws);
  }

  /** From 0 to below 1. */
  next(): number {
    return this.below(4_294_967_296) / 4_294_967_296;
  }

  /** A whole number from 0 to below `limit`, which is at most 2^32. */
  below(limit: number): number {
    const drawn = this.#given
      ? Math.min(this.#given[this.draws.length] ?? 0, limit - 1)
      : Math.floor((this.#step() / 4_294_967_296) * limit);
    this.draws.push(drawn);
    return drawn;
  }

  /** True once in so many times. */
  one(of: number): boolean {
    // The rarer side is the larger draw, so that less happens in a round with smaller draws.
    return this.below(of) === of - 1;
  }

  pick<Value>(from: readonly [Value, ...Value[]]): Value;
  pick<Value>(from: readonly Value[]): Value;
  pick<Value>(from: readonly Value[]): Value {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the index is within the list, which nobody asks to pick from when it is empty
    return from[this.below(from.length)] as Value;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  #step(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }
}

/**
 * Looks for fewer and smaller draws with which a round still fails. `fails` is asked at most `most` times; the draws that come back
 * made it fail.
 */
export async function reduced(
  draws: readonly number[],
  fails: (draws: readonly number[]) => Promise<boolean>,
  most: number,
): Promise<readonly number[]> {
  let best = draws;
  let tries = 0;
  const better = async (candidate: readonly number[]): Promise<boolean> => {
    if (tries === most) return false;
    tries += 1;
    if (!(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  for (let size = Math.ceil(best.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.length;) {
      // A piece left out brings the next one to its place.
      if (await better(best.toSpliced(at, size))) continue;
      const zeros = best.map((draw, index) => (index >= at && index < at + size ? 0 : draw));
      const changed = best.slice(at, at + size).some((draw) => draw !== 0);
      if (changed) await better(zeros);
      at += size;
    }
  }
  for (let at = 0; at < best.length; at++) {
    for (let draw = best[at] ?? 0; draw > 0;) {
      const lower = Math.floor(draw / 2);
      if (!(await better(best.with(at, lower)))) break;
      draw = lower;
    }
  }
  return best;
}

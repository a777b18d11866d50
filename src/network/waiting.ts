/** What a promise gives, or the signal's reason when that comes first. */
export function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- whoever aborts gives a failure
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    const done = (): void => signal.removeEventListener("abort", stop);
    // Also when nobody waits for it any more: what it ends with must have been heard.
    promise.then(resolve, reject).finally(done);
  });
}

/** So many at once; the others wait for their turn, first come first served. */
export class Slots {
  readonly #waiting = new Set<() => void>();
  #free: number;

  constructor(count: number) {
    this.#free = count;
  }

  /** Gives back what frees the slot; freeing it again does nothing. */
  async take(signal: AbortSignal): Promise<() => void> {
    if (this.#free > 0) this.#free--;
    else {
      let go = (): void => undefined;
      const turn = new Promise<void>((resolve) => (go = resolve));
      this.#waiting.add(go);
      try {
        await orAborted(turn, signal);
      } catch (thrown) {
        // Its turn may have come at this very moment.
        if (!this.#waiting.delete(go)) this.#give();
        throw thrown;
      }
    }
    let taken = true;
    return () => {
      if (taken) this.#give();
      taken = false;
    };
  }

  #give(): void {
    for (const go of this.#waiting) {
      this.#waiting.delete(go);
      go();
      return;
    }
    this.#free++;
  }
}

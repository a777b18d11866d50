import { Failure } from "../../errors/mod.ts";

/** Lets so many at once go on, the others in the order in which they came. */
export class Turns {
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  /** `most` absent: everybody at once. */
  take(most: number | undefined, signal: AbortSignal): Promise<void> | undefined {
    if (signal.aborted) throw left(signal);
    if (most === undefined || this.#taken < most) {
      this.#taken++;
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener("abort", stop);
        resolve();
      };
      const stop = (): void => {
        this.#waiting.delete(go);
        reject(left(signal));
      };
      this.#waiting.add(go);
      signal.addEventListener("abort", stop, { once: true });
    });
  }

  giveBack(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#taken--;
      return;
    }
    // The turn passes on.
    this.#waiting.delete(next);
    next();
  }
}

function left(signal: AbortSignal): Failure {
  const reason: unknown = signal.reason;
  if (reason instanceof Failure) return reason;
  return new Failure("aborted", "The caller left before the call began");
}

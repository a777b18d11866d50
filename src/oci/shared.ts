import { orAborted } from "../network/mod.ts";

/**
 * One piece of work for all who ask for the same at the same time. It is stopped when the last of them does not want it any more; one who goes does not
 * take it from the others.
 */
export class Shared<Value> {
  readonly #running = new Map<
    string,
    { readonly result: Promise<Value>; readonly stop: AbortController; waiting: number }
  >();

  async join(
    key: string,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<Value>,
  ): Promise<Value> {
    signal?.throwIfAborted();
    let running = this.#running.get(key);
    if (!running) {
      const stop = new AbortController();
      running = { result: work(stop.signal), stop, waiting: 0 };
      this.#running.set(key, running);
      const over = (): void => {
        if (this.#running.get(key)?.stop === stop) this.#running.delete(key);
      };
      running.result.then(over, over);
    }
    running.waiting++;
    try {
      return await (signal ? orAborted(running.result, signal) : running.result);
    } finally {
      running.waiting--;
      if (running.waiting === 0 && this.#running.get(key) === running) {
        this.#running.delete(key);
        running.stop.abort();
      }
    }
  }
}

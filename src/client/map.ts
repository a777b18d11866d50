/** Runs `work` for each item, so many at once; the first failure stops the others and is thrown. */
export async function mapCalls<Item, Value>(
  items: Iterable<Item> | AsyncIterable<Item>,
  options: { readonly concurrency: number; readonly signal?: AbortSignal },
  work: (item: Item, signal: AbortSignal) => Promise<Value>,
): Promise<Value[]> {
  const { concurrency, signal } = options;
  if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
    throw new RangeError(`concurrency is ${concurrency}; a whole number above zero may be`);
  }
  const stop = new AbortController();
  const leave = (): void => stop.abort(signal?.reason);
  if (signal?.aborted) leave();
  signal?.addEventListener("abort", leave, { once: true });
  const iterator =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const values: Value[] = [];
  let count = 0;
  // An asynchronous iterator is asked for one item after the other.
  let turn: Promise<unknown> = Promise.resolve();
  let failed: { readonly thrown: unknown } | undefined;
  const next = async (): Promise<IteratorResult<Item, unknown>> => {
    const before = turn;
    const mine = (async () => {
      await before.catch(() => undefined);
      return iterator.next();
    })();
    turn = mine;
    return mine;
  };
  const lane = async (): Promise<void> => {
    while (!failed && !stop.signal.aborted) {
      try {
        const step = await next();
        if (step.done) return;
        const at = count++;
        values[at] = await work(step.value, stop.signal);
      } catch (thrown) {
        failed ??= { thrown };
        stop.abort();
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, lane));
    if (failed) throw failed.thrown;
    signal?.throwIfAborted();
    return values;
  } finally {
    signal?.removeEventListener("abort", leave);
    if (failed || signal?.aborted) await iterator.return?.();
  }
}

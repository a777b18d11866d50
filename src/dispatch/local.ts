import { Failure } from "../errors/mod.ts";
import type { RunTaskOptions, Task, TaskResult, TaskRunner } from "../task/mod.ts";
import type { Dispatcher } from "./mod.ts";

/** Runs tasks in this process, first come first served, at most `capacity` (default 8) at once. Disposing stops what runs and waits for it. */
export function createLocalDispatcher(options: {
  readonly runner: TaskRunner;
  readonly capacity?: number;
}): Dispatcher {
  const capacity = options.capacity ?? 8;
  if (!Number.isSafeInteger(capacity) || capacity < 1) {
    throw new Failure(
      "invalid-argument",
      `Capacity "${capacity}" is not a whole number above zero`,
    );
  }
  const waiting = new Set<() => void>();
  const running = new Set<Promise<TaskResult>>();
  const closing = new AbortController();
  let taken = 0;

  async function acquire(signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw new Failure("aborted", "The task was stopped before it began");
    if (taken < capacity) {
      taken += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const start = (): void => {
        signal.removeEventListener("abort", stop);
        resolve();
      };
      const stop = (): void => {
        waiting.delete(start);
        reject(new Failure("aborted", "The task was stopped while it waited for its turn"));
      };
      waiting.add(start);
      signal.addEventListener("abort", stop, { once: true });
    });
  }

  function release(): void {
    for (const start of waiting) {
      waiting.delete(start);
      start(); // The slot passes on, so `taken` stays.
      return;
    }
    taken -= 1;
  }

  return {
    capacity,
    async dispatch(task: Task, asked: RunTaskOptions = {}): Promise<TaskResult> {
      const signal =
        asked.signal === undefined
          ? closing.signal
          : AbortSignal.any([asked.signal, closing.signal]);
      const queuedAt = performance.now();
      await acquire(signal);
      const queueMs = performance.now() - queuedAt;
      const run = options.runner.run(task, { ...asked, signal });
      running.add(run);
      try {
        const result = await run;
        return { ...result, timings: { ...result.timings, queueMs } };
      } finally {
        running.delete(run);
        release();
      }
    },
    async [Symbol.asyncDispose](): Promise<void> {
      closing.abort();
      await Promise.allSettled(running);
    },
  };
}

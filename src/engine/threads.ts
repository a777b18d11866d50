import { randomUUID } from "node:crypto";
import { extname } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import type { WorkerData, ToWorker } from "./worker.ts";

/** V8's heap of one thread: trees of its guests, what they throw, and no guest's linear memory. */
const threadHeapMebibytes = 1024;
const mebibyte = 1024 * 1024;

/** A thread that guests run on. */
export interface Thread {
  readonly worker: Worker;
  readonly name: string;
  readonly stackBytes: number;
  /** See `WorkerData`. */
  readonly cpuBase: Float64Array;
  /** See `WorkerData`. */
  readonly current: Int32Array;
}

export function startThread(stagingFolder: string, stackBytes: number): Thread {
  // Guests that may wait run on stacks of their own, whose size is a setting of the process. It is read when one is made.
  const kibibytes = Math.floor(stackBytes / 1024);
  setFlagsFromString(`--stack-size=${kibibytes}`);
  setFlagsFromString(`--wasm-stack-switching-stack-size=${kibibytes}`);
  // Built code has the extension of its source's.
  const file = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
  const name = `guests-${randomUUID()}`;
  const cpuBase = new Float64Array(new SharedArrayBuffer(8));
  const current = new Int32Array(new SharedArrayBuffer(4));
  const data: WorkerData = { stagingFolder, cpuBase, current };
  const worker = new Worker(file, {
    name,
    workerData: data,
    env: {},
    stdin: false,
    // Node's permissions are options, and a thread that is given options of its own is free of them.
    ...(process.permission ? {} : { execArgv: [] }),
    resourceLimits: {
      maxOldGenerationSizeMb: threadHeapMebibytes,
      stackSizeMb: stackBytes / mebibyte,
    },
  });
  worker.unref();
  return { worker, name, stackBytes, cpuBase, current };
}

export function send(thread: Thread, message: ToWorker): void {
  thread.worker.postMessage(message);
}

/** CPU time of the guest that has the thread, in milliseconds; rejects when the thread ends meanwhile. */
export async function usedCpuMs({ worker, cpuBase }: Thread): Promise<number> {
  const { user, system } = await worker.cpuUsage();
  // A guest may have begun between the look at the clock and the one at the base.
  return Math.max(0, (user + system) / 1000 - (cpuBase[0] ?? 0));
}

/**
 * Whether a guest has begun, or gone on, and nobody else since. Until then the thread may still be putting another guest aside, one that has
 * said already that it waits.
 */
export function hasBegun({ current }: Thread, id: number): boolean {
  return Atomics.load(current, 0) === (id | 0);
}

import { parentPort, workerData } from "node:worker_threads";
import type { HttpAnswer, HttpAsk } from "../wasi/mod.ts";
import { Guest, type GuestOutcome, type GuestRequest } from "./guest.ts";
import { Memories, ownImports, type MemorySize } from "./memory.ts";

/**
 * The thread's side of the pool: one guest runs at a time, each in a fresh instance. One that waits is parked: its stack is put
 * aside, and others run here until the pool wakes it.
 */
export type ToWorker =
  | {
      readonly type: "module";
      readonly key: string;
      readonly module: WebAssembly.Module;
      /** Whether it has a start function. */
      readonly starts: boolean;
      /** Of the memory that its guests are given. */
      readonly memory?: MemorySize;
    }
  | {
      readonly type: "run";
      readonly id: number;
      readonly key: string;
      readonly request: GuestRequest;
    }
  /** Forgets all modules; those that are still needed are sent again. */
  | { readonly type: "forget" }
  /** Lets a parked guest go on, with the answer to what it asked. */
  | { readonly type: "wake"; readonly id: number; readonly answer?: HttpAnswer }
  /** Forgets a guest that is parked or was interrupted. */
  | { readonly type: "drop"; readonly id: number };

export type FromWorker =
  /** Guests may come. */
  | { readonly type: "ready" }
  | {
      readonly type: "output";
      readonly id: number;
      readonly stream: "stdout" | "stderr";
      readonly bytes: Uint8Array;
    }
  /** A piece of stdout, for whoever takes it instead of the result. */
  | { readonly type: "pour"; readonly id: number; readonly bytes: Uint8Array }
  /** The guest waits, and the thread is free; the guest's memory is not. */
  | {
      readonly type: "parked";
      readonly id: number;
      readonly until: Until;
      readonly heldBytes: number;
      readonly cpuMs: number;
    }
  /** The guest wants no more of a response. */
  | { readonly type: "close"; readonly id: number; readonly handle: number }
  /** It is forgotten; what it had used until then, when it was running. */
  | { readonly type: "dropped"; readonly id: number; readonly cpuMs: number }
  | { readonly type: "done"; readonly id: number; readonly outcome: GuestOutcome };

/** What a guest waits for: a time, or an answer. */
export type Until =
  | { readonly kind: "time"; readonly ms: number }
  | { readonly kind: "answer"; readonly ask: HttpAsk };

export interface WorkerData {
  readonly stagingFolder: string;
  /** One number: CPU time of the thread, in milliseconds, less what the guest that has the thread has used of it. */
  readonly cpuBase: Float64Array;
  /** One number: the lower 32 bits of the id of the guest that has the thread, or that had it last. */
  readonly current: Int32Array;
}

type Imports = readonly ReturnType<typeof WebAssembly.Module.imports>[number][];

interface Kept {
  readonly guest: Guest;
  wake?: (answer?: HttpAnswer) => void;
  /** CPU time until it was parked. */
  cpuMs: number;
}

const port = parentPort;
if (port) {
  const modules = new Map<
    string,
    {
      readonly module: WebAssembly.Module;
      readonly imports: Imports;
      readonly wanted: ReadonlySet<string>;
      readonly starts: boolean;
      readonly memory: MemorySize | undefined;
      readonly waits: boolean;
      readonly http: boolean;
    }
  >();
  const memories = new Memories();
  const guests = new Map<number, Kept>();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the pool gave it
  const { stagingFolder, cpuBase, current } = workerData as WorkerData;
  const send = (message: FromWorker): void => port.postMessage(message);
  /** A guest has the thread from now on, and nothing of another one is left to be done. */
  const begin = (id: number, usedMs: number): void => {
    Atomics.store(current, 0, id);
    cpuBase[0] = threadMs() - usedMs;
  };
  const cpuMs = (): number => threadMs() - (cpuBase[0] ?? 0);

  /** Puts the guest aside until it is woken. */
  const park = (id: number, until: Until): Promise<HttpAnswer | undefined> =>
    new Promise((resolve) => {
      const kept = guests.get(id);
      if (!kept) return;
      kept.wake = resolve;
      kept.cpuMs = cpuMs();
      const message: FromWorker = {
        type: "parked",
        id,
        until,
        heldBytes: kept.guest.heldBytes,
        cpuMs: kept.cpuMs,
      };
      const body = until.kind === "answer" && until.ask.kind === "send" && until.ask.request.body;
      // It was copied out of the guest's memory, and goes over without another copy.
      port.postMessage(message, body && body.buffer instanceof ArrayBuffer ? [body.buffer] : []);
    });

  const sleep = async (id: number, ms: number): Promise<void> => {
    await park(id, { kind: "time", ms });
  };

  const ask = async (id: number, asked: HttpAsk): Promise<HttpAnswer> => {
    const answer = await park(id, { kind: "answer", ask: asked });
    if (!answer) throw new Error("woken without an answer");
    return answer;
  };

  const run = (id: number, key: string, request: GuestRequest): void => {
    const known = modules.get(key);
    if (!known) throw new Error(`the thread was not sent the module ${key}`);
    begin(id, 0);
    const { memory } = known;
    const guest = new Guest(known, request, {
      stagingFolder,
      staging: `guest-${id}`,
      cpuMs,
      ...(memory
        ? {
            memory: {
              take: () => memories.take(key, memory),
              giveBack: (used: WebAssembly.Memory) => memories.giveBack(key, used, memory.initial),
            },
          }
        : {}),
      onOutput: request.live
        ? (stream, bytes) => send({ type: "output", id, stream, bytes })
        : undefined,
      // Running on a stack that can be put aside costs a little, so only those do that may wait.
      ...(known.waits ? { park: (ms: number) => sleep(id, ms) } : {}),
      ...(request.streams
        ? {
            stream: (asked: HttpAsk) => ask(id, asked),
            onPour: (bytes: Uint8Array<ArrayBuffer>) =>
              port.postMessage({ type: "pour", id, bytes } satisfies FromWorker, [bytes.buffer]),
          }
        : {}),
      ...(known.http
        ? {
            http: {
              ask: request.http ? (asked: HttpAsk) => ask(id, asked) : undefined,
              close: (handle: number) => send({ type: "close", id, handle }),
            },
          }
        : {}),
    });
    guests.set(id, { guest, cpuMs: 0 });
    const outcome = guest.run();
    if (outcome instanceof Promise) void finish(id, outcome);
    else {
      guests.delete(id);
      send({ type: "done", id, outcome });
    }
  };

  const finish = async (id: number, running: Promise<GuestOutcome>): Promise<void> => {
    const outcome = await running;
    guests.delete(id);
    send({ type: "done", id, outcome });
  };

  const wake = (id: number, answer: HttpAnswer | undefined): void => {
    const kept = guests.get(id);
    if (!kept) return;
    begin(id, kept.cpuMs);
    kept.wake?.(answer);
  };

  port.on("message", (message: ToWorker) => {
    if (message.type === "run") run(message.id, message.key, message.request);
    else if (message.type === "forget") {
      modules.clear();
      memories.clear();
    } else if (message.type === "wake") wake(message.id, message.answer);
    else if (message.type === "drop") {
      guests.get(message.id)?.guest.abandon();
      guests.delete(message.id);
      send({ type: "dropped", id: message.id, cpuMs: cpuMs() });
    } else {
      const { key, module, starts, memory } = message;
      const all = WebAssembly.Module.imports(module);
      const imports = memory ? ownImports(all) : all;
      const http = imports.some((wanted) => wanted.module === "atalanta_http");
      const waits = http || imports.some(({ name }) => name === "poll_oneoff");
      const wanted = new Set(imports.map(({ name }) => name));
      modules.set(key, { module, imports, wanted, starts, memory, waits, http });
    }
  });
  send({ type: "ready" });
}

function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

import { parentPort, workerData } from "node:worker_threads";
import type { HttpAnswer, HttpAsk } from "../wasi/mod.ts";
import { Guest, type GuestOutcome, type GuestRequest } from "./guest.ts";

/**
 * The thread's side of the pool: one guest runs at a time, each in a fresh instance. One that waits is parked: its stack is put
 * aside, and others run here until the pool wakes it.
 */
export type ToWorker =
  | { readonly type: "module"; readonly key: string; readonly module: WebAssembly.Module }
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
  | {
      readonly type: "output";
      readonly id: number;
      readonly stream: "stdout" | "stderr";
      readonly bytes: Uint8Array;
    }
  /** The guest waits for a time, and the thread is free; its memory is not. */
  | {
      readonly type: "parked";
      readonly id: number;
      readonly ms: number;
      readonly heldBytes: number;
    }
  /** The guest waits for an answer. */
  | {
      readonly type: "asks";
      readonly id: number;
      readonly ask: HttpAsk;
      readonly heldBytes: number;
    }
  /** The guest wants no more of a response. */
  | { readonly type: "close"; readonly id: number; readonly handle: number }
  | { readonly type: "dropped"; readonly id: number }
  | { readonly type: "done"; readonly id: number; readonly outcome: GuestOutcome };

interface Kept {
  readonly guest: Guest;
  wake?: (answer?: HttpAnswer) => void;
}

const port = parentPort;
if (port) {
  const modules = new Map<
    string,
    { readonly module: WebAssembly.Module; readonly waits: boolean; readonly http: boolean }
  >();
  const guests = new Map<number, Kept>();
  // The pool that started this thread gave it the name of a folder of ours.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the pool gave it
  const { stagingFolder } = workerData as { readonly stagingFolder: string };
  const send = (message: FromWorker): void => port.postMessage(message);

  const park = (id: number, ms: number): Promise<void> =>
    new Promise((resolve) => {
      const kept = guests.get(id);
      if (kept) kept.wake = () => resolve();
      send({ type: "parked", id, ms, heldBytes: kept?.guest.heldBytes ?? 0 });
    });

  const ask = (id: number, asked: HttpAsk): Promise<HttpAnswer> =>
    new Promise((resolve, reject) => {
      const kept = guests.get(id);
      if (kept) {
        kept.wake = (answer) =>
          answer ? resolve(answer) : reject(new Error("woken without an answer"));
      }
      const message: FromWorker = {
        type: "asks",
        id,
        ask: asked,
        heldBytes: kept?.guest.heldBytes ?? 0,
      };
      send(message);
    });

  const run = (id: number, key: string, request: GuestRequest): void => {
    const known = modules.get(key);
    if (!known) throw new Error(`module ${key} was never sent`);
    const guest = new Guest(known.module, request, {
      stagingFolder,
      staging: `guest-${id}`,
      onOutput: request.live
        ? (stream, bytes) => send({ type: "output", id, stream, bytes })
        : undefined,
      // Running on a stack that can be put aside costs a little, so only those do that may wait.
      ...(known.waits ? { park: (ms: number) => park(id, ms) } : {}),
      ...(known.http
        ? {
            http: {
              ask: request.http ? (asked: HttpAsk) => ask(id, asked) : undefined,
              close: (handle: number) => send({ type: "close", id, handle }),
            },
          }
        : {}),
    });
    guests.set(id, { guest });
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

  port.on("message", (message: ToWorker) => {
    if (message.type === "run") run(message.id, message.key, message.request);
    else if (message.type === "forget") modules.clear();
    else if (message.type === "wake") guests.get(message.id)?.wake?.(message.answer);
    else if (message.type === "drop") {
      guests.get(message.id)?.guest.abandon();
      guests.delete(message.id);
      send({ type: "dropped", id: message.id });
    } else {
      const { key, module } = message;
      const imports = WebAssembly.Module.imports(module);
      const http = imports.some((wanted) => wanted.module === "atalanta_http");
      const waits = http || imports.some(({ name }) => name === "poll_oneoff");
      modules.set(key, { module, waits, http });
    }
  });
}

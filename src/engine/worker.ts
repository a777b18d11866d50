import { parentPort, workerData } from "node:worker_threads";
import { runGuest, type GuestOutcome, type GuestRequest } from "./guest.ts";

/** The thread's side of the pool: one guest after the other, each in a fresh instance. */
export type ToWorker =
  | { readonly type: "module"; readonly key: string; readonly module: WebAssembly.Module }
  | {
      readonly type: "run";
      readonly id: number;
      readonly key: string;
      readonly request: GuestRequest;
    };

export type FromWorker =
  | {
      readonly type: "output";
      readonly id: number;
      readonly stream: "stdout" | "stderr";
      readonly bytes: Uint8Array;
    }
  | { readonly type: "done"; readonly id: number; readonly outcome: GuestOutcome };

const port = parentPort;
if (port) {
  const modules = new Map<string, WebAssembly.Module>();
  // The pool that started this thread gave it the name of a folder of ours.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the pool gave it
  const { stagingFolder } = workerData as { readonly stagingFolder: string };
  const send = (message: FromWorker): void => port.postMessage(message);
  port.on("message", (message: ToWorker) => {
    if (message.type === "module") {
      modules.set(message.key, message.module);
      return;
    }
    const { id, key, request } = message;
    const module = modules.get(key);
    if (!module) throw new Error(`module ${key} was never sent`);
    const outcome = runGuest(module, request, {
      stagingFolder,
      staging: `guest-${id}`,
      onOutput: request.live
        ? (stream, bytes) => send({ type: "output", id, stream, bytes })
        : undefined,
    });
    send({ type: "done", id, outcome });
  });
}

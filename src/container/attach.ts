import type { ChildProcess } from "node:child_process";
import { Failure } from "../errors/mod.ts";
import type { RunTaskOptions } from "../task/mod.ts";
import { ended, endClient, stoppedByCaller } from "./command.ts";

/** How long the client may go on after its container was stopped. */
const detachMs = 3000;

export interface AttachOptions {
  readonly command: string;
  readonly stdin: Uint8Array | undefined;
  readonly outputBytes: number;
  readonly timeMs: number;
  readonly signal: AbortSignal;
  readonly onOutput: RunTaskOptions["onOutput"];
  /** Stops the container; the client ends when it has. */
  readonly stop: () => Promise<void>;
}

/**
 * Follows a client that is attached to a running container, to its end. The caller's signal, the time limit and the
 * ceiling of output stop the container; then the first of them is thrown.
 */
export async function attach(
  child: ChildProcess,
  options: AttachOptions,
): Promise<{ readonly stdout: Uint8Array; readonly stderr: Uint8Array }> {
  const { outputBytes, timeMs, signal } = options;
  const chunks = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const sizes = { stdout: 0, stderr: 0 };
  let why: Failure | undefined;
  let stopping: Promise<void> | undefined;
  const end = (failure: Failure): void => {
    if (why) return;
    why = failure;
    stopping = options.stop().then(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const timer = setTimeout(() => endClient(child), detachMs);
      child.once("close", () => clearTimeout(timer));
    });
  };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream]?.on("data", (chunk: Buffer) => {
      const kept = chunk.subarray(0, outputBytes - sizes[stream]);
      sizes[stream] += kept.length;
      if (kept.length > 0) {
        chunks[stream].push(kept);
        options.onOutput?.(stream, kept);
      }
      if (kept.length < chunk.length) {
        const hint =
          "Write large data to a file and hand it out as an artifact, or write less to the log.";
        const message = `The container wrote more than ${outputBytes} bytes to ${stream}`;
        end(new Failure("limit-output", message, { hint }));
      }
    });
  }
  // A program that does not read its stdin closes it before we have written all.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(options.stdin);
  const stop = (): void => end(stoppedByCaller());
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  const timer = setTimeout(
    () => {
      const hint = "Raise the step's timeout, or look at what the container waits for.";
      end(new Failure("limit-time", `The container ran longer than ${timeMs} ms`, { hint }));
    },
    Math.min(timeMs, 2 ** 31 - 1),
  );
  try {
    await ended(child, options.command);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    await stopping;
  }
  if (why) throw why;
  return { stdout: Buffer.concat(chunks.stdout), stderr: Buffer.concat(chunks.stderr) };
}

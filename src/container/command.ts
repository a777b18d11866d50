import { spawn, type ChildProcess } from "node:child_process";
import { Failure } from "../errors/mod.ts";

/** What a command of the runtime's client says is small; more is cut off. */
const answerBytes = 1024 * 1024;
const killAfterMs = 2000;

export interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the runtime's client once, without a shell, and gives back what it answered. Rejects with `aborted` when the
 * signal ends it, and with `container-failed` when it cannot be started or does not end in time.
 */
export async function ask(
  command: string,
  parameters: readonly string[],
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
): Promise<Answer> {
  const { signal } = options;
  if (signal?.aborted) throw stoppedByCaller();
  const child = start(command, parameters, false);
  const stdout = gather(child, "stdout");
  const stderr = gather(child, "stderr");
  let why: Failure | undefined;
  const end = (failure: Failure): void => {
    why ??= failure;
    endClient(child);
  };
  const stop = (): void => end(stoppedByCaller());
  signal?.addEventListener("abort", stop, { once: true });
  const timer = setTimeout(
    () =>
      end(
        new Failure(
          "container-failed",
          `"${command} ${parameters[0] ?? ""}" did not end within ${options.timeoutMs} ms`,
          { hint: "Look whether the container engine answers at all." },
        ),
      ),
    options.timeoutMs,
  );
  try {
    const exitCode = await ended(child, command);
    if (why) throw why;
    return { exitCode, stdout: stdout(), stderr: stderr() };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/**
 * Starts the client in a process group of its own: Ctrl-C in a terminal reaches us alone, and we stop the container in
 * our order, with its time of grace.
 */
export function start(
  command: string,
  parameters: readonly string[],
  stdin: boolean,
): ChildProcess {
  return spawn(command, parameters, {
    stdio: [stdin ? "pipe" : "ignore", "pipe", "pipe"],
    detached: true,
  });
}

/** The exit code, once the streams are at their end too. */
export function ended(child: ChildProcess, command: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", (cause: NodeJS.ErrnoException) => {
      const tooLong = cause.code === "E2BIG";
      reject(
        tooLong
          ? new Failure("limit-arguments", "Arguments and environment are too large for the host", {
              cause,
              hint: "Hand large data over as an artifact.",
            })
          : new Failure("container-failed", `Cannot start "${command}": ${cause.message}`, {
              cause,
              hint: "Check that the container runtime is still installed.",
            }),
      );
    });
    child.once("close", (code) => resolve(code ?? 137));
  });
}

/** Ends the client, gently at first. What it started in the engine is not its child and goes on. */
export function endClient(child: ChildProcess): void {
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), killAfterMs);
  child.once("close", () => clearTimeout(timer));
}

export function stoppedByCaller(): Failure {
  return new Failure("aborted", "The container was stopped by its caller");
}

/** The last lines that a client said, for a message. */
export function lastWords(text: string): string {
  return text.trim().split("\n").slice(-3).join(" · ").slice(-600) || "it said nothing";
}

function gather(child: ChildProcess, stream: "stdout" | "stderr"): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  child[stream]?.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    // The last words say what went wrong, so the oldest go first.
    while (size > answerBytes && chunks.length > 1) size -= chunks.shift()?.length ?? 0;
  });
  return () => Buffer.concat(chunks).toString();
}

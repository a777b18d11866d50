const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.once(name, () => {
    // Whatever the command makes of it, a command that was interrupted says so.
    process.once("exit", () => {
      process.exitCode = 130;
    });
    stop.abort(new Error(`stopped by ${name}`));
  });
}

/** Aborted by the first Ctrl-C; a second one ends the process at once. */
export const interrupted: AbortSignal = stop.signal;

/** Resolves when the process is told to end. That is what a server does then, so its exit code is 0. */
export async function toldToEnd(): Promise<void> {
  await new Promise<void>((resolve) => {
    if (interrupted.aborted) resolve();
    interrupted.addEventListener("abort", () => resolve(), { once: true });
  });
  process.once("exit", () => (process.exitCode = 0));
}

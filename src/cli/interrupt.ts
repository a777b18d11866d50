const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
}

/** Aborted by the first Ctrl-C; a second one ends the process at once. */
export const interrupted: AbortSignal = stop.signal;

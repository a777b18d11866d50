export const levels = ["debug", "info", "warn", "error"] as const;
export type Level = (typeof levels)[number];

/** A line of JSON for each thing that happens, on stderr. */
export class AgentLog {
  readonly #least: number;

  constructor(least: Level) {
    this.#least = levels.indexOf(least);
  }

  write(level: Level, message: string, about: Readonly<Record<string, unknown>> = {}): void {
    if (levels.indexOf(level) < this.#least) return;
    const line = { time: new Date().toISOString(), level, message, ...about };
    process.stderr.write(`${JSON.stringify(line)}\n`);
  }
}

import type { Command } from "commander";

interface Entry {
  readonly summary: string;
  /** Loads the command's modules; what it returns adds the command to the program. */
  readonly load: () => Promise<(program: Command) => void>;
}

/** Every command, in the order in which the help shows them. */
export const commands: ReadonlyMap<string, Entry> = new Map<string, Entry>([
  [
    "run",
    {
      summary: "Run a workflow on this machine",
      load: async () => (await import("./run.ts")).addRun,
    },
  ],
  [
    "exec",
    {
      summary: "Run one module in a sandbox, like a local command",
      load: async () => (await import("./exec.ts")).addExec,
    },
  ],
  [
    "plan",
    {
      summary: "Show the graph of a workflow; nothing is run",
      load: async () => (await import("./plan.ts")).addPlan,
    },
  ],
  [
    "lint",
    {
      summary: "Find every mistake in workflow files; nothing is run",
      load: async () => (await import("./lint.ts")).addLint,
    },
  ],
  [
    "version",
    { summary: "Print the version", load: async () => (await import("./version.ts")).addVersion },
  ],
]);

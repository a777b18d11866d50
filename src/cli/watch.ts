import { setTimeout } from "node:timers/promises";
import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { getRun, type Journal, type RunNode, type RunState } from "../workflow/mod.ts";
import { interrupted } from "./interrupt.ts";
import { openHome, runName } from "./journal.ts";
import { progressFor, type ProgressOptions } from "./progress.ts";

/** How often another process's run is looked at; its whole journal is read when something changed, so not more often than it takes. */
const pollMs = 250;

/** `atalanta watch NAME` */
export function addWatch(program: Command): void {
  program
    .command("watch")
    .description("Show a run that another process carries out, until it has ended")
    .argument("<name>", "name of a run; @latest is the one that began last")
    .option("--no-progress", "lines instead of a tree on a terminal")
    .option("--json", "events as one line of JSON each")
    .addHelpText(
      "after",
      `
Example:
  atalanta watch @latest

Exit codes: 0 succeeded, 1 failed, 2 no such run, or no process has it.`,
    )
    .action(async (word: string, options: ProgressOptions) => {
      using journal = openHome();
      const state = await follow(journal, runName(journal, word), options);
      if (state.phase !== "Succeeded") process.exitCode = 1;
    });
}

/** Shows a run until it has ended. */
export async function follow(
  journal: Journal,
  name: string,
  options: ProgressOptions,
): Promise<RunState> {
  using progress = progressFor(options);
  const phases = new Map<string, string>();
  return await untilEnded(journal, name, (state) => {
    const changed: RunNode[] = [];
    for (const node of state.nodes.values()) {
      if (phases.get(node.id) === node.phase) continue;
      phases.set(node.id, node.phase);
      changed.push(node);
    }
    progress.update(changed, state);
  });
}

/** Calls back with each new state of a run until it has ended. Throws when it has not and no process has it. */
export async function untilEnded(
  journal: Journal,
  name: string,
  onState: (state: RunState) => void = () => {},
): Promise<RunState> {
  let before = "";
  for (;;) {
    const began = performance.now();
    const summary = journal.list().find((run) => run.name === name);
    const now = JSON.stringify(summary);
    if (now !== before || !summary) {
      before = now;
      // Also says that there is no such run, and which name is near.
      const state = getRun(journal, name);
      onState(state);
      if (state.finishedAt !== undefined) return state;
    }
    if (summary && !summary.live) {
      throw new Failure(
        "invalid-argument",
        `The run "${name}" has not ended, and no process has it`,
        {
          hint: `Go on with: atalanta resume ${name}`,
        },
      );
    }
    const took = performance.now() - began;
    await setTimeout(Math.max(pollMs, 4 * took), undefined, { signal: interrupted });
  }
}

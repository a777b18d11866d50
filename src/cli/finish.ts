import type { ArtifactStore } from "../artifacts/mod.ts";
import type { Depot } from "../task/mod.ts";
import { usageSum, type RunState } from "../workflow/mod.ts";
import { event, outputsJson } from "./events.ts";
import { writeOutputs } from "./outputs.ts";
import { endLines, failureLines } from "./report.ts";
import { paintFor } from "./style.ts";

/** Writes a run's outputs to a folder, says how it ended, and sets the exit code. */
export async function finish(
  state: RunState,
  options: {
    readonly artifacts: ArtifactStore;
    readonly depot: Depot;
    readonly outputDir?: string;
    readonly json?: boolean;
    readonly quiet?: boolean;
  },
): Promise<void> {
  const { outputDir, json = false, quiet = false } = options;
  const files =
    outputDir === undefined
      ? new Map<string, string>()
      : await writeOutputs(state, options, outputDir);
  const succeeded = state.phase === "Succeeded";
  if (!succeeded) process.exitCode = 1;
  if (json) {
    event({
      type: "run-finished",
      name: state.begin.name,
      phase: state.phase,
      message: state.message,
      startedAt: state.startedAt,
      finishedAt: state.finishedAt,
      progress: state.progress,
      usage: usageSum(state.nodes.values()),
      outputs: outputsJson(state.outputs),
      files: Object.fromEntries(files),
    });
    return;
  }
  if (!quiet) {
    const lines = endLines(state, { paint: paintFor(process.stdout), files });
    process.stdout.write(`${lines.join("\n")}\n`);
  }
  if (!succeeded) {
    const look = { paint: paintFor(process.stderr), places: state.begin.bundle.places };
    process.stderr.write(`${failureLines(state, look).join("\n")}\n`);
  }
}

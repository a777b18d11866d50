import { join } from "node:path";
import type { ArtifactStore } from "../artifacts/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { ArtifactSource } from "../task/mod.ts";
import type { RunState } from "../workflow/mod.ts";
import { event, outputsJson } from "./events.ts";
import { endLines, failureLines } from "./report.ts";
import { paintFor } from "./style.ts";

/** Writes a run's outputs to a folder, says how it ended, and sets the exit code. */
export async function finish(
  state: RunState,
  options: {
    readonly artifacts: ArtifactStore;
    readonly outputDir?: string;
    readonly json?: boolean;
    readonly quiet?: boolean;
  },
): Promise<void> {
  const { outputDir, json = false, quiet = false } = options;
  const files = new Map<string, string>();
  if (outputDir !== undefined) {
    for (const { name, artifact } of state.outputs.artifacts) {
      const path = join(outputDir, fileName(name));
      await exportSource(options.artifacts, artifact, path);
      files.set(name, path);
    }
  }
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

/** Names of outputs come from the document. */
function fileName(name: string): string {
  if (!/[/\\\0]/.test(name) && name !== "." && name !== ".." && name !== "") return name;
  throw new Failure("artifact-path", `The output "${name}" cannot be the name of a file`, {
    hint: "Use letters, digits, - and _ in its name.",
  });
}

/** Writes an artifact to a path, wherever it comes from. */
async function exportSource(
  artifacts: ArtifactStore,
  source: ArtifactSource,
  path: string,
): Promise<void> {
  if (source.kind === "raw") {
    await artifacts.exportTo(await artifacts.putBytes(Buffer.from(source.data)), path);
    return;
  }
  if (source.kind === "stored") {
    const { artifact, subPath } = source;
    const part = subPath ? await artifacts.content(artifact, subPath) : undefined;
    await artifacts.exportTo(part ? await artifacts.put({ path, ...part }) : artifact, path);
    return;
  }
  const key = source.subPath ? `${source.key}/${source.subPath}` : source.key;
  const found = await artifacts.find(key);
  if (!found)
    throw new Failure("artifact-missing", `The artifact repository has nothing at "${key}"`);
  await artifacts.exportTo(
    "artifact" in found ? found.artifact : await artifacts.put({ path, ...found.content }),
    path,
  );
}

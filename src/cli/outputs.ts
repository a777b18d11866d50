import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { join } from "node:path";
import type { ArtifactStore } from "../artifacts/mod.ts";
import { Failure, toFailure } from "../errors/mod.ts";
import type { ArtifactSource } from "../task/mod.ts";
import type { RunState } from "../workflow/mod.ts";
import { makeFolder } from "./make-folder.ts";

/** Makes sure, before anything begins, that outputs can be written there. */
export async function prepareFolder(path: string): Promise<void> {
  try {
    makeFolder(path);
    await access(path, constants.W_OK | constants.X_OK);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `Cannot write outputs to "${path}": ${reason}`, {
      cause,
      hint: "Name a folder that may be written, or one that is not there yet.",
    });
  }
}

/** Writes a run's output artifacts to a folder; returns the path of each. */
export async function writeOutputs(
  state: RunState,
  artifacts: ArtifactStore,
  folder: string,
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  try {
    for (const { name, artifact } of state.outputs.artifacts) {
      const path = join(folder, fileName(name));
      await exportSource(artifacts, artifact, path);
      files.set(name, path);
    }
  } catch (thrown) {
    const { code, message } = toFailure(thrown);
    throw new Failure(
      code,
      `The run "${state.begin.name}" is over (${state.phase}), but its outputs are not written: ${message}`,
      {
        cause: thrown,
        hint: `Nothing of the run is lost. Write its outputs elsewhere with: atalanta get ${state.begin.name} --output-dir FOLDER`,
      },
    );
  }
  return files;
}

/** Names of outputs come from the document. */
export function fileName(name: string): string {
  if (!/[/\\\0]/.test(name) && name !== "." && name !== ".." && name !== "") return name;
  throw new Failure("artifact-path", `The output "${name}" cannot be the name of a file`, {
    hint: "Use letters, digits, - and _ in its name.",
  });
}

/** Writes an artifact to a path, wherever it comes from. */
export async function exportSource(
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

import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { join } from "node:path";
import type { ArtifactStore, StoredArtifact } from "../artifacts/mod.ts";
import { Failure, toFailure } from "../errors/mod.ts";
import type { ArtifactSource, Copy, Depot } from "../task/mod.ts";
import type { RunState } from "../workflow/mod.ts";
import { interrupted } from "./interrupt.ts";
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
  kept: Kept,
  folder: string,
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  try {
    for (const { name, artifact } of state.outputs.artifacts) {
      const path = join(folder, fileName(name));
      await exportSource(kept, artifact, path);
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

/** Where artifacts are read from. */
export interface Kept {
  readonly artifacts: ArtifactStore;
  readonly depot: Depot;
}

/** Writes an artifact to a path, wherever it comes from. */
export async function exportSource(
  { artifacts, depot }: Kept,
  source: ArtifactSource,
  path: string,
): Promise<void> {
  const to = async (artifact: StoredArtifact, subPath: string | undefined): Promise<void> => {
    const part = subPath ? await artifacts.content(artifact, subPath) : undefined;
    await artifacts.exportTo(part ? await artifacts.put({ path, ...part }) : artifact, path);
  };
  switch (source.kind) {
    case "raw":
      return to(await artifacts.putBytes(Buffer.from(source.data)), undefined);
    case "store":
      return to(await depot.bring(source.place, { signal: interrupted }), source.subPath);
    case "stored":
      return to(await here(source, { artifacts, depot }), source.subPath);
    case "key": {
      const key = source.subPath ? `${source.key}/${source.subPath}` : source.key;
      const found = await artifacts.find(key);
      if (!found)
        throw new Failure("artifact-missing", `The artifact repository has nothing at "${key}"`);
      return to(
        "artifact" in found ? found.artifact : await artifacts.put({ path, ...found.content }),
        undefined,
      );
    }
  }
}

/** The artifact itself, or what is brought back from its store when it is not here any more. */
export async function here(
  { artifact, copy }: { readonly artifact: StoredArtifact; readonly copy?: Copy },
  { artifacts, depot }: Kept,
): Promise<StoredArtifact> {
  if (!copy) return artifact;
  try {
    await artifacts.content(artifact);
    return artifact;
  } catch (thrown) {
    if (!(thrown instanceof Failure && thrown.code === "storage")) throw thrown;
    return depot.restore(copy, artifact, { signal: interrupted });
  }
}

import { basename } from "node:path/posix";
import type { ArtifactStore, StoredArtifact } from "../artifacts/mod.ts";
import type { Collected } from "../engine/mod.ts";
import { Failure, toFailure } from "../errors/mod.ts";
import { logArtifact } from "../places/mod.ts";
import { depotOf, transferred, type Sources } from "./inputs.ts";
import type { Copy, OutputArtifact, Task, TaskResult } from "./mod.ts";

/** Largest `outputs.result` and output parameter: Argo keeps both in the workflow object. */
export const parameterBytes: number = 256 * 1024;

/** Stores what was collected. Everything that can be had is had, and `problem` is the first thing that could not. */
export async function takeOutputs(
  task: Task,
  left: { readonly stdout: Uint8Array | undefined; readonly collected: readonly Collected[] },
  sources: Sources,
): Promise<{ readonly outputs: TaskResult["outputs"]; readonly problem: Failure | undefined }> {
  const { store } = sources;
  const parameters: { readonly name: string; readonly value: string }[] = [];
  const artifacts: TaskResult["outputs"]["artifacts"][number][] = [];
  const at = new Map(left.collected.map((item) => [item.path, item]));
  let problem: Failure | undefined;
  for (const output of task.outputs.parameters) {
    try {
      const value = await parameter(at.get(output.path), output, store);
      parameters.push({ name: output.name, value });
    } catch (thrown) {
      problem ??= toFailure(thrown);
    }
  }
  for (const output of task.outputs.artifacts) {
    const found = at.get(output.path);
    if (found && found.kind !== "missing") {
      const artifact = await keep(output, found, store);
      try {
        artifacts.push({ name: output.name, artifact, ...(await sent(output, artifact, sources)) });
      } catch (thrown) {
        // It is here, and the step is not over before it is there.
        artifacts.push({ name: output.name, artifact });
        problem ??= toFailure(thrown);
      }
    } else if (!output.optional) {
      problem ??= new Failure(
        "artifact-missing",
        `The output artifact "${output.name}" was not written: there is nothing at ${output.path}`,
        { hint: "Check the path against what the program writes, or set optional: true." },
      );
    }
  }
  let result: string | undefined;
  if (task.outputs.result && left.stdout) {
    if (left.stdout.length <= parameterBytes) result = trimmed(left.stdout);
    else problem ??= tooLarge("outputs.result", left.stdout.length);
  }
  const outputs = { parameters, artifacts, ...(result === undefined ? {} : { result }) };
  return { outputs, problem };
}

/** Stores an output and gives it its name in the repository. */
async function keep(
  output: OutputArtifact,
  found: Exclude<Collected, { readonly kind: "missing" }>,
  store: ArtifactStore,
): Promise<StoredArtifact> {
  const artifact = await store.put(
    found.kind === "file" && output.mode !== undefined ? { ...found, mode: output.mode } : found,
  );
  if (output.key !== undefined) {
    // Argo uploads it as it is, so whoever reads that key finds bytes of which nothing is known.
    const plain = output.archive?.kind === "none" && artifact.kind === "file";
    await store.publish(output.key, plain ? { ...artifact, foreign: true } : artifact);
  }
  return artifact;
}

/** Sends an output to its store, if it has one. */
async function sent(
  output: OutputArtifact,
  artifact: StoredArtifact,
  sources: Sources,
): Promise<{ readonly copy?: Copy }> {
  const { store, name, archive, path } = output;
  if (!store) return {};
  const packed = archive?.kind ?? "tar";
  const level = archive?.kind === "tar" ? archive.level : undefined;
  const packing = { kind: packed, name: basename(path), ...(level === undefined ? {} : { level }) };
  await transferred(name, "to", sources, (options) =>
    depotOf(sources).send(store.place, artifact, packing, options),
  );
  return { copy: { ...store, packed } };
}

/** The log as the artifact that Argo makes of it. */
export async function sendLog(
  task: Task,
  log: StoredArtifact,
  sources: Sources,
): Promise<TaskResult["outputs"]["artifacts"][number] | undefined> {
  const { log: store } = task.outputs;
  if (!store) return undefined;
  await transferred(logArtifact, "to", sources, (options) =>
    depotOf(sources).send(store.place, log, { kind: "none", name: "main.log" }, options),
  );
  return { name: logArtifact, artifact: log, copy: { ...store, packed: "none" } };
}

async function parameter(
  found: Collected | undefined,
  output: { readonly name: string; readonly path: string; readonly default?: string },
  store: ArtifactStore,
): Promise<string> {
  if (found?.kind === "file") {
    const { content } = found;
    const size = content.kind === "bytes" ? content.bytes.length : content.size;
    if (size > parameterBytes) throw tooLarge(`The output parameter "${output.name}"`, size);
    if (content.kind === "bytes") return trimmed(content.bytes);
    return trimmed(await store.read(await store.put(found)));
  }
  if (output.default !== undefined) return output.default;
  throw new Failure(
    "artifact-missing",
    `The output parameter "${output.name}" was not written: there is no file at ${output.path}`,
    { hint: "Check the path against what the program writes, or give valueFrom.default." },
  );
}

/** Argo takes one newline from the end, no more. */
export function trimmed(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString();
  return text.endsWith("\n") ? text.slice(0, -1) : text;
}

function tooLarge(what: string, size: number): Failure {
  return new Failure(
    "output-too-large",
    `${what} has ${size} bytes; the ceiling is ${parameterBytes}`,
    { hint: "Hand large data out as an artifact." },
  );
}

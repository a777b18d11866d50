import type { ArtifactStore } from "../artifacts/mod.ts";
import type { Mount } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { InputArtifact } from "./mod.ts";

/** What is laid at the input's path; nothing when it is optional and not there. */
export async function inputContent(
  input: InputArtifact,
  store: ArtifactStore,
): Promise<Mount["content"] | undefined> {
  const { source } = input;
  if (!source) return undefined;
  if (source.kind === "raw") {
    const bytes = Buffer.from(source.data);
    return { kind: "file", mode: 0o644, content: { kind: "bytes", bytes } };
  }
  if (source.kind === "key") {
    throw new Failure(
      "artifact-missing",
      `The artifact repository has nothing at the key "${source.key}"`,
      { hint: "Check the key against what the steps before publish." },
    );
  }
  return store.content(source.artifact, source.subPath);
}

/** An absolute path of the sandbox. */
export function checkedPath(path: string, name: string): string {
  if (
    path.startsWith("/") &&
    path !== "/" &&
    !path.split("/").includes("..") &&
    !path.includes("\0")
  )
    return path;
  throw new Failure("artifact-path", `The path "${path}" of "${name}" is not usable`, {
    hint: 'Write an absolute path without "..", such as /tmp/doc.',
  });
}

import type { ArtifactStore, StoredArtifact } from "../artifacts/mod.ts";
import type { Mount } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { ArtifactSource, InputArtifact } from "./mod.ts";

/** What is laid at the input's path; nothing when it is optional and not there. */
export async function inputContent(
  input: InputArtifact,
  store: ArtifactStore,
  signal?: AbortSignal,
): Promise<Mount["content"] | undefined> {
  const { source } = input;
  if (!source) return undefined;
  const waiting = signal ? { signal } : {};
  try {
    const content = await load(input, source, { store, waiting });
    return withMode(content, input);
  } catch (thrown) {
    const missing = thrown instanceof Failure && thrown.code === "artifact-missing";
    if (missing && input.optional) return undefined;
    throw thrown;
  }
}

interface Loading {
  readonly store: ArtifactStore;
  readonly waiting: { readonly signal?: AbortSignal };
}

async function load(
  input: InputArtifact,
  source: ArtifactSource,
  { store, waiting }: Loading,
): Promise<Mount["content"]> {
  if (source.kind === "raw") {
    const bytes = Buffer.from(source.data);
    const packed = input.archive === "tar" || input.archive === "zip";
    if (!packed) return { kind: "file", mode: 0o644, content: { kind: "bytes", bytes } };
    const artifact = { ...(await store.putBytes(bytes)), foreign: true } as const;
    return store.content(await unpacked(input, artifact, { store, waiting }), "", waiting);
  }
  if (source.kind === "stored") {
    // Argo looks for `subPath` below the object's key, thus before anything is unpacked.
    if (source.subPath) return store.content(source.artifact, source.subPath, waiting);
    const artifact = await unpacked(input, source.artifact, { store, waiting });
    return store.content(artifact, "", waiting);
  }
  const key = source.subPath ? `${source.key}/${source.subPath}` : source.key;
  const found = await store.find(key, waiting);
  if (!found) {
    throw new Failure("artifact-missing", `The artifact repository has nothing at "${key}"`, {
      hint: "Check the key against what the steps before publish.",
    });
  }
  if ("content" in found) return found.content;
  return store.content(await unpacked(input, found.artifact, { store, waiting }), "", waiting);
}

/** Argo's rule for what comes from outside: what `archive` says, and else a gzip'd tarball is found by looking. */
async function unpacked(
  input: InputArtifact,
  artifact: StoredArtifact,
  { store, waiting }: Loading,
): Promise<StoredArtifact> {
  const { archive } = input;
  if (!artifact.foreign || archive === "none") return artifact;
  if (archive !== undefined) return store.unpack(artifact, archive, waiting);
  return (await store.isTarball(artifact)) ? store.unpack(artifact, "tar", waiting) : artifact;
}

function withMode(content: Mount["content"], input: InputArtifact): Mount["content"] {
  const { mode, recurseMode } = input;
  if (mode === undefined) return content;
  if (content.kind === "file") return { ...content, mode };
  const entries = recurseMode
    ? content.entries.map((entry) => (entry.kind === "symlink" ? entry : { ...entry, mode }))
    : content.entries;
  return { kind: "directory", entries: [{ kind: "directory", path: "", mode }, ...entries] };
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

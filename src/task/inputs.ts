import type { ArtifactStore, StoredArtifact } from "../artifacts/mod.ts";
import type { Mount } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import type {
  ArtifactSource,
  Depot,
  InputArtifact,
  RunTaskOptions,
  TransferOptions,
} from "./mod.ts";

/** Where inputs come from. */
export interface Sources {
  readonly store: ArtifactStore;
  /** Absent: there is no way to stores outside. */
  readonly depot?: Depot | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onTransfer?: RunTaskOptions["onTransfer"] | undefined;
}

/** What is laid at the input's path; nothing when it is optional and not there. */
export async function inputContent(
  input: InputArtifact,
  sources: Sources,
): Promise<Mount["content"] | undefined> {
  const { source } = input;
  if (!source) return undefined;
  const { store, signal } = sources;
  const waiting = signal ? { signal } : {};
  try {
    const content = await load(input, source, { store, waiting, sources });
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
  readonly sources: Sources;
}

async function load(
  input: InputArtifact,
  source: ArtifactSource,
  loading: Loading,
): Promise<Mount["content"]> {
  const { store, waiting, sources } = loading;
  switch (source.kind) {
    case "raw": {
      const bytes = Buffer.from(source.data);
      const packed = input.archive === "tar" || input.archive === "zip";
      if (!packed) return { kind: "file", mode: 0o644, content: { kind: "bytes", bytes } };
      const artifact = { ...(await store.putBytes(bytes)), foreign: true } as const;
      return store.content(await unpacked(input, artifact, loading), "", waiting);
    }
    case "stored":
      try {
        return await show(input, source.artifact, source.subPath, loading);
      } catch (thrown) {
        const gone = thrown instanceof Failure && thrown.code === "storage";
        const { copy } = source;
        if (!gone || !copy) throw thrown;
        const again = await transferred(input.name, "from", sources, (options) =>
          depotOf(sources).restore(copy, source.artifact, options),
        );
        return show(input, again, source.subPath, loading);
      }
    case "store": {
      const artifact = await transferred(input.name, "from", sources, (options) =>
        depotOf(sources).bring(source.place, options),
      );
      return show(input, artifact, source.subPath, loading);
    }
    case "key": {
      const key = source.subPath ? `${source.key}/${source.subPath}` : source.key;
      const found = await store.find(key, waiting);
      if (!found) {
        throw new Failure("artifact-missing", `The artifact repository has nothing at "${key}"`, {
          hint: "Check the key against what the steps before publish.",
        });
      }
      if ("content" in found) return found.content;
      return store.content(await unpacked(input, found.artifact, loading), "", waiting);
    }
  }
}

async function show(
  input: InputArtifact,
  artifact: StoredArtifact,
  subPath: string | undefined,
  loading: Loading,
): Promise<Mount["content"]> {
  const { store, waiting } = loading;
  // Argo looks for `subPath` below the object's key, thus before anything is unpacked.
  if (subPath) return store.content(artifact, subPath, waiting);
  return store.content(await unpacked(input, artifact, loading), "", waiting);
}

/** The way to stores; it is a failure of the front door's to have none. */
export function depotOf({ depot }: Pick<Sources, "depot">): Depot {
  if (depot) return depot;
  throw new Failure("store-refused", "There is no way to stores outside here", {
    hint: "Run it with `atalanta run`.",
  });
}

/** Tells how far an artifact or an image is on its way, and when that is over; nothing of one that is here already. */
export async function transferred<Value>(
  artifact: string,
  way: "from" | "to",
  { signal, onTransfer }: Pick<Sources, "signal" | "onTransfer">,
  work: (options: TransferOptions) => Promise<Value>,
): Promise<Value> {
  let begun = false;
  const onProgress = (bytes: number): void => {
    begun = true;
    onTransfer?.({ artifact, way, bytes });
  };
  try {
    return await work({ ...(signal ? { signal } : {}), ...(onTransfer ? { onProgress } : {}) });
  } finally {
    if (begun) onTransfer?.({ artifact, way });
  }
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

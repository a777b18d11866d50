/** Artifacts between steps, in a content-addressed folder. */
import type { Collected, Mount } from "../wasi/mod.ts";

export { openArtifactStore } from "./store.ts";

/** An artifact in the content-addressed folder. Plain data: it goes into journals and messages. */
export interface StoredArtifact {
  readonly kind: "file" | "directory";
  /** `sha256:` of the file's bytes, or of the directory's index. */
  readonly digest: string;
  /** Bytes of the content. */
  readonly size: number;
  /** Files of a directory. */
  readonly count?: number;
  /** Permission bits of a file; absent: 0644. */
  readonly mode?: number;
  /** Bytes as a user gave them: an input may find an archive in them and unpack it. */
  readonly foreign?: true;
}

/** What lies at a key of the repository. */
export type FoundArtifact =
  | { readonly artifact: StoredArtifact }
  | { readonly content: Mount["content"] };

interface WaitOptions {
  readonly signal?: AbortSignal;
}

export interface ArtifactStore {
  /**
   * Stores what a guest left; a missing path is the caller's to handle. Its staged files are read once and get a second
   * name instead of a copy where they lie on the folder's file system: nobody may write to them any more.
   */
  put(
    collected: Exclude<Collected, { readonly kind: "missing" }>,
    options?: WaitOptions,
  ): Promise<StoredArtifact>;
  /** Removes the staged files of what was collected, once all of it is stored. */
  discard(collected: readonly Collected[]): Promise<void>;
  /** Stores a snapshot of a file or folder of the user's. */
  putPath(path: string, options?: WaitOptions): Promise<StoredArtifact>;
  putBytes(bytes: Uint8Array): Promise<StoredArtifact>;
  /**
   * What a mount needs to show the artifact, or the part of it at `subPath`. Everything that it names was seen to be there
   * and undamaged.
   */
  content(
    artifact: StoredArtifact,
    subPath?: string,
    options?: WaitOptions,
  ): Promise<Mount["content"]>;
  /** The whole of a small file. */
  read(artifact: StoredArtifact): Promise<Uint8Array>;
  /**
   * Writes the artifact to a path that does not exist yet, or replaces the file there. Of a folder only what stays inside
   * it is written.
   */
  exportTo(artifact: StoredArtifact, path: string, options?: WaitOptions): Promise<void>;
  /** Unpacks a file as Argo does with what it downloads: a gzip'd tarball, or a zip archive. Refuses hostile ones with `archive-invalid`. */
  unpack(
    artifact: StoredArtifact,
    kind: "tar" | "zip",
    options?: WaitOptions,
  ): Promise<StoredArtifact>;
  /** Whether the file is a gzip'd tarball. */
  isTarball(artifact: StoredArtifact): Promise<boolean>;
  /** Gives an artifact a name of the repository, such as `reports/2026/a.pdf`; the same name again replaces it. */
  publish(key: string, artifact: StoredArtifact): Promise<void>;
  /**
   * The artifact of that name. Where there is none, what a mount shows: the part of a folder published under the beginning
   * of the key, or a folder of all whose names begin with `key/`, put together where they lie.
   */
  find(key: string, options?: WaitOptions): Promise<FoundArtifact | undefined>;
  /** A new folder for files that `put` is going to take over, on the same file system; whoever asked removes it. */
  stagingFolder(): Promise<string>;
  /**
   * Removes what no live and no named artifact reaches and what was not stored or handed on for `olderThanMs`
   * (default: one hour). That age is what protects the work of others: it must be longer than a step's result takes to
   * become part of what is live.
   */
  prune(
    live: AsyncIterable<StoredArtifact> | Iterable<StoredArtifact>,
    options?: WaitOptions & { readonly olderThanMs?: number },
  ): Promise<{ readonly files: number; readonly bytes: number }>;
}

import { createHash, randomUUID } from "node:crypto";
import {
  chmod,
  lstat,
  mkdir,
  open,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  utimes,
} from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import {
  defaultArchiveLimits,
  isTarball,
  safeTarget,
  unpack,
  type ArchiveLimits,
} from "../archives/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { Collected, HostBytes, Mount, TreeEntry } from "../wasi/mod.ts";
import { Blobs, compare, damaged, isCode, readSlice, writeAll, type Durability } from "./blobs.ts";
import { checkPack, consistent, keepTree } from "./folder.ts";
import { packedBytes, readIndex, type IndexEntry } from "./index-file.ts";
import type { ArtifactStore, FoundArtifact, StoredArtifact } from "./mod.ts";
import { Names, segments } from "./names.ts";
import { removeLeftovers, sweep } from "./prune.ts";

const hourMs = 60 * 60_000;
const leftoverMs = 24 * hourMs;
const defaultMode = 0o644;
/** Indexes kept in memory: a loop of many steps over one folder reads its index once. */
const keptIndexes = 4;
/** Archives whose unpacked form is known. */
const keptArchives = 256;
/** Large files of a tree looked at together. */
const checkTogether = 32;

interface Wait {
  readonly signal?: AbortSignal;
}

export interface ArtifactStoreOptions {
  readonly folder: string;
  /**
   * `normal` (the default): what is stored survives the end of the process at any moment, but a power cut may take the
   * last seconds; what it damaged is noticed when it is used. `full`: each file and its name are on the disk before they
   * are reported, at the price of three syncs a file.
   */
  readonly durability?: Durability;
  /** What one archive may hold; what is not named keeps its default. */
  readonly archives?: Partial<ArchiveLimits>;
}

/**
 * Opens the folder, making it when it is not there. Blobs lie at `sha256/ab/…`, the small files of a tree together at
 * `packs/ab/…`, names at `keys/`; none of them is ever changed in place, so many processes may share the folder.
 */
export async function openArtifactStore(options: ArtifactStoreOptions): Promise<ArtifactStore> {
  const folder = resolve(options.folder);
  await stored(folder, async () => {
    for (const name of ["partial", "staging", "sha256", "packs", "keys"]) {
      await mkdir(join(folder, name), { recursive: true });
    }
    for (const name of ["partial", "staging"]) {
      await removeLeftovers(join(folder, name), leftoverMs);
    }
  });
  return new FolderStore({ ...options, folder });
}

class FolderStore implements ArtifactStore {
  readonly #folder: string;
  readonly #blobs: Blobs;
  readonly #names: Names;
  readonly #archiveLimits: ArchiveLimits;
  readonly #indexes = new Map<string, readonly IndexEntry[]>();
  readonly #unpacked = new Map<string, Promise<StoredArtifact>>();

  constructor(options: ArtifactStoreOptions) {
    this.#folder = options.folder;
    this.#blobs = new Blobs(options.folder, options.durability ?? "normal");
    this.#names = new Names(join(options.folder, "keys"), this.#blobs);
    this.#archiveLimits = { ...defaultArchiveLimits, ...options.archives };
  }

  put(
    collected: Exclude<Collected, { readonly kind: "missing" }>,
    options: Wait = {},
  ): Promise<StoredArtifact> {
    return this.#put(collected, { ...options, mayLink: true });
  }

  async putPath(path: string, options: Wait = {}): Promise<StoredArtifact> {
    const found = await given(path);
    const artifact = await this.#put(found, { ...options, mayLink: false });
    return artifact.kind === "file" ? { ...artifact, foreign: true } : artifact;
  }

  putBytes(bytes: Uint8Array): Promise<StoredArtifact> {
    const content = { kind: "bytes", bytes } as const;
    return this.put({ path: "", kind: "file", mode: defaultMode, content });
  }

  #put(
    collected: Exclude<Collected, { readonly kind: "missing" }>,
    options: Wait & { readonly mayLink: boolean },
  ): Promise<StoredArtifact> {
    return stored(this.#folder, async () => {
      if (collected.kind === "directory") {
        const { digest, index } = await keepTree(this.#blobs, collected.entries, options);
        const files = index.filter((entry) => entry.kind === "file");
        const size = files.reduce((sum, entry) => sum + entry.size, 0);
        return { kind: "directory", digest, size, count: files.length };
      }
      const { content, mode } = collected;
      const kept = await (content.kind === "bytes"
        ? this.#blobs.keepBytes(content.bytes)
        : this.#blobs.keepSlice(content, options));
      return { kind: "file", ...kept, ...(mode === defaultMode ? {} : { mode }) };
    });
  }

  async discard(collected: readonly Collected[]): Promise<void> {
    const contents = collected.flatMap((item) => {
      if (item.kind === "missing") return [];
      if (item.kind === "file") return [item.content];
      return item.entries.flatMap((entry) => (entry.kind === "file" ? [entry.content] : []));
    });
    const paths = contents.flatMap((content) => (content.kind === "slice" ? [content.path] : []));
    // What lies in our folder is an input that the guest left as it was.
    const staged = [...new Set(paths)].filter((path) => !this.#blobs.owns(path));
    await stored(this.#folder, async () => {
      for (const path of staged) await rm(path, { force: true });
      for (const folder of new Set(staged.map((path) => dirname(path)))) {
        // The guest's own staging folder, empty by now.
        await rmdir(folder).catch(() => undefined);
      }
    });
  }

  async content(
    artifact: StoredArtifact,
    subPath = "",
    options: Wait = {},
  ): Promise<Mount["content"]> {
    const wanted = subPath
      .split("/")
      .filter((part) => part !== "" && part !== ".")
      .join("/");
    return stored(artifact.digest, async () => {
      if (artifact.kind === "file") {
        if (wanted !== "") throw missingPart(artifact, wanted);
        await this.#blobs.checkBlob(artifact, options.signal);
        return this.#file(artifact.mode ?? defaultMode, artifact);
      }
      const index = await this.#index(artifact);
      const within = wanted === "" ? index : index.filter((entry) => isBelow(entry, wanted));
      if (wanted !== "" && within.length === 0) throw missingPart(artifact, wanted);
      const packed = await checkPack(this.#blobs, artifact.digest, index, options.signal);
      const large = within.flatMap((entry) =>
        entry.kind === "file" && !packed.has(entry.digest) ? [entry] : [],
      );
      for (let from = 0; from < large.length; from += checkTogether) {
        const group = large.slice(from, from + checkTogether);
        await Promise.all(group.map((entry) => this.#blobs.checkBlob(entry, options.signal)));
      }
      const pack = this.#blobs.packPath(artifact.digest);
      const entries: TreeEntry[] = [];
      for (const entry of within) {
        const path = wanted === "" ? entry.path : entry.path.slice(wanted.length + 1);
        if (entry.kind !== "file") {
          entries.push({ ...entry, path });
          continue;
        }
        const offset = packed.get(entry.digest);
        const file =
          offset === undefined
            ? this.#file(entry.mode, entry)
            : inPack(entry, { path: pack, offset });
        if (path === "") return file;
        entries.push({ ...file, path });
      }
      return { kind: "directory", entries };
    });
  }

  #file(mode: number, kept: { readonly digest: string; readonly size: number }) {
    const path = this.#blobs.path(kept.digest);
    const content = { kind: "slice", path, offset: 0, size: kept.size } as const;
    return { kind: "file", mode, content } as const;
  }

  async #index(artifact: StoredArtifact): Promise<readonly IndexEntry[]> {
    let index = this.#indexes.get(artifact.digest);
    index ??= readIndex(await this.read(artifact));
    this.#indexes.delete(artifact.digest);
    this.#indexes.set(artifact.digest, index);
    const [oldest] = this.#indexes.keys();
    if (this.#indexes.size > keptIndexes && oldest !== undefined) this.#indexes.delete(oldest);
    return index;
  }

  async read(artifact: StoredArtifact): Promise<Uint8Array> {
    return stored(artifact.digest, async () => {
      let bytes;
      try {
        bytes = await readFile(this.#blobs.path(artifact.digest));
      } catch (cause) {
        if (isCode(cause, "ENOENT")) throw damaged(artifact.digest, "is not there", cause);
        throw cause;
      }
      compare(createHash("sha256").update(bytes), artifact.digest);
      return bytes;
    });
  }

  async exportTo(artifact: StoredArtifact, path: string, options: Wait = {}): Promise<void> {
    const content = await this.content(artifact, "", options);
    await stored(path, async () => {
      await mkdir(dirname(resolve(path)), { recursive: true });
      if (content.kind === "file") return this.#replace(content, path, options.signal);
      // Names came from a guest: what leads outside is left out.
      const entries = content.entries.filter((entry) => staysInside(entry.path));
      if (await isThere(path)) return this.#writeTree(entries, path, { ...options, beside: true });
      // A new folder has its name only when all of it is there.
      const beside = `${path}.${randomUUID()}.partial`;
      try {
        await this.#writeTree(entries, beside, { ...options, beside: false });
        await rename(beside, path);
      } finally {
        await rm(beside, { recursive: true, force: true });
      }
    });
  }

  /** With `beside` each file replaces the one that is there, or leaves it, and is never half. */
  async #writeTree(
    entries: readonly TreeEntry[],
    path: string,
    { signal, beside }: Wait & { readonly beside: boolean },
  ): Promise<void> {
    await mkdir(path, { recursive: true });
    // Links come last, so that nothing is ever written through one.
    for (const entry of entries) {
      const to = join(path, entry.path);
      if (entry.kind === "directory") await mkdir(to, { recursive: true });
      if (entry.kind !== "file") continue;
      await mkdir(dirname(to), { recursive: true });
      await (beside ? this.#replace(entry, to, signal) : this.#write(entry, to, signal));
    }
    for (const entry of entries) {
      if (entry.kind !== "symlink" || !safeTarget(entry.path, entry.target)) continue;
      const to = join(path, entry.path);
      await mkdir(dirname(to), { recursive: true });
      await rm(to, { force: true });
      await symlink(entry.target, to);
    }
  }

  /** A killed process leaves the old file, or none, under the name. */
  async #replace(
    file: { readonly mode: number; readonly content: HostBytes },
    to: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const beside = `${to}.${randomUUID()}.partial`;
    try {
      await this.#write(file, beside, signal);
      await rename(beside, to);
    } finally {
      await rm(beside, { force: true });
    }
  }

  async #write(
    file: { readonly mode: number; readonly content: HostBytes },
    to: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await using out = await open(to, "w", file.mode);
    if (file.content.kind === "bytes") await writeAll(out, file.content.bytes);
    else await readSlice(file.content, signal, (block) => writeAll(out, block));
    // The bits as they are, whatever the process's mask says; always readable by the one who asked.
    await chmod(to, file.mode | 0o600);
  }

  async unpack(
    artifact: StoredArtifact,
    kind: "tar" | "zip",
    options: Wait = {},
  ): Promise<StoredArtifact> {
    const name = `${kind} ${artifact.digest}`;
    const known = this.#unpacked.get(name);
    if (known) {
      try {
        const before = await known;
        await this.content(before, "", options);
        await this.#blobs.touch(this.#blobs.path(before.digest));
        return before;
      } catch {
        // Not unpacked in the end, or no longer all there: once more.
        this.#unpacked.delete(name);
      }
    }
    const work = this.#unpack(artifact, kind, options);
    this.#unpacked.set(name, work);
    const [oldest] = this.#unpacked.keys();
    if (this.#unpacked.size > keptArchives && oldest !== undefined) this.#unpacked.delete(oldest);
    return work;
  }

  async #unpack(
    artifact: StoredArtifact,
    kind: "tar" | "zip",
    options: Wait,
  ): Promise<StoredArtifact> {
    return stored(artifact.digest, async () => {
      if (artifact.kind === "directory") {
        throw new Failure("archive-invalid", `A folder was given where a ${kind} is expected`, {
          hint: "Give the packed file, or leave archive: away.",
        });
      }
      await this.#blobs.checkBlob(artifact, options.signal);
      const scratch = await this.stagingFolder();
      try {
        const path = this.#blobs.path(artifact.digest);
        const limits = this.#archiveLimits;
        return await this.put(await unpack({ path, kind, scratch, limits, ...options }), options);
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    });
  }

  async isTarball(artifact: StoredArtifact): Promise<boolean> {
    if (artifact.kind === "directory") return false;
    return stored(artifact.digest, () => isTarball(this.#blobs.path(artifact.digest)));
  }

  publish(key: string, artifact: StoredArtifact): Promise<void> {
    return stored(key, () => this.#names.publish(key, artifact));
  }

  async find(key: string, options: Wait = {}): Promise<FoundArtifact | undefined> {
    const parts = segments(key);
    return stored(key, async () => {
      const artifact = await this.#names.find(parts.join("/"));
      if (artifact) return { artifact };
      const content = (await this.#inFolder(parts, options)) ?? (await this.#below(parts, options));
      return content && { content };
    });
  }

  /** The part of a folder that was published under the beginning of the key. */
  async #inFolder(parts: readonly string[], options: Wait): Promise<Mount["content"] | undefined> {
    for (let count = parts.length - 1; count > 0; count--) {
      const artifact = await this.#names.find(parts.slice(0, count).join("/"));
      if (artifact?.kind !== "directory") continue;
      try {
        return await this.content(artifact, parts.slice(count).join("/"), options);
      } catch (thrown) {
        if (!(thrown instanceof Failure && thrown.code === "artifact-missing")) throw thrown;
      }
    }
    return undefined;
  }

  /** All that is published below the key, put together where it lies. */
  async #below(parts: readonly string[], options: Wait): Promise<Mount["content"] | undefined> {
    const entries: TreeEntry[] = [];
    for (const { path, artifact } of await this.#names.below(parts.join("/"))) {
      const content = await this.content(artifact, "", options);
      if (content.kind === "file") entries.push({ ...content, path });
      else {
        entries.push({ kind: "directory", path, mode: 0o755 });
        for (const entry of content.entries) {
          entries.push({ ...entry, path: `${path}/${entry.path}` });
        }
      }
    }
    if (entries.length === 0) return undefined;
    return { kind: "directory", entries: consistent(entries) };
  }

  async stagingFolder(): Promise<string> {
    const path = join(this.#folder, "staging", randomUUID());
    await stored(path, () => mkdir(path));
    // Whoever opens the folder tomorrow must see that this one is still in use.
    const timer = setInterval(() => {
      const now = new Date();
      utimes(path, now, now).catch(() => clearInterval(timer));
    }, hourMs);
    timer.unref();
    return path;
  }

  async prune(
    live: AsyncIterable<StoredArtifact> | Iterable<StoredArtifact>,
    options: Wait & { readonly olderThanMs?: number } = {},
  ): Promise<{ readonly files: number; readonly bytes: number }> {
    return stored(this.#folder, async () => {
      const reached = new Set<string>();
      for await (const artifact of live) await this.#reach(artifact, reached);
      for (const { artifact } of await this.#names.below("")) await this.#reach(artifact, reached);
      for (const known of this.#unpacked.values()) {
        const artifact = await known.catch(() => undefined);
        if (artifact) await this.#reach(artifact, reached);
      }
      return sweep({
        folder: this.#folder,
        reached,
        olderThanMs: options.olderThanMs ?? hourMs,
        aside: () => this.#blobs.partial(),
        ...(options.signal ? { signal: options.signal } : {}),
      });
    });
  }

  async #reach(artifact: StoredArtifact, reached: Set<string>): Promise<void> {
    const hex = hexOf(artifact.digest);
    if (reached.has(hex)) return;
    reached.add(hex);
    if (artifact.kind === "file") return;
    let index: readonly IndexEntry[];
    try {
      index = readIndex(await this.read(artifact));
    } catch (thrown) {
      // What a lost or damaged index named cannot be reached any more.
      if (thrown instanceof Failure && thrown.code === "storage") return;
      throw thrown;
    }
    for (const entry of index) {
      if (entry.kind === "file" && entry.size > packedBytes) reached.add(hexOf(entry.digest));
    }
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (thrown) {
    if (isCode(thrown, "ENOENT")) return false;
    throw thrown;
  }
}

function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}

function inPack(
  entry: Extract<IndexEntry, { readonly kind: "file" }>,
  place: { readonly path: string; readonly offset: number },
) {
  const content = { kind: "slice", ...place, size: entry.size } as const;
  return { kind: "file", mode: entry.mode, content } as const;
}

function isBelow(entry: IndexEntry, wanted: string): boolean {
  return entry.path === wanted || entry.path.startsWith(`${wanted}/`);
}

function staysInside(path: string): boolean {
  const parts = path.split("/");
  return !path.startsWith("/") && !path.includes("\0") && !parts.includes("..");
}

/** What lies at a path of the user's. */
async function given(path: string): Promise<Exclude<Collected, { readonly kind: "missing" }>> {
  try {
    const top = await stat(path);
    if (top.isDirectory()) {
      const entries: TreeEntry[] = [];
      await scan(path, "", entries);
      return { path, kind: "directory", entries };
    }
    if (!top.isFile()) throw new Error("it is neither a file nor a folder");
    const content = { kind: "slice", path, offset: 0, size: top.size } as const;
    return { path, kind: "file", mode: defaultMode, content };
  } catch (cause) {
    throw new Failure("artifact-missing", `Cannot read "${path}": ${reason(cause)}`, {
      cause,
      hint: "Check the path given with -a.",
    });
  }
}

async function scan(folder: string, prefix: string, into: TreeEntry[]): Promise<void> {
  for (const item of await readdir(folder, { withFileTypes: true })) {
    const path = prefix + item.name;
    const host = join(folder, item.name);
    if (item.isDirectory()) {
      into.push({ kind: "directory", path, mode: 0o755 });
      await scan(host, `${path}/`, into);
    } else if (item.isSymbolicLink()) {
      into.push({ kind: "symlink", path, target: await readlink(host) });
    } else if (item.isFile()) {
      const { size, mode } = await lstat(host);
      const content = { kind: "slice", path: host, offset: 0, size } as const;
      into.push({ kind: "file", path, mode: mode & 0o777, content });
    }
  }
}

function missingPart(artifact: StoredArtifact, subPath: string): Failure {
  return new Failure(
    "artifact-missing",
    `The artifact ${artifact.digest.slice(0, 19)} has no "${subPath}"`,
    { hint: "Check subPath against the names that the step before wrote." },
  );
}

async function stored<Value>(where: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure("storage", `Cannot store or read "${where}": ${reason(cause)}`, {
      cause,
      hint: "Check that the disk has room and that the folder may be written.",
    });
  }
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

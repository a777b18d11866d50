import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import {
  lstat,
  mkdir,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Failure } from "../errors/mod.ts";
import type { Collected, HostBytes, Mount, TreeEntry } from "../wasi/mod.ts";

/** An artifact in the content-addressed folder. Plain data: it goes into journals and messages. */
export interface StoredArtifact {
  readonly kind: "file" | "directory";
  /** `sha256:` of the file's bytes, or of the directory's index. */
  readonly digest: string;
  /** Bytes of the content. */
  readonly size: number;
  /** Files of a directory. */
  readonly count?: number;
}

/** A line of a directory's index. */
type IndexEntry =
  | {
      readonly kind: "file";
      readonly path: string;
      readonly mode: number;
      readonly digest: string;
      readonly size: number;
    }
  | { readonly kind: "directory"; readonly path: string; readonly mode: number }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string };

export interface ArtifactStore {
  /** Stores what a guest left; a missing path is the caller's to handle. */
  put(collected: Exclude<Collected, { readonly kind: "missing" }>): Promise<StoredArtifact>;
  /** Removes the staged files of what was collected, once all of it is stored. */
  discard(collected: readonly Collected[]): Promise<void>;
  /** Stores a snapshot of a file or folder of the user's. */
  putPath(path: string): Promise<StoredArtifact>;
  putBytes(bytes: Uint8Array): Promise<StoredArtifact>;
  /** What a mount needs to show the artifact, or the part of it at `subPath`. */
  content(artifact: StoredArtifact, subPath?: string): Promise<Mount["content"]>;
  read(artifact: StoredArtifact): Promise<Uint8Array>;
  /** Writes the artifact to a path that does not exist yet, or replaces the file there. */
  exportTo(artifact: StoredArtifact, path: string): Promise<void>;
}

/** Opens the folder, making it when it is not there. Blobs lie at `sha256/ab/…` and are never changed. */
export async function openArtifactStore(options: {
  readonly folder: string;
}): Promise<ArtifactStore> {
  const store = new FolderStore(resolve(options.folder));
  await stored(options.folder, () => mkdir(join(options.folder, "partial"), { recursive: true }));
  return store;
}

class FolderStore implements ArtifactStore {
  readonly #folder: string;
  constructor(folder: string) {
    this.#folder = folder;
  }

  async discard(collected: readonly Collected[]): Promise<void> {
    const contents = collected.flatMap((item) => {
      if (item.kind === "missing") return [];
      if (item.kind === "file") return [item.content];
      return item.entries.flatMap((entry) => (entry.kind === "file" ? [entry.content] : []));
    });
    for (const content of contents) {
      // What lies in our folder is an input that the guest left as it was.
      if (content.kind === "slice" && !content.path.startsWith(this.#folder + sep)) {
        await rm(content.path, { force: true });
      }
    }
  }

  async put(collected: Exclude<Collected, { readonly kind: "missing" }>): Promise<StoredArtifact> {
    if (collected.kind === "file") {
      const { digest, size } = await this.#keep(collected.content);
      return { kind: "file", digest, size };
    }
    const index: IndexEntry[] = [];
    for (const entry of collected.entries) {
      if (entry.kind === "file") {
        // One after the other: a tree may have many more files than a process may open.
        const kept = await this.#keep(entry.content);
        index.push({ kind: "file", path: entry.path, mode: entry.mode, ...kept });
      } else index.push(entry);
    }
    return this.#putIndex(index);
  }

  async #putIndex(index: IndexEntry[]): Promise<StoredArtifact> {
    index.sort((left, right) => (left.path < right.path ? -1 : 1));
    const text = index.map((entry) => `${JSON.stringify(entry)}\n`).join("");
    const { digest } = await this.#keep({ kind: "bytes", bytes: Buffer.from(text) });
    const files = index.filter((entry) => entry.kind === "file");
    const size = files.reduce((sum, entry) => sum + entry.size, 0);
    return { kind: "directory", digest, size, count: files.length };
  }

  async putPath(path: string): Promise<StoredArtifact> {
    const entries: TreeEntry[] = [];
    let top;
    try {
      top = await lstat(path);
      if (top.isDirectory()) await scan(path, "", entries);
    } catch (cause) {
      throw new Failure("artifact-missing", `Cannot read "${path}": ${reason(cause)}`, {
        cause,
        hint: "Check the path given with -a.",
      });
    }
    if (top.isDirectory()) return this.put({ path, kind: "directory", entries });
    const size = top.isSymbolicLink() ? (await readFile(path)).length : top.size;
    return this.put({
      path,
      kind: "file",
      mode: 0o644,
      content: { kind: "slice", path, offset: 0, size },
    });
  }

  async putBytes(bytes: Uint8Array): Promise<StoredArtifact> {
    const { digest, size } = await this.#keep({ kind: "bytes", bytes });
    return { kind: "file", digest, size };
  }

  /** Hashes while copying, then publishes by renaming, so that a killed process leaves nothing half done. */
  async #keep(content: HostBytes): Promise<{ readonly digest: string; readonly size: number }> {
    if (
      content.kind === "slice" &&
      content.offset === 0 &&
      content.path.startsWith(this.#folder + sep)
    ) {
      const hex = content.path
        .slice(this.#folder.length + 1)
        .split(sep)
        .slice(1)
        .join("");
      if (/^[0-9a-f]{64}$/.test(hex)) return { digest: `sha256:${hex}`, size: content.size };
    }
    const hash = createHash("sha256");
    const partial = join(this.#folder, "partial", randomUUID());
    let size = 0;
    return stored(this.#folder, async () => {
      try {
        if (content.kind === "bytes") {
          hash.update(content.bytes);
          size = content.bytes.length;
          await writeFile(partial, content.bytes);
        } else if (content.size === 0) await writeFile(partial, "");
        else {
          const measure = new Transform({
            transform(chunk: Uint8Array, _encoding, done) {
              hash.update(chunk);
              size += chunk.length;
              done(null, chunk);
            },
          });
          const { offset, path } = content;
          const from = createReadStream(path, { start: offset, end: offset + content.size - 1 });
          await pipeline(from, measure, createWriteStream(partial));
        }
        const digest = `sha256:${hash.digest("hex")}`;
        const to = this.#blob(digest);
        await mkdir(dirname(to), { recursive: true });
        await rename(partial, to);
        return { digest, size };
      } catch (thrown) {
        await rm(partial, { force: true });
        throw thrown;
      }
    });
  }

  #blob(digest: string): string {
    const hex = digest.slice("sha256:".length);
    return join(this.#folder, "sha256", hex.slice(0, 2), hex.slice(2));
  }

  async #index(artifact: StoredArtifact): Promise<IndexEntry[]> {
    const text = Buffer.from(await this.read(artifact)).toString();
    // The folder is ours and the digest was checked, so each line is what `#putIndex` wrote.
    return (
      text
        .split("\n")
        .filter((line) => line !== "")
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the digest was checked, so the line is ours
        .map((line) => JSON.parse(line) as IndexEntry)
    );
  }

  async read(artifact: StoredArtifact): Promise<Uint8Array> {
    const bytes = await stored(artifact.digest, () => readFile(this.#blob(artifact.digest)));
    if (`sha256:${createHash("sha256").update(bytes).digest("hex")}` !== artifact.digest) {
      throw new Failure("storage", `The stored artifact ${artifact.digest} is damaged`, {
        hint: "Remove the file from the artifact folder and run the step that made it again.",
      });
    }
    return bytes;
  }

  async content(artifact: StoredArtifact, subPath = ""): Promise<Mount["content"]> {
    const wanted = subPath
      .split("/")
      .filter((part) => part !== "" && part !== ".")
      .join("/");
    if (artifact.kind === "file") {
      if (wanted !== "") throw missingPart(artifact, wanted);
      return this.#file(0o644, artifact.digest, artifact.size);
    }
    const index = await this.#index(artifact);
    const entries: TreeEntry[] = [];
    for (const entry of index) {
      if (entry.path === wanted && entry.kind === "file")
        return this.#file(entry.mode, entry.digest, entry.size);
      if (wanted !== "" && !entry.path.startsWith(`${wanted}/`)) continue;
      const path = wanted === "" ? entry.path : entry.path.slice(wanted.length + 1);
      if (entry.kind !== "file") entries.push({ ...entry, path });
      else entries.push({ path, ...this.#file(entry.mode, entry.digest, entry.size) });
    }
    const there =
      wanted === "" ||
      index.some((entry) => entry.path === wanted || entry.path.startsWith(`${wanted}/`));
    if (!there) throw missingPart(artifact, wanted);
    return { kind: "directory", entries };
  }

  #file(mode: number, digest: string, size: number) {
    const content = { kind: "slice", path: this.#blob(digest), offset: 0, size } as const;
    return { kind: "file", mode, content } as const;
  }

  async exportTo(artifact: StoredArtifact, path: string): Promise<void> {
    await stored(path, async () => {
      await mkdir(dirname(path), { recursive: true });
      if (artifact.kind === "file") {
        await pipeline(createReadStream(this.#blob(artifact.digest)), createWriteStream(path));
        return;
      }
      await mkdir(path, { recursive: true });
      for (const entry of await this.#index(artifact)) {
        const to = resolve(path, entry.path);
        // Names came from a guest: whatever would leave the folder is left out.
        if (!to.startsWith(resolve(path) + sep)) continue;
        await mkdir(entry.kind === "directory" ? to : dirname(to), { recursive: true });
        if (entry.kind === "file") {
          await pipeline(createReadStream(this.#blob(entry.digest)), createWriteStream(to));
        } else if (entry.kind === "symlink") {
          const target = resolve(dirname(to), entry.target);
          if (!target.startsWith(resolve(path) + sep)) continue;
          await rm(to, { force: true });
          await symlink(entry.target, to);
        }
      }
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
      into.push({
        kind: "file",
        path,
        mode: mode & 0o777,
        content: { kind: "slice", path: host, offset: 0, size },
      });
    }
  }
}

function missingPart(artifact: StoredArtifact, subPath: string): Failure {
  return new Failure(
    "artifact-missing",
    `The artifact ${artifact.digest.slice(0, 19)} has no "${subPath}"`,
    {
      hint: "Check subPath against the names that the step before wrote.",
    },
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

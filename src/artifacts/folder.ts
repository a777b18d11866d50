import { createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { Failure } from "../errors/mod.ts";
import type { HostBytes, TreeEntry } from "../wasi/mod.ts";
import { blockBytes, compare, writeAll, type Blobs } from "./blobs.ts";
import {
  comparePaths,
  packedBytes,
  packLayout,
  writeIndex,
  type IndexEntry,
} from "./index-file.ts";

/** Small files read at once; more would only wait for the same disk. */
const readTogether = 64;
/** Host files with many of the tree's contents in them that are held open. */
const heldOpen = 16;

interface Options {
  readonly mayLink: boolean;
  readonly signal?: AbortSignal;
}

/** Stores a tree: small files into one pack, large ones each as a blob, and the index that names them. */
export async function keepTree(
  blobs: Blobs,
  entries: readonly TreeEntry[],
  options: Options,
): Promise<{ readonly digest: string; readonly index: readonly IndexEntry[] }> {
  const sorted = consistent(entries).toSorted(comparePaths);
  // Small files get their lines when they are packed; until then something stands in their place.
  const index: IndexEntry[] = sorted.map(({ path }) => ({ kind: "directory", path, mode: 0 }));
  const small: number[] = [];
  for (const [at, entry] of sorted.entries()) {
    if (entry.kind !== "file") index[at] = entry;
    else if (sizeOf(entry.content) <= packedBytes) small.push(at);
    else index[at] = { ...described(entry), ...(await keepLarge(blobs, entry.content, options)) };
  }
  let digest = "";
  if (small.length === 0) digest = (await blobs.keepBytes(writeIndex(index))).digest;
  else {
    await blobs.writeAndPublish(
      () => blobs.packPath(digest),
      async (file) => {
        await pack(file, small, sorted, index, options);
        // The index is published only after the pack, so that it never names what is not there; only its digest is needed now.
        digest = `sha256:${createHash("sha256").update(writeIndex(index)).digest("hex")}`;
      },
    );
    await blobs.keepBytes(writeIndex(index));
  }
  return { digest, index };
}

function keepLarge(blobs: Blobs, content: HostBytes, options: Options) {
  if (content.kind === "bytes") return blobs.keepBytes(content.bytes);
  return blobs.keepSlice(content, options);
}

/** Writes the small files one after the other, equal ones once, and fills in their lines of the index. */
async function pack(
  file: FileHandle,
  small: readonly number[],
  entries: readonly TreeEntry[],
  index: IndexEntry[],
  options: Options,
): Promise<void> {
  const there = new Set<string>();
  const block = Buffer.alloc(blockBytes);
  let used = 0;
  await using reader = await createReader(small.map((at) => entries[at]));
  for (let from = 0; from < small.length; from += readTogether) {
    if (options.signal?.aborted) throw new Failure("aborted", "Stopped while a tree was stored");
    const group = small.slice(from, from + readTogether);
    const contents = await Promise.all(group.map((at) => reader.read(entries[at])));
    for (const [place, at] of group.entries()) {
      const entry = entries[at];
      const bytes = contents[place];
      if (entry?.kind !== "file" || !bytes) continue;
      const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      index[at] = { ...described(entry), digest, size: bytes.length };
      if (there.has(digest)) continue;
      there.add(digest);
      if (used + bytes.length > block.length) {
        await writeAll(file, block.subarray(0, used));
        used = 0;
      }
      block.set(bytes, used);
      used += bytes.length;
    }
  }
  await writeAll(file, block.subarray(0, used));
}

interface Reader extends AsyncDisposable {
  read(entry: TreeEntry | undefined): Promise<Uint8Array | undefined>;
}

/** Reads small contents; a host file that holds several of them is opened once. */
async function createReader(entries: readonly (TreeEntry | undefined)[]): Promise<Reader> {
  const uses = new Map<string, number>();
  for (const entry of entries) {
    if (entry?.kind !== "file" || entry.content.kind === "bytes") continue;
    uses.set(entry.content.path, (uses.get(entry.content.path) ?? 0) + 1);
  }
  const shared = [...uses]
    .filter(([, count]) => count > 1)
    .slice(0, heldOpen)
    .map(([path]) => path);
  const held = new Map<string, FileHandle>();
  const close = async (): Promise<void> => {
    for (const file of held.values()) await file.close();
  };
  try {
    for (const path of shared) held.set(path, await open(path));
  } catch (thrown) {
    await close();
    throw thrown;
  }
  return {
    async read(entry) {
      if (entry?.kind !== "file") return undefined;
      const { content } = entry;
      if (content.kind === "bytes") return content.bytes;
      const file = held.get(content.path);
      if (file) return exactly(file, content);
      await using own = await open(content.path);
      return await exactly(own, content);
    },
    [Symbol.asyncDispose]: close,
  };
}

async function exactly(
  file: FileHandle,
  content: { readonly path: string; readonly offset: number; readonly size: number },
): Promise<Uint8Array> {
  const bytes = new Uint8Array(content.size);
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, content.offset + done);
    if (bytesRead === 0) {
      throw new Failure("storage", `"${content.path}" became shorter while it was stored`);
    }
    done += bytesRead;
  }
  return bytes;
}

/** Checks each small file of a pack against the index, and the pack's size. */
export async function checkPack(
  blobs: Blobs,
  artifact: string,
  index: readonly IndexEntry[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const { offsets, size } = packLayout(index);
  if (offsets.size === 0) return offsets;
  const path = blobs.packPath(artifact);
  const verify = async (given: AbortSignal | undefined): Promise<void> => {
    await using file = await open(path);
    const seen = new Set<string>();
    let block: Uint8Array = new Uint8Array(0);
    let start = 0;
    for (const entry of index) {
      const offset = entry.kind === "file" ? offsets.get(entry.digest) : undefined;
      if (entry.kind !== "file" || offset === undefined || seen.has(entry.digest)) continue;
      seen.add(entry.digest);
      if (given?.aborted) throw new Failure("aborted", "Stopped while an artifact was checked");
      // They lie in this order, so the pack is read from its beginning to its end in blocks.
      if (offset + entry.size > start + block.length) {
        start = offset;
        block = await exactly(file, { path, offset, size: Math.min(blockBytes, size - offset) });
      }
      const bytes = block.subarray(offset - start, offset - start + entry.size);
      compare(createHash("sha256").update(bytes), entry.digest, `${artifact} (${entry.path})`);
    }
  };
  await blobs.check(path, size, verify, signal);
  return offsets;
}

function described(entry: { readonly path: string; readonly mode: number }) {
  return { kind: "file", path: entry.path, mode: entry.mode } as const;
}

function sizeOf(content: HostBytes): number {
  return content.kind === "bytes" ? content.bytes.length : content.size;
}

/**
 * Entries that a file system could hold: of those with one path the last counts, and a file or link at a place where
 * others lie below it does not, as in the tree that they are mounted into.
 */
export function consistent(entries: readonly TreeEntry[]): readonly TreeEntry[] {
  const folders = new Set<string>();
  for (const { path } of entries) {
    for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) {
      const parent = path.slice(0, at);
      if (folders.has(parent)) break;
      folders.add(parent);
    }
  }
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  return [...byPath.values()].filter(
    (entry) => entry.kind === "directory" || !folders.has(entry.path),
  );
}

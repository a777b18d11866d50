/** A line of a folder's index. The index holds names and digests and not where bytes lie, so equal trees have equal indexes. */
export type IndexEntry =
  | {
      readonly kind: "file";
      readonly path: string;
      readonly mode: number;
      readonly digest: string;
      readonly size: number;
    }
  | { readonly kind: "directory"; readonly path: string; readonly mode: number }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string };

/** Files up to this size lie together in the pack of their tree, so that 10,000 of them are one file of the host's. */
export const packedBytes: number = 64 * 1024;

/** The index's text: a line of JSON for each entry, in order of the paths. */
export function writeIndex(entries: readonly IndexEntry[]): Uint8Array {
  return Buffer.from(entries.map((entry) => `${JSON.stringify(plain(entry))}\n`).join(""));
}

/** Reads what `writeIndex` wrote; the caller has checked the digest. */
export function readIndex(bytes: Uint8Array): readonly IndexEntry[] {
  return (
    Buffer.from(bytes)
      .toString()
      .split("\n")
      .filter((line) => line !== "")
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the digest was checked, so the line is ours
      .map((line) => JSON.parse(line) as IndexEntry)
  );
}

/** Keys in one order, whoever made the entry. */
function plain(entry: IndexEntry): IndexEntry {
  const { kind, path } = entry;
  if (kind === "symlink") return { kind, path, target: entry.target };
  if (kind === "directory") return { kind, path, mode: entry.mode };
  return { kind, path, mode: entry.mode, digest: entry.digest, size: entry.size };
}

/**
 * Where the small files of a tree lie in its pack: one after the other as the index names them, equal ones once. So a
 * pack needs no directory of its own, and one tree has one pack however it was stored.
 */
export function packLayout(entries: readonly IndexEntry[]): {
  readonly offsets: ReadonlyMap<string, number>;
  readonly size: number;
} {
  const offsets = new Map<string, number>();
  let size = 0;
  for (const entry of entries) {
    if (entry.kind !== "file" || entry.size > packedBytes || offsets.has(entry.digest)) continue;
    offsets.set(entry.digest, size);
    size += entry.size;
  }
  return { offsets, size };
}

/** The order of an index, the same on every machine. */
export function comparePaths(
  left: { readonly path: string },
  right: { readonly path: string },
): number {
  if (left.path === right.path) return 0;
  return left.path < right.path ? -1 : 1;
}

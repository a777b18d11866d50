import { readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../errors/mod.ts";
import { isCode } from "./blobs.ts";

/** Folders of the store whose files are named by digests, in two parts. */
const swept = ["sha256", "packs"] as const;

/** Removes files that are not reached and old. */
export async function sweep(options: {
  readonly folder: string;
  /** 64 hexadecimal digits each, of blobs and of indexes with packs. */
  readonly reached: ReadonlySet<string>;
  readonly olderThanMs: number;
  /** A name of ours in the same file system. */
  readonly aside: () => string;
  readonly signal?: AbortSignal;
}): Promise<{ readonly files: number; readonly bytes: number }> {
  const before = Date.now() - options.olderThanMs;
  let files = 0;
  let bytes = 0;
  for (const kind of swept) {
    for (const shard of await list(join(options.folder, kind))) {
      if (options.signal?.aborted)
        throw new Failure("aborted", "Stopped while artifacts were removed");
      for (const name of await list(join(options.folder, kind, shard))) {
        if (options.reached.has(shard + name)) continue;
        const removed = await remove(
          join(options.folder, kind, shard, name),
          before,
          options.aside,
        );
        if (removed === undefined) continue;
        files++;
        bytes += removed;
      }
    }
  }
  return { files, bytes };
}

/**
 * Removes the file when it is old. Another process may store the same content just now: so the file is moved away first,
 * looked at again, and put back when it has become young.
 */
async function remove(
  path: string,
  before: number,
  aside: () => string,
): Promise<number | undefined> {
  try {
    if ((await stat(path)).mtimeMs > before) return undefined;
    const moved = aside();
    await rename(path, moved);
    const { mtimeMs, size } = await stat(moved);
    if (mtimeMs > before) {
      await rename(moved, path);
      return undefined;
    }
    await rm(moved);
    return size;
  } catch (thrown) {
    // Another process prunes as well.
    if (isCode(thrown, "ENOENT")) return undefined;
    throw thrown;
  }
}

async function list(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (thrown) {
    if (isCode(thrown, "ENOENT")) return [];
    throw thrown;
  }
}

/** Removes what killed processes left: entries that nobody touched for a day. */
export async function removeLeftovers(folder: string, olderThanMs: number): Promise<void> {
  for (const name of await list(folder)) {
    const path = join(folder, name);
    try {
      if ((await stat(path)).mtimeMs < Date.now() - olderThanMs) {
        await rm(path, { recursive: true, force: true });
      }
    } catch (thrown) {
      // Another process was faster, or the folder may only be read: neither is in the way of using it.
      if (!["ENOENT", "EROFS", "EACCES", "EPERM"].some((code) => isCode(thrown, code)))
        throw thrown;
    }
  }
}

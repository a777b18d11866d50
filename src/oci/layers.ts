import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createGunzip, createZstdDecompress } from "node:zlib";
import {
  allowedBytes,
  ArchiveTree,
  readTar,
  type ArchiveEntry,
  type ArchiveLimits,
} from "../archives/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { TreeEntry } from "../wasi/mod.ts";

/** A layer that was fetched. */
export interface LayerFile {
  readonly path: string;
  readonly size: number;
  readonly packed: "none" | "gzip" | "zstd";
  /** The digest of what is unpacked, where the image's config tells one. */
  readonly diffId?: string;
}

const whiteout = ".wh.";
const opaque = ".wh..wh..opq";
/** Headers and padding of a layer come beside what its files have. */
const overheadBytes = 1024;
/** Names of what is gone lie in memory. */
const mostHiddenBytes = 16 * 1024 * 1024;

/**
 * Lays an image's layers over each other (image-spec, "Image Layer Filesystem Changeset"): what a later one has counts, and what it says is gone, is.
 * Contents lie in files of ours below `scratch`. Throws `image-invalid` for layers that lead outside, are more than the ceilings allow or are damaged.
 */
export async function unpackLayers(
  layers: readonly LayerFile[],
  options: {
    readonly scratch: string;
    readonly limits: ArchiveLimits;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<readonly TreeEntry[]> {
  let tree: ReadonlyMap<string, TreeEntry> = new Map();
  const { limits } = options;
  const packedBytes = layers.reduce((sum, { size }) => sum + size, 0);
  // Many small layers together may not have more come out of them than a single one of their size.
  let left = allowedBytes(limits, packedBytes);
  for (const [at, layer] of layers.entries()) {
    const scratch = join(options.scratch, `layer-${at + 1}`);
    await mkdir(scratch);
    try {
      const own = { ...limits, totalBytes: left };
      const changes = await unpackLayer(layer, { ...options, limits: own, packedBytes, scratch });
      left = Math.max(0, left - changes.filesBytes);
      tree = over(tree, changes);
    } catch (thrown) {
      if (!(thrown instanceof Failure && thrown.code === "archive-invalid")) throw thrown;
      throw damagedLayer(at, thrown.message.replace("The archive cannot be unpacked: ", ""));
    }
    if (tree.size > limits.entries) {
      throw damagedLayer(at, `there are more than ${limits.entries} entries with it`);
    }
  }
  return [...tree.values()];
}

/** One layer: what it has, and what it says is gone. */
interface Changes {
  readonly filesBytes: number;
  readonly entries: readonly TreeEntry[];
  /** Paths that are gone, with all below them. */
  readonly hidden: ReadonlySet<string>;
  /** Folders of which everything below is gone. */
  readonly emptied: ReadonlySet<string>;
}

async function unpackLayer(
  layer: LayerFile,
  {
    scratch,
    limits,
    packedBytes,
    signal,
  }: {
    readonly scratch: string;
    readonly limits: ArchiveLimits;
    /** Of all layers. */
    readonly packedBytes: number;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<Changes> {
  const hidden = new Set<string>();
  const emptied = new Set<string>();
  let hiddenBytes = 0;
  let filesBytes = 0;
  await using tree = new ArchiveTree({ scratch, limits, packedBytes });
  const whole = new Whole(layer, tree.allowedBytes + limits.entries * overheadBytes);
  for await (const entry of readTar(whole)) {
    signal?.throwIfAborted();
    filesBytes += entry.size;
    const parts = entry.path.split("/").filter((part) => part !== "" && part !== ".");
    const name = parts.at(-1) ?? "";
    const folder = parts.slice(0, -1).join("/");
    if (name === opaque) emptied.add(folder);
    else if (name.startsWith(whiteout)) {
      const gone = name.slice(whiteout.length);
      hidden.add(folder === "" ? gone : `${folder}/${gone}`);
    } else await tree.add(rooted(entry, parts.length));
    if (name.startsWith(whiteout)) hiddenBytes += entry.path.length;
    if (hiddenBytes > mostHiddenBytes || hidden.size + emptied.size > limits.entries) {
      throw new Failure("archive-invalid", "it hides more files than an image has");
    }
  }
  await whole.check();
  return { filesBytes, entries: tree.entries(), hidden, emptied };
}

/** A link to an absolute path is one to the root of the image. */
function rooted(entry: ArchiveEntry, depth: number): ArchiveEntry {
  if (entry.kind !== "symlink" || !entry.target.startsWith("/")) return entry;
  const target = entry.target.replace(/^\/+/, "");
  return { ...entry, target: `${"../".repeat(Math.max(0, depth - 1))}${target}` || "." };
}

/** A tree with a layer laid over it. */
function over(
  lower: ReadonlyMap<string, TreeEntry>,
  { entries, hidden, emptied }: Changes,
): ReadonlyMap<string, TreeEntry> {
  const upper = new Map(entries.map((entry) => [entry.path, entry]));
  const goneBelow = (folder: string): boolean => {
    if (hidden.has(folder) || emptied.has(folder)) return true;
    const replaced = upper.get(folder);
    return replaced !== undefined && replaced.kind !== "directory";
  };
  const stays = ({ path }: TreeEntry): boolean => {
    if (hidden.has(path) || emptied.has("")) return false;
    for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) {
      if (goneBelow(path.slice(0, slash))) return false;
    }
    return true;
  };
  const merged = new Map([...lower].filter(([, entry]) => stays(entry)));
  for (const [path, entry] of upper) merged.set(path, entry);
  return merged;
}

/** A layer's bytes, unpacked: counted, and hashed to their end, also behind the end of the archive. */
class Whole implements AsyncIterable<Uint8Array> {
  readonly #layer: LayerFile;
  readonly #most: number;
  readonly #hash = createHash("sha256");
  readonly #pieces: AsyncGenerator<Uint8Array>;
  #size = 0;

  constructor(layer: LayerFile, most: number) {
    this.#layer = layer;
    this.#most = most;
    this.#pieces = this.#read();
  }

  /** The reader of the archive stops at its end; this goes on behind it. */
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.#pieces.next() };
  }

  /** Reads what is left. Throws when all of it is not what the image's config says. */
  async check(): Promise<void> {
    while (!(await this.#pieces.next()).done);
    const digest = `sha256:${this.#hash.digest("hex")}`;
    const { diffId } = this.#layer;
    if (diffId === undefined || diffId === digest) return;
    throw new Failure(
      "archive-invalid",
      `it has the digest ${digest} when unpacked, and the image's config says ${diffId}`,
    );
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    const { path, packed } = this.#layer;
    const source = createReadStream(path, { highWaterMark: 256 * 1024 });
    const through =
      packed === "gzip"
        ? createGunzip({ chunkSize: 256 * 1024 })
        : packed === "zstd"
          ? createZstdDecompress({ chunkSize: 256 * 1024 })
          : undefined;
    if (through) {
      source.on("error", (cause) => through.destroy(cause));
      source.pipe(through);
    }
    try {
      for await (const piece of through ?? source) {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no encoding was set, so these are bytes
        const bytes = piece as Uint8Array;
        this.#size += bytes.length;
        if (this.#size > this.#most) {
          throw new Failure("archive-invalid", `more than ${this.#most} bytes come out of it`);
        }
        this.#hash.update(bytes);
        yield bytes;
      }
    } catch (thrown) {
      const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
      if (!/^(?:Z_|ZSTD_|ERR_ZSTD)/.test(code)) throw thrown;
      throw new Failure("archive-invalid", `it is no ${packed} stream, or damaged (${code})`, {
        cause: thrown,
      });
    } finally {
      source.destroy();
      through?.destroy();
    }
  }
}

function damagedLayer(at: number, why: string): Failure {
  return new Failure("image-invalid", `Layer ${at + 1} of the image cannot be unpacked: ${why}`, {
    hint: "Build and push the image again.",
  });
}

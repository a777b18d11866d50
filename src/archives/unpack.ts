import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import { Failure } from "../errors/mod.ts";
import type { Collected, TreeEntry } from "../wasi/mod.ts";
import { broken, shown } from "./broken.ts";
import { safeTarget } from "./links.ts";
import { isTarHeader, readTar } from "./tar.ts";
import { ArchiveTree, type ArchiveLimits } from "./tree.ts";
import { readZip } from "./zip.ts";

const pieceBytes = 256 * 1024;
/** Headers, long names and padding come beside what the files have. */
const overheadBytes = 4096;

export interface UnpackOptions {
  readonly path: string;
  readonly kind: "tar" | "zip";
  /** Folder of ours, empty, for what comes out; the caller removes it. */
  readonly scratch: string;
  readonly limits: ArchiveLimits;
  readonly signal?: AbortSignal;
}

/**
 * Unpacks an archive from outside into files under names of ours; its own names are only data. What leads outside, is no
 * file, folder or link, or is more than the ceilings allow is refused. As with Argo an archive of one thing is that thing.
 */
export async function unpack(
  options: UnpackOptions,
): Promise<Exclude<Collected, { readonly kind: "missing" }>> {
  const source = await open(options.path);
  const { size } = await source.stat();
  await source.close();
  await using out = new ArchiveTree({ ...options, packedBytes: size });
  const most = out.allowedBytes + (options.limits.entries + 256) * overheadBytes;
  const entries =
    options.kind === "zip"
      ? readZip(options.path)
      : readTar(upTo(most, gunzipped(options.path, true), options.signal));
  for await (const entry of entries) {
    stopIf(options.signal);
    await out.add(entry);
  }
  return alone(out.entries());
}

/** Ends also what becomes no file: a device may have a body, and records may come without an entry behind them. */
async function* upTo(
  most: number,
  pieces: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const piece of pieces) {
    stopIf(signal);
    size += piece.length;
    if (size > most) throw broken(`more than ${most} bytes come out of it`);
    yield piece;
  }
}

function stopIf(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new Failure("aborted", "Stopped while an archive was unpacked");
}

/** Whether the file is a gzip'd tarball: what Argo asks of an artifact that says nothing about itself. */
export async function isTarball(path: string): Promise<boolean> {
  const first = Buffer.alloc(512);
  let used = 0;
  try {
    for await (const chunk of gunzipped(path, false)) {
      used += Buffer.from(chunk).copy(first, used);
      if (used === first.length) return isTarHeader(first);
    }
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "archive-invalid") return false;
    throw thrown;
  }
  return false;
}

async function* gunzipped(path: string, whole: boolean): AsyncGenerator<Uint8Array> {
  const source = createReadStream(path, { highWaterMark: whole ? pieceBytes : 4096 });
  const gunzip = createGunzip({ chunkSize: whole ? pieceBytes : 4096 });
  source.on("error", (cause) => gunzip.destroy(cause));
  source.pipe(gunzip);
  try {
    for await (const chunk of gunzip) yield chunk;
  } catch (thrown) {
    const zlib =
      thrown instanceof Error && "code" in thrown && String(thrown.code).startsWith("Z_");
    throw zlib ? broken(`it is no gzip stream, or damaged (${thrown.message})`) : thrown;
  } finally {
    source.destroy();
    gunzip.destroy();
  }
}

function alone(entries: readonly TreeEntry[]): Exclude<Collected, { readonly kind: "missing" }> {
  const top = entries.filter((entry) => !entry.path.includes("/"));
  const [only] = top;
  if (top.length !== 1 || !only) return { path: "", kind: "directory", entries };
  if (only.kind === "file") return { ...only, path: "" };
  if (only.kind === "symlink") throw broken("it holds nothing but a link");
  const start = only.path.length + 1;
  const below = entries.filter((entry) => entry !== only);
  for (const entry of below) {
    // What the link could reach beside the folder is gone with the folder's name.
    if (entry.kind === "symlink" && !safeTarget(entry.path.slice(start), entry.target)) {
      throw broken(`the link "${shown(entry.path)}" leads outside, to "${shown(entry.target)}"`);
    }
  }
  return {
    path: "",
    kind: "directory",
    entries: below.map((entry) => ({ ...entry, path: entry.path.slice(start) })),
  };
}

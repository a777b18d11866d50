import { open, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { cutPieces, readPieces, storageFailure } from "../files.ts";
import type { HostBytes } from "../../wasi/mod.ts";
import type { StoreContext } from "../stores.ts";
import type { Source } from "./source.ts";

/** What lies here as a source, while the work runs. */
export async function withSource<Value>(
  content: HostBytes,
  work: (source: Source) => Promise<Value>,
): Promise<Value> {
  if (content.kind === "bytes") {
    const pieces = (from: number, to: number): Iterable<Uint8Array> =>
      cutPieces(content.bytes, from, to);
    return work({ size: content.bytes.length, pieces });
  }
  const { path, offset, size } = content;
  await using file = await opened(path);
  return await work({ size, pieces: (from, to) => readPieces(file, offset + from, offset + to) });
}

/** Parts of a source that is there. */
export function* cutParts(source: Source, partBytes: number): Generator<Source> {
  for (let from = 0; from < source.size; from += partBytes) {
    const start = from;
    const size = Math.min(partBytes, source.size - from);
    yield { size, pieces: (from, to) => source.pieces(start + from, start + to) };
  }
}

/** What to do with a stream: with all of it, where that is one part, or with parts as they come. */
export interface Spooling {
  one(source: Source): Promise<void>;
  several(parts: AsyncIterable<Source>): Promise<void>;
}

/**
 * Cuts bytes whose number nobody knows into parts, each in a file of ours until it was sent. A stream of nothing is one empty part. `onTotal` gets the bytes so far and
 * may throw.
 */
export async function withSpool(
  bytes: AsyncIterable<Uint8Array>,
  options: {
    readonly context: StoreContext;
    readonly sizeOf: (index: number) => number;
    readonly onTotal: (bytes: number) => void;
  },
  work: Spooling,
): Promise<void> {
  const folder = await options.context.temporaryFolder();
  const iterator = bytes[Symbol.asyncIterator]();
  const parts = cut(iterator, folder, options);
  try {
    const first = await parts.next();
    if (first.done === true) return;
    const all = async function* (): AsyncGenerator<Source> {
      yield first.value.source;
      for await (const { source } of parts) yield source;
    };
    await (first.value.last ? work.one(first.value.source) : work.several(all()));
  } finally {
    await parts.return(undefined);
    await iterator.return?.();
    await rm(folder, { recursive: true, force: true });
  }
}

async function* cut(
  iterator: AsyncIterator<Uint8Array>,
  folder: string,
  {
    sizeOf,
    onTotal,
  }: { readonly sizeOf: (index: number) => number; readonly onTotal: (bytes: number) => void },
): AsyncGenerator<{ readonly source: Source; readonly last: boolean }> {
  let total = 0;
  let rest = await nextOf(iterator);
  for (let index = 0; index === 0 || rest !== undefined; index++) {
    const most = sizeOf(index);
    const path = join(folder, String(index));
    let size = 0;
    {
      await using file = await opened(path, "wx");
      while (rest !== undefined && size < most) {
        const fits: Uint8Array = rest.subarray(0, most - size);
        await write(file, fits, size);
        size += fits.length;
        rest = fits.length < rest.length ? rest.subarray(fits.length) : await nextOf(iterator);
      }
    }
    total += size;
    onTotal(total);
    yield { source: fileSource(path, size), last: rest === undefined };
  }
}

/** Pieces that are not empty. */
async function nextOf(iterator: AsyncIterator<Uint8Array>): Promise<Uint8Array | undefined> {
  for (;;) {
    const { done, value } = await iterator.next();
    if (done === true) return undefined;
    if (value.length > 0) return value;
  }
}

function fileSource(path: string, size: number): Source {
  return {
    size,
    pieces: async function* (from, to) {
      await using file = await opened(path);
      yield* readPieces(file, from, to);
    },
    sent: () => rm(path, { force: true }),
  };
}

async function write(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  try {
    for (let done = 0; done < bytes.length;) {
      const left = bytes.length - done;
      done += (await file.write(bytes, done, left, position + done)).bytesWritten;
    }
  } catch (cause) {
    throw storageFailure("keep a part of what is to be sent", cause);
  }
}

async function opened(path: string, flags = "r"): Promise<FileHandle> {
  try {
    return await open(path, flags);
  } catch (cause) {
    throw storageFailure("open a file to be sent", cause);
  }
}

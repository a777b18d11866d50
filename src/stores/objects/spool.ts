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

/** A part of a stream, in a file of ours until it was sent. */
export interface Spooled extends Source {
  readonly last: boolean;
}

/**
 * Cuts bytes whose number nobody knows into parts, each in a file that is there until the work ends. A stream of nothing has one empty part. `onTotal` gets the bytes
 * so far and may throw.
 */
export async function withSpool<Value>(
  bytes: AsyncIterable<Uint8Array>,
  options: {
    readonly context: StoreContext;
    readonly sizeOf: (index: number) => number;
    readonly onTotal: (bytes: number) => void;
  },
  work: (parts: AsyncIterable<Spooled>) => Promise<Value>,
): Promise<Value> {
  const folder = await options.context.temporaryFolder();
  const iterator = bytes[Symbol.asyncIterator]();
  const parts = cut(iterator, folder, options);
  try {
    return await work(parts);
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
): AsyncGenerator<Spooled> {
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
    yield { ...fileSource(path, size), last: rest === undefined };
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

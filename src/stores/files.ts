import type { FileHandle } from "node:fs/promises";
import { Failure } from "../errors/mod.ts";
import type { HostBytes } from "../wasi/mod.ts";

/** Pieces of this size are read and sent. */
const pieceBytes = 256 * 1024;
/** Pieces of a network are small; this many bytes are written at once. */
const batchBytes = 1024 * 1024;

/** Writes pieces to a file, from a position on. Fails with `storage`. */
export async function writePieces(
  file: FileHandle,
  pieces: AsyncIterable<Uint8Array>,
  options: {
    readonly position: number;
    /** For each batch that is in the file. */
    readonly onWritten: (bytes: number) => void;
    /** Looks at each piece before it is written. */
    readonly onPiece?: (piece: Uint8Array) => void;
  },
): Promise<void> {
  let { position } = options;
  let batch: Uint8Array[] = [];
  let size = 0;
  const flush = async (): Promise<void> => {
    await writeAll(file, batch, position);
    position += size;
    options.onWritten(size);
    batch = [];
    size = 0;
  };
  try {
    for await (const piece of pieces) {
      options.onPiece?.(piece);
      batch.push(piece);
      size += piece.length;
      if (size >= batchBytes) await flush();
    }
  } finally {
    // What came before a cut need not come again.
    if (size > 0) await flush();
  }
}

async function writeAll(
  file: FileHandle,
  batch: readonly Uint8Array[],
  position: number,
): Promise<void> {
  try {
    let rest = [...batch];
    let at = position;
    while (rest.length > 0) {
      let { bytesWritten } = await file.writev(rest, at);
      at += bytesWritten;
      while (rest[0] && bytesWritten >= rest[0].length) {
        bytesWritten -= rest[0].length;
        rest = rest.slice(1);
      }
      if (rest[0] && bytesWritten > 0) rest[0] = rest[0].subarray(bytesWritten);
    }
  } catch (cause) {
    throw storageFailure("write what was downloaded", cause);
  }
}

/** The bytes of an open file between two positions. Fails with `storage` when they are not there. */
export async function* readPieces(
  file: FileHandle,
  from: number,
  to: number,
): AsyncGenerator<Uint8Array> {
  for (let at = from; at < to;) {
    const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, to - at));
    let read;
    try {
      read = await file.read(buffer, 0, buffer.length, at);
    } catch (cause) {
      throw storageFailure("read what is to be sent", cause);
    }
    if (read.bytesRead === 0) {
      throw new Failure(
        "storage",
        `A file to be sent became shorter: ${to - at} bytes are missing`,
      );
    }
    at += read.bytesRead;
    yield buffer.subarray(0, read.bytesRead);
  }
}

/** The same of bytes in memory. */
export function* cutPieces(bytes: Uint8Array, from: number, to: number): Generator<Uint8Array> {
  for (let at = from; at < to; at += pieceBytes) {
    yield bytes.subarray(at, Math.min(at + pieceBytes, to));
  }
}

export function sizeOf(content: HostBytes): number {
  return content.kind === "bytes" ? content.bytes.length : content.size;
}

export function storageFailure(what: string, cause: unknown): Failure {
  const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  return new Failure("storage", `Cannot ${what}: ${reason}`, { cause });
}

/** Does work for all items, so many at once. After a failure no more is begun, and what runs is told to stop and waited for. */
export async function eachOf<Item>(
  items: AsyncIterable<Item> | Iterable<Item>,
  options: { readonly atOnce: number; readonly signal: AbortSignal },
  work: (item: Item, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stopping = new AbortController();
  const signal = AbortSignal.any([options.signal, stopping.signal]);
  const iterator =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const failures: unknown[] = [];
  let turn: Promise<unknown> = Promise.resolve();
  const next = (): Promise<IteratorResult<Item>> => {
    const result = turn.then(() =>
      stopping.signal.aborted ? { done: true as const, value: undefined } : iterator.next(),
    );
    turn = result.catch(() => undefined);
    return result;
  };
  const worker = async (): Promise<void> => {
    try {
      for (let item = await next(); item.done !== true; item = await next()) {
        if (stopping.signal.aborted) return;
        await work(item.value, signal);
      }
    } catch (thrown) {
      failures.push(thrown);
      stopping.abort(new Failure("aborted", "Another part failed"));
    }
  };
  await Promise.all(Array.from({ length: options.atOnce }, worker));
  await iterator.return?.();
  // The first one is why the others stopped.
  if (failures.length > 0) throw failures[0];
}

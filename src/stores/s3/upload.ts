import { createHash } from "node:crypto";
import { open, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { HostBytes } from "../../wasi/mod.ts";
import { cutPieces, readPieces, sizeOf, storageFailure } from "../files.ts";
import type { Bucket } from "./bucket.ts";
import { checkUpload, partSizes } from "./ceilings.ts";
import { Multipart } from "./multipart.ts";
import { counting, type Source, type UploadOptions } from "./source.ts";
import { checkKey } from "./endpoint.ts";
import { writeHeaders } from "./encryption.ts";

/** Sends what lies here: small ones by one request, others in parts. */
export async function uploadContent(
  bucket: Bucket,
  key: string,
  content: HostBytes,
  options: UploadOptions,
): Promise<void> {
  checkKey(key);
  checkUpload(sizeOf(content), bucket.context.limits.bytes);
  if (content.kind === "bytes") {
    const pieces = (from: number, to: number): Iterable<Uint8Array> =>
      cutPieces(content.bytes, from, to);
    return uploadSource(bucket, key, { size: content.bytes.length, pieces }, options);
  }
  const { path, offset, size } = content;
  await using file = await opened(path);
  const pieces = (from: number, to: number): AsyncIterable<Uint8Array> =>
    readPieces(file, offset + from, offset + to);
  await uploadSource(bucket, key, { size, pieces }, options);
}

async function uploadSource(
  bucket: Bucket,
  key: string,
  source: Source,
  options: UploadOptions,
): Promise<void> {
  const sizes = partSizes(source.size);
  if (source.size <= sizes.first) return putObject(bucket, key, source, options);
  await using multipart = await Multipart.begin(bucket, key, options);
  const ranges = function* (): Generator<Source> {
    for (let from = 0; from < source.size; from += sizes.first) {
      const start = from;
      const size = Math.min(sizes.first, source.size - from);
      yield { size, pieces: (from, to) => source.pieces(start + from, start + to) };
    }
  };
  await multipart.send(ranges());
  await multipart.complete();
}

/** One request, whose body is checked at the other end. */
async function putObject(
  bucket: Bucket,
  key: string,
  source: Source,
  { signal, onBytes }: UploadOptions,
): Promise<void> {
  const sha256 = createHash("sha256");
  const md5 = createHash("md5");
  for await (const piece of source.pieces(0, source.size)) {
    sha256.update(piece);
    md5.update(piece);
  }
  const headers = {
    ...(await writeHeaders(bucket, key)),
    // What an object lock wants, and old stores know.
    "content-md5": md5.digest("base64"),
  };
  let sent = 0;
  const counted = counting(source, (bytes) => {
    sent += bytes;
    onBytes(bytes);
  });
  await bucket.retried(signal, async () => {
    onBytes(-sent);
    sent = 0;
    const body = { size: source.size, payload: sha256.copy().digest("hex"), pieces: counted };
    const answer = await bucket.once({ method: "PUT", key, headers, body, signal });
    await bucket.context.transport.small(answer, 64 * 1024, signal);
  });
}

/** Sends bytes whose number nobody knows, each part from a file of its own. Tells how many there were. */
export async function uploadStream(
  bucket: Bucket,
  key: string,
  bytes: () => AsyncIterable<Uint8Array>,
  options: UploadOptions,
): Promise<number> {
  checkKey(key);
  const folder = await bucket.context.temporaryFolder();
  try {
    let total = 0;
    let number = 0;
    const iterator = bytes()[Symbol.asyncIterator]();
    const parts = async function* (): AsyncGenerator<Source & { readonly whole: boolean }> {
      let rest: Uint8Array | undefined;
      for (let ended = false; !ended;) {
        const most = partSizes().of(number);
        const path = join(folder, String(number));
        number++;
        await using file = await opened(path, "wx");
        let size = 0;
        while (size < most && !ended) {
          const piece: Uint8Array | undefined = rest ?? (await nextOf(iterator));
          rest = undefined;
          if (piece === undefined) ended = true;
          else {
            const fits = piece.subarray(0, most - size);
            if (fits.length < piece.length) rest = piece.subarray(fits.length);
            await write(file, fits, size);
            size += fits.length;
          }
        }
        total += size;
        checkUpload(total, bucket.context.limits.bytes);
        if (size > 0 || number === 1) yield { ...fileSource(path, size), whole: ended };
      }
    };
    const all = parts();
    try {
      const first = await all.next();
      if (first.done === true) return total;
      if (first.value.whole) await putObject(bucket, key, first.value, options);
      else {
        await using multipart = await Multipart.begin(bucket, key, options);
        const rest = async function* (): AsyncGenerator<Source> {
          yield first.value;
          yield* all;
        };
        await multipart.send(rest());
        await multipart.complete();
      }
      return total;
    } finally {
      await all.return(undefined);
      await iterator.return?.();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function nextOf(iterator: AsyncIterator<Uint8Array>): Promise<Uint8Array | undefined> {
  const { done, value } = await iterator.next();
  return done === true ? undefined : value;
}

function fileSource(path: string, size: number): Source {
  return {
    size,
    pieces: async function* (from, to) {
      await using file = await opened(path);
      yield* readPieces(file, from, to);
    },
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

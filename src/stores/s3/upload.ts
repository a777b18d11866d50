import { createHash } from "node:crypto";
import type { HostBytes } from "../../wasi/mod.ts";
import { sizeOf } from "../files.ts";
import { counting, type Source, type UploadOptions } from "../objects/source.ts";
import { cutParts, withSource, withSpool } from "../objects/spool.ts";
import type { Bucket } from "./bucket.ts";
import { checkUpload, partSizes } from "./ceilings.ts";
import { writeHeaders } from "./encryption.ts";
import { Multipart } from "./multipart.ts";

/** Sends what lies here: small ones by one request, others in parts. */
export async function uploadContent(
  bucket: Bucket,
  key: string,
  content: HostBytes,
  options: UploadOptions,
): Promise<void> {
  checkUpload(sizeOf(content), bucket.context.limits.bytes);
  const { first } = partSizes(sizeOf(content));
  await withSource(content, async (source) => {
    if (source.size <= first) return putObject(bucket, key, source, options);
    await using multipart = await Multipart.begin(bucket, key, options);
    await multipart.send(cutParts(source, first));
    return await multipart.complete();
  });
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
  let total = 0;
  const spooling = {
    context: bucket.context,
    sizeOf: partSizes().of,
    onTotal: (bytes: number) => {
      total = bytes;
      checkUpload(total, bucket.context.limits.bytes);
    },
  };
  await withSpool(bytes(), spooling, {
    one: (source) => putObject(bucket, key, source, options),
    several: async (parts) => {
      await using multipart = await Multipart.begin(bucket, key, options);
      await multipart.send(parts);
      await multipart.complete();
    },
  });
  return total;
}

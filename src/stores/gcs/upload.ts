import { createHash, randomBytes } from "node:crypto";
import { Failure } from "../../errors/mod.ts";
import type { HostBytes } from "../../wasi/mod.ts";
import { sizeOf } from "../files.ts";
import { tooLarge } from "../objects/ceilings.ts";
import { counting, type Source, type UploadOptions } from "../objects/source.ts";
import { cutParts, withSource, withSpool } from "../objects/spool.ts";
import { objectIn } from "../tokens.ts";
import type { Answer } from "../transport.ts";
import { Trouble } from "../trouble.ts";
import type { Bucket } from "./bucket.ts";

/** Parts are a multiple of 256 KiB, as Google wants them, and go one after the other. */
const partBytes = 16 * 1024 * 1024;
const type = "application/octet-stream";
/** Nobody waits longer for what is only tidying up. */
const cancelMs = 15_000;

/** Sends what lies here: small ones by one request, others in parts of one session. */
export async function uploadContent(
  bucket: Bucket,
  key: string,
  content: HostBytes,
  options: UploadOptions,
): Promise<void> {
  checkSize(bucket, sizeOf(content));
  await withSource(content, (source) =>
    source.size <= partBytes
      ? putObject(bucket, key, source, options)
      : putParts(bucket, key, cutParts(source, partBytes), options),
  );
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
    sizeOf: () => partBytes,
    onTotal: (bytes: number) => {
      total = bytes;
      checkSize(bucket, bytes);
    },
  };
  await withSpool(bytes(), spooling, {
    one: (source) => putObject(bucket, key, source, options),
    several: (parts) => putParts(bucket, key, parts, options),
  });
  return total;
}

function checkSize({ context }: Bucket, bytes: number): void {
  if (bytes > context.limits.bytes) throw tooLarge("would have more bytes", context.limits.bytes);
}

/** What is known of the object and its bytes in one request, checked at the other end. */
async function putObject(
  bucket: Bucket,
  key: string,
  source: Source,
  { signal, onBytes }: UploadOptions,
): Promise<void> {
  const md5 = createHash("md5");
  for await (const piece of source.pieces(0, source.size)) md5.update(piece);
  const known = { name: key, contentType: type, md5Hash: md5.digest("base64") };
  const boundary = randomBytes(18).toString("hex");
  const head = Buffer.from(
    `--${boundary}\r\ncontent-type: application/json; charset=utf-8\r\n\r\n${JSON.stringify(known)}\r\n--${boundary}\r\ncontent-type: ${type}\r\n\r\n`,
  );
  const tail = Buffer.from(`\r\n--${boundary}--`);
  let sent = 0;
  const counted = counting(source, (bytes) => {
    sent += bytes;
    onBytes(bytes);
  });
  const pieces = async function* (): AsyncGenerator<Uint8Array> {
    yield head;
    yield* counted();
    yield tail;
  };
  await bucket.retried(signal, async () => {
    onBytes(-sent);
    sent = 0;
    const answer = await bucket.once({
      method: "POST",
      url: bucket.url("upload/storage", undefined, { uploadType: "multipart" }),
      headers: { "content-type": `multipart/related; boundary=${boundary}` },
      body: { size: head.length + source.size + tail.length, pieces },
      signal,
    });
    await bucket.context.transport.small(answer, 64 * 1024, signal);
  });
}

async function putParts(
  bucket: Bucket,
  key: string,
  parts: AsyncIterable<Source> | Iterable<Source>,
  options: UploadOptions,
): Promise<void> {
  await using session = await Session.begin(bucket, key, options);
  let before: Source | undefined;
  // Only the last one says how much there was, so each waits for the next.
  for await (const part of parts) {
    if (before) await session.send(before, false);
    before = part;
  }
  if (before) await session.send(before, true);
}

/** An upload in parts (https://cloud.google.com/storage/docs/performing-resumable-uploads). Unless all of it went, disposing of it gives it up. */
class Session implements AsyncDisposable {
  readonly #bucket: Bucket;
  readonly #key: string;
  /** Whoever has it may write: it is in no message. */
  readonly #url: URL;
  readonly #options: UploadOptions;
  readonly #md5 = createHash("md5");
  #from = 0;
  #ended = false;

  private constructor(bucket: Bucket, key: string, url: URL, options: UploadOptions) {
    this.#bucket = bucket;
    this.#key = key;
    this.#url = url;
    this.#options = options;
  }

  static async begin(bucket: Bucket, key: string, options: UploadOptions): Promise<Session> {
    const { signal } = options;
    const bytes = Buffer.from(JSON.stringify({ name: key, contentType: type }));
    return bucket.retried(signal, async () => {
      const answer = await bucket.once({
        method: "POST",
        url: bucket.url("upload/storage", undefined, { uploadType: "resumable", name: key }),
        headers: { "content-type": "application/json; charset=utf-8" },
        body: { size: bytes.length, pieces: () => [bytes] },
        signal,
      });
      await bucket.context.transport.small(answer, 64 * 1024, signal);
      const url = URL.parse(answer.headers.location ?? "");
      if (url && bucket.isHere(url)) return new Session(bucket, key, url, options);
      throw new Trouble("store-refused", "it began an upload and gave it no place of its own");
    });
  }

  async send(source: Source, last: boolean): Promise<void> {
    for await (const piece of source.pieces(0, source.size)) this.#md5.update(piece);
    const { signal, onBytes } = this.#options;
    const bucket = this.#bucket;
    const from = this.#from;
    const total = last ? String(from + source.size) : "*";
    let done = 0;
    let unsure = false;
    await bucket.retried(signal, async (attempts) => {
      const before = done;
      if (unsure) done = await this.#received(total, source.size);
      if (done < source.size || !unsure) {
        unsure = true;
        let sent = 0;
        const rest: Source = {
          size: source.size - done,
          pieces: (a, b) => source.pieces(done + a, done + b),
        };
        const pieces = counting(rest, (bytes) => {
          sent += bytes;
          onBytes(bytes);
        });
        try {
          const answer = await this.#put(
            `bytes ${from + done}-${from + source.size - 1}/${total}`,
            { size: rest.size, pieces },
          );
          done = await this.#read(answer, source.size);
        } catch (thrown) {
          onBytes(-sent);
          throw thrown;
        }
      }
      if (done > before) attempts.progress();
      if (done < source.size || (last && !this.#ended))
        throw new Trouble("store-unavailable", "it took less than was sent", { againMs: 0 });
    });
    this.#from += source.size;
    await source.sent?.();
  }

  /** How much of the part that is on its way is there. */
  async #received(total: string, size: number): Promise<number> {
    return this.#read(await this.#put(`bytes */${total}`, undefined), size);
  }

  async #put(
    range: string,
    body: { size: number; pieces: () => AsyncIterable<Uint8Array> } | undefined,
  ): Promise<Answer> {
    try {
      return await this.#bucket.once({
        method: "PUT",
        url: this.#url,
        headers: { "content-range": range },
        also: [308],
        signal: this.#options.signal,
        ...(body ? { body } : {}),
      });
    } catch (thrown) {
      const gone = thrown instanceof Trouble && thrown.reason === "notFound";
      throw gone
        ? new Trouble("store-unavailable", "it does not know the upload any more")
        : thrown;
    }
  }

  async #read(answer: Answer, size: number): Promise<number> {
    const { signal } = this.#options;
    const bucket = this.#bucket;
    const body = await bucket.context.transport.small(answer, 1024 * 1024, signal);
    if (answer.status !== 308) {
      const { md5Hash, generation } = objectIn(body.toString());
      this.#ended = true;
      if (typeof md5Hash !== "string" || md5Hash === this.#md5.copy().digest("base64")) return size;
      const query = typeof generation === "string" ? { generation } : undefined;
      const url = bucket.url("storage", this.#key, query ?? {});
      if (query) await bucket.json({ method: "DELETE", url, signal });
      throw new Trouble("store-unavailable", "its bytes were damaged on the way");
    }
    const [, last] = /^bytes=0-(\d+)$/.exec(answer.headers.range ?? "") ?? [];
    const received = (last === undefined ? 0 : Number(last) + 1) - this.#from;
    if (received >= 0 && received <= size) return received;
    throw new Trouble("store-refused", "it lost a part of what it had");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    const signal = AbortSignal.timeout(cancelMs);
    try {
      // 499 says that it is given up.
      const answer = await this.#bucket.once({
        method: "DELETE",
        url: this.#url,
        also: [404, 410, 499],
        signal,
      });
      answer.message.destroy();
    } catch (thrown) {
      // What failed before is what the user has to know; what is not complete ends after a week.
      if (!(thrown instanceof Failure) && !signal.aborted) throw thrown;
    }
  }
}

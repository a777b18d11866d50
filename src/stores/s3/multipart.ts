import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../../errors/mod.ts";
import { eachOf } from "../files.ts";
import { Trouble } from "../trouble.ts";
import { troubleOf } from "./answers.ts";
import type { Bucket } from "./bucket.ts";
import { readHeaders, writeHeaders } from "./encryption.ts";
import { counting, type Source, type UploadOptions } from "../objects/source.ts";
import { escaped, parseXml, textOf } from "../xml.ts";

const mebi = 1024 * 1024;
const partsAtOnce = 4;
/** Nobody waits longer for what is only tidying up. */
const abortMs = 15_000;
/** Some stores copy all parts into one before they say a word; they do so at least that fast. */
const copiedPerMs = (20 * mebi) / 1000;
const aborts = 4;
const abortAgainMs = 200;

interface Part {
  readonly number: number;
  readonly etag: string;
}

/** An upload in parts. Unless it was completed, disposing of it removes what was sent. */
export class Multipart implements AsyncDisposable {
  readonly #bucket: Bucket;
  readonly #key: string;
  readonly #id: string;
  readonly #options: UploadOptions;
  readonly #parts: Part[] = [];
  #bytes = 0;
  #completed = false;

  private constructor(bucket: Bucket, key: string, id: string, options: UploadOptions) {
    this.#bucket = bucket;
    this.#key = key;
    this.#id = id;
    this.#options = options;
  }

  static async begin(bucket: Bucket, key: string, options: UploadOptions): Promise<Multipart> {
    const { text } = await bucket.text({
      method: "POST",
      key,
      query: { uploads: "" },
      headers: await writeHeaders(bucket, key),
      signal: options.signal,
    });
    const id = textOf(parseXml(text), "UploadId");
    if (id === undefined || id === "")
      throw new Trouble("store-refused", "it began an upload in parts and gave it no name");
    return new Multipart(bucket, key, id, options);
  }

  /** Sends parts, some at once. */
  async send(sources: AsyncIterable<Source> | Iterable<Source>): Promise<void> {
    const headers = await readHeaders(this.#bucket, this.#key);
    let count = 0;
    const numbered = async function* (): AsyncGenerator<readonly [number, Source]> {
      for await (const source of sources) yield [++count, source];
    };
    const { signal } = this.#options;
    await eachOf(numbered(), { atOnce: partsAtOnce, signal }, async ([number, source], signal) => {
      this.#parts.push({ number, etag: await this.#part(number, source, { headers, signal }) });
      this.#bytes += source.size;
      await source.sent?.();
    });
  }

  async #part(
    number: number,
    source: Source,
    { headers, signal }: { headers: Readonly<Record<string, string>>; signal: AbortSignal },
  ): Promise<string> {
    const { onBytes } = this.#options;
    const payload = await this.#payload(source);
    let sent = 0;
    const pieces = counting(source, (bytes) => {
      sent += bytes;
      onBytes(bytes);
    });
    return this.#bucket.retried(signal, async () => {
      onBytes(-sent);
      sent = 0;
      const answer = await this.#bucket.once({
        method: "PUT",
        key: this.#key,
        query: { partNumber: String(number), uploadId: this.#id },
        headers,
        body: { size: source.size, payload, pieces },
        signal,
      });
      await this.#bucket.context.transport.small(answer, 64 * 1024, signal);
      const { etag } = answer.headers;
      if (etag !== undefined) return etag;
      throw new Trouble("store-refused", "it took a part and gave it no name");
    });
  }

  /** TLS keeps a body from being changed on its way; without it the signature does, at the price of reading it twice. */
  async #payload(source: Source): Promise<string> {
    if (this.#bucket.secure) return "UNSIGNED-PAYLOAD";
    const hash = createHash("sha256");
    for await (const piece of source.pieces(0, source.size)) hash.update(piece);
    return hash.digest("hex");
  }

  /** Makes the object of its parts. That may be answered with success, and an error in the body. */
  async complete(): Promise<void> {
    const bucket = this.#bucket;
    const { signal } = this.#options;
    const parts = this.#parts.toSorted((one, other) => one.number - other.number);
    const text = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${parts
      .map(
        ({ number, etag }) =>
          `<Part><PartNumber>${number}</PartNumber><ETag>${escaped(etag)}</ETag></Part>`,
      )
      .join("")}</CompleteMultipartUpload>`;
    const bytes = Buffer.from(text);
    const payload = createHash("sha256").update(bytes).digest("hex");
    let unsure = false;
    await bucket.retried(signal, async () => {
      // It may have been done by an attempt whose answer did not come.
      if (unsure && (await this.#there(parts)) === true) return;
      try {
        const answer = await bucket.once({
          method: "POST",
          key: this.#key,
          query: { uploadId: this.#id },
          headers: { "content-type": "application/xml" },
          body: { size: bytes.length, payload, pieces: () => [bytes] },
          headersMs: bucket.context.transport.timeouts.headersMs + this.#bytes / copiedPerMs,
          signal,
        });
        const body = await bucket.context.transport.small(answer, mebi, signal);
        const root = parseXml(body.toString().trim());
        if (root.name === "Error") {
          const code = textOf(root, "Code") ?? "";
          const message = textOf(root, "Message") ?? "";
          throw troubleOf({ status: 200, code, message, region: undefined }, answer, []);
        }
      } catch (thrown) {
        const gone = thrown instanceof Trouble && thrown.reason === "NoSuchUpload";
        if (gone && unsure && (await this.#there(parts)) === true) return;
        unsure = true;
        throw thrown;
      }
      // Some stores do both attempts at once, and have nothing for a moment or for good.
      if (unsure && (await this.#there(parts)) === false) {
        throw new Trouble("store-unavailable", "it put the parts together and has no object", {
          againMs: 1000,
        });
      }
    });
    this.#completed = true;
  }

  /** Whether the object of these parts is what lies at the key; undefined where that cannot be seen. */
  async #there(parts: readonly Part[]): Promise<boolean | undefined> {
    const bucket = this.#bucket;
    let headers;
    try {
      ({ headers } = await bucket.once({
        method: "HEAD",
        key: this.#key,
        headers: await readHeaders(bucket, this.#key),
        signal: this.#options.signal,
      }));
    } catch (thrown) {
      this.#options.signal.throwIfAborted();
      if (!(thrown instanceof Failure)) throw thrown;
      return thrown.code === "artifact-missing" ? false : undefined;
    }
    const hash = createHash("md5");
    for (const { etag } of parts) hash.update(Buffer.from(etag.replaceAll('"', ""), "hex"));
    const usual = `"${hash.digest("hex")}-${parts.length}"`;
    const plain = parts.every(({ etag }) => /^"?[0-9a-f]{32}"?$/.test(etag));
    if (plain && headers["x-amz-server-side-encryption"] === undefined)
      return headers.etag === usual;
    return Number(headers["content-length"]) === this.#bytes;
  }

  /** A part may still be on its way into the store when the upload is given up, so that is said until there is nothing of it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#completed) return;
    const signal = AbortSignal.timeout(abortMs);
    try {
      for (let times = 0; times < aborts; times++) {
        if (times > 0) await sleep(abortAgainMs, undefined, { signal });
        await this.#bucket.text({
          method: "DELETE",
          key: this.#key,
          query: { uploadId: this.#id },
          signal,
        });
      }
    } catch (thrown) {
      if (thrown instanceof Trouble && thrown.reason === "NoSuchUpload") return;
      // What failed before is what the user has to know; a rule of the bucket's removes what is left.
      if (!(thrown instanceof Failure) && !signal.aborted) throw thrown;
    }
  }
}

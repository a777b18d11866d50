import { createReadStream } from "node:fs";
import { Failure } from "../errors/mod.ts";
import type { BlobDescriptor } from "./download.ts";
import type { Ask, Exchange } from "./exchange.ts";
import { Trouble } from "./failures.ts";
import type { Retries } from "./retries.ts";
import type { Answer } from "./transport.ts";

/** What is to be pushed, and where its bytes are. */
export interface BlobSource extends BlobDescriptor {
  /** Bytes from one place up to and without another. */
  readonly read: (from: number, to: number) => AsyncIterable<Uint8Array>;
}

/** Up to here one request has it all; a cut costs little. */
const wholeBytes = 1024 * 1024;
/** Pieces for a registry, or something before it, that takes no more at once. */
const chunkBytes = 16 * 1024 * 1024;
const progressBytes = 256 * 1024;

/**
 * Sends a blob. Where the connection is cut, the registry is asked how much it has, and gets the rest; where it does not know any more, all of it. An upload that
 * fails is taken back.
 */
export async function upload(
  exchange: Exchange,
  options: {
    /** Where uploads begin: `…/blobs/uploads/`. */
    readonly begin: Ask;
    /** An upload that a mount has begun. */
    readonly begun?: URL | undefined;
    readonly blob: BlobSource;
    /** Whether the registry has the blob by now. */
    readonly there: () => Promise<boolean>;
    readonly onProgress?: ((bytes: number) => void) | undefined;
  },
): Promise<void> {
  const work = new Upload(exchange, options);
  try {
    await exchange.retried(options.begin, (retries) => work.attempt(retries));
  } catch (thrown) {
    await work.takeBack();
    throw thrown;
  }
}

/** Where an answer says that an upload goes on. Throws `registry-refused` when it does not say. */
export function uploadUrl({ headers, url }: Answer, { endpoint }: Ask): URL {
  const to = URL.parse(headers.location ?? "", url);
  if (headers.location === undefined || !to || !/^https?:$/.test(to.protocol)) {
    throw new Trouble("registry-refused", `${endpoint.name} does not say where an upload goes on`);
  }
  if (to.protocol === "https:" || endpoint.base.protocol === "http:") return to;
  // Behind a front that ends TLS many a registry does not know how it was reached.
  if (to.hostname === endpoint.base.hostname)
    return new URL(`${to.pathname}${to.search}`, endpoint.base);
  throw new Trouble(
    "registry-refused",
    `${endpoint.name} wants an upload over plain HTTP, to ${to.host}`,
  );
}

class Upload {
  readonly #exchange: Exchange;
  readonly #begin: Ask;
  readonly #blob: BlobSource;
  readonly #there: () => Promise<boolean>;
  readonly #onProgress: (bytes: number) => void;
  #url: URL | undefined;
  /** Bytes that the registry has. */
  #size = 0;
  /** The most bytes that it ever had: what is only sent again is no progress. */
  #furthest = 0;
  #chunk = Number.POSITIVE_INFINITY;
  /** An attempt has failed, so what the registry has is to be asked. */
  #unsure = false;
  /** This attempt is not the first. */
  #again = false;
  /** All was sent, and the answer did not arrive. */
  #ending = false;

  constructor(exchange: Exchange, options: Parameters<typeof upload>[1]) {
    this.#exchange = exchange;
    this.#begin = options.begin;
    this.#blob = options.blob;
    this.#there = options.there;
    this.#url = options.begun;
    this.#onProgress = options.onProgress ?? (() => undefined);
  }

  async attempt(retries: Retries): Promise<void> {
    const { size } = this.#blob;
    this.#again = this.#unsure;
    if (this.#ending && (await this.#there())) return;
    if (this.#unsure) await this.#ask();
    if (this.#size - this.#furthest >= progressBytes) {
      this.#furthest = this.#size;
      retries.progress();
    }
    this.#unsure = true;
    this.#url ??= await this.#start();
    if (this.#size === 0 && size <= wholeBytes) return this.#finish(0);
    while (this.#size < size) await this.#patch();
    return this.#finish(size);
  }

  /** Frees what the registry keeps of an upload that came to nothing, if it can be told. */
  async takeBack(): Promise<void> {
    if (!this.#url) return;
    const { signal: stopped, ...begin } = this.#begin;
    const signal = stopped.aborted ? AbortSignal.timeout(2000) : stopped;
    await this.#exchange
      .head({ ...begin, method: "DELETE", url: this.#url, signal })
      .catch(() => undefined);
  }

  async #start(): Promise<URL> {
    this.#size = 0;
    const answer = await this.#exchange.head({
      ...this.#begin,
      method: "POST",
      headers: { "content-length": "0" },
    });
    const least = Number(answer.headers["oci-chunk-min-length"] ?? 0);
    if (least > this.#chunk) this.#chunk = least;
    return uploadUrl(answer, this.#begin);
  }

  async #ask(): Promise<void> {
    if (!this.#url) return;
    const answer = await this.#exchange.head({
      ...this.#begin,
      method: "GET",
      url: this.#url,
      expected: [400, 404, 405, 416],
    });
    const range = /^(?:bytes=)?0-(\d+)$/.exec(answer.headers.range ?? "");
    if (answer.status >= 400 || (!range && answer.headers.range !== undefined)) {
      this.#url = undefined;
      return;
    }
    if (answer.headers.location !== undefined) this.#url = uploadUrl(answer, this.#begin);
    const last = Number(range?.[1] ?? 0);
    // "0-0" is one byte, and what registries say that have none.
    if (last === 0 && this.#size > 0) this.#url = undefined;
    this.#size = last === 0 ? 0 : Math.min(last + 1, this.#blob.size);
    this.#onProgress(this.#size);
  }

  async #patch(): Promise<void> {
    const from = this.#size;
    const to = Math.min(this.#blob.size, from + this.#chunk);
    const whole = from === 0 && to === this.#blob.size;
    const answer = await this.#exchange.head({
      ...this.#begin,
      method: "PATCH",
      url: this.#where(),
      headers: {
        "content-type": "application/octet-stream",
        "content-length": String(to - from),
        // As docker does; not every registry takes a range of the whole.
        ...(whole ? {} : { "content-range": `${from}-${to - 1}` }),
      },
      body: () => this.#counted(from, to),
      fresh: this.#again,
      expected: [404, 413, 416],
    });
    this.#checkKnown(answer);
    if (answer.status === 413 && to - from > chunkBytes) {
      this.#chunk = chunkBytes;
      return this.#ask();
    }
    if (answer.status >= 400) {
      throw new Trouble(
        "registry-unavailable",
        `${this.#begin.endpoint.name} answered ${answer.status} for bytes ${from} to ${to - 1} of an upload`,
        { againMs: 0 },
      );
    }
    this.#url = uploadUrl(answer, this.#begin);
    this.#size = to;
  }

  /** Ends the upload with the bytes from a place on. */
  async #finish(from: number): Promise<void> {
    const { digest, size } = this.#blob;
    const url = new URL(this.#where());
    url.searchParams.set("digest", digest);
    this.#ending = true;
    const answer = await this.#exchange.head({
      ...this.#begin,
      method: "PUT",
      url,
      headers: {
        "content-length": String(size - from),
        ...(from < size ? { "content-type": "application/octet-stream" } : {}),
      },
      ...(from < size ? { body: () => this.#counted(from, size) } : {}),
      fresh: this.#again,
      expected: [404],
    });
    this.#checkKnown(answer);
    this.#url = undefined;
    this.#onProgress(size);
  }

  /** An upload that a registry has forgotten, or that has come to its end without our hearing of it, is looked at anew. */
  #checkKnown({ status }: Answer): void {
    if (status !== 404) return;
    this.#url = undefined;
    throw new Trouble(
      "registry-unavailable",
      `${this.#begin.endpoint.name} does not know its own upload any more`,
      { againMs: 0 },
    );
  }

  async *#counted(from: number, to: number): AsyncGenerator<Uint8Array> {
    let at = from;
    for await (const piece of this.#blob.read(from, to)) {
      yield piece;
      at += piece.length;
      this.#onProgress(at);
    }
  }

  #where(): URL {
    return this.#url ?? this.#begin.url;
  }
}

/** The bytes of a file of the caller's. */
export function fileSource(path: string): BlobSource["read"] {
  return async function* (from, to) {
    if (from >= to) return;
    try {
      const stream: AsyncIterable<Buffer> = createReadStream(path, {
        start: from,
        end: to - 1,
        highWaterMark: 256 * 1024,
      });
      let left = to - from;
      for await (const piece of stream) {
        left -= piece.length;
        yield piece;
      }
      if (left > 0) throw new Failure("invalid-argument", `"${path}" has become shorter`);
    } catch (cause) {
      if (cause instanceof Failure) throw cause;
      const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
      throw new Failure("storage", `Cannot read "${path}": ${reason}`, { cause });
    }
  };
}

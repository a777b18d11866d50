import { createHash, type Hash } from "node:crypto";
import { open, rm, type FileHandle } from "node:fs/promises";
import type { Exchange, Ask } from "./exchange.ts";
import { Trouble } from "./failures.ts";
import type { Retries } from "./retries.ts";
import type { Answer } from "./transport.ts";
import { Failure } from "../errors/mod.ts";

/** A blob as its manifest names it. */
export interface BlobDescriptor {
  readonly digest: string;
  readonly size: number;
}

/** Progress that lets the count of failed attempts begin anew; less may be a registry that cuts after each drop. */
const progressBytes = 256 * 1024;

/**
 * Brings a blob into a new file: hashed on the way, never more bytes than its descriptor says, and taken up again after a cut where it was. Nothing is left
 * of a blob that could not be had.
 */
export async function download(
  exchange: Exchange,
  ask: Ask,
  options: {
    readonly blob: BlobDescriptor;
    readonly path: string;
    readonly onProgress: ((bytes: number) => void) | undefined;
  },
): Promise<void> {
  const { blob, path, onProgress = (): undefined => undefined } = options;
  let file: FileHandle;
  try {
    file = await open(path, "wx");
  } catch (cause) {
    throw storageFailure(path, cause);
  }
  try {
    await using closing = file;
    const work = new Download(exchange, ask, { blob, file: closing, path, onProgress });
    await exchange.retried(ask, (retries) => work.attempt(retries));
  } catch (thrown) {
    await rm(path, { force: true });
    throw thrown;
  }
}

class Download {
  readonly #exchange: Exchange;
  readonly #ask: Ask;
  readonly #blob: BlobDescriptor;
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #onProgress: (bytes: number) => void;
  #hash: Hash;
  /** Bytes that are in the file and the hash. */
  #size = 0;
  /** The most bytes that there ever were: what is only fetched again is no progress. */
  #furthest = 0;
  /** What a server calls the version of which we have a part. */
  #version: string | undefined;
  #resumed = false;
  #begunAgain = false;

  constructor(
    exchange: Exchange,
    ask: Ask,
    options: {
      blob: BlobDescriptor;
      file: FileHandle;
      path: string;
      onProgress: (bytes: number) => void;
    },
  ) {
    this.#exchange = exchange;
    this.#ask = ask;
    this.#blob = options.blob;
    this.#file = options.file;
    this.#path = options.path;
    this.#onProgress = options.onProgress;
    this.#hash = this.#newHash();
  }

  async attempt(retries: Retries): Promise<void> {
    const { size } = this.#blob;
    if (this.#size < size || size === 0) {
      const answer = await this.#request();
      try {
        await this.#read(answer);
      } finally {
        if (this.#size - this.#furthest >= progressBytes) {
          this.#furthest = this.#size;
          retries.progress();
        }
      }
    }
    if (this.#size < size) {
      throw new Trouble(
        "registry-unavailable",
        `${answerName(this.#ask)} broke off after ${this.#size} of ${size} bytes`,
        { againMs: 0 },
      );
    }
    const digest = `${algorithmOf(this.#blob)}:${this.#hash.digest("hex")}`;
    if (digest === this.#blob.digest) return;
    const message = `${answerName(this.#ask)} sent bytes with the digest ${digest} instead of ${this.#blob.digest}`;
    const resumed = this.#resumed && !this.#begunAgain;
    this.#begin();
    // What was put together from pieces may be pieces of two versions; once.
    if (!resumed) throw new Trouble("image-invalid", message);
    this.#begunAgain = true;
    throw new Trouble("image-invalid", message, { againMs: 0 });
  }

  async #request(): Promise<Answer> {
    const from = this.#size;
    const { size } = this.#blob;
    const answer = await this.#exchange.once({
      ...this.#ask,
      headers: {
        ...this.#ask.headers,
        // With its end, without which some do not understand it.
        ...(from === 0 ? {} : { range: `bytes=${from}-${size - 1}` }),
        ...(from > 0 && this.#version !== undefined ? { "if-range": this.#version } : {}),
      },
      expected: from === 0 ? [] : [416],
    });
    const { status, headers } = answer;
    const length = headers["content-length"];
    if (from > 0 && status === 206) {
      const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers["content-range"] ?? "");
      const total = range?.[2];
      if (Number(range?.[1]) === from && (total === "*" || Number(total) === size)) {
        this.#resumed = true;
        return answer;
      }
    }
    if (status !== 200) {
      answer.message.destroy();
      this.#begin();
      throw new Trouble(
        "registry-unavailable",
        `${answerName(this.#ask)} answered ${status} for a part of a blob`,
        { againMs: 0 },
      );
    }
    if (length !== undefined && Number(length) !== size) {
      answer.message.destroy();
      throw new Trouble(
        "image-invalid",
        `${answerName(this.#ask)} has ${length} bytes for a blob whose manifest says ${size}`,
      );
    }
    this.#begin();
    const { etag } = headers;
    // A weak one says nothing of single bytes (RFC 9110, 13.1.5).
    this.#version = etag === undefined || etag.startsWith("W/") ? undefined : etag;
    return answer;
  }

  async #read(answer: Answer): Promise<void> {
    const { size } = this.#blob;
    for await (const piece of this.#exchange.transport.pieces(answer, this.#ask.signal)) {
      if (this.#size + piece.length > size) {
        throw new Trouble(
          "image-invalid",
          `${answerName(this.#ask)} sends more than the ${size} bytes that the manifest says`,
        );
      }
      try {
        await writeAll(this.#file, piece, this.#size);
      } catch (cause) {
        throw storageFailure(this.#path, cause);
      }
      this.#hash.update(piece);
      this.#size += piece.length;
      this.#onProgress(this.#size);
    }
  }

  #begin(): void {
    this.#size = 0;
    this.#resumed = false;
    this.#hash = this.#newHash();
  }

  #newHash(): Hash {
    return createHash(algorithmOf(this.#blob));
  }
}

async function writeAll(file: FileHandle, piece: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < piece.length;) {
    const { bytesWritten } = await file.write(piece, done, piece.length - done, position + done);
    done += bytesWritten;
  }
}

function algorithmOf({ digest }: BlobDescriptor): string {
  return digest.split(":")[0] ?? "";
}

function answerName({ endpoint }: Ask): string {
  return endpoint.name;
}

function storageFailure(path: string, cause: unknown): Failure {
  const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  return new Failure("storage", `Cannot write "${path}": ${reason}`, { cause });
}

import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../../errors/mod.ts";
import type { HostBytes } from "../../wasi/mod.ts";
import { cutPieces, readPieces, sizeOf, storageFailure, writePieces } from "../files.ts";
import type { Downloaded, HttpLocation, UploadContent, Uploaded } from "../mod.ts";
import { retried } from "../retries.ts";
import type { Store, StoreContext, Transfer } from "../stores.ts";
import { Trouble } from "../trouble.ts";
import { Exchange } from "./exchange.ts";
import { KnownTokens } from "./login.ts";

/** After so many bytes the count of failed attempts begins anew. */
const progressBytes = 256 * 1024;
const answerBytes = 1024 * 1024;

/** What a URL gives by GET, and takes by PUT. */
// oxlint-disable-next-line typescript/require-await -- the other kinds have to wait
export async function openHttp(context: StoreContext): Promise<Store<HttpLocation>> {
  return new Http(context);
}

class Http implements Store<HttpLocation> {
  readonly #context: StoreContext;
  readonly #tokens = new KnownTokens();

  constructor(context: StoreContext) {
    this.#context = context;
  }

  download(location: HttpLocation, folder: string, options: Transfer): Promise<Downloaded> {
    const exchange = new Exchange(location, this.#context, this.#tokens);
    return named(exchange, "download", async () => {
      const path = join(folder, "content");
      const size = await bring(exchange, path, options);
      return { kind: "file", content: { kind: "slice", path, offset: 0, size } };
    });
  }

  upload(location: HttpLocation, content: UploadContent, options: Transfer): Promise<Uploaded> {
    const exchange = new Exchange(location, this.#context, this.#tokens);
    return named(exchange, "upload", async () => {
      if (content.kind === "directory") {
        throw new Failure("invalid-argument", "a web server takes no folder", {
          hint: "Pack it: remove archive: none.",
        });
      }
      if (content.kind === "file") {
        await send(exchange, content.content, options);
        return { bytes: sizeOf(content.content), files: 1 };
      }
      // Many servers want to know the length before, and a body that is asked for again must be there.
      const folder = await this.#context.temporaryFolder();
      try {
        const path = join(folder, "body");
        const size = await kept(path, content.bytes(), this.#context.limits.bytes);
        await send(exchange, { kind: "slice", path, offset: 0, size }, options);
        return { bytes: size, files: 1 };
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  }
}

/** Brings it into a new file; after a cut it goes on where it was, if the server knows how and it is still the same. */
async function bring(exchange: Exchange, path: string, options: Transfer): Promise<number> {
  const { context } = exchange;
  const { signal, onProgress } = options;
  const most = context.limits.bytes;
  await using file = await open(path, "wx").catch((cause: unknown) => {
    throw storageFailure("make a file for what is downloaded", cause);
  });
  let done = 0;
  let mark: string | undefined;
  const anew = async (): Promise<void> => {
    done = 0;
    mark = undefined;
    await file.truncate(0);
  };
  await retried(context.retries, signal, async (attempts) => {
    const before = done;
    if (mark === undefined) await anew();
    const headers = mark === undefined ? {} : { range: `bytes=${done}-`, "if-range": mark };
    const answer = await exchange.ask({ method: "GET", headers, signal }).catch(async (thrown) => {
      // It became shorter, or all of it was there and only the end of it was cut.
      if (!(thrown instanceof Trouble) || thrown.reason !== "range" || done === 0) throw thrown;
      await anew();
      throw changed();
    });
    const { status } = answer;
    const range = status === 206 ? rangeOf(answer.headers["content-range"]) : undefined;
    const now = markOf(answer.headers);
    if (
      range &&
      (range.from !== done || (mark !== undefined && now !== undefined && now !== mark))
    ) {
      answer.message.destroy();
      if (done === 0) throw otherBytes();
      await anew();
      throw changed();
    }
    if (status === 206 && !range) {
      answer.message.destroy();
      throw otherBytes();
    }
    if (status !== 206) await anew();
    mark = now ?? (status === 206 ? mark : undefined);
    const length = Number(answer.headers["content-length"] ?? 0);
    if (done + length > most) {
      answer.message.destroy();
      throw tooLarge(most);
    }
    let came = done;
    try {
      await writePieces(file, context.transport.pieces(answer, signal), {
        position: done,
        onPiece: (piece) => {
          came += piece.length;
          if (came > most) throw tooLarge(most);
        },
        onWritten: (bytes) => {
          done += bytes;
          onProgress(done);
        },
      });
    } finally {
      if (done - before >= progressBytes) attempts.progress();
    }
    // A server may give less than was asked for (RFC 9110, 15.3.7).
    if (range && done < range.whole) {
      if (done > before) attempts.progress();
      throw new Trouble("store-unavailable", "it gives only a part", { againMs: 0 });
    }
  });
  return done;
}

function rangeOf(
  text: string | undefined,
): { readonly from: number; readonly whole: number } | undefined {
  const [, from, whole] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(text ?? "") ?? [];
  if (from === undefined || whole === undefined) return undefined;
  return { from: Number(from), whole: whole === "*" ? 0 : Number(whole) };
}

function otherBytes(): Trouble {
  return new Trouble("store-refused", "it answers with other bytes than were asked for");
}

function changed(): Trouble {
  return new Trouble("store-unavailable", "it was changed meanwhile", { againMs: 0 });
}

/** What says that it is still the same: a strong entity tag, or when it was changed (RFC 9110, 13.1.5). */
function markOf(headers: {
  readonly etag?: string | undefined;
  readonly "last-modified"?: string | undefined;
}): string | undefined {
  const { etag } = headers;
  return etag !== undefined && !etag.startsWith("W/") ? etag : headers["last-modified"];
}

async function send(exchange: Exchange, content: HostBytes, options: Transfer): Promise<void> {
  const { context } = exchange;
  const { signal, onProgress } = options;
  const size = sizeOf(content);
  await using file =
    content.kind === "slice"
      ? await open(content.path).catch((cause: unknown) => {
          throw storageFailure("read what is to be sent", cause);
        })
      : undefined;
  const body = async function* (): AsyncGenerator<Uint8Array> {
    let sent = 0;
    const pieces =
      content.kind === "bytes"
        ? cutPieces(content.bytes, 0, size)
        : file
          ? readPieces(file, content.offset, content.offset + size)
          : [];
    for await (const piece of pieces) {
      yield piece;
      sent += piece.length;
      onProgress(sent);
    }
  };
  await retried(context.retries, signal, async () => {
    const answer = await exchange.ask({
      method: "PUT",
      headers: { "content-length": String(size), "content-type": "application/octet-stream" },
      body,
      signal,
    });
    await context.transport.small(answer, answerBytes, signal);
  });
}

async function kept(path: string, bytes: AsyncIterable<Uint8Array>, most: number): Promise<number> {
  await using file = await open(path, "wx").catch((cause: unknown) => {
    throw storageFailure("keep what is to be sent", cause);
  });
  let size = 0;
  let came = 0;
  await writePieces(file, bytes, {
    position: 0,
    onPiece: (piece) => {
      came += piece.length;
      if (came > most) throw tooLarge(most);
    },
    onWritten: (written) => {
      size += written;
    },
  });
  return size;
}

function tooLarge(most: number): Failure {
  return new Failure("artifact-too-large", `it has more bytes than the ${most} that may be`, {
    hint: "The ceiling is the same for all artifacts from stores; make several of it.",
  });
}

async function named<Value>(
  { place }: Exchange,
  what: string,
  work: () => Promise<Value>,
): Promise<Value> {
  try {
    return await work();
  } catch (thrown) {
    if (!(thrown instanceof Failure) || thrown.code === "aborted") throw thrown;
    const { code, hint, message } = thrown;
    throw new Failure(code, `Cannot ${what} "${place}": ${message}`, {
      cause: thrown,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

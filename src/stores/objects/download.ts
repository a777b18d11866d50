import { createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { eachOf, readPieces, storageFailure, writePieces } from "../files.ts";
import type { Answer } from "../transport.ts";
import { Trouble } from "../trouble.ts";
import { tooLarge } from "./ceilings.ts";
import type { Objects, Part } from "./objects.ts";

/** One request brings so much; an object with more is brought by several at once. */
const rangeBytes = 16 * 1024 * 1024;
const rangesAtOnce = 4;
/** Progress that lets the count of failed attempts begin anew; less may be a store that cuts after each drop. */
const progressBytes = 256 * 1024;
/** An object that changes under us, or does not arrive as it was, is brought this often. */
const mostBegins = 3;
const beginsAgain: ReadonlySet<string> = new Set(["PreconditionFailed", "damaged"]);

export interface DownloadOptions {
  readonly signal: AbortSignal;
  /** Each number of bytes that came; negative ones where some have to come again. */
  readonly onBytes: (bytes: number) => void;
  readonly mostBytes: number;
}

/** Brings an object into a new file and tells its size. */
export async function downloadObject(
  objects: Objects,
  key: string,
  path: string,
  options: DownloadOptions,
): Promise<number> {
  let file: FileHandle;
  try {
    file = await open(path, "wx+");
  } catch (cause) {
    throw storageFailure("make a file for what is downloaded", cause);
  }
  await using closing = file;
  const digests = new Set<string>();
  for (let begins = 1; ; begins++) {
    const work = new Download(objects, { ...options, key, file: closing, digests });
    try {
      return await work.run();
    } catch (thrown) {
      const again = thrown instanceof Trouble && beginsAgain.has(thrown.reason ?? "");
      if (!again || begins >= mostBegins) throw thrown;
      work.undo();
      await closing.truncate(0);
    }
  }
}

interface Range {
  readonly from: number;
  /** Unknown where a store does not say how much there is. */
  readonly to: number;
  /** The answer to the first attempt, where it is there already. */
  readonly answer?: Answer;
}

/** One version of an object on its way. */
class Download {
  readonly #objects: Objects;
  readonly #options: Work;
  #bytes = 0;
  #version: string | undefined;

  constructor(objects: Objects, options: Work) {
    this.#objects = objects;
    this.#options = options;
  }

  /** What was reported is not there any more. */
  undo(): void {
    this.#count(-this.#bytes);
  }

  async run(): Promise<number> {
    const { signal, mostBytes } = this.#options;
    const answer = await this.#objects.retried(signal, () => this.#first());
    const { total, whole } = extent(answer);
    if (total > mostBytes && Number.isFinite(total)) {
      answer.message.destroy();
      throw tooLarge(`has ${total} bytes, more`, mostBytes);
    }
    this.#version = this.#objects.versionIn(answer);
    if (whole || total <= rangeBytes) {
      await this.#range({ from: 0, to: total, answer }, signal, this.#objects.md5In(answer));
    } else {
      const ranges = function* (): Generator<Range> {
        yield { from: 0, to: rangeBytes, answer };
        for (let from = rangeBytes; from < total; from += rangeBytes)
          yield { from, to: Math.min(from + rangeBytes, total) };
      };
      await eachOf(ranges(), { atOnce: rangesAtOnce, signal }, (range, signal) =>
        this.#range(range, signal),
      );
      await this.#checkAll(answer, total);
    }
    return this.#bytes;
  }

  /** The first range, whose answer says how large all is. */
  async #first(): Promise<Answer> {
    try {
      return await this.#ask({ range: `bytes=0-${rangeBytes - 1}` }, this.#options.signal);
    } catch (thrown) {
      // Nothing has no first byte.
      if (!(thrown instanceof Trouble) || thrown.reason !== "InvalidRange") throw thrown;
      return this.#ask({}, this.#options.signal);
    }
  }

  /** Brings a range into the file, taken up where it was after a cut. */
  async #range(
    { from, to, answer: given }: Range,
    signal: AbortSignal,
    md5?: string,
  ): Promise<void> {
    let hash = createHash("md5");
    let done = 0;
    let first = given;
    // Some stores have an entity tag that looks like an MD5 and is none; then the same bytes come twice.
    const digests = new Set<string>();
    await this.#objects.retried(signal, async (attempts) => {
      const answer = first ?? (await this.#rest(from + done, to, signal));
      first = undefined;
      if (done > 0 && answer.status === 200) {
        this.#count(-done);
        done = 0;
        hash = createHash("md5");
      }
      let came = done;
      const before = done;
      try {
        await writePieces(
          this.#options.file,
          this.#objects.context.transport.pieces(answer, signal),
          {
            position: from + done,
            onPiece: (piece) => {
              came += piece.length;
              if (from + came > Math.min(to, this.#options.mostBytes)) {
                if (to <= this.#options.mostBytes)
                  throw new Trouble("store-refused", "it sends more bytes than were asked for");
                throw tooLarge("has more bytes", this.#options.mostBytes);
              }
              if (md5 !== undefined) hash.update(piece);
            },
            onWritten: (bytes) => {
              done += bytes;
              this.#count(bytes);
            },
          },
        );
      } finally {
        if (done - before >= progressBytes) attempts.progress();
      }
      if (done < to - from && Number.isFinite(to)) {
        throw new Trouble("store-unavailable", `it broke off after ${done} of ${to - from} bytes`, {
          againMs: 0,
        });
      }
      const digest = hash.digest("hex");
      if (md5 === undefined || md5 === digest || digests.has(digest)) return;
      this.#count(-done);
      done = 0;
      hash = createHash("md5");
      throw damaged(digests.add(digest).size);
    });
  }

  /**
   * Looks at all bytes that came in ranges, where the store says what they are and nothing kept them from being changed on their way. Objects that were
   * put together of parts have no such digest.
   */
  async #checkAll(answer: Answer, total: number): Promise<void> {
    const md5 = this.#objects.secure ? undefined : this.#objects.md5In(answer);
    if (md5 === undefined) return;
    const hash = createHash("md5");
    for await (const piece of readPieces(this.#options.file, 0, total)) {
      this.#options.signal.throwIfAborted();
      hash.update(piece);
    }
    const digest = hash.digest("hex");
    const { digests } = this.#options;
    if (digest === md5 || digests.has(digest)) return;
    throw damaged(digests.add(digest).size);
  }

  async #rest(from: number, to: number, signal: AbortSignal): Promise<Answer> {
    const last = Number.isFinite(to) ? to - 1 : "";
    const plain = from === 0 && !Number.isFinite(to);
    const answer = await this.#ask(
      {
        ...(plain || to === 0 ? {} : { range: `bytes=${from}-${last}` }),
        ...(this.#version === undefined ? {} : { version: this.#version }),
      },
      signal,
    );
    if (this.#version !== undefined && this.#objects.versionIn(answer) !== this.#version) {
      answer.message.destroy();
      // A store that gives what it has.
      throw new Trouble("store-unavailable", "the object was changed meanwhile", {
        reason: "PreconditionFailed",
      });
    }
    const range = /^bytes (\d+)-/.exec(answer.headers["content-range"] ?? "");
    const fits = answer.status === 206 ? Number(range?.[1]) === from : from < rangeBytes;
    if (fits) return answer;
    answer.message.destroy();
    throw new Trouble("store-refused", "it answers with other bytes than were asked for");
  }

  #ask(part: Part, signal: AbortSignal): Promise<Answer> {
    return this.#objects.get(this.#options.key, part, signal);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#options.onBytes(bytes);
  }
}

interface Work extends DownloadOptions {
  /** Of all bytes as they came before and were not as the store says. */
  readonly digests: Set<string>;
  readonly key: string;
  readonly file: FileHandle;
}

/** How large the object is, and whether the answer is all of it. */
function extent({ status, headers, message }: Answer): {
  readonly total: number;
  readonly whole: boolean;
} {
  if (status !== 206) {
    const length = headers["content-length"];
    return { total: length === undefined ? Infinity : Number(length), whole: true };
  }
  const range = /^bytes 0-(\d+)\/(\d+)$/.exec(headers["content-range"] ?? "");
  const total = Number(range?.[2]);
  if (Number.isSafeInteger(total)) return { total, whole: Number(range?.[1]) + 1 === total };
  message.destroy();
  throw new Trouble("store-refused", "it answers with a range and does not say which one");
}

/** What came is not what the store says it is. */
function damaged(times: number): Trouble {
  const again = times < mostBegins ? { againMs: 0, reason: "damaged" } : {};
  return new Trouble("store-unavailable", "its bytes were damaged on the way", again);
}

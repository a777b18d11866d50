const tailBytes = 8192;
const tailLines = 20;
const newline = 10;

type Stream = "stdout" | "stderr";

/** What a program wrote to both streams, in the order in which it came; the engine holds the ceiling of its bytes. */
export interface Log {
  readonly size: number;
  readonly write: (stream: Stream, bytes: Uint8Array) => void;
  /** All that was kept. Nothing may be written afterwards. */
  readonly bytes: () => Uint8Array;
  /** The last lines of stderr, also where the log leaves them out. */
  readonly stderrTail: () => string;
  /** Lines that were left out because too many came in one second. */
  readonly linesLeftOut: number;
}

export interface LogOptions {
  readonly onOutput?: ((stream: Stream, bytes: Uint8Array) => void) | undefined;
  /** Lines of one second; asked again for each piece, because a program's limits are known only when it is made ready. */
  readonly linesPerSecond: () => number;
}

/** Keeps a log and hands each piece on. It also has what a program said that was stopped from outside. */
export function createLog({ onOutput, linesPerSecond }: LogOptions): Log {
  let kept = Buffer.alloc(0);
  let size = 0;
  let stderr = Buffer.alloc(0);
  const keep = (stream: Stream, bytes: Uint8Array): void => {
    if (bytes.length === 0) return;
    if (size + bytes.length > kept.length) {
      const grown = Buffer.alloc(Math.max(size + bytes.length, kept.length * 2));
      grown.set(kept.subarray(0, size));
      kept = grown;
    }
    kept.set(bytes, size);
    size += bytes.length;
    onOutput?.(stream, bytes);
  };
  const flood = new FloodGate(keep, linesPerSecond);
  return {
    get size() {
      return size;
    },
    get linesLeftOut() {
      return flood.leftOut;
    },
    write(stream, bytes) {
      if (stream === "stderr") stderr = Buffer.concat([stderr, bytes]).subarray(-tailBytes);
      flood.write(stream, bytes);
    },
    bytes() {
      flood.end();
      return kept.subarray(0, size);
    },
    stderrTail: () => stderr.toString().trimEnd().split("\n").slice(-tailLines).join("\n"),
  };
}

/**
 * Lets so many lines pass in one second, and of what comes beyond says only how many lines it was. A program is not ended for
 * what it logs, and cannot be slowed down without its neighbours on the thread; and whoever reads a log of millions of lines looks for
 * the first and the last of them. What a program writes to stdout as its result is not touched.
 */
class FloodGate {
  readonly #pass: (stream: Stream, bytes: Uint8Array) => void;
  readonly #linesPerSecond: () => number;
  #room: number | undefined;
  #since = performance.now();
  /** Streams in the middle of a line that is left out. */
  readonly #skipping = new Set<Stream>();
  #untold = 0;
  leftOut = 0;

  constructor(pass: FloodGate["write"], linesPerSecond: () => number) {
    this.#pass = pass;
    this.#linesPerSecond = linesPerSecond;
  }

  write(stream: Stream, bytes: Uint8Array): void {
    const most = this.#linesPerSecond();
    const now = performance.now();
    // A bucket that fills evenly: no second has more than twice the lines, and a quiet program may say much at once.
    this.#room = Math.min(most, (this.#room ?? most) + ((now - this.#since) / 1000) * most);
    this.#since = now;
    for (let at = 0; at < bytes.length;) {
      const skipped = this.#skipping.has(stream);
      const end = skipped ? lineEnd(bytes, at) : this.#reach(bytes, at);
      if (skipped) this.#skip(stream, bytes.subarray(at, end));
      else if (end > at) {
        this.#tell();
        this.#pass(stream, bytes.subarray(at, end));
      } else this.#skipping.add(stream);
      at = end;
    }
  }

  /** Where the lines end that may still pass; takes their room. */
  #reach(bytes: Uint8Array, start: number): number {
    let at = start;
    while (at < bytes.length) {
      if ((this.#room ?? 0) < 1) return at;
      at = lineEnd(bytes, at);
      if (bytes[at - 1] === newline) this.#room = (this.#room ?? 0) - 1;
    }
    return at;
  }

  #skip(stream: Stream, bytes: Uint8Array): void {
    if (bytes.at(-1) !== newline) return;
    this.#skipping.delete(stream);
    this.#untold += 1;
    this.leftOut += 1;
  }

  #tell(): void {
    if (this.#untold === 0) return;
    const lines = this.#untold === 1 ? "1 line" : `${this.#untold} lines`;
    const notice = `[atalanta] ${lines} left out: more than ${this.#linesPerSecond()} in one second (limits.logLines)\n`;
    this.#untold = 0;
    this.#pass("stderr", Buffer.from(notice));
  }

  end(): void {
    this.#tell();
  }
}

/** The index after the next newline, or after the last byte. */
function lineEnd(bytes: Uint8Array, at: number): number {
  const found = bytes.indexOf(newline, at);
  return found < 0 ? bytes.length : found + 1;
}

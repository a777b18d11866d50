type Stream = "stdout" | "stderr";

/** Writes that are handed on one by one, in their order; what comes later is gathered. */
const singleWrites = 10_000;
/** Gathered writes are handed on in blocks of this size, or when the oldest has waited this long. */
const blockBytes = 16 * 1024;
const blockMs = 100;

/**
 * What a guest writes to its standard streams. A write of one byte costs one byte here, and a bounded number of messages,
 * so that a ceiling in bytes is one in memory. After the first 10,000 writes the order between the streams is that of blocks.
 */
export class Output {
  readonly #kept = { stdout: new Growing(), stderr: new Growing() };
  readonly #waiting = { stdout: new Growing(), stderr: new Growing() };
  readonly #send: ((stream: Stream, bytes: Uint8Array) => void) | undefined;
  #singles = 0;
  #waitingSince = 0;

  constructor(send: ((stream: Stream, bytes: Uint8Array) => void) | undefined) {
    this.#send = send;
  }

  /** `bytes` are the host's copy. */
  write(stream: Stream, bytes: Uint8Array): void {
    this.#kept[stream].append(bytes);
    if (!this.#send) return;
    if (this.#singles < singleWrites) {
      this.#singles++;
      this.#send(stream, bytes);
      return;
    }
    const now = performance.now();
    const waiting = this.#waiting[stream];
    if (this.#waiting.stdout.length + this.#waiting.stderr.length === 0) this.#waitingSince = now;
    waiting.append(bytes);
    if (waiting.length >= blockBytes || now - this.#waitingSince > blockMs) this.flush();
  }

  /** Hands on what still waits. */
  flush(): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const waiting = this.#waiting[stream];
      if (waiting.length > 0) this.#send?.(stream, waiting.take());
    }
  }

  size(stream: Stream): number {
    return this.#kept[stream].length;
  }

  /** All that was written to the stream. */
  take(stream: Stream): Uint8Array {
    return this.#kept[stream].take();
  }
}

/** Bytes in one buffer that doubles. */
class Growing {
  #bytes = new Uint8Array(0);
  length = 0;

  append(bytes: Uint8Array): void {
    const length = this.length + bytes.length;
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(length, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.length));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.length);
    this.length = length;
  }

  /** The bytes in a buffer of their own size, since a whole buffer crosses to another thread; empty afterwards. */
  take(): Uint8Array {
    const taken =
      this.length === this.#bytes.length ? this.#bytes : this.#bytes.slice(0, this.length);
    this.#bytes = new Uint8Array(0);
    this.length = 0;
    return taken;
  }
}

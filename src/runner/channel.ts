import type { Duplex } from "node:stream";

/** Where bytes lie in the body of a frame: offset and length. */
export type Span = readonly [at: number, length: number];

/** What one frame may have at most, in bytes. */
export interface FrameCeilings {
  readonly headerBytes: number;
  readonly bodyBytes: number;
}

const prefixBytes = 8;

/**
 * Frames on a stream: the lengths of header and body, the header in JSON, the body as it is. JSON because the reader of what an
 * untrusted process sends must be small and dull, and it is as fast as V8's own form (docs/decisions/0010-runner-channel.md).
 * Frames of one turn of the event loop leave in one write.
 */
export class Channel {
  readonly #stream: Duplex;
  readonly #receive: (header: unknown, body: Uint8Array) => void;
  readonly #ceilings: () => FrameCeilings;
  readonly #broken: (problem: string) => void;
  #outgoing: Uint8Array[] = [];
  #incoming: Buffer[] = [];
  #length = 0;
  #wanted = prefixBytes;
  #headerBytes = -1;
  #closed = false;

  /** `broken` is told once when what came was no frame, or one above the ceilings; nothing is received after that. */
  constructor(
    stream: Duplex,
    options: {
      readonly receive: (header: unknown, body: Uint8Array) => void;
      readonly ceilings: () => FrameCeilings;
      readonly broken: (problem: string) => void;
      /** The other side is gone. */
      readonly ended: () => void;
    },
  ) {
    this.#stream = stream;
    this.#receive = options.receive;
    this.#ceilings = options.ceilings;
    this.#broken = options.broken;
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    // Whoever holds the other end is told by its end; an error on the way to that says nothing more.
    stream.on("error", () => undefined);
    stream.on("end", options.ended);
    stream.on("close", options.ended);
  }

  send(header: object, parts: readonly Uint8Array[] = []): void {
    if (this.#closed) return;
    const text = Buffer.from(JSON.stringify(header));
    const prefix = Buffer.allocUnsafe(prefixBytes);
    prefix.writeUInt32LE(text.length, 0);
    let bodyBytes = 0;
    for (const part of parts) bodyBytes += part.length;
    prefix.writeUInt32LE(bodyBytes, 4);
    if (this.#outgoing.length === 0) queueMicrotask(() => this.#flush());
    this.#outgoing.push(prefix, text, ...parts);
  }

  close(): void {
    this.#closed = true;
    this.#incoming = [];
    this.#outgoing = [];
    this.#stream.destroy();
  }

  #flush(): void {
    const outgoing = this.#outgoing;
    this.#outgoing = [];
    if (this.#closed) return;
    const total = outgoing.reduce((sum, part) => sum + part.length, 0);
    if (total <= joinBytes) this.#stream.write(Buffer.concat(outgoing, total));
    else for (const part of outgoing) if (part.length > 0) this.#stream.write(part);
  }

  #take(chunk: Buffer): void {
    if (this.#closed) return;
    this.#incoming.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= this.#wanted && !this.#closed) {
      const taken = this.#cut(this.#wanted);
      if (this.#headerBytes < 0) this.#begin(taken);
      else this.#end(taken);
    }
  }

  #begin(prefix: Buffer): void {
    const headerBytes = prefix.readUInt32LE(0);
    const bodyBytes = prefix.readUInt32LE(4);
    const most = this.#ceilings();
    if (headerBytes > most.headerBytes || bodyBytes > most.bodyBytes) {
      this.#break(`a message of ${headerBytes} and ${bodyBytes} bytes`);
      return;
    }
    this.#headerBytes = headerBytes;
    this.#wanted = headerBytes + bodyBytes;
  }

  #end(frame: Buffer): void {
    const headerBytes = this.#headerBytes;
    this.#headerBytes = -1;
    this.#wanted = prefixBytes;
    let header: unknown;
    try {
      header = JSON.parse(frame.toString("utf8", 0, headerBytes));
    } catch {
      this.#break("a message that is no JSON");
      return;
    }
    this.#receive(header, frame.subarray(headerBytes));
  }

  #break(problem: string): void {
    this.close();
    this.#broken(problem);
  }

  /** The first bytes of what has come. */
  #cut(length: number): Buffer {
    const [first] = this.#incoming;
    const whole =
      first && first.length >= length ? first : Buffer.concat(this.#incoming, this.#length);
    if (whole !== first) this.#incoming = [whole];
    const rest = whole.subarray(length);
    if (rest.length > 0) this.#incoming[0] = rest;
    else this.#incoming.shift();
    this.#length -= length;
    return whole.subarray(0, length);
  }
}

/** Up to here, copying into one buffer costs less than several writes. */
const joinBytes = 64 * 1024;

/** Gathers the bytes of a message; the same bytes are sent once. */
export class Body {
  readonly parts: Uint8Array[] = [];
  readonly #known = new Map<Uint8Array, Span>();
  #length = 0;

  add(bytes: Uint8Array): Span {
    const known = this.#known.get(bytes);
    if (known) return known;
    const span = [this.#length, bytes.length] as const;
    this.#known.set(bytes, span);
    this.parts.push(bytes);
    this.#length += bytes.length;
    return span;
  }
}

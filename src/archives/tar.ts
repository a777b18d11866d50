import { broken } from "./broken.ts";

/** What a tar archive holds; `read` gives the content of a file block by block and must be finished before the next entry. */
export interface ArchiveEntry {
  readonly kind: "file" | "directory" | "symlink" | "hardlink" | "other";
  /** As written in the archive: it may lead anywhere. */
  readonly path: string;
  readonly mode: number;
  readonly size: number;
  readonly target: string;
  readonly read: () => AsyncIterable<Uint8Array>;
}

/** Long names and pax records are held in memory up to here. */
const metaBytes = 1024 * 1024;
const blockSize = 512;

/**
 * Reads ustar, pax and GNU archives out of a stream of bytes. Only what a file tree needs is understood; sizes are what the
 * archive says, so the caller's ceilings are on what really comes.
 */
export async function* readTar(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ArchiveEntry> {
  await using input = new Input(chunks);
  const shared = new Map<string, string>();
  let own = new Map<string, string>();
  for (;;) {
    const header = await input.block();
    // Two empty blocks end an archive, but many end after one or none.
    if (!header || header.every((byte) => byte === 0)) return;
    if (!isTarHeader(header)) throw broken("a header's checksum is wrong");
    const type = String.fromCodePoint(header[156] ?? 0);
    const size = number(header, 124, 12);
    if ("xgLK".includes(type)) {
      if (size > metaBytes) throw broken(`a name or record has ${size} bytes`);
      const body = await input.take(size);
      if (type === "x") for (const [name, value] of records(body)) own.set(name, value);
      else if (type === "g") for (const [name, value] of records(body)) shared.set(name, value);
      else own.set(type === "L" ? "path" : "linkpath", textOf(body));
      continue;
    }
    const said = new Map([...shared, ...own]);
    own = new Map();
    if (type === "S" || said.has(sparse)) {
      throw broken("it has a sparse file, which is not supported");
    }
    const length = said.has("size") ? decimal(said.get("size") ?? "") : size;
    const kind = kinds.get(type) ?? "other";
    const body = input.body(kind === "file" || kind === "other" ? length : 0);
    const prefix =
      textOf(header.subarray(257, 263)) === "ustar" ? textOf(header.subarray(345, 500)) : "";
    const name = textOf(header.subarray(0, 100));
    yield {
      kind: kind === "file" && name.endsWith("/") && !said.has("path") ? "directory" : kind,
      path: said.get("path") ?? (prefix === "" ? name : `${prefix}/${name}`),
      mode: number(header, 100, 8) & 0o777,
      size: kind === "file" ? length : 0,
      target: said.get("linkpath") ?? textOf(header.subarray(157, 257)),
      read: () => body.read(),
    };
    await body.skip();
  }
}

const kinds: ReadonlyMap<string, ArchiveEntry["kind"]> = new Map([
  ["0", "file"],
  ["\0", "file"],
  ["7", "file"],
  ["1", "hardlink"],
  ["2", "symlink"],
  ["5", "directory"],
]);

/** Whether the block is a tar header: its checksum is right. */
export function isTarHeader(block: Uint8Array): boolean {
  if (block.length < blockSize) return false;
  let sum = 0;
  for (let at = 0; at < blockSize; at++) sum += at >= 148 && at < 156 ? 32 : (block[at] ?? 0);
  return sum !== 256 && sum === octal(block.subarray(148, 156));
}

/** A stream as blocks of 512 bytes and bodies. */
class Input implements AsyncDisposable {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);
  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** At most `most` bytes, none at the end. */
  async some(most: number): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done) return this.#rest;
      this.#rest = next.value;
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.();
  }

  async block(): Promise<Uint8Array | undefined> {
    const first = await this.some(blockSize);
    if (first.length === blockSize) return first;
    if (first.length === 0) return undefined;
    return Buffer.concat([first, await this.exactly(blockSize - first.length)]);
  }

  /** A short body with its padding. */
  async take(size: number): Promise<Uint8Array> {
    const bytes = await this.exactly(size);
    await this.exactly(padding(size));
    return bytes;
  }

  async exactly(size: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let left = size; left > 0;) {
      const part = await this.some(left);
      if (part.length === 0) throw broken("it ends in the middle of an entry");
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }

  body(size: number): Body {
    return new Body(this, size);
  }
}

/** The content of one entry, or what is left of it. */
class Body {
  readonly #input: Input;
  readonly #size: number;
  #left: number;
  constructor(input: Input, size: number) {
    this.#input = input;
    this.#size = size;
    this.#left = size;
  }

  async *read(): AsyncGenerator<Uint8Array> {
    while (this.#left > 0) {
      const part = await this.#input.some(this.#left);
      if (part.length === 0) throw broken("it ends in the middle of a file");
      this.#left -= part.length;
      yield part;
    }
  }

  async skip(): Promise<void> {
    for await (const part of this.read()) if (part.length === 0) return;
    await this.#input.exactly(padding(this.#size));
  }
}

function padding(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize;
}

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString();
}

function octal(bytes: Uint8Array): number {
  const text = textOf(bytes).trim();
  return /^[0-7]*$/.test(text) ? Number.parseInt(text || "0", 8) : -1;
}

/** A field of the header: octal digits, or base 256 when its first bit is set. */
function number(header: Uint8Array, start: number, length: number): number {
  const field = header.subarray(start, start + length);
  const first = field[0] ?? 0;
  let value = octal(field);
  if (first & 0x80) {
    value = first & 0x7f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
  }
  if (value < 0 || !Number.isSafeInteger(value)) throw broken("a header has a wrong number");
  return value;
}

function decimal(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw broken(`"${text}" is no size`);
  return value;
}

/** Any record about a sparse file. */
const sparse = "GNU.sparse";

/** pax records: `LENGTH NAME=VALUE\n`, the length counting all of it. Only those that mean something here are kept: there may be any number. */
function records(body: Uint8Array): Map<string, string> {
  const found = new Map<string, string>();
  for (let at = 0; at < body.length && body[at] !== 0;) {
    const space = body.indexOf(32, at);
    const length = space < 0 ? 0 : decimal(Buffer.from(body.subarray(at, space)).toString());
    const line = Buffer.from(body.subarray(space + 1, at + length - 1)).toString();
    const equals = line.indexOf("=");
    if (length <= space - at + 1 || at + length > body.length || equals < 1) {
      throw broken("a pax record is damaged");
    }
    const name = line.slice(0, equals);
    if (name.startsWith(sparse)) found.set(sparse, "");
    else if (["path", "linkpath", "size"].includes(name)) found.set(name, line.slice(equals + 1));
    at += length;
  }
  return found;
}

import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { constants, crc32, createDeflateRaw, createGzip } from "node:zlib";
import { Failure } from "../errors/mod.ts";
import type { HostBytes, TreeEntry } from "../wasi/mod.ts";

/** What is packed: a file, or a folder with all below it. */
export type Packable =
  | { readonly kind: "file"; readonly mode: number; readonly content: HostBytes }
  | { readonly kind: "directory"; readonly entries: readonly TreeEntry[] };

type Entry =
  | { readonly kind: "directory"; readonly path: string; readonly mode: number }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string }
  | {
      readonly kind: "file";
      readonly path: string;
      readonly mode: number;
      readonly content: HostBytes;
    };

const pieceBytes = 256 * 1024;
const blockBytes = 512;
/** 1980, the beginning of time for zip: the same content is the same archive whenever it is packed. */
const modifiedAt = 315_532_800;

/** A gzip'd tarball of one thing, named `name` in it as Argo does. `level` is 0 to 9, -1 for the default, or -2 for Huffman codes alone. */
export function packTar(
  content: Packable,
  { name, level = -1 }: { readonly name: string; readonly level?: number },
): AsyncIterable<Uint8Array> {
  const gzip = createGzip({
    chunkSize: pieceBytes,
    ...(level === -2 ? { strategy: constants.Z_HUFFMAN_ONLY } : { level }),
  });
  return through(tar(under(name, content)), gzip);
}

/** A zip archive of one thing. */
export async function* packZip(
  content: Packable,
  { name }: { readonly name: string },
): AsyncGenerator<Uint8Array> {
  const central: Uint8Array[] = [];
  let at = 0;
  for (const entry of under(name, content)) {
    const begin = at;
    const head = localHeader(entry);
    yield head;
    at += head.length;
    let crc = 0;
    let packed = 0;
    let size = 0;
    const count = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of bytesOf(entry)) {
        crc = crc32(piece, crc);
        size += piece.length;
        yield piece;
      }
    };
    for await (const piece of through(count(), createDeflateRaw({ chunkSize: pieceBytes }))) {
      packed += piece.length;
      yield piece;
    }
    const tail = descriptor(entry, { crc, packed, size });
    yield tail;
    at += packed + tail.length;
    central.push(centralHeader(entry, { crc, packed, size, begin }));
  }
  const begin = at;
  for (const header of central) {
    yield header;
    at += header.length;
  }
  yield endOfZip(central.length, begin, at - begin);
}

function* under(name: string, content: Packable): Generator<Entry> {
  if (content.kind === "file") {
    yield { ...content, path: name };
    return;
  }
  let mode = 0o755;
  for (const entry of content.entries) {
    if (entry.kind === "directory" && entry.path === "") mode = entry.mode;
  }
  yield { kind: "directory", path: name, mode };
  for (const entry of content.entries) {
    if (entry.path !== "") yield { ...entry, path: `${name}/${entry.path}` };
  }
}

async function* bytesOf(entry: Entry): AsyncGenerator<Uint8Array> {
  if (entry.kind === "directory") return;
  if (entry.kind === "symlink") {
    yield Buffer.from(entry.target);
    return;
  }
  const { content } = entry;
  if (content.kind === "bytes") {
    yield content.bytes;
    return;
  }
  const { path, offset, size } = content;
  if (size === 0) return;
  let read = 0;
  const options = { start: offset, end: offset + size - 1, highWaterMark: pieceBytes };
  for await (const piece of createReadStream(path, options)) {
    const bytes: Uint8Array = piece;
    read += bytes.length;
    yield bytes;
  }
  if (read === size) return;
  throw new Failure("storage", `"${entry.path}" has ${read} of its ${size} bytes`, {
    hint: "Something other than Atalanta writes to its folder.",
  });
}

function sizeOf(entry: Entry): number {
  if (entry.kind !== "file") return 0;
  return entry.content.kind === "bytes" ? entry.content.bytes.length : entry.content.size;
}

async function* tar(entries: Iterable<Entry>): AsyncGenerator<Uint8Array> {
  for (const entry of entries) {
    yield* tarHeaders(entry);
    if (entry.kind !== "file") continue;
    yield* bytesOf(entry);
    yield padding(sizeOf(entry));
  }
  yield Buffer.alloc(2 * blockBytes);
}

const tarTypes = { file: "0", symlink: "2", directory: "5" } as const;
const largestOctal = 0o77777777777;

/** What has no room in the old fields goes into a record before them, as POSIX has it. */
function* tarHeaders(entry: Entry): Generator<Uint8Array> {
  const path = entry.kind === "directory" ? `${entry.path}/` : entry.path;
  const target = entry.kind === "symlink" ? entry.target : "";
  const size = sizeOf(entry);
  const records = [
    ...(fits(path) ? [] : [record("path", path)]),
    ...(fits(target) ? [] : [record("linkpath", target)]),
    ...(size <= largestOctal ? [] : [record("size", String(size))]),
  ];
  if (records.length > 0) {
    const body = Buffer.concat(records);
    yield tarHeader({ path: "PaxHeader", target: "", mode: 0o644, size: body.length, type: "x" });
    yield body;
    yield padding(body.length);
  }
  yield tarHeader({
    path,
    target,
    mode: entry.kind === "symlink" ? 0o777 : entry.mode,
    size: Math.min(size, largestOctal),
    type: tarTypes[entry.kind],
  });
}

function fits(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- what is not ASCII is what is looked for
  return text.length <= 100 && /^[\u0001-\u007f]*$/.test(text);
}

function record(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) {
    length = String(length).length + rest.length;
  }
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function tarHeader(of: {
  readonly path: string;
  readonly target: string;
  readonly mode: number;
  readonly size: number;
  readonly type: string;
}): Buffer {
  const header = Buffer.alloc(blockBytes);
  header.write(of.path, 0, 100, "latin1");
  header.write(octal(of.mode & 0o7777, 8), 100, "latin1");
  header.write(octal(0, 8), 108, "latin1");
  header.write(octal(0, 8), 116, "latin1");
  header.write(octal(of.size, 12), 124, "latin1");
  header.write(octal(modifiedAt, 12), 136, "latin1");
  header.write("        ", 148, "latin1");
  header.write(of.type, 156, "latin1");
  header.write(of.target, 157, 100, "latin1");
  header.write("ustar\u000000", 257, "latin1");
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, "0")}\u0000 `, 148, "latin1");
  return header;
}

function octal(value: number, length: number): string {
  return `${value.toString(8).padStart(length - 1, "0")}\u0000`;
}

function padding(size: number): Buffer {
  return Buffer.alloc((blockBytes - (size % blockBytes)) % blockBytes);
}

const far = 0xffff_ffff;
const flags = 0x0808; // sizes follow the bytes; names are UTF-8
const dosDate = 0x0021;

function zipName(entry: Entry): Buffer {
  return Buffer.from(entry.kind === "directory" ? `${entry.path}/` : entry.path);
}

/** Deflate may make a file a little larger, so those near the border have long fields, too. */
function isFar(entry: Entry): boolean {
  return sizeOf(entry) >= 0xf000_0000;
}

function localHeader(entry: Entry): Buffer {
  const name = zipName(entry);
  const long = isFar(entry);
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x0403_4b50, 0);
  header.writeUInt16LE(long ? 45 : 20, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt16LE(8, 8);
  header.writeUInt16LE(dosDate, 12);
  if (long) header.writeUInt32LE(far, 18);
  if (long) header.writeUInt32LE(far, 22);
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(long ? 20 : 0, 28);
  const extra = Buffer.alloc(long ? 20 : 0);
  if (long) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(16, 2);
  }
  return Buffer.concat([header, name, extra]);
}

interface Sizes {
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
}

function descriptor(entry: Entry, { crc, packed, size }: Sizes): Buffer {
  const long = isFar(entry);
  const made = Buffer.alloc(long ? 24 : 16);
  made.writeUInt32LE(0x0807_4b50, 0);
  made.writeUInt32LE(crc, 4);
  if (long) {
    made.writeBigUInt64LE(BigInt(packed), 8);
    made.writeBigUInt64LE(BigInt(size), 16);
  } else {
    made.writeUInt32LE(packed, 8);
    made.writeUInt32LE(size, 12);
  }
  return made;
}

const zipTypes = { file: 0o100000, symlink: 0o120000, directory: 0o040000 } as const;

function centralHeader(
  entry: Entry,
  { crc, packed, size, begin }: Sizes & { readonly begin: number },
): Buffer {
  const name = zipName(entry);
  const long = [size, packed, begin].filter((value) => value >= far);
  const extra = Buffer.alloc(long.length === 0 ? 0 : 4 + 8 * long.length);
  if (long.length > 0) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(8 * long.length, 2);
    for (const [index, value] of long.entries()) {
      extra.writeBigUInt64LE(BigInt(value), 4 + 8 * index);
    }
  }
  const header = Buffer.alloc(46);
  header.writeUInt32LE(0x0201_4b50, 0);
  header.writeUInt16LE((3 << 8) | 45, 4);
  header.writeUInt16LE(isFar(entry) || long.length > 0 ? 45 : 20, 6);
  header.writeUInt16LE(flags, 8);
  header.writeUInt16LE(8, 10);
  header.writeUInt16LE(dosDate, 14);
  header.writeUInt32LE(crc, 16);
  header.writeUInt32LE(Math.min(packed, far), 20);
  header.writeUInt32LE(Math.min(size, far), 24);
  header.writeUInt16LE(name.length, 28);
  header.writeUInt16LE(extra.length, 30);
  const mode = entry.kind === "symlink" ? 0o777 : entry.mode & 0o7777;
  header.writeUInt32LE(((zipTypes[entry.kind] | mode) << 16) >>> 0, 38);
  header.writeUInt32LE(Math.min(begin, far), 42);
  return Buffer.concat([header, name, extra]);
}

function endOfZip(count: number, begin: number, size: number): Buffer {
  const long = count >= 0xffff || begin >= far || size >= far;
  const before = Buffer.alloc(long ? 76 : 0);
  if (long) {
    before.writeUInt32LE(0x0606_4b50, 0);
    before.writeBigUInt64LE(44n, 4);
    before.writeUInt16LE((3 << 8) | 45, 12);
    before.writeUInt16LE(45, 14);
    before.writeBigUInt64LE(BigInt(count), 24);
    before.writeBigUInt64LE(BigInt(count), 32);
    before.writeBigUInt64LE(BigInt(size), 40);
    before.writeBigUInt64LE(BigInt(begin), 48);
    before.writeUInt32LE(0x0706_4b50, 56);
    before.writeBigUInt64LE(BigInt(begin + size), 64);
    before.writeUInt32LE(1, 72);
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x0605_4b50, 0);
  end.writeUInt16LE(Math.min(count, 0xffff), 8);
  end.writeUInt16LE(Math.min(count, 0xffff), 10);
  end.writeUInt32LE(Math.min(size, far), 12);
  end.writeUInt32LE(Math.min(begin, far), 16);
  return Buffer.concat([before, end]);
}

/** What a stream of zlib makes of pieces; whoever stops reading ends both. */
async function* through(
  pieces: AsyncIterable<Uint8Array>,
  packer: NodeJS.ReadWriteStream & { destroy(cause?: Error): unknown },
): AsyncGenerator<Uint8Array> {
  const source = Readable.from(pieces, { objectMode: true, highWaterMark: 1 });
  source.on("error", (cause) => packer.destroy(cause));
  source.pipe(packer);
  try {
    for await (const piece of packer) yield Buffer.from(piece);
  } finally {
    source.destroy();
    packer.destroy();
  }
}

import type { Readable } from "node:stream";
import { crc32 } from "node:zlib";
import { openPromise, type Entry } from "yauzl";
import { broken } from "./broken.ts";
import type { ArchiveEntry } from "./tar.ts";

// The package's types do not have its promises yet.
declare module "yauzl" {
  interface ZipFile {
    eachEntry(): AsyncIterableIterator<Entry>;
    openReadStreamPromise(entry: Entry): Promise<Readable>;
  }
  function openPromise(path: string, options: { readonly autoClose: boolean }): Promise<ZipFile>;
}

/** Reads a zip archive. Links in it are plain files with their target as text, as Argo unpacks them. */
export async function* readZip(path: string): AsyncGenerator<ArchiveEntry> {
  const zip = await complaining(() => openPromise(path, { autoClose: false }));
  try {
    const entries = zip.eachEntry();
    for (;;) {
      const next = await complaining(() => entries.next());
      if (next.done) return;
      const entry = next.value;
      const unix = (entry.externalFileAttributes >>> 16) & 0o777;
      const directory = entry.fileName.endsWith("/");
      yield {
        kind: directory ? "directory" : "file",
        path: entry.fileName,
        mode: unix || (directory ? 0o755 : 0o644),
        size: entry.uncompressedSize,
        target: "",
        read: () => content(zip, entry),
      };
    }
  } finally {
    zip.close();
  }
}

async function* content(
  zip: { openReadStreamPromise(entry: Entry): Promise<Readable> },
  entry: Entry,
): AsyncGenerator<Uint8Array> {
  if (entry.isEncrypted()) throw broken(`"${entry.fileName}" is encrypted`);
  const stream = await complaining(() => zip.openReadStreamPromise(entry));
  const blocks: AsyncIterator<Uint8Array> = stream[Symbol.asyncIterator]();
  let sum = 0;
  try {
    for (;;) {
      const next = await complaining(() => blocks.next());
      if (next.done) break;
      sum = crc32(next.value, sum);
      yield next.value;
    }
  } finally {
    stream.destroy();
  }
  if (sum !== entry.crc32) throw broken(`the checksum of "${entry.fileName}" is wrong`);
}

/** The library's errors are about the archive; those of the disk keep their own name. */
async function complaining<Value>(work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (thrown) {
    if (thrown instanceof Error && "syscall" in thrown) throw thrown;
    throw broken(thrown instanceof Error ? thrown.message : String(thrown));
  }
}

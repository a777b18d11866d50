import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../errors/mod.ts";
import type { HostBytes, TreeEntry } from "../wasi/mod.ts";
import { broken, shown } from "./broken.ts";
import { safeTarget } from "./links.ts";
import type { ArchiveEntry } from "./tar.ts";

/** What one archive may hold. */
export interface ArchiveLimits {
  /** Default: 100,000. */
  readonly entries: number;
  /** Bytes of all its files together; default: 16 GiB. */
  readonly totalBytes: number;
  /** How many times the archive's own size may come out of it, once that is more than 256 MiB; default: 200. */
  readonly ratio: number;
}

export const defaultArchiveLimits: ArchiveLimits = {
  entries: 100_000,
  totalBytes: 16 * 1024 ** 3,
  ratio: 200,
};

const ratioFrom = 256 * 1024 * 1024;
/** Names nested deeper than any file system would take. */
const depth = 256;
/** Longest name or target of a link, as a system takes it, and all of them together: they lie in memory. */
const nameBytes = 4096;
const allNameBytes = 64 * 1024 * 1024;

/** Files up to here lie in one file of the host together. */
const smallBytes = 64 * 1024;

export interface ArchiveTreeOptions {
  /** Folder of ours, empty, for what comes out; the caller removes it. */
  readonly scratch: string;
  readonly limits: ArchiveLimits;
  /** What has been packed, in bytes: see `ArchiveLimits.ratio`. */
  readonly packedBytes: number;
  readonly signal?: AbortSignal;
}

type Node =
  | Extract<TreeEntry, { readonly kind: "file" | "symlink" }>
  | { readonly kind: "directory"; readonly path: string; readonly mode: number };

/** What comes out of archives as a tree that grows, with its ceilings. Large files lie in files of their own, small ones behind each other in one. */
export class ArchiveTree implements AsyncDisposable {
  readonly #options: ArchiveTreeOptions;
  /** All that may come out, in bytes. */
  readonly allowedBytes: number;
  readonly #nodes = new Map<string, Node>();
  #entries = 0;
  #bytes = 0;
  #nameBytes = 0;
  #files = 0;
  #small: FileHandle | undefined;
  #smallUsed = 0;

  constructor(options: ArchiveTreeOptions) {
    this.#options = options;
    this.allowedBytes = allowedBytes(options.limits, options.packedBytes);
  }

  async add(entry: ArchiveEntry): Promise<void> {
    this.#entries++;
    if (this.#entries > this.#options.limits.entries) {
      throw broken(`it has more than ${this.#options.limits.entries} entries`);
    }
    const path = inside(entry.path);
    if (path === "") {
      if (entry.kind === "directory") return;
      throw broken(`"${shown(entry.path)}" is no name`);
    }
    this.#parents(path);
    const before = this.#nodes.get(path);
    if (before && (before.kind === "directory") !== (entry.kind === "directory")) {
      throw broken(`"${shown(path)}" is in it as a folder and as a file`);
    }
    // Argo makes every folder with these bits, so that its owner can go on writing into it.
    if (entry.kind === "directory") this.#set({ kind: "directory", path, mode: 0o755 });
    else if (entry.kind === "symlink") {
      checkLength(entry.target);
      if (!safeTarget(path, entry.target)) {
        throw broken(`the link "${shown(path)}" leads outside, to "${shown(entry.target)}"`);
      }
      this.#set({ kind: "symlink", path, target: entry.target });
    } else if (entry.kind === "hardlink") {
      const target = this.#nodes.get(inside(entry.target));
      if (target?.kind !== "file") {
        throw broken(`"${shown(path)}" is a link to "${shown(entry.target)}", which is not in it`);
      }
      // It becomes a file of its own, and counts as one.
      this.#addBytes(target.content.kind === "slice" ? target.content.size : 0);
      this.#set({ ...target, path });
    } else if (entry.kind === "file") {
      const content = await this.#write(entry);
      this.#set({ kind: "file", path, mode: entry.mode, content });
    }
    // Devices and pipes are left out, as Argo leaves them out.
  }

  #set(node: Node): void {
    this.#nodes.set(node.path, node);
    const target = node.kind === "symlink" ? node.target : "";
    this.#nameBytes += Buffer.byteLength(node.path) + Buffer.byteLength(target);
    if (this.#nameBytes > allNameBytes) {
      throw broken(`its names have more than ${allNameBytes} bytes together`);
    }
  }

  /** Folders above the path; a link or file there would be a way to write elsewhere. */
  #parents(path: string): void {
    const parts = path.split("/");
    if (parts.length > depth) throw broken(`"${shown(path)}" lies deeper than ${depth} folders`);
    for (let count = 1; count < parts.length; count++) {
      const parent = parts.slice(0, count).join("/");
      const node = this.#nodes.get(parent);
      if (node && node.kind !== "directory") {
        throw broken(`"${shown(path)}" lies below "${shown(parent)}", which is no folder`);
      }
      if (!node) this.#set({ kind: "directory", path: parent, mode: 0o755 });
    }
    if (this.#nodes.size > 2 * this.#options.limits.entries) {
      throw broken(`it has more than ${2 * this.#options.limits.entries} folders`);
    }
  }

  async #write(entry: ArchiveEntry): Promise<HostBytes> {
    if (this.#bytes + entry.size > this.allowedBytes) throw this.#tooMuch();
    const blocks = entry.read();
    if (entry.size <= smallBytes) return this.#writeSmall(blocks, entry.size);
    const path = join(this.#options.scratch, `file-${++this.#files}`);
    await using file = await open(path, "wx");
    let size = 0;
    for await (const block of blocks) {
      this.#addBytes(block.length);
      await file.writeFile(block);
      size += block.length;
      if (this.#options.signal?.aborted)
        throw new Failure("aborted", "Stopped while an archive was unpacked");
    }
    return { kind: "slice", path, offset: 0, size };
  }

  async #writeSmall(blocks: AsyncIterable<Uint8Array>, size: number): Promise<HostBytes> {
    const path = join(this.#options.scratch, "small");
    this.#small ??= await open(path, "wx");
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const block of blocks) {
      this.#addBytes(block.length);
      length += block.length;
      if (length > size) throw broken("a file has more bytes than it says");
      parts.push(block);
    }
    const bytes = Buffer.concat(parts);
    await this.#small.writeFile(bytes);
    const offset = this.#smallUsed;
    this.#smallUsed += bytes.length;
    return { kind: "slice", path, offset, size: bytes.length };
  }

  #addBytes(count: number): void {
    this.#bytes += count;
    if (this.#bytes > this.allowedBytes) throw this.#tooMuch();
  }

  #tooMuch(): Failure {
    return broken(`more than ${this.allowedBytes} bytes come out of it`);
  }

  entries(): readonly TreeEntry[] {
    return [...this.#nodes.values()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#small?.close();
  }
}

/** How many bytes may come out of what has so many packed. */
export function allowedBytes({ totalBytes, ratio }: ArchiveLimits, packedBytes: number): number {
  return Math.min(totalBytes, Math.max(ratioFrom, packedBytes * ratio));
}

/** The name as a path inside, as Argo reads it: absolute ones begin at the folder, and one that climbs out is refused. */
function inside(name: string): string {
  checkLength(name);
  const parts: string[] = [];
  for (const part of name.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) throw broken(`"${shown(name)}" leads outside`);
  }
  if (name.includes("\0")) throw broken(`"${shown(name)}" is no name`);
  return parts.join("/");
}

function checkLength(name: string): void {
  if (Buffer.byteLength(name) <= nameBytes) return;
  throw broken(`"${shown(name)}…" has more than ${nameBytes} bytes`);
}

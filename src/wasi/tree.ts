import { close, closeSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Limits } from "../limits/mod.ts";
import { Errno } from "./errno.ts";
import type { HostBytes, Mount, TreeEntry } from "./mod.ts";

/** What a tree may hold, counted over everything that the guest writes. */
export type TreeLimits = Pick<Limits, "filesBytes" | "fileBytes" | "fileCount" | "pathDepth">;

/** Milliseconds as the host's clock has them, or the nanoseconds that a guest set. */
export type Time = number | bigint;

/** Notes that the content changed now. */
export function touch(node: Node): void {
  node.modified = node.changed = Date.now();
}

export class FileNode {
  readonly kind = "file";
  readonly id: number;
  mode: number;
  readOnly = false;
  links = 1;
  accessed: Time = Date.now();
  modified: Time = this.accessed;
  changed: Time = this.accessed;
  content: Content;
  constructor(id: number, mode: number, content: Content) {
    this.id = id;
    this.mode = mode;
    this.content = content;
  }
  get size(): number {
    return this.content.kind === "slice" ? this.content.size : this.content.length;
  }
}

export class DirectoryNode {
  readonly kind = "directory";
  readonly id: number;
  mode = 0o755;
  readOnly = false;
  links = 1;
  accessed: Time = Date.now();
  modified: Time = this.accessed;
  changed: Time = this.accessed;
  /** Guest names are keys of this map and nothing else; insertion order is the reading order. */
  readonly children: Map<string, Node> = new Map<string, Node>();
  parent: DirectoryNode;
  constructor(id: number, parent: DirectoryNode | undefined) {
    this.id = id;
    this.parent = parent ?? this;
  }
  get size(): number {
    return 0;
  }
}

export class LinkNode {
  readonly kind = "symlink";
  readonly id: number;
  readonly target: string;
  readOnly = false;
  links = 1;
  accessed: Time = Date.now();
  modified: Time = this.accessed;
  changed: Time = this.accessed;
  constructor(id: number, target: string) {
    this.id = id;
    this.target = target;
  }
  get size(): number {
    return Buffer.byteLength(this.target);
  }
}

export type Node = FileNode | DirectoryNode | LinkNode;

/** Bytes of a file: unchanged bytes of the host, a buffer that grows, or a spill file of ours. */
type Content =
  | {
      readonly kind: "slice";
      readonly path: string;
      readonly offset: number;
      readonly size: number;
    }
  /** `given`: the host's bytes, which count for nothing and are not written to: the first write makes them the guest's own. */
  | { readonly kind: "memory"; bytes: Uint8Array; length: number; given: boolean }
  | Spill;

interface Spill {
  readonly kind: "spill";
  readonly path: string;
  length: number;
}

const noBytes = new Uint8Array(0);

/** A file grows in memory up to here, then lies in a spill file. */
const spillFileBytes = 256 * 1024;
/** Host files held open; the one that was not used for the longest time is closed first. */
const heldOpen = 64;
/** All files of one sandbox together stay in memory up to here. */
const spillTotalBytes = 32 * 1024 * 1024;

/** What the host may still be giving back behind a guest that goes on; above it the guest waits for it. */
const freeingBytes = 256 * 1024 * 1024;

/** Targets of all links that a guest makes together: they lie in memory. */
const targetsBytes = 16 * 1024 * 1024;

/** The inode tree of one sandbox. Nothing in it reaches the host's path functions with a name of the guest's. */
export class Tree {
  readonly root: DirectoryNode = new DirectoryNode(1, undefined);
  readonly #limits: TreeLimits;
  readonly #staging: () => string;
  readonly #descriptors = new Map<string, number>();
  #lastOpen = "";
  readonly #spilled = new Map<string, Spill>();
  #freeingBytes = 0;
  #nextId = 2;
  #memoryBytes = 0;
  #targetBytes = 0;
  #spillCount = 0;
  fileCount = 0;
  filesBytes = 0;
  bytesWritten = 0;

  /** `staging` names a folder of ours; it is asked only when something spills. */
  constructor(limits: TreeLimits, staging: () => string) {
    this.#limits = limits;
    this.#staging = staging;
  }

  /** Bytes of files that lie in memory. */
  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  /** Lays host content into the tree; later mounts cover earlier ones. */
  mount(mount: Mount): void {
    const parts = mount.path.split("/").filter((part) => part !== "");
    if (mount.content.kind === "directory") {
      const directory = this.#directoryAt(this.root, parts);
      for (const entry of mount.content.entries) this.#add(directory, entry, mount.readOnly);
      directory.readOnly = mount.readOnly;
    } else {
      const { mode, content } = mount.content;
      this.#add(this.root, { kind: "file", path: parts.join("/"), mode, content }, mount.readOnly);
    }
  }

  #add(base: DirectoryNode, entry: TreeEntry, readOnly: boolean): void {
    const parts = entry.path.split("/").filter((part) => part !== "");
    if (entry.kind === "directory") {
      const directory = this.#directoryAt(base, parts);
      directory.mode = entry.mode;
      directory.readOnly = readOnly;
      return;
    }
    const name = parts.pop() ?? "";
    const parent = this.#directoryAt(base, parts);
    const node =
      entry.kind === "symlink"
        ? new LinkNode(this.#nextId++, entry.target)
        : new FileNode(this.#nextId++, entry.mode, ofHost(entry.content));
    node.readOnly = readOnly;
    parent.children.set(name, node);
    if (readOnly && parent !== this.root && base !== this.root) parent.readOnly = true;
  }

  #directoryAt(base: DirectoryNode, parts: readonly string[]): DirectoryNode {
    let directory = base;
    for (const part of parts) {
      let next = directory.children.get(part);
      if (next?.kind !== "directory") {
        next = new DirectoryNode(this.#nextId++, directory);
        directory.children.set(part, next);
      }
      directory = next;
    }
    return directory;
  }

  createFile(parent: DirectoryNode, name: string): FileNode {
    const content: Content = { kind: "memory", bytes: noBytes, length: 0, given: false };
    return this.#created(parent, name, new FileNode(this.#nextId++, 0o644, content));
  }

  createDirectory(parent: DirectoryNode, name: string): DirectoryNode {
    if (depthOf(parent) >= this.#limits.pathDepth) throw new Errno("nametoolong", "pathDepth");
    return this.#created(parent, name, new DirectoryNode(this.#nextId++, parent));
  }

  createLink(parent: DirectoryNode, name: string, target: string): LinkNode {
    const link = new LinkNode(this.#nextId++, target);
    if (this.#targetBytes + link.size > targetsBytes) throw new Errno("nospc");
    this.#created(parent, name, link);
    this.#targetBytes += link.size;
    return link;
  }

  /** Gives a file or link a further name. */
  link(parent: DirectoryNode, name: string, node: FileNode | LinkNode): void {
    this.#created(parent, name, node);
    node.links++;
  }

  /** Lets a directory have another parent; its names are the caller's. */
  moveTo(node: DirectoryNode, parent: DirectoryNode): void {
    const { pathDepth } = this.#limits;
    const depth = depthOf(parent);
    // How deep it is itself matters only where it comes to lie deeper.
    if (depth > depthOf(node.parent) && depth + heightOf(node) > pathDepth) {
      throw new Errno("nametoolong", "pathDepth");
    }
    node.parent = parent;
  }

  #created<Kind extends Node>(parent: DirectoryNode, name: string, node: Kind): Kind {
    if (this.fileCount >= this.#limits.fileCount) throw new Errno("nospc", "fileCount");
    parent.children.set(name, node);
    touch(parent);
    this.fileCount++;
    return node;
  }

  /** Forgets content that no name and no descriptor reaches any more. */
  release(file: FileNode): void {
    const { content } = file;
    if (content.kind === "spill") this.#remove(content);
    // Or files of a short life would fill the room in memory for good.
    else if (content.kind === "memory" && !content.given) this.#memoryBytes -= content.bytes.length;
    if (content.kind === "spill" || (content.kind === "memory" && !content.given)) {
      this.filesBytes -= content.length;
    }
    file.content = { kind: "memory", bytes: noBytes, length: 0, given: false };
  }

  /** Reads up to `length` bytes at `position` to `start` of `into`; returns how many. */
  read(file: FileNode, position: number, into: Uint8Array, start: number, length: number): number {
    const { content } = file;
    const count = Math.min(length, Math.max(0, file.size - position));
    if (count === 0) return 0;
    if (content.kind === "memory") {
      copy(content.bytes, position, into, start, count);
      return count;
    }
    const offset = content.kind === "slice" ? content.offset : 0;
    const descriptor = this.#open(content.path, content.kind === "slice" ? "r" : "r+");
    const got = readSync(descriptor, into, start, count, offset + position);
    if (content.kind === "slice") return got;
    // A spill file ends where something was written last, and the guest's may be longer.
    into.fill(0, start + got, start + count);
    return count;
  }

  /**
   * Writes `length` bytes from `start` of `from` at `position`, growing the file. Throws when a ceiling stands in the way, and
   * then nothing is changed.
   */
  write(file: FileNode, position: number, from: Uint8Array, start: number, length: number): void {
    const end = position + length;
    this.resize(file, Math.max(end, file.size));
    const { content } = file;
    if (content.kind === "memory") copy(from, start, content.bytes, position, length);
    else if (content.kind === "spill") {
      writeAll(this.#open(content.path, "r+"), position, from, start, length);
    }
    touch(file);
    this.bytesWritten += length;
  }

  /** Sets the size, filling with zeros, after taking host content over. Throws when a ceiling stands in the way. */
  resize(file: FileNode, size: number): void {
    const before = file.content;
    const given = before.kind === "slice" || (before.kind === "memory" && before.given);
    const held = given ? 0 : file.size;
    if (this.filesBytes - held + size > this.#limits.filesBytes) throw new Errno("nospc", "files");
    if (size > this.#limits.fileBytes && size > file.size) throw new Errno("fbig", "fileSize");
    const content = this.#own(file, size);
    this.filesBytes += size - held;
    if (content.kind === "spill") {
      // Bytes between the old and the new end must read as zeros even when the file shrank before.
      if (size < content.length) ftruncateSync(this.#open(content.path, "r+"), size);
      content.length = size;
      return;
    }
    if (size > content.bytes.length) {
      const grown = new Uint8Array(
        Math.max(size, Math.min(content.bytes.length * 2, spillFileBytes)),
      );
      grown.set(content.bytes.subarray(0, content.length));
      this.#memoryBytes += grown.length - content.bytes.length;
      content.bytes = grown;
    }
    if (size < content.length) content.bytes.fill(0, size, content.length);
    content.length = size;
  }

  /** Makes the content writable, with room for `size` bytes. */
  #own(file: FileNode, size: number): Exclude<Content, { kind: "slice" }> {
    const before = file.content;
    if (before.kind === "memory" && before.given) {
      before.bytes = before.bytes.slice();
      before.given = false;
      this.#memoryBytes += before.bytes.length;
    }
    const large = size > spillFileBytes || this.#memoryBytes + size > spillTotalBytes;
    if (
      before.kind === "spill" ||
      (before.kind === "memory" && (!large || size <= before.length))
    ) {
      return before;
    }
    const keep = Math.min(file.size, size);
    if (!large) {
      const bytes = new Uint8Array(size);
      if (this.read(file, 0, bytes, 0, keep) < keep) throw new Errno("io");
      this.#memoryBytes += size;
      const owned: Content = { kind: "memory", bytes, length: keep, given: false };
      file.content = owned;
      return owned;
    }
    const path = join(this.#staging(), `spill-${++this.#spillCount}`);
    const spill: Content = { kind: "spill", path, length: keep };
    this.#open(path, "wx+");
    this.#spilled.set(path, spill);
    const block = new Uint8Array(Math.min(keep, 256 * 1024));
    for (let at = 0; at < keep;) {
      const count = this.read(file, at, block, 0, Math.min(block.length, keep - at));
      // The file of the host became shorter.
      if (count === 0) throw new Errno("io");
      writeAll(this.#open(path, "r+"), at, block, 0, count);
      at += count;
    }
    if (before.kind === "memory") this.#memoryBytes -= before.bytes.length;
    file.content = spill;
    return spill;
  }

  #open(path: string, flags: string): number {
    // The small files of a tree share one pack: one descriptor serves them all.
    const known = this.#descriptors.get(path);
    if (known !== undefined && path === this.#lastOpen) return known;
    const descriptor = known ?? openSync(path, flags, 0o600);
    // The order of the map is the order of use.
    this.#descriptors.delete(path);
    this.#descriptors.set(path, descriptor);
    this.#lastOpen = path;
    const [oldest] = this.#descriptors;
    if (this.#descriptors.size > heldOpen && oldest) {
      this.#descriptors.delete(oldest[0]);
      closeSync(oldest[1]);
    }
    return descriptor;
  }

  /** The bytes as the host sees them. A spill file that is handed out is no longer removed by `close`. */
  handOut(file: FileNode): HostBytes {
    const { content } = file;
    if (content.kind === "memory") {
      return { kind: "bytes", bytes: content.bytes.slice(0, content.length) };
    }
    if (content.kind === "spill") {
      ftruncateSync(this.#open(content.path, "r+"), content.length);
      this.#spilled.delete(content.path);
      return { kind: "slice", path: content.path, offset: 0, size: content.length };
    }
    return { kind: "slice", path: content.path, offset: content.offset, size: content.size };
  }

  /**
   * Closes the host's descriptors and removes the spill files nobody was given. The thread may be interrupted at any point of
   * this and call it again, so a descriptor is forgotten before it is closed: one that is left open is better than one
   * closed twice, whose number may be another file's by then.
   */
  close(): void {
    for (const spill of this.#spilled.values()) this.#remove(spill);
    for (const [path, descriptor] of this.#descriptors) {
      this.#descriptors.delete(path);
      closeSync(descriptor);
    }
  }

  /** Removes a spill file. With its last descriptor the host gives its pages back, which for a large one takes its time. */
  #remove({ path, length }: Spill): void {
    rmSync(path, { force: true });
    this.#spilled.delete(path);
    const descriptor = this.#descriptors.get(path);
    if (descriptor === undefined) return;
    this.#descriptors.delete(path);
    if (length < spillTotalBytes || this.#freeingBytes + length > freeingBytes) {
      closeSync(descriptor);
      return;
    }
    this.#freeingBytes += length;
    close(descriptor, () => (this.#freeingBytes -= length));
  }
}

/** Directories from the root to this one, which counts and the root does not. */
function depthOf(directory: DirectoryNode): number {
  let depth = 0;
  for (let at = directory; at !== at.parent; at = at.parent) depth++;
  return depth;
}

/** Directories in each other from this one on. */
function heightOf(directory: DirectoryNode): number {
  let height = 0;
  const todo: (readonly [DirectoryNode, number])[] = [[directory, 1]];
  for (let next = todo.pop(); next; next = todo.pop()) {
    const [at, depth] = next;
    height = Math.max(height, depth);
    for (const child of at.children.values()) {
      if (child.kind === "directory") todo.push([child, depth + 1]);
    }
  }
  return height;
}

function writeAll(
  descriptor: number,
  position: number,
  from: Uint8Array,
  start: number,
  length: number,
): void {
  for (let done = 0; done < length;) {
    done += writeSync(descriptor, from, start + done, length - done, position + done);
  }
}

/** Below this many bytes a loop is done before a view of them is made. */
const loopBytes = 64;

function copy(from: Uint8Array, start: number, to: Uint8Array, at: number, length: number): void {
  if (length > loopBytes) to.set(from.subarray(start, start + length), at);
  else for (let index = 0; index < length; index++) to[at + index] = from[start + index] ?? 0;
}

function ofHost(content: HostBytes): Content {
  if (content.kind === "slice") {
    return { kind: "slice", path: content.path, offset: content.offset, size: content.size };
  }
  return { kind: "memory", bytes: content.bytes, length: content.bytes.length, given: true };
}

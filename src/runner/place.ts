import { closeSync, constants, linkSync, mkdirSync, openSync, readSync, statSync } from "node:fs";
import {
  chmod,
  chown,
  copyFile,
  mkdir,
  open,
  readdir,
  readlink,
  rm,
  type FileHandle,
} from "node:fs/promises";
import { join } from "node:path";
import type { Collected, HostBytes, Mount, TreeEntry } from "../engine/mod.ts";
import type { Limits } from "../limits/mod.ts";
import type { Body } from "./channel.ts";
import type { SaidBytes, SaidCollected } from "./parse.ts";
import {
  givenFolder,
  writtenFolder,
  type WireBytes,
  type WireEntry,
  type WireMount,
} from "./wire.ts";

/** Parts of one host file up to here are sent; of a larger one the process gets a second name. */
const sentFileBytes = 64 * 1024;
/** All parts of files that are sent with one invocation. */
const sentBytes = 4 * 1024 * 1024;
const blockBytes = 1024 * 1024;

type Slice = Extract<HostBytes, { readonly kind: "slice" }>;

/** Files that one invocation was given, by the name they have in the process. */
export type Given = ReadonlyMap<string, { readonly path: string; readonly parts: Set<string> }>;

/**
 * The folders of one runner process. `in` is ours and holds what it is given; `out` is the process's own, and nothing of ours
 * writes or removes there while the process lives, for a folder that it can change may lead anywhere. The folder around
 * them is its working folder; those above that are closed to it.
 */
export class Place {
  readonly folder: string;
  readonly #user: number | undefined;
  readonly #taken: string;
  #takenCount = 0;

  private constructor(folder: string, taken: string, user: number | undefined) {
    this.folder = folder;
    this.#taken = taken;
    this.#user = user;
  }

  /** `base` is a folder of ours that others may not enter. */
  static async make(base: string, name: string, user: number | undefined): Promise<Place> {
    const folder = join(base, name);
    const out = join(folder, writtenFolder);
    const taken = join(base, `${name}-taken`);
    await mkdir(folder, { mode: 0o755 });
    await mkdir(join(folder, givenFolder), { mode: 0o755 });
    await mkdir(out, { mode: 0o700 });
    await mkdir(taken, { mode: 0o700 });
    // The file mode mask of whoever started us must not close what the process has to enter.
    for (const path of [folder, join(folder, givenFolder)]) await chmod(path, 0o755);
    if (user !== undefined) await chown(out, user, user);
    return new Place(folder, taken, user);
  }

  /** Lays host files ready and turns mounts into what is sent. */
  give(
    id: number,
    mounts: readonly Mount[],
    body: Body,
  ): {
    readonly mounts: readonly WireMount[];
    readonly given: Given;
    /** Files that are not there before this is settled. */
    readonly copies: readonly Promise<void>[];
  } {
    const sizes = new Map<string, number>();
    for (const slice of slicesOf(mounts)) {
      sizes.set(slice.path, (sizes.get(slice.path) ?? 0) + slice.size);
    }
    if (sizes.size === 0) {
      return { mounts: mounts.map((mount) => wired(mount, body)), given: none, copies: [] };
    }
    const copies: Promise<void>[] = [];
    const given = new Map<string, { readonly path: string; readonly parts: Set<string> }>();
    const names = new Map<string, string>();
    let room = sentBytes;
    const sent = new Map<string, Uint8Array>();
    for (const [path, size] of sizes) {
      if (size <= sentFileBytes && size <= room) {
        room -= size;
        continue;
      }
      const name = `${id}-${names.size}`;
      const copy = this.#lay(path, join(this.folder, givenFolder, name));
      if (copy) copies.push(copy);
      names.set(path, name);
      given.set(name, { path, parts: new Set() });
    }
    const small = readParts([...slicesOf(mounts)].filter(({ path }) => !names.has(path)));
    for (const [key, bytes] of small) sent.set(key, bytes);
    const content = (slice: Slice): WireBytes => {
      const name = names.get(slice.path);
      if (name === undefined) return body.add(sent.get(partKey(slice)) ?? new Uint8Array(0));
      given.get(name)?.parts.add(`${slice.offset} ${slice.size}`);
      return [`${givenFolder}/${name}`, slice.offset, slice.size];
    };
    return { mounts: mounts.map((mount) => wired(mount, body, content)), given, copies };
  }

  /** A second name where the process may read it but not write; else a copy, which takes a while. */
  #lay(from: string, to: string): Promise<void> | undefined {
    try {
      const readable = this.#user === undefined || (statSync(from).mode & 0o004) !== 0;
      if (readable) {
        linkSync(from, to);
        return undefined;
      }
    } catch {
      // Another file system, or a file that is not ours to link: copied, which says what is wrong if anything is.
    }
    return copied(from, to);
  }

  /** Removes what was laid ready for an invocation, or a part of it. */
  async takeBack(id: number): Promise<void> {
    const folder = join(this.folder, givenFolder);
    for (const name of await readdir(folder).catch(() => [])) {
      if (name.startsWith(`${id}-`)) await rm(join(folder, name), { force: true });
    }
  }

  /** Makes what the process left our own. Throws for what it could not have left honestly. */
  async take(
    paths: readonly string[],
    said: readonly SaidCollected[],
    about: { readonly given: Given; readonly limits: Limits },
  ): Promise<{ readonly collected: readonly Collected[]; readonly tookFiles: boolean }> {
    if (said.length !== paths.length) throw new Error(`${said.length} paths were collected`);
    const files = new Map<string, Slice>();
    const folder = join(this.#taken, `${++this.#takenCount}`);
    let room = about.limits.filesBytes;
    for (const { file, size } of writtenIn(said)) {
      if (files.has(file)) continue;
      room -= size;
      if (room < 0) throw new Error(`files of more than ${about.limits.filesBytes} bytes`);
      if (files.size === 0) mkdirSync(folder);
      const path = join(folder, `${files.size}`);
      files.set(file, { kind: "slice", path, offset: 0, size });
    }
    try {
      for (const [file, { path, size }] of files) await this.#copy(file, path, size);
    } catch (thrown) {
      // Nobody gets them, and they may have filled the disk.
      await rm(folder, { recursive: true, force: true });
      throw thrown;
    }
    const content = (bytes: SaidBytes): HostBytes => {
      if (bytes.kind === "bytes") return bytes;
      const slice =
        bytes.kind === "written" ? files.get(bytes.file) : givenBack(bytes, about.given);
      if (!slice) throw new Error(`the file "${bytes.file}"`);
      return slice;
    };
    const collected = said.map((item, at): Collected => {
      const path = paths[at] ?? "";
      if (item.kind === "missing") return { path, kind: "missing" };
      if (item.kind === "file") return { path, ...item, content: content(item.content) };
      const entries = item.entries.map((entry): TreeEntry =>
        entry.kind === "file" ? { ...entry, content: content(entry.content) } : entry,
      );
      return { path, kind: "directory", entries };
    });
    return { collected, tookFiles: files.size > 0 };
  }

  /**
   * Copied and not moved: the process may still hold a descriptor that it could write through after we looked at the bytes.
   * The folders on the way are the process's own and may have become links to anywhere, so what counts is whose file it is.
   */
  async #copy(file: string, to: string, size: number): Promise<void> {
    const from = join(this.folder, writtenFolder, file);
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    await using source = await open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(() => {
      throw new Error(`"${file}", which cannot be opened`);
    });
    if (process.platform === "linux") {
      const opened = await readlink(`/proc/self/fd/${source.fd}`);
      if (opened !== from) throw new Error(`"${file}", which lies elsewhere`);
    }
    const found = await source.stat();
    const owner = this.#user ?? process.getuid?.();
    if (!found.isFile() || found.nlink !== 1 || (owner !== undefined && found.uid !== owner)) {
      throw new Error(`"${file}", which is no file of its own`);
    }
    if (found.size !== size) throw new Error(`"${file}" with ${found.size} bytes, not ${size}`);
    await using target = await open(to, "wx", 0o600);
    await copyBytes(source, target, size);
  }

  /** Only when the process and all that it started are gone. */
  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true, maxRetries: 2 });
  }
}

const none: Given = new Map();

function partKey({ path, offset, size }: Slice): string {
  return `${offset} ${size} ${path}`;
}

function* slicesOf(mounts: readonly Mount[]): Iterable<Slice> {
  for (const { content } of mounts) {
    if (content.kind === "file") {
      if (content.content.kind === "slice") yield content.content;
      continue;
    }
    for (const entry of content.entries) {
      if (entry.kind === "file" && entry.content.kind === "slice") yield entry.content;
    }
  }
}

function wired(
  { path, readOnly, content }: Mount,
  body: Body,
  laid?: (slice: Slice) => WireBytes,
): WireMount {
  const bytes = (host: HostBytes): WireBytes =>
    host.kind === "bytes" ? body.add(host.bytes) : (laid?.(host) ?? [0, 0]);
  if (content.kind === "file") {
    return { path, readOnly, file: [content.mode, bytes(content.content)] };
  }
  const entries = content.entries.map((entry): WireEntry => {
    if (entry.kind === "directory") return ["d", entry.path, entry.mode];
    if (entry.kind === "symlink") return ["l", entry.path, entry.target];
    return ["f", entry.path, entry.mode, bytes(entry.content)];
  });
  return { path, readOnly, entries };
}

function* writtenIn(
  said: readonly SaidCollected[],
): Iterable<Extract<SaidBytes, { readonly kind: "written" }>> {
  for (const item of said) {
    if (item.kind === "file" && item.content.kind === "written") yield item.content;
    if (item.kind !== "directory") continue;
    for (const entry of item.entries) {
      if (entry.kind === "file" && entry.content.kind === "written") yield entry.content;
    }
  }
}

/** An input that the guest left as it was: the part of the host's file that it was given. */
function givenBack(
  { file, offset, size }: Extract<SaidBytes, { readonly kind: "given" }>,
  given: Given,
): Slice | undefined {
  const known = given.get(file);
  if (!known?.parts.has(`${offset} ${size}`)) return undefined;
  return { kind: "slice", path: known.path, offset, size };
}

async function copied(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  // A copy has the mode of what was copied, and nobody but this process gets here.
  await chmod(to, 0o644);
}

async function copyBytes(source: FileHandle, target: FileHandle, size: number): Promise<void> {
  const block = new Uint8Array(Math.min(blockBytes, size));
  for (let at = 0; at < size;) {
    const wanted = Math.min(block.length, size - at);
    const { bytesRead } = await source.read(block, 0, wanted, at);
    if (bytesRead === 0) throw new Error(`a file that ends after ${at} bytes`);
    for (let done = 0; done < bytesRead;) {
      done += (await target.write(block, done, bytesRead - done)).bytesWritten;
    }
    at += bytesRead;
  }
}

/** Small parts of files, each file opened once. */
function readParts(slices: readonly Slice[]): ReadonlyMap<string, Uint8Array> {
  const parts = new Map<string, Uint8Array>();
  let open: { readonly path: string; readonly descriptor: number } | undefined;
  try {
    for (const slice of slices.toSorted((left, right) => (left.path < right.path ? -1 : 1))) {
      const key = partKey(slice);
      if (parts.has(key)) continue;
      if (open?.path !== slice.path) {
        if (open) closeSync(open.descriptor);
        open = { path: slice.path, descriptor: openSync(slice.path, "r") };
      }
      const bytes = new Uint8Array(slice.size);
      for (let at = 0; at < bytes.length;) {
        const count = readSync(open.descriptor, bytes, at, bytes.length - at, slice.offset + at);
        if (count === 0) throw new Error(`"${slice.path}" ends too early`);
        at += count;
      }
      parts.set(key, bytes);
    }
  } finally {
    if (open) closeSync(open.descriptor);
  }
  return parts;
}

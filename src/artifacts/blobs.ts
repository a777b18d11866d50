import { createHash, type Hash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { link, mkdir, open, rename, rm, stat, utimes, type FileHandle } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { Failure } from "../errors/mod.ts";
import type { HostBytes } from "../wasi/mod.ts";

/** What is done before content counts as stored: nothing beyond the rename, or its bytes and its name on the disk. */
export type Durability = "normal" | "full";

/** Read and written at once: large files pass in constant memory. */
export const blockBytes: number = 1024 * 1024;
/** Written in one go on this thread; larger content would hold it up. */
const atOnceBytes = 64 * 1024;
/** Checked files remembered, the oldest forgotten first. */
const remembered = 4096;

export interface Kept {
  readonly digest: string;
  readonly size: number;
}

type Slice = Extract<HostBytes, { readonly kind: "slice" }>;

/** The files of the folder: written beside, published by a rename, never changed, checked before they are handed out. */
export class Blobs {
  readonly #folder: string;
  readonly #roots: readonly [blobs: string, packs: string];
  readonly #durability: Durability;
  /** Files whose digest was seen to be right, with what the file looked like then. */
  readonly #checked = new Map<string, string>();
  readonly #checking = new Map<string, Promise<void>>();

  constructor(folder: string, durability: Durability) {
    this.#folder = folder;
    this.#roots = [join(folder, "sha256") + sep, join(folder, "packs") + sep];
    this.#durability = durability;
  }

  /** Where the bytes with this digest lie. */
  path(digest: string): string {
    return join(this.#folder, "sha256", ...shard(digest));
  }

  /** Where the small files of the tree with this index lie. */
  packPath(index: string): string {
    return join(this.#folder, "packs", ...shard(index));
  }

  /** The digest of a whole blob of ours, out of its name. */
  digestOf(content: HostBytes): string | undefined {
    if (content.kind === "bytes" || content.offset !== 0) return undefined;
    const [root] = this.#roots;
    if (!content.path.startsWith(root)) return undefined;
    const hex = content.path.slice(root.length).replace(sep, "");
    return /^[0-9a-f]{64}$/.test(hex) ? `sha256:${hex}` : undefined;
  }

  /** Whether the file is one of ours and thus nobody's to remove. */
  owns(path: string): boolean {
    return this.#roots.some((root) => path.startsWith(root));
  }

  partial(): string {
    return join(this.#folder, "partial", randomUUID());
  }

  async keepBytes(bytes: Uint8Array): Promise<Kept> {
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    // A log of a few lines: four short calls cost less than the way to the thread pool and back costs once.
    if (bytes.length <= atOnceBytes && this.#durability === "normal") {
      this.#writeAtOnce(this.path(digest), bytes);
      return { digest, size: bytes.length };
    }
    await this.writeAndPublish(this.path(digest), async (file) => {
      await writeAll(file, bytes);
    });
    return { digest, size: bytes.length };
  }

  /**
   * Keeps a part of a host's file. The bytes are read once. With `mayLink` a whole file gets a second name in the folder
   * instead of a copy, where the file systems are the same; nobody may write to it any more.
   */
  async keepSlice(
    content: Slice,
    options: { readonly mayLink: boolean; readonly signal?: AbortSignal },
  ): Promise<Kept> {
    const known = this.digestOf(content);
    if (known !== undefined) {
      await this.touch(content.path);
      return { digest: known, size: content.size };
    }
    const linked = options.mayLink && content.offset === 0 ? await this.#link(content) : undefined;
    if (linked !== undefined) return this.#keepLinked(linked, content, options.signal);
    const hash = createHash("sha256");
    let digest = "";
    await this.writeAndPublish(
      () => this.path(digest),
      async (file) => {
        await readSlice(content, options.signal, async (block) => {
          hash.update(block);
          await writeAll(file, block);
        });
        digest = `sha256:${hash.digest("hex")}`;
      },
    );
    return { digest, size: content.size };
  }

  /** Makes `prune` count the age of a file of ours from now on. */
  async touch(path: string): Promise<void> {
    const checked = this.#checked.get(path) === appearance(await stat(path));
    const now = new Date();
    await utimes(path, now, now);
    if (checked) this.#remember(path, appearance(await stat(path)));
  }

  /** A second name for the file; nothing where that is not possible or the file has other bytes behind its end. */
  async #link(content: Slice): Promise<string | undefined> {
    const partial = this.partial();
    try {
      await link(content.path, partial);
    } catch {
      // Another file system, or one without links: copied instead, which says what is wrong if anything is.
      return undefined;
    }
    if ((await stat(partial)).size === content.size) return partial;
    await rm(partial, { force: true });
    return undefined;
  }

  async #keepLinked(
    partial: string,
    content: Slice,
    signal: AbortSignal | undefined,
  ): Promise<Kept> {
    try {
      const hash = createHash("sha256");
      await readSlice(content, signal, (block) => void hash.update(block));
      const digest = `sha256:${hash.digest("hex")}`;
      const now = new Date();
      await utimes(partial, now, now);
      await this.#publish(partial, this.path(digest), content.size);
      return { digest, size: content.size };
    } finally {
      // A rename onto another name of the same file leaves both.
      await rm(partial, { force: true });
    }
  }

  #writeAtOnce(to: string, bytes: Uint8Array): void {
    // A rename over a file makes ext4 flush the new one. The same log a thousand times is looked at instead, which also heals a damaged one.
    if (holds(to, bytes)) {
      const now = new Date();
      utimesSync(to, now, now);
      return;
    }
    const partial = this.partial();
    try {
      writeFileSync(partial, bytes, { flag: "wx" });
      try {
        renameSync(partial, to);
      } catch (thrown) {
        if (!isCode(thrown, "ENOENT")) throw thrown;
        mkdirSync(dirname(to), { recursive: true });
        renameSync(partial, to);
      }
    } catch (thrown) {
      rmSync(partial, { force: true });
      throw thrown;
    }
  }

  /** Writes a new file and gives it its name; a killed process leaves a file in `partial/` and nothing else. */
  async writeAndPublish(
    to: string | (() => string),
    write: (file: FileHandle) => Promise<void>,
  ): Promise<void> {
    const partial = this.partial();
    try {
      await using file = await open(partial, "wx");
      await write(file);
      if (this.#durability === "full") await file.sync();
      const { size } = await file.stat();
      await this.#publish(partial, typeof to === "string" ? to : to(), size, false);
    } catch (thrown) {
      await rm(partial, { force: true });
      throw thrown;
    }
  }

  async #publish(partial: string, to: string, size: number, sync = true): Promise<void> {
    const full = this.#durability === "full";
    if (full && sync) {
      await using file = await open(partial, "r+");
      await file.sync();
    }
    const folder = dirname(to);
    try {
      await rename(partial, to);
    } catch (thrown) {
      if (!isCode(thrown, "ENOENT")) throw thrown;
      await mkdir(folder, { recursive: true });
      await rename(partial, to);
    }
    if (full) for (const path of [folder, dirname(folder)]) await syncFolder(path);
    // Small files are cheaper to read again than to remember.
    if (size > blockBytes / 16) this.#remember(to, appearance(await stat(to)));
  }

  /** Makes sure that the file is there and undamaged; one that was checked before is only looked at. */
  async check(
    path: string,
    size: number,
    verify: (signal: AbortSignal | undefined) => Promise<void>,
    signal?: AbortSignal,
  ): Promise<void> {
    const found = await stat(path).catch((cause: unknown) => {
      if (isCode(cause, "ENOENT")) throw damaged(path, "is not there", cause);
      throw cause;
    });
    if (found.size !== size) throw damaged(path, `has ${found.size} bytes instead of ${size}`);
    const seen = appearance(found);
    if (this.#checked.get(path) === seen) return;
    // Many steps that read one artifact wait for one look at it. The first caller's signal ends it for all, who then look again.
    const running = this.#checking.get(path);
    if (running) {
      await running.catch(() => this.check(path, size, verify, signal));
      return;
    }
    const work = verify(signal).then(() => this.#remember(path, seen));
    this.#checking.set(path, work);
    try {
      await work;
    } finally {
      this.#checking.delete(path);
    }
  }

  /** Checks a blob's digest. */
  async checkBlob(kept: Kept, signal?: AbortSignal): Promise<void> {
    const path = this.path(kept.digest);
    const whole = { kind: "slice", path, offset: 0, size: kept.size } as const;
    await this.check(
      path,
      kept.size,
      async (given) => {
        const hash = createHash("sha256");
        await readSlice(whole, given, (block) => void hash.update(block));
        compare(hash, kept.digest);
      },
      signal,
    );
  }

  #remember(path: string, seen: string): void {
    this.#checked.delete(path);
    this.#checked.set(path, seen);
    const [oldest] = this.#checked.keys();
    if (this.#checked.size > remembered && oldest !== undefined) this.#checked.delete(oldest);
  }
}

/** Throws when the hash is not the digest. */
export function compare(hash: Hash, digest: string, name: string = digest): void {
  if (`sha256:${hash.digest("hex")}` !== digest) throw damaged(name, "is damaged");
}

export function damaged(name: string, how: string, cause?: unknown): Failure {
  return new Failure("storage", `The stored artifact ${name} ${how}`, {
    cause,
    hint: "Remove the file from the artifact folder and run the step that made it again.",
  });
}

/** Reads the slice block by block; each block is gone when the next comes. */
export async function readSlice(
  content: Slice,
  signal: AbortSignal | undefined,
  take: (block: Uint8Array) => void | Promise<void>,
): Promise<void> {
  if (content.size === 0) return;
  await using file = await open(content.path);
  const block = new Uint8Array(Math.min(blockBytes, content.size));
  for (let done = 0; done < content.size;) {
    if (signal?.aborted) throw new Failure("aborted", "Stopped while an artifact was read");
    const length = Math.min(block.length, content.size - done);
    const { bytesRead } = await file.read(block, 0, length, content.offset + done);
    if (bytesRead === 0) throw damaged(content.path, `ends after ${content.offset + done} bytes`);
    await take(block.subarray(0, bytesRead));
    done += bytesRead;
  }
}

/** Writes all of it at the file's position; a full disk may take a part at first. */
export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await file.write(bytes, done)).bytesWritten;
  }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path);
  await folder.sync();
}

export function isCode(thrown: unknown, code: string): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === code;
}

function appearance(found: {
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
}): string {
  return `${found.ino} ${found.size} ${found.mtimeMs}`;
}

function shard(digest: string): readonly [string, string] {
  const hex = digest.slice("sha256:".length);
  return [hex.slice(0, 2), hex.slice(2)];
}

function holds(path: string, bytes: Uint8Array): boolean {
  try {
    return readFileSync(path).equals(bytes);
  } catch {
    // Not there, or not to be read: written, which says what is wrong.
    return false;
  }
}

import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../errors/mod.ts";
import { LockFile } from "../locks/mod.ts";
import type { TreeEntry } from "../wasi/mod.ts";
import { parseObject } from "./failures.ts";
import type { CachedImage, Image } from "./image.ts";
import type { Pulled } from "./pull.ts";

/** Half pulls of processes that were killed go after a day. */
const leftoverMs = 24 * 60 * 60_000;
/** How often a process looks whether another one's pull has ended. */
const lookMs = 20;
/** A use is written down once a minute. */
const usedMs = 60_000;
const recordFile = "image.json";
/** Raised when older records cannot be read any more: such images are pulled again. */
const format = 1;

/** What lies in an image's folder. */
interface Stored extends Pulled {
  readonly format: typeof format;
  readonly digest: string;
  readonly sizeBytes: number;
  /** Files of the host in the folder, with their sizes. */
  readonly files: readonly (readonly [path: string, size: number])[];
}

/** What a tag was when it was looked up last. */
interface Tagged {
  readonly reference: string;
  readonly digest: string;
}

/**
 * Images on disk: a folder for each digest, which appears whole by a rename, and a small file for each tag. Many processes may share it. What a process
 * uses it holds a lock on, which ends with the process, so that nobody removes it meanwhile.
 */
export class ImageCache implements Disposable {
  readonly #folder: string;
  readonly #mostBytes: number;
  /** Images that this process has a lock on, and how many use them now. */
  readonly #held = new Map<string, { readonly lock: LockFile; users: number }>();
  /** Records that were looked at; an image's folder never changes. */
  readonly #known = new Map<string, Stored>();

  private constructor(folder: string, mostBytes: number) {
    this.#folder = folder;
    this.#mostBytes = mostBytes;
  }

  static async open(folder: string, mostBytes: number): Promise<ImageCache> {
    const cache = new ImageCache(resolve(folder), mostBytes);
    await cache.#storing(async () => {
      for (const name of ["images", "tags", "locks", "partial"]) {
        await mkdir(join(cache.#folder, name), { recursive: true });
      }
      await cache.#removeLeftovers();
    });
    return cache;
  }

  /** Runs `work` alone among all processes, when nobody else has done it meanwhile. */
  async alone(
    digest: string,
    work: () => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const path = this.#lockPath(digest, "pull");
    for (;;) {
      using lock = LockFile.take(path, 0);
      if (lock) {
        await work();
        return;
      }
      await sleep(lookMs, undefined, signal ? { signal } : {});
    }
  }

  /** A new folder for a pull; the caller removes it. */
  async partial(): Promise<string> {
    const path = join(this.#folder, "partial", randomUUID());
    await this.#storing(() => mkdir(path));
    return path;
  }

  /** Makes a pulled folder the image's. */
  async add(digest: string, folder: string, pulled: Pulled): Promise<void> {
    await this.#storing(async () => {
      const files: (readonly [string, number])[] = [];
      const found = await readdir(folder, { withFileTypes: true, recursive: true });
      for (const item of found) {
        if (!item.isFile()) continue;
        const path = join(item.parentPath, item.name);
        files.push([path.slice(folder.length + 1), (await stat(path)).size]);
      }
      const sizeBytes = files.reduce((sum, [, size]) => sum + size, 0);
      const record: Stored = { ...pulled, format, digest, sizeBytes, files };
      await writeFile(join(folder, recordFile), JSON.stringify(record));
      await this.remove(digest);
      await rename(folder, this.#imagePath(digest));
    });
    await this.#evict(digest);
  }

  /** The image, if it is here and looks whole; it stays until what comes back is disposed of. */
  async get(digest: string, reference: string): Promise<(Image & Disposable) | undefined> {
    const lease = this.#hold(digest);
    try {
      const record = lease && (await this.#read(digest));
      if (!record) {
        lease?.[Symbol.dispose]();
        return undefined;
      }
      return {
        ...this.#imageOf(record, reference),
        [Symbol.dispose]: () => lease[Symbol.dispose](),
      };
    } catch (thrown) {
      lease?.[Symbol.dispose]();
      throw thrown;
    }
  }

  /** Takes an image away, whoever uses it: it is damaged, or to be replaced. */
  async remove(digest: string): Promise<void> {
    this.#known.delete(digest);
    const aside = join(this.#folder, "partial", randomUUID());
    try {
      await rename(this.#imagePath(digest), aside);
    } catch (thrown) {
      if (isMissing(thrown)) return;
      throw thrown;
    }
    await rm(aside, { recursive: true, force: true });
  }

  /** The digest that a tag had when it was looked up last. */
  async tag(reference: string): Promise<string | undefined> {
    return (await this.#readTag(this.#tagPath(reference)))?.digest;
  }

  async setTag(reference: string, digest: string): Promise<void> {
    await this.#storing(async () => {
      const path = this.#tagPath(reference);
      if ((await this.#readTag(path))?.digest === digest) return;
      const aside = join(this.#folder, "partial", randomUUID());
      await writeFile(aside, JSON.stringify({ reference, digest } satisfies Tagged));
      await rename(aside, path);
    });
  }

  /** All images, the one that was used last first. */
  async list(): Promise<readonly CachedImage[]> {
    return this.#storing(async () => {
      const references = new Map<string, string[]>();
      for (const name of await readdir(join(this.#folder, "tags"))) {
        const tagged = await this.#readTag(join(this.#folder, "tags", name));
        if (!tagged) continue;
        references.set(tagged.digest, [...(references.get(tagged.digest) ?? []), tagged.reference]);
      }
      const images: CachedImage[] = [];
      for (const name of await readdir(join(this.#folder, "images"))) {
        const digest = name.replace("-", ":");
        const record = await this.#load(digest);
        if (!record) continue;
        const { mtimeMs } = await stat(join(this.#imagePath(digest), recordFile));
        images.push({
          digest,
          references: (references.get(digest) ?? []).toSorted(),
          packaging: record.packaging,
          moduleDigest: record.module.digest,
          sizeBytes: record.sizeBytes,
          usedAt: mtimeMs,
          inUse: this.#isUsed(digest),
        });
      }
      return images.toSorted((left, right) => right.usedAt - left.usedAt);
    });
  }

  /** Removes images that nobody uses. Tells which. */
  async prune(which: (image: CachedImage) => boolean): Promise<readonly CachedImage[]> {
    const gone: CachedImage[] = [];
    for (const image of await this.list()) {
      if (which(image) && (await this.#removeUnused(image.digest))) gone.push(image);
    }
    for (const { references } of gone) {
      for (const reference of references) await rm(this.#tagPath(reference), { force: true });
    }
    return gone;
  }

  /** Removes those that were not used for the longest time, until what is left fits. */
  async #evict(newest: string): Promise<void> {
    const images = await this.list();
    let total = images.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    for (const { digest, sizeBytes } of images.toReversed()) {
      if (total <= this.#mostBytes) return;
      if (digest !== newest && (await this.#removeUnused(digest))) total -= sizeBytes;
    }
  }

  async #removeUnused(digest: string): Promise<boolean> {
    const held = this.#held.get(digest);
    if (held && held.users > 0) return false;
    held?.lock[Symbol.dispose]();
    this.#held.delete(digest);
    using lock = LockFile.take(this.#lockPath(digest, "use"), 0);
    if (!lock) return false;
    await this.#storing(() => this.remove(digest));
    return true;
  }

  #isUsed(digest: string): boolean {
    const held = this.#held.get(digest);
    if (held) return held.users > 0;
    using lock = LockFile.take(this.#lockPath(digest, "use"), 0);
    return lock === undefined;
  }

  /** A share of the image's lock. This process keeps it for the next user, until it wants to remove the image itself. */
  #hold(digest: string): Disposable | undefined {
    let held = this.#held.get(digest);
    if (!held) {
      const lock = LockFile.share(this.#lockPath(digest, "use"));
      // Somebody is removing it.
      if (!lock) return undefined;
      held = { lock, users: 0 };
      this.#held.set(digest, held);
    }
    const { users } = held;
    held.users = users + 1;
    const mine = held;
    let over = false;
    return {
      [Symbol.dispose]() {
        if (!over) mine.users--;
        over = true;
      },
    };
  }

  async #read(digest: string): Promise<Stored | undefined> {
    const record = this.#known.get(digest) ?? (await this.#load(digest));
    if (!record) return undefined;
    const folder = this.#imagePath(digest);
    for (const [path, size] of record.files) {
      const found = await stat(join(folder, path)).catch(() => undefined);
      if (found?.size !== size) {
        this.#known.delete(digest);
        return undefined;
      }
    }
    this.#known.set(digest, record);
    await this.#touch(join(folder, recordFile));
    return record;
  }

  async #load(digest: string): Promise<Stored | undefined> {
    let text: string;
    try {
      text = await readFile(join(this.#imagePath(digest), recordFile), "utf8");
    } catch (thrown) {
      if (isMissing(thrown)) return undefined;
      throw this.#failure(thrown);
    }
    const parsed = parseObject(text);
    if (parsed?.["format"] !== format || parsed["digest"] !== digest) return undefined;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one of us wrote it; a damaged one is no JSON, or its files have other sizes
    return parsed as unknown as Stored;
  }

  #imageOf(record: Stored, reference: string): Image {
    const folder = this.#imagePath(record.digest);
    const { path, ...module } = record.module;
    const entries = record.entries.map((entry): TreeEntry =>
      entry.kind === "file" && entry.content.kind === "slice"
        ? { ...entry, content: { ...entry.content, path: join(folder, entry.content.path) } }
        : entry,
    );
    return {
      reference,
      digest: record.digest,
      packaging: record.packaging,
      module: { ...module, path: join(folder, path) },
      ...record.config,
      ...(entries.length === 0 ? {} : { files: { kind: "directory", entries } }),
    };
  }

  async #touch(path: string): Promise<void> {
    const now = Date.now();
    const found = await stat(path).catch(() => undefined);
    if (found && now - found.mtimeMs < usedMs) return;
    await utimes(path, new Date(now), new Date(now)).catch(() => undefined);
  }

  async #readTag(path: string): Promise<Tagged | undefined> {
    try {
      const { reference, digest } = parseObject(await readFile(path, "utf8")) ?? {};
      if (typeof reference !== "string" || typeof digest !== "string") return undefined;
      return { reference, digest };
    } catch (thrown) {
      if (isMissing(thrown)) return undefined;
      throw this.#failure(thrown);
    }
  }

  async #removeLeftovers(): Promise<void> {
    const folder = join(this.#folder, "partial");
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const found = await stat(path).catch(() => undefined);
      if (found && Date.now() - found.mtimeMs > leftoverMs) {
        await rm(path, { recursive: true, force: true });
      }
    }
  }

  #imagePath(digest: string): string {
    return join(this.#folder, "images", digest.replace(":", "-"));
  }

  #lockPath(digest: string, what: "pull" | "use"): string {
    return join(this.#folder, "locks", `${digest.replace(":", "-")}.${what}`);
  }

  /** References have slashes and may be long. */
  #tagPath(reference: string): string {
    const name = createHash("sha256").update(reference).digest("hex");
    return join(this.#folder, "tags", name);
  }

  async #storing<Value>(work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (thrown) {
      throw this.#failure(thrown);
    }
  }

  #failure(cause: unknown): Failure {
    if (cause instanceof Failure) return cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new Failure("storage", `Cannot use the folder of images "${this.#folder}": ${reason}`, {
      cause,
      hint: "Check that the disk has room and that the folder may be written.",
    });
  }

  [Symbol.dispose](): void {
    for (const { lock } of this.#held.values()) lock[Symbol.dispose]();
    this.#held.clear();
  }
}

function isMissing(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT";
}

import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../errors/mod.ts";
import { LockFile } from "../locks/mod.ts";
import type { TreeEntry } from "../wasi/mod.ts";
import { parseObject } from "./failures.ts";
import { digestOfFile } from "./file-digest.ts";
import type { CachedImage, Image } from "./image.ts";
import { digestOf } from "./manifest.ts";
import type { Pulled } from "./pull.ts";

/** What a killed process left of a tag's file goes after a day; half pulls and half removals go when nobody is at it. */
const leftoverMs = 24 * 60 * 60_000;
/** How often a process looks whether another one's pull has ended. */
const lookMs = 20;
/** A use is written down once a minute. */
const usedMs = 60_000;
const recordFile = "image.json";
/** Begins the name of what is being removed. */
const goneMark = "gone-";
/** Raised when older records cannot be read any more: such images are pulled again. */
const format = 2;
/** Locks of images that this process has used and does not use now; the one that was used least recently is let go of first. */
const mostIdle = 32;
/** Files looked at together. */
const together = 32;

/** What lies in an image's folder. */
interface Stored extends Pulled {
  readonly format: typeof format;
  readonly digest: string;
  readonly sizeBytes: number;
  /** Files of the host in the folder. The module's digest is compared by who runs it. */
  readonly files: readonly StoredFile[];
}

interface StoredFile {
  readonly path: string;
  readonly size: number;
  readonly digest: string;
}

/** An image that this process has looked at. */
interface Known {
  readonly record: Stored;
  /** Without reference. */
  readonly image: Omit<Image, "reference">;
  /** What its files looked like when their digests were right. */
  readonly seen: ReadonlyMap<string, string>;
}

interface Held {
  readonly lock: LockFile;
  users: number;
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
  readonly #held = new Map<string, Held>();
  /** Those that nobody uses now, the least recently used first. */
  readonly #idle = new Set<string>();
  readonly #known = new Map<string, Known>();
  readonly #looking = new Map<string, Promise<Known["image"] | undefined>>();

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

  /** A new folder for a pull, of who has it alone; the caller removes it. */
  async partial(digest: string): Promise<string> {
    const path = join(this.#folder, "partial", `${fileName(digest)}.${randomUUID()}`);
    await this.#storing(() => mkdir(path));
    return path;
  }

  /** Makes a pulled folder the image's. */
  async add(digest: string, folder: string, pulled: Pulled): Promise<void> {
    await this.#storing(async () => {
      const files: StoredFile[] = [];
      const found = await readdir(folder, { withFileTypes: true, recursive: true });
      for (const item of found) {
        if (!item.isFile()) continue;
        const host = join(item.parentPath, item.name);
        const path = host.slice(folder.length + 1);
        const { module } = pulled;
        const its = path === module.path ? module.digest : await digestOfFile(host);
        files.push({ path, size: (await stat(host)).size, digest: its });
      }
      const sizeBytes = files.reduce((sum, { size }) => sum + size, 0);
      const record: Stored = { ...pulled, format, digest, sizeBytes, files };
      const text = JSON.stringify(record);
      await writeFile(join(folder, recordFile), `${digestOf(Buffer.from(text))}\n${text}`);
      await this.remove(digest);
      await rename(folder, this.#imagePath(digest));
    });
    await this.#evict(digest);
  }

  /** The image, if it is here and looks whole; it stays until what comes back is disposed of. */
  async get(digest: string, reference: string): Promise<(Image & Disposable) | undefined> {
    const lease = this.#hold(digest);
    try {
      const image = lease && (await this.#look(digest));
      if (!image) {
        lease?.[Symbol.dispose]();
        return undefined;
      }
      return { ...image, reference, [Symbol.dispose]: () => lease[Symbol.dispose]() };
    } catch (thrown) {
      lease?.[Symbol.dispose]();
      throw thrown;
    }
  }

  /** Takes an image away, whoever uses it: it is damaged, or to be replaced. */
  async remove(digest: string): Promise<void> {
    this.#known.delete(digest);
    const aside = join(this.#folder, "partial", `${goneMark}${randomUUID()}`);
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
        const digest = digestIn(name);
        const record = await this.#load(digest);
        if (!record) continue;
        const found = await stat(join(this.#imagePath(digest), recordFile)).catch(() => undefined);
        // Another process has removed it meanwhile.
        if (!found) continue;
        images.push({
          digest,
          references: (references.get(digest) ?? []).toSorted(),
          packaging: record.packaging,
          moduleDigest: record.module.digest,
          sizeBytes: record.sizeBytes,
          usedAt: found.mtimeMs,
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
    this.#letGo(digest);
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
    held.users++;
    this.#idle.delete(digest);
    const mine = held;
    let over = false;
    return {
      [Symbol.dispose]: () => {
        if (!over) mine.users--;
        if (!over && mine.users === 0 && this.#held.get(digest) === mine) this.#rest(digest);
        over = true;
      },
    };
  }

  /** Nobody uses it now. A few of those are kept, so that the next user need not look at them again. */
  #rest(digest: string): void {
    this.#idle.add(digest);
    const [oldest] = this.#idle;
    if (this.#idle.size > mostIdle && oldest !== undefined) this.#letGo(oldest);
  }

  #letGo(digest: string): void {
    this.#held.get(digest)?.lock[Symbol.dispose]();
    this.#held.delete(digest);
    this.#idle.delete(digest);
    this.#known.delete(digest);
  }

  /** All who ask at once look at it once. */
  #look(digest: string): Promise<Known["image"] | undefined> {
    let looking = this.#looking.get(digest);
    if (!looking) {
      looking = this.#storing(() => this.#read(digest)).finally(() => {
        this.#looking.delete(digest);
      });
      this.#looking.set(digest, looking);
    }
    return looking;
  }

  /** What was seen before is only looked at; what is new to this process, or looks otherwise than it did, is compared by its digests. */
  async #read(digest: string): Promise<Known["image"] | undefined> {
    const known = this.#known.get(digest);
    const record = known?.record ?? (await this.#load(digest));
    if (!record) return undefined;
    const folder = this.#imagePath(digest);
    const seen = new Map<string, string>();
    const isWhole = async ({ path, size, digest: wanted }: StoredFile): Promise<boolean> => {
      const host = join(folder, path);
      const found = await stat(host).catch(() => undefined);
      if (found?.size !== size) return false;
      const looks = `${found.ino} ${found.mtimeMs}`;
      seen.set(path, looks);
      if (path === record.module.path || known?.seen.get(path) === looks) return true;
      return (await digestOfFile(host)) === wanted;
    };
    for (let from = 0; from < record.files.length; from += together) {
      const whole = await Promise.all(record.files.slice(from, from + together).map(isWhole));
      if (whole.every(Boolean)) continue;
      this.#known.delete(digest);
      return undefined;
    }
    const image = known?.image ?? this.#imageOf(record);
    this.#known.set(digest, { record, image, seen });
    await this.#touch(join(folder, recordFile));
    return image;
  }

  async #load(digest: string): Promise<Stored | undefined> {
    let text: string;
    try {
      text = await readFile(join(this.#imagePath(digest), recordFile), "utf8");
    } catch (thrown) {
      if (isMissing(thrown)) return undefined;
      throw this.#failure(thrown);
    }
    // After a power failure a file may have its length and not its bytes.
    const line = text.indexOf("\n");
    const body = text.slice(line + 1);
    if (text.slice(0, line) !== digestOf(Buffer.from(body))) return undefined;
    const parsed = parseObject(body);
    if (parsed?.["format"] !== format || parsed["digest"] !== digest) return undefined;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one of us wrote it, and it is not damaged
    return parsed as unknown as Stored;
  }

  #imageOf(record: Stored): Known["image"] {
    const folder = this.#imagePath(record.digest);
    const { path, ...module } = record.module;
    const entries = record.entries.map((entry): TreeEntry =>
      entry.kind === "file" && entry.content.kind === "slice"
        ? { ...entry, content: { ...entry.content, path: join(folder, entry.content.path) } }
        : entry,
    );
    return {
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
      const [digest] = name.split(".");
      const left =
        digest !== undefined && digest !== name
          ? !LockFile.isTaken(this.#lockPath(digestIn(digest), "pull"))
          : name.startsWith(goneMark);
      if (found && (left || Date.now() - found.mtimeMs > leftoverMs)) {
        await rm(path, { recursive: true, force: true });
      }
    }
  }

  #imagePath(digest: string): string {
    return join(this.#folder, "images", fileName(digest));
  }

  #lockPath(digest: string, what: "pull" | "use"): string {
    return join(this.#folder, "locks", `${fileName(digest)}.${what}`);
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
    for (const digest of this.#held.keys()) this.#letGo(digest);
  }
}

/** A digest as a file's name. */
function fileName(digest: string): string {
  return digest.replace(":", "-");
}

function digestIn(name: string): string {
  return name.replace("-", ":");
}

function isMissing(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT";
}

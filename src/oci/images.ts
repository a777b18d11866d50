import { rm } from "node:fs/promises";
import { Failure } from "../errors/mod.ts";
import type { Limits } from "../limits/mod.ts";
import { ImageCache } from "./cache.ts";
import type { Registry } from "./client.ts";
import type { CachedImage, Image } from "./image.ts";
import type { Manifest } from "./manifest.ts";
import { pull, type Progress } from "./pull.ts";
import { formatReference, parseReference, type Reference } from "./reference.ts";
import { Shared } from "./shared.ts";

/** When a registry is asked: as Kubernetes says it. */
export type PullPolicy = "Always" | "IfNotPresent" | "Never";

export interface ImagesOptions {
  /** Of this user; many processes may share it. */
  readonly folder: string;
  /** Opened when a registry is first asked. */
  readonly registry: () => Registry | Promise<Registry>;
  readonly limits: Limits;
  /** Which images may be had; default: all. */
  readonly policy?: ImagePolicy;
  /** What all images together may take, in bytes; default 10 GiB. What is in use stays, even above it. */
  readonly mostBytes?: number;
}

/** The operator's word on images. Both throw `image-policy`. */
export interface ImagePolicy {
  /** Before anything is fetched. */
  checkName(reference: Reference): void;
  /** Once it is known what a reference is, and before anything of it is compiled. */
  checkImage(
    reference: Reference & { readonly digest: string },
    options: { readonly registry: Registry; readonly signal?: AbortSignal | undefined },
  ): Promise<void>;
}

export interface GetOptions {
  /** What the reference was when it was looked up before. */
  readonly digest?: string;
  /** Default: `Always` for the tag `latest`, else `IfNotPresent`. */
  readonly pullPolicy?: PullPolicy;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/** Modules by their image references. */
export interface Images extends AsyncDisposable {
  /** The digest that a reference has, by the policy from the cache or the registry. */
  resolve(reference: string, options?: Pick<GetOptions, "pullPolicy" | "signal">): Promise<string>;
  /** The image, brought here when it is not. It stays until what comes back is disposed of. */
  get(reference: string, options?: GetOptions): Promise<Image & Disposable>;
  /** Takes an image away whose bytes are not what they should be; the next `get` brings it again. */
  discard(digest: string): Promise<void>;
  list(): Promise<readonly CachedImage[]>;
  /** Removes images that nobody uses, and tells which. */
  prune(which: (image: CachedImage) => boolean): Promise<readonly CachedImage[]>;
}

const defaultMostBytes = 10 * 1024 ** 3;
/** Tags of which one is known for a moment. */
const remembered = 1000;

/** Opens the cache of images, making its folder when it is not there. No registry is asked before it must be. */
export async function openImages(options: ImagesOptions): Promise<Images> {
  const { folder, mostBytes = defaultMostBytes } = options;
  return new Pulling(await ImageCache.open(folder, mostBytes), options);
}

class Pulling implements Images {
  readonly #cache: ImageCache;
  readonly #options: ImagesOptions;
  readonly #lookups = new Shared<string>();
  readonly #pulls = new Shared<void>();
  /** What registries said of tags whose images are not here yet. */
  readonly #found = new Map<string, string>();
  #registry: Promise<Registry> | undefined;

  constructor(cache: ImageCache, options: ImagesOptions) {
    this.#cache = cache;
    this.#options = options;
  }

  resolve(text: string, options: Pick<GetOptions, "pullPolicy" | "signal"> = {}): Promise<string> {
    return told(text, options.signal, () => this.#resolve(text, options));
  }

  get(text: string, options: GetOptions = {}): Promise<Image & Disposable> {
    return told(text, options.signal, () => this.#get(text, options));
  }

  async #resolve(
    text: string,
    { pullPolicy, signal }: Pick<GetOptions, "pullPolicy" | "signal">,
  ): Promise<string> {
    const reference = parseReference(text);
    this.#options.policy?.checkName(reference);
    if (reference.digest !== undefined) return reference.digest;
    const name = formatReference(reference);
    const policy = pullPolicy ?? defaultPolicy(reference);
    if (policy !== "Always") {
      const known = await this.#cache.tag(name);
      if (known !== undefined) {
        using image = await this.#cache.get(known, name);
        if (image) return known;
      }
      if (policy === "Never") throw notHere(name);
    }
    return this.#lookups.join(name, signal, async (shared) => {
      const registry = await this.#open();
      const digest = await registry.resolve(reference, { signal: shared });
      this.#remember(name, digest);
      return digest;
    });
  }

  async #get(text: string, options: GetOptions): Promise<Image & Disposable> {
    const { signal, onProgress } = options;
    const asked = parseReference(text);
    this.#options.policy?.checkName(asked);
    const digest = options.digest ?? (await this.#resolve(text, options));
    const name = formatReference(asked);
    const reference = { ...asked, digest };
    const { registry, repository } = asked;
    // Under another name the same image may have another login, and another word of the policy.
    const shared = formatReference({ registry, repository, digest });
    for (let attempt = 1; ; attempt++) {
      const image = await this.#cache.get(digest, name);
      if (image) {
        try {
          await this.#checked(reference, signal);
          await this.#tagged(asked, digest);
          return image;
        } catch (thrown) {
          image[Symbol.dispose]();
          throw thrown;
        }
      }
      if (options.pullPolicy === "Never") throw notHere(name);
      // Another process has removed it at once; that does not happen again and again.
      if (attempt > 3) {
        throw new Failure("storage", `The image ${name} is gone as soon as it is here`, {
          hint: "Is the cache too small for it? Look at imageCache.size of the configuration.",
        });
      }
      await this.#pulls.join(shared, signal, (stop) =>
        this.#cache.alone(digest, () => this.#pull(reference, stop, onProgress), stop),
      );
    }
  }

  async #pull(
    reference: Reference & { readonly digest: string },
    signal: AbortSignal,
    onProgress: GetOptions["onProgress"],
  ): Promise<void> {
    // Somebody else may have pulled it while we waited for the lock.
    using here = await this.#cache.get(reference.digest, "");
    if (here) return;
    const registry = await this.#open();
    const folder = await this.#cache.partial(reference.digest);
    try {
      const { limits, policy } = this.#options;
      const pulled = await pull({
        registry,
        reference,
        folder,
        limits,
        signal,
        onProgress,
        check: async (_manifest: Manifest) => policy?.checkImage(reference, { registry, signal }),
      });
      await this.#cache.add(reference.digest, folder, pulled);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** An image may have come under another policy or name, or with another process. What is checked already costs nothing. */
  async #checked(
    reference: Reference & { readonly digest: string },
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { policy } = this.#options;
    await policy?.checkImage(reference, { registry: await this.#open(), signal });
  }

  /** A digest that was looked up long ago, as that of a run which goes on, is not what the tag is now. */
  async #tagged(reference: Reference, digest: string): Promise<void> {
    const name = formatReference(reference);
    if (this.#found.get(name) !== digest) return;
    this.#found.delete(name);
    await this.#cache.setTag(name, digest);
  }

  #remember(name: string, digest: string): void {
    this.#found.delete(name);
    this.#found.set(name, digest);
    const [oldest] = this.#found.keys();
    if (this.#found.size > remembered && oldest !== undefined) this.#found.delete(oldest);
  }

  #open(): Promise<Registry> {
    this.#registry ??= Promise.resolve(this.#options.registry());
    return this.#registry;
  }

  discard(digest: string): Promise<void> {
    return this.#cache.remove(digest);
  }

  list(): Promise<readonly CachedImage[]> {
    return this.#cache.list();
  }

  prune(which: (image: CachedImage) => boolean): Promise<readonly CachedImage[]> {
    return this.#cache.prune(which);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cache[Symbol.dispose]();
    await (await this.#registry)?.[Symbol.asyncDispose]();
  }
}

/** Whatever the signal's reason is, who was stopped is told so. */
async function told<Value>(
  reference: string,
  signal: AbortSignal | undefined,
  work: () => Promise<Value>,
): Promise<Value> {
  try {
    return await work();
  } catch (cause) {
    if (!signal?.aborted || (cause instanceof Failure && cause.code !== "aborted")) throw cause;
    throw new Failure("aborted", `Stopped while the image "${reference}" was fetched`, { cause });
  }
}

function defaultPolicy({ tag }: Reference): PullPolicy {
  return tag === "latest" ? "Always" : "IfNotPresent";
}

function notHere(name: string): Failure {
  return new Failure("image-not-found", `The image ${name} is not here, and is not to be pulled`, {
    hint: `Pull it before: atalanta image pull ${name}. Or set imagePullPolicy: IfNotPresent.`,
  });
}

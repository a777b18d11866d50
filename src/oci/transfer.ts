import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "../errors/mod.ts";
import type { Registry } from "./client.ts";
import { asObject, parseObject } from "./failures.ts";
import { indexType, type Manifest } from "./manifest.ts";
import type { Packaged } from "./package.ts";
import { isDigest, type Reference } from "./reference.ts";

/** One part of an image on its way. */
export interface Moved {
  readonly digest: string;
  readonly size: number;
  readonly how: "there" | "mounted" | "sent";
}

export interface MoveOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onPart?: ((part: Moved) => void) | undefined;
}

/** Indexes in indexes, and signatures of signatures. */
const deepest = 4;
const mostParts = 1000;

/** Puts a packed module into a registry, and gives the digest of its manifest. What is there already is not sent again. */
export async function pushImage(
  registry: Registry,
  reference: Reference,
  { parts, manifest }: Packaged,
  { signal, onPart }: MoveOptions = {},
): Promise<string> {
  checkTarget(reference);
  for (const { bytes } of parts)
    onPart?.(await registry.pushBlob(reference, { bytes }, { signal }));
  return registry.pushManifest(reference, manifest, { signal });
}

/**
 * Brings an image as it is from one place to another: its manifest or index with all that they name, its signatures by cosign's tags and what refers to it.
 * Gives its digest, which is the same there.
 */
export async function copyImage(
  registry: Registry,
  { from, to }: { readonly from: Reference; readonly to: Reference },
  options: MoveOptions = {},
): Promise<string> {
  checkTarget(to);
  const folder = await mkdtemp(join(tmpdir(), "atalanta-copy-"));
  try {
    const copy = new Copy(registry, { from, to, folder, options });
    const manifest = await registry.manifest(from, { signal: options.signal });
    await copy.whole(manifest, to, 0);
    return manifest.digest;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

class Copy {
  readonly #registry: Registry;
  readonly #from: Reference;
  readonly #to: Reference;
  readonly #folder: string;
  readonly #options: MoveOptions;
  readonly #done = new Set<string>();
  #files = 0;

  constructor(
    registry: Registry,
    of: {
      readonly from: Reference;
      readonly to: Reference;
      readonly folder: string;
      readonly options: MoveOptions;
    },
  ) {
    this.#registry = registry;
    this.#from = of.from;
    this.#to = of.to;
    this.#folder = of.folder;
    this.#options = of.options;
  }

  /**
   * A manifest with all that it names and all that speaks of it; under its own name last, so that nobody sees a part of it, or
   * sees it unsigned.
   */
  async whole(manifest: Manifest, name: Reference, depth: number): Promise<void> {
    if (this.#done.has(manifest.digest)) return;
    this.#done.add(manifest.digest);
    if (depth > deepest || this.#done.size > mostParts) {
      throw new Failure("image-invalid", "The image has too many manifests in each other");
    }
    const parsed = parseObject(Buffer.from(manifest.bytes).toString()) ?? {};
    const { signal } = this.#options;
    if (manifest.mediaType === indexType || Array.isArray(parsed["manifests"])) {
      for (const entry of listOf(parsed["manifests"])) {
        const digest = digestIn(entry);
        await this.whole(
          await this.#registry.manifest({ ...this.#from, digest }, { signal }),
          at(this.#to, digest),
          depth + 1,
        );
      }
    } else {
      for (const entry of [parsed["config"], ...listOf(parsed["layers"])]) await this.#blob(entry);
    }
    await this.#registry.pushManifest(at(this.#to, manifest.digest), manifest, { signal });
    await this.#spokenOf(manifest.digest, depth);
    if (name.tag !== undefined) await this.#registry.pushManifest(name, manifest, { signal });
  }

  /** Signatures and attestations: by cosign's tags, and by the referrers API. */
  async #spokenOf(digest: string, depth: number): Promise<void> {
    const { signal } = this.#options;
    for (const suffix of ["sig", "att"]) {
      const tag = `${digest.replace(":", "-")}.${suffix}`;
      const { registry, repository } = this.#from;
      let manifest: Manifest;
      try {
        manifest = await this.#registry.manifest({ registry, repository, tag }, { signal });
      } catch (thrown) {
        if (thrown instanceof Failure && thrown.code === "image-not-found") continue;
        throw thrown;
      }
      await this.whole(manifest, { ...at(this.#to, undefined), tag }, depth + 1);
    }
    for (const referrer of await this.#registry.referrers(this.#from, digest, { signal })) {
      await this.whole(
        await this.#registry.manifest({ ...this.#from, digest: referrer.digest }, { signal }),
        at(this.#to, referrer.digest),
        depth + 1,
      );
    }
  }

  async #blob(entry: unknown): Promise<void> {
    const digest = digestIn(entry);
    const size = asObject(entry)?.["size"];
    if (this.#done.has(digest)) return;
    this.#done.add(digest);
    if (typeof size !== "number") throw new Failure("image-invalid", `${digest} has no size`);
    const { signal, onPart } = this.#options;
    const path = join(this.#folder, String(this.#files++));
    // It comes here only when it is neither there nor in the same registry.
    let here: Promise<string> | undefined;
    const bring = (): Promise<string> => {
      here ??= this.#registry
        .blob(this.#from, { digest, size }, { path }, { signal })
        .then(() => path);
      return here;
    };
    const from = this.#from.registry === this.#to.registry ? this.#from.repository : undefined;
    const blob = { digest, size, path: bring };
    onPart?.(await this.#registry.pushBlob(this.#to, blob, { signal, from }));
    await rm(path, { force: true });
  }
}

function at({ registry, repository }: Reference, digest: string | undefined): Reference {
  return { registry, repository, ...(digest === undefined ? {} : { digest }) };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value.slice(0, mostParts) : [];
}

function digestIn(entry: unknown): string {
  const digest = asObject(entry)?.["digest"];
  if (typeof digest === "string" && isDigest(digest)) return digest;
  throw new Failure("image-invalid", "A part of the image has no digest");
}

function checkTarget({ digest }: Reference): void {
  if (digest === undefined) return;
  throw new Failure("invalid-argument", `An image is pushed to a tag, not to ${digest}`, {
    hint: "Leave the digest out; it is printed when the image is there.",
  });
}

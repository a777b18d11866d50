import type { Mount } from "../wasi/mod.ts";
import type { Packaging } from "./packaging.ts";

/** A module from an image, ready to run. */
export interface Image {
  /** In full: `docker.io/library/step:1`. */
  readonly reference: string;
  /** Of the manifest or index that the reference names: what `NAME@sha256:…` pins. */
  readonly digest: string;
  readonly packaging: Packaging;
  /** A file of the cache. Whoever runs it compares the digest. */
  readonly module: { readonly path: string; readonly digest: string; readonly size: number };
  /** What runs and its own arguments; the first becomes argv[0]. Empty for an artifact, which says nothing of it. */
  readonly entrypoint: readonly string[];
  /** Arguments when nobody gives others. */
  readonly command: readonly string[];
  readonly environment: readonly (readonly [name: string, value: string])[];
  /** Empty where the image says nothing. */
  readonly workingDir: string;
  /** The image's other files, as seen from the root; absent where there are none. */
  readonly files?: Extract<Mount["content"], { readonly kind: "directory" }>;
}

/** What an image takes in the cache. */
export interface CachedImage {
  readonly digest: string;
  /** References that named it when they were looked up last. */
  readonly references: readonly string[];
  readonly packaging: Packaging;
  readonly moduleDigest: string;
  readonly sizeBytes: number;
  /** Milliseconds since 1970. */
  readonly usedAt: number;
  /** Whether it is in use now, so that it is not removed. */
  readonly inUse: boolean;
}

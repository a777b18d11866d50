// An OCI image layout (image-spec, image-layout.md) with one image for each platform.
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { packTar } from "../../src/archives/mod.ts";
import type { TreeEntry } from "../../src/engine/mod.ts";
import { parseReference, type Registry } from "../../src/oci/mod.ts";

const types = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
} as const;

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface Layer {
  readonly descriptor: Descriptor;
  /** Of the tarball before it is packed. */
  readonly diffId: string;
  /** What it holds, in a few words. */
  readonly about: string;
}

/** What runs in the container, and how. */
export interface ImageSettings {
  readonly entrypoint: readonly string[];
  readonly user: string;
  readonly workingFolder: string;
  readonly environment: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Writes blobs below `folder`; the same input makes the same digests. */
export class Layout {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async layer(entries: readonly TreeEntry[], about: string): Promise<Layer> {
    const sorted = withParents(entries);
    const bytes = await buffer(
      Readable.from(packTar({ kind: "directory", entries: sorted }, { name: ".", level: 9 })),
    );
    const diffId = digestOf(gunzipSync(bytes));
    return { descriptor: await this.#blob(bytes, types.layer), diffId, about };
  }

  async image(
    architecture: string,
    layers: readonly Layer[],
    { entrypoint, user, workingFolder, environment, labels }: ImageSettings,
  ): Promise<Descriptor & { readonly platform: object }> {
    const config = {
      architecture,
      os: "linux",
      config: {
        User: user,
        Env: environment,
        Entrypoint: entrypoint,
        WorkingDir: workingFolder,
        Labels: labels,
      },
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.map(({ about }) => ({ created_by: about })),
    };
    const manifest = {
      schemaVersion: 2,
      mediaType: types.manifest,
      config: await this.#json(config, types.config),
      layers: layers.map(({ descriptor }) => descriptor),
      annotations: labels,
    };
    const descriptor = await this.#json(manifest, types.manifest);
    return { ...descriptor, platform: { architecture, os: "linux" } };
  }

  /** Ends it: an index of all platforms, and the file that names it. */
  async index(
    images: readonly Descriptor[],
    { tag, labels }: { readonly tag: string; readonly labels: Readonly<Record<string, string>> },
  ): Promise<Descriptor> {
    const index = {
      schemaVersion: 2,
      mediaType: types.index,
      manifests: images,
      annotations: labels,
    };
    const descriptor = await this.#json(index, types.index);
    const named = { ...descriptor, annotations: { "org.opencontainers.image.ref.name": tag } };
    const root = { schemaVersion: 2, mediaType: types.index, manifests: [named] };
    await writeFile(join(this.folder, "index.json"), JSON.stringify(root));
    await writeFile(
      join(this.folder, "oci-layout"),
      JSON.stringify({ imageLayoutVersion: "1.0.0" }),
    );
    return descriptor;
  }

  async #json(value: unknown, mediaType: string): Promise<Descriptor> {
    return this.#blob(Buffer.from(JSON.stringify(value)), mediaType);
  }

  async #blob(bytes: Uint8Array, mediaType: string): Promise<Descriptor> {
    const digest = digestOf(bytes);
    await mkdir(join(this.folder, "blobs", "sha256"), { recursive: true });
    await writeFile(this.path(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  path(digest: string): string {
    return join(this.folder, "blobs", ...digest.split(":"));
  }

  /** Sends the index and all that it names to a registry. */
  async push(registry: Registry, name: string, index: Descriptor): Promise<string> {
    const reference = parseReference(name);
    const read = async (digest: string): Promise<Buffer> => readFile(this.path(digest));
    const { manifests } = JSON.parse(String(await read(index.digest))) as {
      readonly manifests: readonly Descriptor[];
    };
    for (const { digest } of manifests) {
      const bytes = await read(digest);
      const { config, layers } = JSON.parse(String(bytes)) as {
        readonly config: Descriptor;
        readonly layers: readonly Descriptor[];
      };
      for (const blob of [config, ...layers])
        await registry.pushBlob(reference, { ...blob, path: this.path(blob.digest) });
      const own = { registry: reference.registry, repository: reference.repository, digest };
      await registry.pushManifest(own, { mediaType: types.manifest, bytes });
    }
    const bytes = await read(index.digest);
    return registry.pushManifest(reference, { mediaType: types.index, bytes });
  }
}

/** In the order of their paths, each after the folders that it is in. */
function withParents(entries: readonly TreeEntry[]): readonly TreeEntry[] {
  const all = new Map<string, TreeEntry>();
  for (const entry of entries) {
    const names = entry.path.split("/");
    for (let count = 1; count < names.length; count += 1) {
      const path = names.slice(0, count).join("/");
      if (!all.has(path)) all.set(path, { kind: "directory", path, mode: 0o755 });
    }
    all.set(entry.path, entry);
  }
  return [...all.values()].toSorted((one, other) => (one.path < other.path ? -1 : 1));
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

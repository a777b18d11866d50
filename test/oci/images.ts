import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { digestOf, type StandInRegistry } from "../servers/registry.ts";

/** A small module that says hello. */
export const hello: Buffer = readFileSync(
  resolve(import.meta.dirname, "../guests/hello/hello.wasm"),
);

export interface Layer {
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** A layer of a container image from a tar archive. */
export function layer(archive: Buffer, packed: "none" | "gzip" | "zstd" = "gzip"): Layer {
  const type = "application/vnd.oci.image.layer.v1.tar";
  if (packed === "none") return { mediaType: type, bytes: archive };
  const bytes = packed === "gzip" ? gzipSync(archive) : zstdCompressSync(archive);
  return { mediaType: `${type}+${packed}`, bytes };
}

/** Puts a manifest with its parts into a registry; tells its digest. */
export function putImage(
  server: StandInRegistry,
  {
    repository,
    tag,
    config,
    configType = "application/vnd.oci.image.config.v1+json",
    layers,
    more = {},
  }: {
    readonly repository: string;
    readonly tag?: string;
    readonly config: object;
    readonly configType?: string;
    readonly layers: readonly Layer[];
    readonly more?: object;
  },
): { readonly digest: string; readonly size: number } {
  const blob = (mediaType: string, bytes: Buffer): object => ({
    mediaType,
    ...server.putBlob(repository, bytes),
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: blob(configType, Buffer.from(JSON.stringify(config))),
      layers: layers.map(({ mediaType, bytes }) => blob(mediaType, bytes)),
      ...more,
    }),
  );
  server.putManifest(repository, tag, manifest);
  return { digest: digestOf(manifest), size: manifest.length };
}

/** A container image for Wasm from unpacked layers. */
export function putWasiImage(
  server: StandInRegistry,
  {
    repository,
    tag,
    archives,
    packed = "gzip",
    run,
    platform = { os: "wasip1", architecture: "wasm" },
    more = {},
  }: {
    readonly repository: string;
    readonly tag?: string;
    readonly archives: readonly Buffer[];
    readonly packed?: "none" | "gzip" | "zstd";
    readonly run: object;
    readonly platform?: { readonly os: string; readonly architecture: string };
    readonly more?: object;
  },
): { readonly digest: string; readonly size: number } {
  return putImage(server, {
    repository,
    ...(tag === undefined ? {} : { tag }),
    config: {
      ...platform,
      config: run,
      rootfs: { type: "layers", diff_ids: archives.map(digestOf) },
    },
    layers: archives.map((archive) => layer(archive, packed)),
    more,
  });
}

/** The CNCF's artifact of a module. */
export function putArtifact(
  server: StandInRegistry,
  { repository, tag, module }: { repository: string; tag?: string; module: Buffer },
): { readonly digest: string; readonly size: number } {
  return putImage(server, {
    repository,
    ...(tag === undefined ? {} : { tag }),
    config: { architecture: "wasm", os: "wasip1", layerDigests: [digestOf(module)] },
    configType: "application/vnd.wasm.config.v0+json",
    layers: [{ mediaType: "application/wasm", bytes: module }],
  });
}

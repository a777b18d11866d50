import { Failure } from "../errors/mod.ts";
import { asObject, parseObject, shortened } from "./failures.ts";
import type { Manifest } from "./manifest.ts";
import { isDigest } from "./reference.ts";

/** In which form a module lies in an image. */
export type Packaging = "wasi-image" | "compat" | "cncf" | "wasm-to-oci";

/** A part of an image, as its manifest names it. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** What is to be fetched for a module. */
export type Contents =
  /** An index: the manifest for us is another one. */
  | { readonly kind: "index"; readonly manifest: Descriptor }
  /** The layer is the module. */
  | {
      readonly kind: "module";
      readonly packaging: "cncf" | "wasm-to-oci";
      readonly layer: Descriptor;
    }
  /** The module lies in the layers' files. */
  | {
      readonly kind: "files";
      readonly packaging: "wasi-image" | "compat";
      readonly config: Descriptor;
      readonly layers: readonly Descriptor[];
    };

/** How an image says what runs, and for whom it was built. */
export interface ImageConfig {
  readonly platform: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly environment: readonly (readonly [name: string, value: string])[];
  readonly workingDir: string;
  /** Digests of the unpacked layers. */
  readonly diffIds: readonly string[];
}

const indexTypes = new Set([
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
]);
const imageConfigs = new Set([
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
]);
/** The layer of the CNCF's "Wasm OCI artifact", and that of wasm-to-oci. */
const moduleLayers: ReadonlyMap<string, "cncf" | "wasm-to-oci"> = new Map([
  ["application/wasm", "cncf"],
  ["application/vnd.wasm.content.layer.v1+wasm", "wasm-to-oci"],
]);
/** Media types of layers that are archives, with how they are packed. */
export const layerTypes: ReadonlyMap<string, "none" | "gzip" | "zstd"> = new Map([
  ["application/vnd.oci.image.layer.v1.tar", "none"],
  ["application/vnd.oci.image.layer.v1.tar+gzip", "gzip"],
  ["application/vnd.oci.image.layer.v1.tar+zstd", "zstd"],
  ["application/vnd.docker.image.rootfs.diff.tar", "none"],
  ["application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"],
  ["application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"],
]);
const variantKey = "module.wasm.image/variant";

/** More of them is no image that anybody wrote. */
const mostParts = 1000;
const accepted =
  "An image holds one module for wasip1: an image for the platform wasi/wasm or wasip1/wasm whose entry point is the module, an OCI artifact of Wasm (a layer application/wasm), one of wasm-to-oci, or an image with the annotation module.wasm.image/variant=compat.";

/** What an image is made of. Throws `image-invalid`, with what was found, for one in which there is no module for us. */
export function contentsOf({ bytes }: Manifest): Contents {
  const manifest = parseObject(Buffer.from(bytes).toString()) ?? {};
  const type = text(manifest["mediaType"]);
  if (indexTypes.has(type) || (type === "" && Array.isArray(manifest["manifests"]))) {
    return { kind: "index", manifest: forUs(list(manifest["manifests"], "manifests")) };
  }
  const config = descriptor(manifest["config"], "its config");
  const layers = list(manifest["layers"], "layers").map((layer, at) =>
    descriptor(layer, `layer ${at + 1}`),
  );
  const modules = layers.filter(({ mediaType }) => moduleLayers.has(mediaType));
  const [layer] = modules;
  if (layer) {
    if (modules.length > 1) {
      throw unfit(`it has ${modules.length} modules (${typesOf(modules)})`, "Push each by itself.");
    }
    return { kind: "module", packaging: moduleLayers.get(layer.mediaType) ?? "cncf", layer };
  }
  const foreign = layers.filter(({ mediaType }) => !layerTypes.has(mediaType));
  if (!imageConfigs.has(config.mediaType) || foreign.length > 0 || layers.length === 0) {
    const artifact = text(manifest["artifactType"]);
    const called = artifact === "" ? "" : `an artifact "${shortened(artifact)}" with `;
    throw unfit(`it is ${called}a config "${shortened(config.mediaType)}" and ${typesOf(layers)}`);
  }
  const variant = text(asObject(manifest["annotations"])?.[variantKey]);
  const packaging = variant.startsWith("compat") ? "compat" : "wasi-image";
  return { kind: "files", packaging, config, layers };
}

/** Reads an image's config. Throws `image-invalid` for a platform that is none of ours. */
export function configOf(bytes: Uint8Array, packaging: "wasi-image" | "compat"): ImageConfig {
  const config = parseObject(Buffer.from(bytes).toString());
  if (!config) throw unfit("its config is no JSON object");
  const platform = platformOf(config);
  if (packaging === "wasi-image" && !isOurs(config)) throw unfit(`it is built for ${platform}`);
  const run = asObject(config["config"]) ?? {};
  const texts = (value: unknown): readonly string[] =>
    Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
  return {
    platform,
    entrypoint: texts(run["Entrypoint"]),
    command: texts(run["Cmd"]),
    environment: texts(run["Env"]).flatMap((line) => {
      const equals = line.indexOf("=");
      return equals < 1 ? [] : [[line.slice(0, equals), line.slice(equals + 1)] as const];
    }),
    workingDir: text(run["WorkingDir"]),
    diffIds: texts(asObject(config["rootfs"])?.["diff_ids"]),
  };
}

/** The manifest of an index that is for us: the first for wasip1, else the first for wasi, else the only Wasm artifact. */
function forUs(manifests: readonly unknown[]): Descriptor {
  const found = manifests.flatMap((given) => {
    const entry = asObject(given);
    if (!entry) return [];
    const platform = asObject(entry["platform"]);
    return [{ entry, platform, name: platform ? platformOf(platform) : "no platform" }];
  });
  const fit =
    found.find(({ platform }) => platform?.["os"] === "wasip1" && isOurs(platform)) ??
    found.find(({ platform }) => platform && isOurs(platform)) ??
    found.find(({ entry }) => /\bwasm\b/.test(text(entry["artifactType"])));
  if (fit) return descriptor(fit.entry, "the manifest for Wasm");
  const [only] = found;
  if (found.length === 1 && only && !only.platform) return descriptor(only.entry, "its manifest");
  const platforms = [...new Set(found.map(({ name }) => name))].slice(0, 20).join(", ");
  throw unfit(
    platforms === "" ? "it is an empty index" : `it is an index for ${shortened(platforms)}`,
  );
}

function isOurs(platform: Readonly<Record<string, unknown>>): boolean {
  const os = text(platform["os"]);
  const architecture = text(platform["architecture"]);
  return (
    (os === "wasi" || os === "wasip1") && (architecture === "wasm" || architecture === "wasm32")
  );
}

function platformOf(platform: Readonly<Record<string, unknown>>): string {
  return shortened(`${text(platform["os"]) || "?"}/${text(platform["architecture"]) || "?"}`);
}

function descriptor(value: unknown, what: string): Descriptor {
  const { mediaType, digest, size } = asObject(value) ?? {};
  if (typeof digest !== "string" || !isDigest(digest)) throw unfit(`${what} has no digest`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
    throw unfit(`${what} has no size`);
  }
  return { mediaType: text(mediaType), digest, size };
}

function list(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw unfit(`its manifest has no ${name}`);
  if (value.length > mostParts) {
    throw unfit(`its manifest has ${value.length} ${name}; ${mostParts} may be`);
  }
  return value;
}

function typesOf(parts: readonly Descriptor[]): string {
  const types = [...new Set(parts.map(({ mediaType }) => `"${shortened(mediaType)}"`))];
  return types.length === 0 ? "no layers" : `layers ${types.slice(0, 10).join(", ")}`;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** An image that is whole, and not for us. */
export function unfit(what: string, hint: string = accepted): Failure {
  return new Failure("image-invalid", `The image has no module that can be run: ${what}`, { hint });
}

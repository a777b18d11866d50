import { gunzipSync } from "node:zlib";
import { packTar } from "../archives/mod.ts";
import { digestOf } from "./manifest.ts";
import type { Packaging } from "./packaging.ts";

/** How a module is to lie in an image. */
export interface PackageOptions {
  readonly packaging: Packaging;
  /** The first word is the module's path in an image that has one; default `/module.wasm`. */
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  /** `NAME=VALUE`, each. */
  readonly environment?: readonly string[];
  readonly workingDir?: string;
  readonly annotations?: ReadonlyMap<string, string>;
}

/** A part of an image. */
interface Part {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** A manifest, and what it names. */
export interface Packaged {
  readonly parts: readonly Part[];
  readonly manifest: Part;
}

const manifestType = "application/vnd.oci.image.manifest.v1+json";

/** Packs a module. The same module and options give the same bytes. It lies in memory, as it does when it is compiled. */
export async function packageModule(
  module: Uint8Array,
  options: PackageOptions,
): Promise<Packaged> {
  const { packaging } = options;
  if (packaging === "cncf") {
    // https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/
    const config = { architecture: "wasm", os: "wasip1", layerDigests: [digestOf(module)] };
    const layer = { mediaType: "application/wasm", bytes: module };
    return packaged(json("application/vnd.wasm.config.v0+json", config), layer, options);
  }
  if (packaging === "wasm-to-oci") {
    const mediaType = "application/vnd.wasm.content.layer.v1+wasm";
    const config = json("application/vnd.wasm.config.v1+json", {});
    return packaged(config, { mediaType, bytes: module }, options);
  }
  const { entrypoint = ["/module.wasm"], command, environment, workingDir } = options;
  const file = { kind: "file", mode: 0o755, content: { kind: "bytes", bytes: module } } as const;
  const name = (entrypoint[0] ?? "").replace(/^\/+/, "");
  const pieces: Uint8Array[] = [];
  for await (const piece of packTar(file, { name })) pieces.push(piece);
  const archive = Buffer.concat(pieces);
  const config = {
    architecture: "wasm",
    os: "wasip1",
    config: {
      Entrypoint: entrypoint,
      ...(command ? { Cmd: command } : {}),
      ...(environment ? { Env: environment } : {}),
      ...(workingDir === undefined ? {} : { WorkingDir: workingDir }),
    },
    rootfs: { type: "layers", diff_ids: [digestOf(gunzipSync(archive))] },
  };
  return packaged(
    json("application/vnd.oci.image.config.v1+json", config),
    { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", bytes: archive },
    options,
  );
}

function packaged(config: Part, layer: Part, { packaging, annotations }: PackageOptions): Packaged {
  const said = new Map([
    ...(packaging === "compat" ? [["module.wasm.image/variant", "compat"] as const] : []),
    ...(annotations ?? []),
  ]);
  const manifest = json(manifestType, {
    schemaVersion: 2,
    mediaType: manifestType,
    config: named(config),
    layers: [named(layer)],
    ...(said.size === 0 ? {} : { annotations: Object.fromEntries(said) }),
  });
  return { parts: [config, layer], manifest };
}

function named({ mediaType, bytes }: Part): object {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

function json(mediaType: string, value: object): Part {
  return { mediaType, bytes: Buffer.from(JSON.stringify(value)) };
}

// A module as the CNCF's working group packs it, and on its way to a registry through our own client.
import { createHash } from "node:crypto";
import { parseReference, type Registry } from "../../src/oci/mod.ts";

interface Artifact {
  readonly blobs: readonly Uint8Array[];
  readonly manifest: { readonly mediaType: string; readonly bytes: Uint8Array };
}

function artifactOf(module: Uint8Array): Artifact {
  const described = (mediaType: string, bytes: Uint8Array) => ({
    mediaType,
    digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
    size: bytes.length,
  });
  const layer = described("application/wasm", module);
  const configuration = Buffer.from(
    JSON.stringify({ architecture: "wasm", os: "wasip1", layerDigests: [layer.digest] }),
  );
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const config = described("application/vnd.wasm.config.v0+json", configuration);
  const manifest = { schemaVersion: 2, mediaType, config, layers: [layer] };
  return {
    blobs: [module, configuration],
    manifest: { mediaType, bytes: Buffer.from(JSON.stringify(manifest)) },
  };
}

/** Gives the manifest's digest. */
export async function pushModule(
  registry: Registry,
  name: string,
  module: Uint8Array,
): Promise<string> {
  const { blobs, manifest } = artifactOf(module);
  const reference = parseReference(name);
  for (const bytes of blobs) await registry.pushBlob(reference, { bytes });
  return registry.pushManifest(reference, manifest);
}

import { createHash } from "node:crypto";
import { parseObject, shortened, Trouble } from "./failures.ts";

/** A manifest or an index, as a registry sent it. */
export interface Manifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** The distribution specification's own ceiling for manifests. */
export const manifestBytes: number = 4 * 1024 * 1024;

const indexType = "application/vnd.oci.image.index.v1+json";

/** What we can read, the preferred first. */
export const manifestTypes: readonly string[] = [
  "application/vnd.oci.image.manifest.v1+json",
  indexType,
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];

/** Types that say nothing about what a text is. */
const vague: ReadonlySet<string> = new Set([
  "",
  "application/json",
  "text/plain",
  "application/octet-stream",
]);

/**
 * Looks at what came as a manifest. Throws `image-invalid` for what is none, is of docker's first schema, or has another digest than the one that was
 * asked for.
 */
export function checkManifest(
  bytes: Uint8Array,
  { from, contentType, wanted }: { from: string; contentType: string; wanted: string | undefined },
): Manifest {
  const sent = (contentType.split(";")[0] ?? "").trim().toLowerCase();
  const parsed = parseObject(Buffer.from(bytes).toString());
  if (!parsed) {
    const beginning = shortened(Buffer.from(bytes.subarray(0, 80)).toString());
    throw new Trouble(
      "image-invalid",
      `${from} sent ${/html/.test(sent) ? "a page of HTML" : `${bytes.length} bytes of "${shortened(sent)}" that are no JSON object`} instead of a manifest: ${beginning}`,
      {
        hint: "Is it a registry, and does nothing between here and there want a login of its own?",
      },
    );
  }
  const named = parsed["mediaType"];
  const mediaType = vague.has(sent) && typeof named === "string" ? named : sent;
  if (
    parsed["schemaVersion"] === 1 ||
    (/manifest\.v1\+/.test(mediaType) && mediaType.includes("docker"))
  ) {
    throw new Trouble(
      "image-invalid",
      `${from} sent a manifest of docker's schema 1 (${shortened(mediaType)}), which has no digests that can be checked`,
      { hint: "Push the image again with a tool of this decade." },
    );
  }
  const digest = digestOf(bytes, wanted?.split(":")[0]);
  if (wanted !== undefined && digest !== wanted) {
    throw new Trouble(
      "image-invalid",
      `${from} sent a manifest with the digest ${digest} instead of ${wanted}`,
    );
  }
  return { digest, mediaType, bytes };
}

function digestOf(bytes: Uint8Array, algorithm = "sha256"): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

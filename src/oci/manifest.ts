import { createHash } from "node:crypto";
import { askFor, type Place } from "./asks.ts";
import type { Ask, Exchange } from "./exchange.ts";
import { asObject, parseObject, shortened, Trouble } from "./failures.ts";
import { isDigest } from "./reference.ts";

/** A manifest or an index, as a registry sent it. */
export interface Manifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** What points at a manifest or a blob (image-spec, "Content Descriptors"). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The distribution specification's own ceiling for manifests. */
export const manifestBytes: number = 4 * 1024 * 1024;

export const indexType = "application/vnd.oci.image.index.v1+json";

/** What we can read, the preferred first. */
const manifestTypes: readonly string[] = [
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

/** The manifest that a repository has under a tag or a digest. */
export async function fetchManifest(
  exchange: Exchange,
  place: Place,
  name: string,
): Promise<Manifest> {
  const ask = askForManifest(place, "GET", name);
  return exchange.retried(place, async () => {
    const answer = await exchange.once(ask);
    const bytes = await exchange.read(answer, manifestBytes, ask);
    return checkManifest(bytes, {
      from: place.endpoint.name,
      contentType: answer.headers["content-type"] ?? "",
      wanted: isDigest(name) ? name : undefined,
    });
  });
}

/** The digest that a tag has, without its manifest where the registry tells it. */
export async function fetchDigest(exchange: Exchange, place: Place, tag: string): Promise<string> {
  const ask = askForManifest(place, "HEAD", tag);
  const answer = await exchange.retried(place, () => exchange.head(ask));
  const digest = answer.headers["docker-content-digest"];
  if (typeof digest === "string" && isDigest(digest)) return digest;
  return (await fetchManifest(exchange, place, tag)).digest;
}

function askForManifest(place: Place, method: "GET" | "HEAD", name: string): Ask {
  const headers = { accept: manifestTypes.join(", ") };
  return { ...askFor(place, method, `manifests/${name}`), headers };
}

/**
 * Looks at what came as a manifest. Throws `image-invalid` for what is none, is of docker's first schema, or has another digest than the one that was
 * asked for.
 */
function checkManifest(
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

export function digestOf(bytes: Uint8Array, algorithm = "sha256"): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

/** Reads what stands in an index's `manifests`. Entries that are no descriptors are left out. */
export function parseDescriptors(value: unknown): readonly Descriptor[] {
  return Array.isArray(value) ? value.flatMap((item) => parseDescriptor(item) ?? []) : [];
}

function parseDescriptor(value: unknown): Descriptor | undefined {
  const { mediaType, digest, size, artifactType, annotations } = asObject(value) ?? {};
  if (typeof mediaType !== "string" || typeof digest !== "string") return undefined;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) return undefined;
  const texts = Object.entries(asObject(annotations) ?? {}).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return {
    mediaType,
    digest,
    size,
    ...(typeof artifactType === "string" ? { artifactType } : {}),
    ...(annotations === undefined ? {} : { annotations: Object.fromEntries(texts) }),
  };
}

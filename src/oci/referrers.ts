import { Failure } from "../errors/mod.ts";
import { askFor, type Place } from "./asks.ts";
import type { Exchange } from "./exchange.ts";
import { asObject, parseObject } from "./failures.ts";
import {
  digestOf,
  fetchManifest,
  indexType,
  parseDescriptors,
  type Descriptor,
} from "./manifest.ts";
import { readPages } from "./pages.ts";

/** What refers to a digest: by the API, or by the tag that stands for it. */
export async function fetchReferrers(
  exchange: Exchange,
  place: Place,
  digest: string,
  artifactType: string | undefined,
): Promise<readonly Descriptor[]> {
  const ask = askFor(place, "GET", `referrers/${digest}`);
  const url = new URL(ask.url);
  if (artifactType !== undefined) url.searchParams.set("artifactType", artifactType);
  // What registries say that have never heard of it.
  const expected = [400, 404, 405, 406];
  const found = await readPages(
    exchange,
    { ...ask, url, headers: { accept: indexType }, expected },
    ({ manifests }) => (Array.isArray(manifests) ? parseDescriptors(manifests) : undefined),
  );
  const all = found ?? (await taggedReferrers(exchange, place, digest));
  // A registry may leave the choice to us.
  return all.filter((one) => artifactType === undefined || one.artifactType === artifactType);
}

/** The tag under which what refers to a digest is listed where a registry has no API for it (distribution-spec, "Referrers Tag Schema"). */
export function referrersTag(digest: string): string {
  const [algorithm = "", digits = ""] = digest.split(":");
  return `${algorithm.slice(0, 32)}-${digits.slice(0, 64)}`;
}

/** What that tag lists; nothing when it is not there. */
export async function taggedReferrers(
  exchange: Exchange,
  place: Place,
  digest: string,
): Promise<readonly Descriptor[]> {
  try {
    const { bytes } = await fetchManifest(exchange, place, referrersTag(digest));
    return parseDescriptors(parseObject(Buffer.from(bytes).toString())?.["manifests"]);
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "image-not-found") return [];
    throw thrown;
  }
}

/** What a manifest is when it is listed among what refers to its subject; undefined without one. */
export function asReferrer(
  bytes: Uint8Array,
  mediaType: string,
): { readonly subject: string; readonly descriptor: Descriptor } | undefined {
  const parsed = parseObject(Buffer.from(bytes).toString());
  const subject = asObject(parsed?.["subject"])?.["digest"];
  if (typeof subject !== "string") return undefined;
  const config = asObject(parsed?.["config"])?.["mediaType"];
  const [descriptor] = parseDescriptors([
    {
      mediaType,
      digest: digestOf(bytes),
      size: bytes.length,
      artifactType: parsed?.["artifactType"] ?? config,
      annotations: parsed?.["annotations"],
    },
  ]);
  return descriptor && { subject, descriptor };
}

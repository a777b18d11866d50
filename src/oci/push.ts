import { Readable } from "node:stream";
import { Failure } from "../errors/mod.ts";
import { askFor, type Place } from "./asks.ts";
import type { BlobDescriptor } from "./download.ts";
import type { Exchange } from "./exchange.ts";
import { Trouble } from "./failures.ts";
import { digestOf, indexType, manifestBytes } from "./manifest.ts";
import { asReferrer, referrersTag, taggedReferrers } from "./referrers.ts";
import type { Answer } from "./transport.ts";
import { fileSource, upload, uploadUrl, type BlobSource } from "./upload.ts";

/** A file with its digest and size, or bytes. A file that is yet to come is asked for only when it must be sent. */
export type BlobToPush =
  | (BlobDescriptor & { readonly path: string | (() => Promise<string>) })
  | { readonly bytes: Uint8Array };

export interface PushedBlob extends BlobDescriptor {
  /** Whether it was there before, came from another repository, or was sent. */
  readonly how: "there" | "mounted" | "sent";
}

export async function pushBlob(
  exchange: Exchange,
  place: Place,
  blob: BlobSource,
  options: {
    readonly from: string | undefined;
    readonly onProgress: ((bytes: number) => void) | undefined;
  },
): Promise<PushedBlob> {
  const { digest, size } = blob;
  const { from, onProgress } = options;
  // With the scope that the upload will need, so that one token does for both.
  const { scopes } = askFor(place, "POST", "");
  const there = async (): Promise<boolean> => {
    const ask = { ...askFor(place, "HEAD", `blobs/${digest}`), scopes, expected: [404] };
    const answer = await exchange.retried(place, () => exchange.head(ask));
    return answer.status < 300;
  };
  if (await there()) return { digest, size, how: "there" };
  const mounted = from === undefined ? undefined : await mount(exchange, place, digest, from);
  if (mounted === "mounted") return { digest, size, how: "mounted" };
  const begin = askFor(place, "POST", "blobs/uploads/");
  await upload(exchange, { begin, begun: mounted, blob, there, onProgress });
  return { digest, size, how: "sent" };
}

/** Gets a blob from another repository, or where an upload goes on when the registry has begun one instead. */
async function mount(
  exchange: Exchange,
  place: Place,
  digest: string,
  from: string,
): Promise<"mounted" | URL | undefined> {
  const begin = askFor(place, "POST", "blobs/uploads/");
  const other = `${place.endpoint.prefix}${from}`;
  const url = new URL(begin.url);
  url.searchParams.set("mount", digest);
  url.searchParams.set("from", other);
  const scopes = [...begin.scopes, `repository:${other}:pull`];
  const headers = { "content-length": "0" };
  try {
    const answer = await exchange.head({ ...begin, url, scopes, headers });
    return answer.status === 201 ? "mounted" : uploadUrl(answer, begin);
  } catch (thrown) {
    // It only saves an upload; whoever may not read the other repository sends the blob.
    if (thrown instanceof Trouble) return undefined;
    throw thrown;
  }
}

/** Puts a manifest under a tag or its digest, and lists it with its subject where the registry does not do that itself. */
export async function pushManifest(
  exchange: Exchange,
  place: Place,
  name: string,
  { mediaType, bytes }: { readonly mediaType: string; readonly bytes: Uint8Array },
): Promise<void> {
  if (bytes.length > manifestBytes) {
    const sizes = `it has ${bytes.length} bytes; ${manifestBytes} may be`;
    throw new Failure("invalid-argument", sizes);
  }
  const put = async (name: string, bytes: Uint8Array, mediaType: string): Promise<Answer> => {
    const ask = {
      ...askFor(place, "PUT", `manifests/${name}`),
      headers: { "content-type": mediaType, "content-length": String(bytes.length) },
      body: () => Readable.from([bytes]),
    };
    const answer = await exchange.retried(place, () => exchange.head(ask));
    return answer;
  };
  const { headers } = await put(name, bytes, mediaType);
  const kept = headers["docker-content-digest"];
  if (typeof kept === "string" && kept.startsWith("sha256:") && kept !== digestOf(bytes))
    throw new Trouble("image-invalid", `${place.endpoint.name} keeps it as ${kept}`);
  const referrer = asReferrer(bytes, mediaType);
  if (!referrer || headers["oci-subject"] !== undefined) return;
  const { subject, descriptor } = referrer;
  const listed = await taggedReferrers(exchange, place, subject);
  if (listed.some(({ digest }) => digest === descriptor.digest)) return;
  const index = { schemaVersion: 2, mediaType: indexType, manifests: [...listed, descriptor] };
  await put(referrersTag(subject), Buffer.from(JSON.stringify(index)), indexType);
}

/** Where the bytes of a blob are. */
export function sourceOf(blob: BlobToPush): BlobSource {
  if (!("bytes" in blob)) {
    const { digest, size, path } = blob;
    if (typeof path === "string") return { digest, size, read: fileSource(path) };
    const read: BlobSource["read"] = async function* (from, to) {
      yield* fileSource(await path())(from, to);
    };
    return { digest, size, read };
  }
  const { bytes } = blob;
  return {
    digest: digestOf(bytes),
    size: bytes.length,
    read: async function* (from, to) {
      yield bytes.subarray(from, to);
    },
  };
}

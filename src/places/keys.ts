import { basename } from "node:path/posix";
import { parseEndpoint, type Endpoint } from "../network/mod.ts";
import type { Place, SecretName } from "./model.ts";

/** Argo's name for the artifact that a step's log becomes. */
export const logArtifact = "main-logs";

/** The place of what may have more keys than that; undefined when it names none. */
export function placeIn({ s3, http, artifactory, git, gcs, azure, oss }: Place): Place | undefined {
  if (s3) return { s3 };
  if (http) return { http };
  if (artifactory) return { artifactory };
  if (git) return { git };
  if (gcs) return { gcs };
  if (azure) return { azure };
  return oss ? { oss } : undefined;
}

/** How an artifact is packed, in Argo's words. */
interface Archive {
  readonly none?: object;
  readonly tar?: { readonly compressionLevel?: number };
  readonly zip?: object;
}

/** What an archive that is written down is. */
export function archiveKind({ none, zip }: Archive): "none" | "tar" | "zip" {
  if (none) return "none";
  return zip ? "zip" : "tar";
}

/** The same with the level of a tarball, for an output. */
export function packingOf(
  archive: Archive,
): { readonly kind: "none" | "zip" } | { readonly kind: "tar"; readonly level?: number } {
  const kind = archiveKind(archive);
  if (kind !== "tar") return { kind };
  const level = archive.tar?.compressionLevel;
  return { kind, ...(level === undefined ? {} : { level }) };
}

/** Argo's name of an output in a repository. */
export function objectName(
  { name, archive }: { readonly name: string; readonly archive?: Archive },
  path: string,
): string {
  const kind = archive ? archiveKind(archive) : "tar";
  if (kind === "none") return basename(path);
  return kind === "zip" ? `${name}.zip` : `${name}.tgz`;
}

/** Whether it says all of where it is; as for Argo, one that does not is a key of the artifact repository. */
export function isComplete({ s3, gcs, oss, azure, ...others }: Place): boolean {
  if (others.artifactory || others.git || others.http) return true;
  if (azure) return Boolean(azure.endpoint && azure.container);
  if (gcs) return Boolean(gcs.bucket);
  if (oss) return Boolean(oss.endpoint && oss.bucket);
  return Boolean(s3?.endpoint && s3.bucket);
}

/** The key of an object, or the path of a URL; git has none. */
export function keyOf({ s3, gcs, oss, azure, http, artifactory }: Place): string | undefined {
  const url = (http ?? artifactory)?.url;
  if (url !== undefined) return splitUrl(url).path;
  return s3?.key ?? gcs?.key ?? oss?.key ?? azure?.blob;
}

/** The same store with another key. */
export function withKey(place: Place, key: string): Place {
  const { s3, gcs, oss, azure, http, artifactory } = place;
  if (s3) return { s3: { ...s3, key } };
  if (gcs) return { gcs: { ...gcs, key } };
  if (oss) return { oss: { ...oss, key } };
  if (azure) return { azure: { ...azure, blob: key } };
  if (artifactory) return { artifactory: { ...artifactory, url: otherPath(artifactory.url, key) } };
  if (http) return { http: { ...http, url: otherPath(http.url, key) } };
  return place;
}

/** A key below another one; no slash is doubled. */
export function joinKey(key: string, part: string): string {
  const before = key.replace(/\/+$/, "");
  const after = part.replace(/^\/+/, "");
  return before === "" ? after : `${before}/${after}`;
}

function otherPath(url: string, path: string): string {
  const { before, query } = splitUrl(url);
  return `${before}/${path.replace(/^\/+/, "")}${query}`;
}

/** By hand, as tags may still be in it. */
function splitUrl(url: string): {
  readonly before: string;
  readonly path: string;
  readonly query: string;
} {
  const [, before = url, path = "", query = ""] =
    /^([^/]*\/\/[^/?#]*)(?:\/([^?#]*))?([?#].*)?$/su.exec(url) ?? [];
  return { before, path, query };
}

/** Where requests for it go, and its secrets with them; "tags" when that is filled in as a workflow runs. */
export function endpointOf(place: Place): Endpoint | "tags" | undefined {
  const { s3, gcs, oss, azure, http, artifactory, git } = place;
  if (!isComplete(place)) return undefined;
  if (gcs) return parseEndpoint("storage.googleapis.com");
  const said =
    s3?.endpoint ?? oss?.endpoint ?? azure?.endpoint ?? http?.url ?? artifactory?.url ?? git?.repo;
  if (said === undefined) return undefined;
  // Of a URL the path says nothing of where it goes.
  const written = splitUrl(said).before;
  if (written.includes("{{")) return "tags";
  const web = (http ?? artifactory ?? azure) !== undefined;
  if (web && !/^https?:\/\/[^@/]*(?:[/?]|$)/i.test(written)) return undefined;
  if (s3 && written.includes("/")) return undefined;
  return parseEndpoint(written, s3?.insecure ?? false);
}

/** Whether both are in the same bucket (or on the same host, where there are none). */
export function sameStore(one: Place, other: Place): boolean {
  return sameHost(one, other) && bucketOf(one) === bucketOf(other);
}

/** Whether both are behind the same endpoint. */
export function sameHost(one: Place, other: Place): boolean {
  const [left, right] = [endpointOf(one), endpointOf(other)];
  if (left === undefined || right === undefined || left === "tags" || right === "tags")
    return false;
  return left.host === right.host && left.port === right.port && left.scheme === right.scheme;
}

function bucketOf({ s3, gcs, oss, azure }: Place): string | undefined {
  return s3?.bucket ?? gcs?.bucket ?? oss?.bucket ?? azure?.container;
}

/** Each secret that a place names. */
export function secretsOf(place: Place): readonly SecretName[] {
  const found: SecretName[] = [];
  const look = (value: object): void => {
    for (const [word, inner] of Object.entries(value)) {
      if (typeof inner !== "object" || inner === null) continue;
      if (word.endsWith("Secret") && isName(inner)) found.push(inner);
      else look(inner);
    }
  };
  look(place);
  return found;
}

function isName(value: object): value is SecretName {
  return "name" in value && "key" in value;
}

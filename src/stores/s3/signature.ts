import { createHash, createHmac } from "node:crypto";

/** Who signs. */
export interface Identity {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken?: string | undefined;
}

export interface Signed {
  readonly method: string;
  /** As it is sent; the path is in its encoded form. */
  readonly url: URL;
  /** By names in lower case, `host` included. */
  readonly headers: Readonly<Record<string, string>>;
  /** SHA-256 of the body in hex, or `UNSIGNED-PAYLOAD`. */
  readonly payload: string;
}

const algorithm = "AWS4-HMAC-SHA256";
export const emptyPayload: string = createHash("sha256").digest("hex");

/**
 * The headers of a request with its signature (AWS Signature Version 4). All of them are signed but those that a proxy may touch.
 */
export function sign(
  request: Signed,
  identity: Identity,
  { region, service, date }: { region: string; service: string; date: Date },
): Record<string, string> {
  const time = date.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const day = time.slice(0, 8);
  const headers: Record<string, string> = {
    ...request.headers,
    "x-amz-date": time,
    ...(service === "s3" ? { "x-amz-content-sha256": request.payload } : {}),
    ...(identity.sessionToken === undefined
      ? {}
      : { "x-amz-security-token": identity.sessionToken }),
  };
  const names = Object.keys(headers)
    .filter((name) => name === "host" || name.startsWith("x-amz-") || name.startsWith("content-m"))
    .toSorted();
  const canonical = [
    request.method,
    request.url.pathname,
    canonicalQuery(request.url),
    ...names.map((name) => `${name}:${(headers[name] ?? "").trim().replaceAll(/ +/g, " ")}`),
    "",
    names.join(";"),
    request.payload,
  ].join("\n");
  const scope = `${day}/${region}/${service}/aws4_request`;
  const digest = createHash("sha256").update(canonical).digest("hex");
  const key = [day, region, service, "aws4_request"].reduce<Buffer>(
    (parent, part) => hmac(parent, part),
    Buffer.from(`AWS4${identity.secretKey}`),
  );
  const signature = hmac(key, [algorithm, time, scope, digest].join("\n")).toString("hex");
  return {
    ...headers,
    authorization: `${algorithm} Credential=${identity.accessKey}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`,
  };
}

/** By names first: "a" stands before "a-b", though "a-b=" stands before "a=". */
function canonicalQuery({ search }: URL): string {
  const pairs = search.slice(1).split("&");
  return pairs.toSorted((one, other) => (nameFirst(one) < nameFirst(other) ? -1 : 1)).join("&");
}

function nameFirst(pair: string): string {
  return pair.replace("=", "\0");
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

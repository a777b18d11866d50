// The least S3 client: it signs one request, without a body's digest. Servers are prepared and looked into with it, and benches compare with it; nothing of the product is in it.
import { createHash, createHmac } from "node:crypto";
import { request, type IncomingMessage } from "node:http";
import { request as secureRequest } from "node:https";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { GivenS3 } from "./given.ts";

export interface S3Request {
  readonly method: "GET" | "PUT" | "POST" | "DELETE" | "HEAD";
  /** Below the bucket, as it stands in a URL. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readable | Uint8Array | string;
}

const unsigned = "UNSIGNED-PAYLOAD";

function hmac(key: Uint8Array | string, value: string): Buffer {
  return createHmac("sha256", key).update(value).digest();
}

function encode(value: string): string {
  return encodeURIComponent(value).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** The headers that a request needs: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. */
export function signed(s3: GivenS3, method: string, url: URL): Record<string, string> {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${time.slice(0, 8)}/${s3.region}/s3/aws4_request`;
  const headers = { host: url.host, "x-amz-content-sha256": unsigned, "x-amz-date": time };
  const names = Object.keys(headers).join(";");
  const query = [...url.searchParams]
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .toSorted()
    .join("&");
  const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`);
  const canonical = [method, url.pathname, query, lines.join(""), names, unsigned].join("\n");
  const digest = createHash("sha256").update(canonical).digest("hex");
  let key: Uint8Array | string = `AWS4${s3.secretKey}`;
  for (const part of scope.split("/")) key = hmac(key, part);
  const signature = hmac(key, ["AWS4-HMAC-SHA256", time, scope, digest].join("\n")).toString("hex");
  const credential = `Credential=${s3.accessKey}/${scope}`;
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${names}, Signature=${signature}`,
  };
}

/** The response, of which the body is still to be read. */
export async function askS3(s3: GivenS3, asked: S3Request): Promise<IncomingMessage> {
  const url = new URL(
    `${s3.endpoint}/${s3.bucket}${asked.key === undefined ? "" : `/${asked.key}`}`,
  );
  for (const [name, value] of Object.entries(asked.query ?? {})) url.searchParams.set(name, value);
  const send = url.protocol === "https:" ? secureRequest : request;
  return new Promise((resolve, reject) => {
    const sent = send(url, {
      method: asked.method,
      headers: { ...signed(s3, asked.method, url), ...asked.headers },
      rejectUnauthorized: false,
    });
    sent.once("response", resolve).once("error", reject);
    const { body } = asked;
    if (body === undefined || typeof body === "string" || body instanceof Uint8Array)
      sent.end(body);
    else body.once("error", reject).pipe(sent);
  });
}

/** The body of a response as text; throws for what is no success. */
export async function s3Text(s3: GivenS3, asked: S3Request): Promise<string> {
  const response = await askS3(s3, asked);
  const body = await text(response);
  const { statusCode = 0 } = response;
  if (statusCode >= 300)
    throw new Error(`${asked.method} ${asked.key ?? ""}: ${statusCode} ${body}`);
  return body;
}

/** Keys below a prefix that begun uploads in parts still hold. */
export async function begunUploads(s3: GivenS3, prefix: string): Promise<readonly string[]> {
  const listed = await s3Text(s3, { method: "GET", query: { uploads: "", prefix } });
  return [...listed.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key = ""]) => key);
}

export async function keysBelow(s3: GivenS3, prefix: string): Promise<readonly string[]> {
  const listed = await s3Text(s3, { method: "GET", query: { "list-type": "2", prefix } });
  return [...listed.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key = ""]) => key);
}

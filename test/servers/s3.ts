// A small S3 server for `npm test`: it checks signatures, bodies and preconditions as S3 does, keeps objects in files, and has bad days when it is told to.
import { createHash, createHmac, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

/** What goes wrong with requests that match, as often as it says. */
export interface Fault {
  /** `GET`, `PUT`, `part`, `complete`, `create`, `abort`, `list`, `delete`, …: see `operationOf`. */
  readonly operation: string;
  readonly key?: string;
  /** Default 1. */
  times?: number;
  /** Requests that match and pass before it begins. */
  after?: number;
  readonly does:
    | {
        readonly kind: "error";
        readonly status: number;
        readonly code?: string;
        readonly retryAfter?: string;
      }
    /** Answers with nothing, or breaks off after so many bytes of the body. */
    | { readonly kind: "cut"; readonly afterBytes?: number }
    /** Does the work and breaks off before it says so. */
    | { readonly kind: "cut-after" }
    /** Says nothing more after so many bytes of the answer's body. */
    | { readonly kind: "stall"; readonly afterBytes: number }
    | { readonly kind: "corrupt" }
    /** 200, and an error in the body. */
    | { readonly kind: "late-error"; readonly code: string }
    /** Takes this token no more. */
    | { readonly kind: "expire" }
    | { readonly kind: "run"; readonly run: () => Promise<void> };
}

interface StoredObject {
  readonly path: string;
  readonly size: number;
  readonly etag: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface Upload {
  readonly bucket: string;
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly parts: Map<number, StoredObject>;
}

export interface S3ServerOptions {
  readonly region?: string;
  readonly accessKey?: string;
  readonly secretKey?: string;
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Keys in one answer to a list. */
  readonly pageSize?: number;
  readonly clock?: () => Date;
  /** Objects that are at least this long come whole, whatever range is asked for. */
  readonly ignoresRanges?: boolean;
}

export interface Seen {
  readonly operation: string;
  readonly bucket: string;
  readonly key: string;
  readonly headers: IncomingMessage["headers"];
  readonly status: number;
}

/** Starts a server on a free port of this machine. */
export async function startS3(options: S3ServerOptions = {}): Promise<S3Server> {
  const folder = await mkdtemp(join(tmpdir(), "atalanta-s3-"));
  const server = new S3Server(folder, options);
  await server.listen();
  return server;
}

class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly more: Readonly<Record<string, string>>;

  constructor(status: number, code: string, more: Readonly<Record<string, string>> = {}) {
    super(code);
    this.status = status;
    this.code = code;
    this.more = more;
  }
}

class Cut extends Error {}

export class S3Server implements AsyncDisposable {
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly buckets: Map<string, Map<string, StoredObject>> = new Map();
  readonly uploads: Map<string, Upload> = new Map();
  readonly faults: Fault[] = [];
  readonly seen: Seen[] = [];
  /** Session tokens that are taken, by access key; with one, requests must have it. */
  readonly sessions: Map<string, { readonly secretKey: string; readonly token: string }> =
    new Map();
  readonly expired: Set<string> = new Set();
  readonly bucketHeaders: Map<string, IncomingMessage["headers"]> = new Map();
  readonly #folder: string;
  readonly #options: S3ServerOptions;
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();
  #port = 0;
  #damages = 0;

  constructor(folder: string, options: S3ServerOptions) {
    this.#folder = folder;
    this.#options = options;
    this.region = options.region ?? "us-east-1";
    this.accessKey = options.accessKey ?? "AKIATESTKEY";
    this.secretKey = options.secretKey ?? "a-secret-key-of-the-test";
    const handle = (request: IncomingMessage, response: ServerResponse): void => {
      void this.#handle(request, response);
    };
    this.#server = options.tls ? createSecureServer(options.tls, handle) : createServer(handle);
    this.#server.keepAliveTimeout = 30_000;
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => undefined);
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => void this.#server.listen(0, "127.0.0.1", resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  get endpoint(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  /** What the requests so far were. */
  operations(): readonly string[] {
    return this.seen.map(({ operation }) => operation);
  }

  bucket(name: string): Map<string, StoredObject> {
    const known = this.buckets.get(name);
    if (known) return known;
    const made = new Map<string, StoredObject>();
    this.buckets.set(name, made);
    return made;
  }

  /** Lays an object there, past the interface. */
  async put(bucket: string, key: string, bytes: Uint8Array): Promise<void> {
    const path = join(this.#folder, randomUUID());
    await appendFile(path, bytes);
    const etag = `"${createHash("md5").update(bytes).digest("hex")}"`;
    this.bucket(bucket).set(key, { path, size: bytes.length, etag, headers: {} });
  }

  async get(bucket: string, key: string): Promise<Buffer | undefined> {
    const object = this.buckets.get(bucket)?.get(key);
    return object && readFile(object.path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = this.#read(request);
    const note = (status: number): void => {
      const { operation, bucket, key } = asked;
      this.seen.push({ operation, bucket, key, headers: request.headers, status });
    };
    try {
      const fault = this.#fault(asked);
      if (fault?.kind === "error") {
        throw new Refusal(
          fault.status,
          fault.code ?? "InternalError",
          fault.retryAfter === undefined ? {} : { "retry-after": fault.retryAfter },
        );
      }
      if (fault?.kind === "expire")
        this.expired.add(String(request.headers["x-amz-security-token"]));
      if (fault?.kind === "run") await fault.run();
      if (fault?.kind === "cut" && fault.afterBytes === undefined) throw new Cut();
      const payload = this.#authorize(request, asked);
      const body = await this.#body(
        request,
        payload,
        fault?.kind === "cut" ? fault.afterBytes : undefined,
      );
      const answer = await this.#answer(asked, request, body);
      if (fault?.kind === "cut-after") throw new Cut();
      if (fault?.kind === "late-error") {
        answer.status = 200;
        answer.text = errorText(fault.code);
      }
      note(answer.status);
      await this.#send(request, response, answer, fault);
    } catch (thrown) {
      if (thrown instanceof Cut) {
        note(0);
        response.destroy();
        return;
      }
      const refusal = thrown instanceof Refusal ? thrown : new Refusal(500, "InternalError");
      note(refusal.status);
      if (response.headersSent) {
        response.destroy();
        return;
      }
      const { region, ...headers } = refusal.more;
      const text = request.method === "HEAD" ? "" : errorText(refusal.code, region);
      response.writeHead(refusal.status, {
        ...headers,
        "content-type": "application/xml",
        ...(region === undefined ? {} : { "x-amz-bucket-region": region }),
        ...(request.complete ? {} : { connection: "close" }),
        "content-length": Buffer.byteLength(text),
      });
      response.end(text);
    }
  }

  #read(request: IncomingMessage): Asked {
    const [path = "", search = ""] = (request.url ?? "").split("?");
    const query = new Map(
      search
        .split("&")
        .filter((pair) => pair !== "")
        .map((pair) => pair.split("=") as [string, string?])
        .map(
          ([name, value = ""]) => [decodeURIComponent(name), decodeURIComponent(value)] as const,
        ),
    );
    const host = String(request.headers.host).replace(/:\d+$/, "");
    const before = /^(.+)\.localhost$/.exec(host)?.[1];
    const [first = "", ...rest] = path.slice(1).split("/");
    const bucket = before ?? decodeURIComponent(first);
    const key = decodeURIComponent(before === undefined ? rest.join("/") : path.slice(1));
    const asked = { path, search, query, bucket, key, method: request.method ?? "" };
    return { ...asked, operation: operationOf(asked) };
  }

  #fault({ operation, key }: Asked): Fault["does"] | undefined {
    for (const fault of this.faults) {
      const { times = 1, after = 0 } = fault;
      if (fault.operation !== operation || (fault.key !== undefined && fault.key !== key)) continue;
      if (after > 0) {
        fault.after = after - 1;
        continue;
      }
      if (times <= 0) continue;
      fault.times = times - 1;
      return fault.does;
    }
    return undefined;
  }

  /** Checks the signature; gives what it says of the body. */
  #authorize(request: IncomingMessage, asked: Asked): string {
    const { headers } = request;
    const match =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
        headers.authorization ?? "",
      );
    if (!match) throw new Refusal(403, "AccessDenied");
    const [, accessKey = "", day = "", region = "", names = "", signature] = match;
    const session = this.sessions.get(accessKey);
    const secretKey =
      session?.secretKey ?? (accessKey === this.accessKey ? this.secretKey : undefined);
    if (secretKey === undefined) throw new Refusal(403, "InvalidAccessKeyId");
    const token = headers["x-amz-security-token"];
    if (token !== undefined && this.expired.has(String(token)))
      throw new Refusal(400, "ExpiredToken");
    if (session?.token !== token) throw new Refusal(400, "InvalidToken");
    const time = String(headers["x-amz-date"]);
    const now = this.#options.clock?.() ?? new Date();
    const at = Date.parse(time.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"));
    if (!(Math.abs(at - now.getTime()) < 15 * 60_000) || !time.startsWith(day))
      throw new Refusal(403, "RequestTimeTooSkewed", { date: now.toUTCString() });
    if (region !== this.region)
      throw new Refusal(400, "AuthorizationHeaderMalformed", { region: this.region });
    const signed = names.split(";");
    const must = Object.keys(headers).filter(
      (name) => name.startsWith("x-amz-") || name === "host",
    );
    if (must.some((name) => !signed.includes(name))) throw new Refusal(403, "AccessDenied");
    const payload = String(headers["x-amz-content-sha256"]);
    const canonical = [
      asked.method,
      asked.path,
      asked.search
        .split("&")
        .map((pair) => pair.split("="))
        .toSorted(([one = ""], [other = ""]) => (one < other ? -1 : 1))
        .map((pair) => pair.join("="))
        .join("&"),
      ...signed.map((name) => `${name}:${String(headers[name]).trim()}`),
      "",
      names,
      payload,
    ].join("\n");
    const hmac = (key: string | Buffer, text: string): Buffer =>
      createHmac("sha256", key).update(text).digest();
    const key = hmac(hmac(hmac(hmac(`AWS4${secretKey}`, day), region), "s3"), "aws4_request");
    const digest = createHash("sha256").update(canonical).digest("hex");
    const text = ["AWS4-HMAC-SHA256", time, `${day}/${region}/s3/aws4_request`, digest].join("\n");
    if (hmac(key, text).toString("hex") !== signature)
      throw new Refusal(403, "SignatureDoesNotMatch");
    return payload;
  }

  async #body(
    request: IncomingMessage,
    payload: string,
    cutAfter: number | undefined,
  ): Promise<Body> {
    const path = join(this.#folder, randomUUID());
    const sha256 = createHash("sha256");
    const md5 = createHash("md5");
    let size = 0;
    await pipeline(
      request,
      async function* (source: AsyncIterable<Buffer>) {
        for await (const piece of source) {
          sha256.update(piece);
          md5.update(piece);
          size += piece.length;
          if (cutAfter !== undefined && size > cutAfter) throw new Cut();
          yield piece;
        }
      },
      createWriteStream(path),
    );
    const digest = md5.digest();
    const wantedMd5 = request.headers["content-md5"];
    if (payload !== "UNSIGNED-PAYLOAD" && payload !== sha256.digest("hex"))
      throw new Refusal(400, "XAmzContentSHA256Mismatch");
    if (wantedMd5 !== undefined && wantedMd5 !== digest.toString("base64"))
      throw new Refusal(400, "BadDigest");
    return { path, size, etag: `"${digest.toString("hex")}"` };
  }

  async #answer(asked: Asked, request: IncomingMessage, body: Body): Promise<Reply> {
    const { operation, bucket, key, query } = asked;
    const objects = this.buckets.get(bucket);
    if (operation === "create-bucket") {
      if (objects) throw new Refusal(409, "BucketAlreadyOwnedByYou");
      const wanted = /<LocationConstraint>(.*)<\/LocationConstraint>/.exec(
        await readFile(body.path, "utf8"),
      )?.[1];
      if ((wanted ?? "us-east-1") !== this.region)
        throw new Refusal(400, "IllegalLocationConstraintException");
      this.bucket(bucket);
      this.bucketHeaders.set(bucket, request.headers);
      return { status: 200 };
    }
    if (!objects) throw new Refusal(404, "NoSuchBucket");
    switch (operation) {
      case "head-bucket":
        return { status: 200 };
      case "encryption":
        return { status: 200 };
      case "list":
        return { status: 200, text: this.#list(objects, query) };
      case "batch-delete":
        return this.#delete(objects, await readFile(body.path, "utf8"), request);
      case "PUT": {
        const headers = kept(request);
        objects.set(key, { ...body, headers });
        return { status: 200, headers: { etag: body.etag } };
      }
      case "DELETE":
        objects.delete(key);
        return { status: 204 };
      case "GET":
      case "HEAD":
        return this.#object(objects.get(key), request);
      case "create": {
        const id = randomUUID();
        this.uploads.set(id, { bucket, key, headers: kept(request), parts: new Map() });
        return {
          status: 200,
          text: `<?xml version="1.0"?><InitiateMultipartUploadResult><Bucket>${bucket}</Bucket><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
        };
      }
      default: {
        const id = query.get("uploadId") ?? "";
        const upload = this.uploads.get(id);
        if (!upload || upload.key !== key) throw new Refusal(404, "NoSuchUpload");
        if (operation === "part") {
          if (!sameCustomer(upload.headers, request)) throw new Refusal(400, "InvalidRequest");
          upload.parts.set(Number(query.get("partNumber")), { ...body, headers: {} });
          return { status: 200, headers: { etag: body.etag } };
        }
        if (operation === "abort") {
          this.uploads.delete(id);
          return { status: 204 };
        }
        if (operation !== "complete") throw new Refusal(501, "NotImplemented");
        return this.#complete(id, upload, await readFile(body.path, "utf8"));
      }
    }
  }

  async #complete(id: string, upload: Upload, text: string): Promise<Reply> {
    const path = join(this.#folder, randomUUID());
    const hash = createHash("md5");
    const wanted = [...text.matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>(.*?)<\/ETag>/g)].map(
      ([, number, etag]) => ({ number: Number(number), etag: etag?.replaceAll("&#x22;", '"') }),
    );
    let size = 0;
    for (const [index, { number, etag }] of wanted.entries()) {
      const part = upload.parts.get(number);
      if (part?.etag !== etag || (wanted[index - 1]?.number ?? 0) >= number || !part)
        throw new Refusal(400, "InvalidPart");
      if (index < wanted.length - 1 && part.size < 5 * 1024 * 1024)
        throw new Refusal(400, "EntityTooSmall");
      await pipeline(createReadStream(part.path), createWriteStream(path, { flags: "a" }));
      hash.update(Buffer.from(part.etag.replaceAll('"', ""), "hex"));
      size += part.size;
    }
    const etag = `"${hash.digest("hex")}-${wanted.length}"`;
    this.bucket(upload.bucket).set(upload.key, { path, size, etag, headers: upload.headers });
    this.uploads.delete(id);
    return {
      status: 200,
      text: `<CompleteMultipartUploadResult><ETag>${etag}</ETag></CompleteMultipartUploadResult>`,
    };
  }

  #object(object: StoredObject | undefined, request: IncomingMessage): Reply {
    if (!object) throw new Refusal(404, "NoSuchKey");
    if (!sameCustomer(object.headers, request)) throw new Refusal(400, "InvalidRequest");
    const match = request.headers["if-match"];
    if (match !== undefined && match !== object.etag) throw new Refusal(412, "PreconditionFailed");
    const headers = { etag: object.etag, ...object.headers };
    const range =
      this.#options.ignoresRanges === true
        ? null
        : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    if (!range) return { status: 200, headers, object, from: 0, to: object.size };
    const from = Number(range[1]);
    if (from >= object.size) throw new Refusal(416, "InvalidRange");
    const to = range[2] === "" ? object.size : Math.min(Number(range[2]) + 1, object.size);
    return {
      status: 206,
      headers: { ...headers, "content-range": `bytes ${from}-${to - 1}/${object.size}` },
      object,
      from,
      to,
    };
  }

  #list(objects: Map<string, StoredObject>, query: ReadonlyMap<string, string>): string {
    const prefix = query.get("prefix") ?? "";
    const after = query.get("continuation-token") ?? "";
    const keys = [...objects.keys()].filter((key) => key.startsWith(prefix)).toSorted();
    const rest = keys.filter(
      (key) => after === "" || key > Buffer.from(after, "base64").toString(),
    );
    const page = rest.slice(0, this.#options.pageSize ?? 1000);
    const more = rest.length > page.length;
    const next = Buffer.from(page.at(-1) ?? "").toString("base64");
    const contents = page.map(
      (key) =>
        `<Contents><Key>${encodeURIComponent(key)}</Key><Size>${objects.get(key)?.size}</Size></Contents>`,
    );
    return `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType><IsTruncated>${more}</IsTruncated>${more ? `<NextContinuationToken>${next}</NextContinuationToken>` : ""}${contents.join("")}</ListBucketResult>`;
  }

  #delete(objects: Map<string, StoredObject>, text: string, request: IncomingMessage): Reply {
    if (request.headers["content-md5"] === undefined) throw new Refusal(400, "InvalidRequest");
    const keys = [...text.matchAll(/<Key>(.*?)<\/Key>/gs)].map(([, key = ""]) =>
      key.replaceAll(/&#x([0-9a-f]+);/g, (_, code: string) =>
        String.fromCodePoint(Number.parseInt(code, 16)),
      ),
    );
    if (keys.length > 1000) throw new Refusal(400, "MalformedXML");
    const locked = keys.filter((key) => key.endsWith(".locked"));
    for (const key of keys) if (!locked.includes(key)) objects.delete(key);
    const errors = locked.map((key) => `<Error><Key>${key}</Key><Code>AccessDenied</Code></Error>`);
    return { status: 200, text: `<DeleteResult>${errors.join("")}</DeleteResult>` };
  }

  async #send(
    request: IncomingMessage,
    response: ServerResponse,
    { status, headers = {}, text, object, from = 0, to = 0 }: Reply,
    fault: Fault["does"] | undefined,
  ): Promise<void> {
    if (!object) {
      response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(text ?? "") });
      response.end(text);
      return;
    }
    response.writeHead(status, { ...headers, "content-length": to - from });
    if (request.method === "HEAD" || to === from) {
      response.end();
      return;
    }
    const limit =
      fault?.kind === "stall" || fault?.kind === "cut" ? (fault.afterBytes ?? 0) : Infinity;
    const stream = createReadStream(object.path, {
      start: from,
      end: Math.min(to, from + limit) - 1,
    });
    for await (const piece of stream as AsyncIterable<Buffer>) {
      if (fault?.kind === "corrupt" && this.#damages++ >= 0) {
        // Another bit each time.
        const at = (this.#damages * 977) % piece.length;
        piece[at] = (piece[at] ?? 0) ^ 1;
      }
      if (!response.write(piece)) {
        await new Promise<void>((resolve) => {
          const go = (): void => {
            response.off("drain", go);
            response.off("close", go);
            resolve();
          };
          response.once("drain", go);
          response.once("close", go);
        });
      }
      if (response.destroyed) return;
    }
    if (fault?.kind === "stall") return;
    if (limit < to - from) {
      // What was written is to arrive.
      setTimeout(() => response.destroy(), 20);
      return;
    }
    response.end();
  }
}

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly search: string;
  readonly query: ReadonlyMap<string, string>;
  readonly bucket: string;
  readonly key: string;
  readonly operation: string;
}

interface Body {
  readonly path: string;
  readonly size: number;
  readonly etag: string;
}

interface Reply {
  status: number;
  readonly headers?: Readonly<Record<string, string>>;
  text?: string;
  readonly object?: StoredObject;
  readonly from?: number;
  readonly to?: number;
}

function operationOf({ method, key, query }: Omit<Asked, "operation">): string {
  if (key === "") {
    if (method === "PUT") return query.has("encryption") ? "encryption" : "create-bucket";
    if (method === "HEAD") return "head-bucket";
    return method === "POST" && query.has("delete") ? "batch-delete" : "list";
  }
  if (query.has("uploads")) return "create";
  if (!query.has("uploadId")) return method;
  return method === "PUT" ? "part" : method === "DELETE" ? "abort" : "complete";
}

function errorText(code: string, region?: string): string {
  const told = region === undefined ? "" : `<Region>${region}</Region>`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>It is ${code}.</Message>${told}<RequestId>1</RequestId></Error>`;
}

const encryption = "x-amz-server-side-encryption";

/** What is told again with the object. The customer's key is not, but must come again. */
function kept({ headers }: IncomingMessage): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      name.startsWith(encryption) && !name.endsWith("customer-key") ? [[name, String(value)]] : [],
    ),
  );
}

function sameCustomer(
  stored: Readonly<Record<string, string>>,
  { headers }: IncomingMessage,
): boolean {
  const name = `${encryption}-customer-key-md5`;
  const key = headers[`${encryption}-customer-key`];
  const digest = createHash("md5")
    .update(Buffer.from(String(key), "base64"))
    .digest("base64");
  return (
    stored[name] === headers[name] && (headers[name] === undefined || digest === headers[name])
  );
}

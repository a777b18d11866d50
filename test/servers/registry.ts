import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** A request that came in. */
export interface Seen {
  readonly method: string;
  /** With its query. */
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly status: number;
}

/** What goes wrong with one request. */
export type Fault =
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string | Buffer;
      /** Before the request's body was read. */
      readonly early?: boolean;
    }
  /** The connection is cut after so many bytes of the body; without a number before anything was answered. */
  | { readonly kind: "cut"; readonly afterBytes?: number }
  /** Nothing comes any more after so many bytes of the body; without a number nothing at all is answered. */
  | { readonly kind: "stall"; readonly afterBytes?: number }
  /** It is answered well, after a while. */
  | { readonly kind: "late"; readonly afterMs: number }
  /** It is answered well, and then the connection is closed without a word. */
  | { readonly kind: "hang-up" }
  /** The body comes byte by byte. */
  | { readonly kind: "drip"; readonly everyMs: number }
  /** The first byte of the body is another one. */
  | { readonly kind: "corrupt" }
  /** The body without its length, and with more behind it. */
  | { readonly kind: "endless" }
  /** An upload is cut after so many bytes that arrived and were kept. */
  | { readonly kind: "cut-upload"; readonly afterBytes: number };

export type Access =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  | {
      readonly kind: "bearer";
      /** Names and passwords; nobody may do more than pull without one. */
      readonly users?: Readonly<Record<string, string>>;
      /** Refresh tokens of OAuth 2. */
      readonly identityTokens?: readonly string[];
      /** Whether a token is given for a pull without a login. */
      readonly anonymousPull?: boolean;
      readonly expiresSeconds?: number;
      /** The service's URL where it is not `/token` here. */
      readonly realm?: string;
      /** Parts of the challenge beside the realm, where a registry has its own way. */
      readonly challenge?: string;
      /** The token's name in the answer. */
      readonly tokenKey?: string;
    };

export interface RegistryOptions {
  readonly access?: Access;
  readonly tls?: { readonly key: string; readonly cert: string };
  /** What goes wrong, by request; `count` is how often its method and path came before. */
  readonly fault?: (request: IncomingMessage, count: number) => Fault | undefined;
  /** Whether it has the referrers API, and says so; default true. */
  readonly referrersApi?: boolean;
  /** Whether it mounts blobs of other repositories; default true. */
  readonly mounts?: boolean;
  /** Answers HEAD and GET of manifests without `Docker-Content-Digest`. */
  readonly silent?: boolean;
  /** Entries of a page of tags and referrers. */
  readonly pageSize?: number;
  /** Whether blobs can be had from the middle; default true. */
  readonly ranges?: boolean;
}

interface Stored {
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

interface Upload {
  readonly repository: string;
  pieces: Buffer[];
  size: number;
}

/** A registry for tests, by the distribution specification, with the bad days of real ones. */
export class StandInRegistry implements AsyncDisposable {
  readonly seen: Seen[] = [];
  /** By repository, then by digest. */
  readonly blobs: Map<string, Map<string, Buffer>> = new Map();
  /** By repository, then by tag or digest. */
  readonly manifests: Map<string, Map<string, Stored>> = new Map();
  /** Tokens that were given, with what they are good for. */
  readonly tokens: Map<string, { readonly scopes: readonly string[]; readonly untilMs: number }> =
    new Map();
  options: RegistryOptions;
  /** Sees each request when it comes in. */
  onRequest: (request: IncomingMessage) => void = () => undefined;
  readonly #server: Server;
  readonly #uploads = new Map<string, Upload>();
  readonly #counts = new Map<string, number>();

  private constructor(options: RegistryOptions) {
    this.options = options;
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      this.#answer(request, response).catch((thrown: unknown) => {
        response.destroy(thrown instanceof Error ? thrown : new Error(String(thrown)));
      });
    };
    this.#server = options.tls ? createSecureServer(options.tls, listener) : createServer(listener);
  }

  static async start(options: RegistryOptions = {}): Promise<StandInRegistry> {
    const made = new StandInRegistry(options);
    await new Promise<void>((resolve) => made.#server.listen(0, "127.0.0.1", resolve));
    return made;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** As it stands in references. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  get origin(): string {
    return `${this.options.tls ? "https" : "http"}://${this.host}`;
  }

  putBlob(repository: string, bytes: Buffer): { readonly digest: string; readonly size: number } {
    const digest = digestOf(bytes);
    of(this.blobs, repository).set(digest, bytes);
    return { digest, size: bytes.length };
  }

  /** Puts a manifest there as it is given; an object as its JSON. */
  putManifest(
    repository: string,
    tag: string | undefined,
    manifest: object | Buffer,
    mediaType = "application/vnd.oci.image.manifest.v1+json",
  ): { readonly digest: string; readonly bytes: Buffer } {
    const bytes = Buffer.isBuffer(manifest) ? manifest : Buffer.from(JSON.stringify(manifest));
    const digest = digestOf(bytes);
    const kept = of(this.manifests, repository);
    kept.set(digest, { mediaType, bytes });
    if (tag !== undefined) kept.set(tag, { mediaType, bytes });
    return { digest, bytes };
  }

  /** How many requests came, by method and by what their path has in it. */
  count(method: string, part: string): number {
    return this.seen.filter((one) => one.method === method && one.url.includes(part)).length;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.origin);
    const method = request.method ?? "";
    response.on("close", () => {
      const { statusCode: status } = response;
      this.seen.push({ method, url: request.url ?? "", headers: request.headers, status });
    });
    this.onRequest(request);
    const key = `${method} ${url.pathname}`;
    const count = this.#counts.get(key) ?? 0;
    this.#counts.set(key, count + 1);
    const fault = this.options.fault?.(request, count);
    if (fault?.kind === "cut" && fault.afterBytes === undefined) {
      request.socket.destroy();
      return;
    }
    if (fault?.kind === "stall" && fault.afterBytes === undefined) return;
    if (fault?.kind === "answer") {
      if (fault.early !== true) await drained(request);
      response.writeHead(fault.status, fault.headers).end(fault.body ?? "");
      return;
    }
    if (fault?.kind === "late") await sleep(fault.afterMs);
    if (fault?.kind === "hang-up") response.on("finish", () => request.socket.destroy());
    const reply = new Reply(request, response, fault);
    if (url.pathname === "/token") {
      await this.#token(request, url, reply);
      return;
    }
    const scope = scopeOf(method, url);
    if (!this.#mayPass(request, scope)) {
      await drained(request);
      this.#challenge(reply, scope);
      return;
    }
    await this.#serve(request, url, reply);
  }

  async #serve(request: IncomingMessage, url: URL, reply: Reply): Promise<void> {
    const method = request.method ?? "";
    if (url.pathname === "/v2/") return reply.send(200, {}, "{}");
    const match =
      /^\/v2\/(.+)\/(manifests|blobs\/uploads|blobs|referrers|tags)\/([^/]*)$/.exec(url.pathname) ??
      [];
    const [, repository = "", kind, name = ""] = match;
    const reading = method === "GET" || method === "HEAD";
    if (kind === "manifests" && reading) return this.#getManifest(repository, name, reply);
    if (kind === "manifests" && method === "PUT") {
      const mediaType = request.headers["content-type"] ?? "";
      return this.#putManifest(
        repository,
        name,
        { bytes: await drained(request), mediaType },
        reply,
      );
    }
    if (kind === "blobs" && reading) return this.#getBlob(request, repository, name, reply);
    if (kind === "referrers" && this.options.referrersApi !== false)
      return this.#referrers(repository, name, url, reply);
    if (kind === "tags") return this.#tags(repository, url, reply);
    if (kind === "blobs/uploads")
      return this.#upload(request, { repository, id: name, url }, reply);
    return reply.fail(404, "UNSUPPORTED");
  }

  #getManifest(repository: string, name: string, reply: Reply): void {
    const found = this.manifests.get(repository)?.get(name);
    if (!found) return reply.fail(404, "MANIFEST_UNKNOWN");
    const digest = this.options.silent ? {} : { "docker-content-digest": digestOf(found.bytes) };
    reply.send(200, { "content-type": found.mediaType, ...digest }, found.bytes);
  }

  #getBlob(request: IncomingMessage, repository: string, digest: string, reply: Reply): void {
    const bytes = this.blobs.get(repository)?.get(digest);
    if (!bytes) return reply.fail(404, "BLOB_UNKNOWN");
    const headers = { "content-type": "application/octet-stream", etag: `"${digest}"` };
    const range = /^bytes=(\d+)-\d+$/.exec(request.headers.range ?? "");
    const version = request.headers["if-range"];
    const current = version === undefined || version === headers.etag;
    if (!range || !current || this.options.ranges === false) return reply.send(200, headers, bytes);
    const from = Number(range[1]);
    if (from >= bytes.length) return reply.send(416, {}, "");
    const said = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
    reply.send(206, { ...headers, "content-range": said }, bytes.subarray(from));
  }

  #putManifest(repository: string, name: string, stored: Stored, reply: Reply): void {
    const digest = digestOf(stored.bytes);
    if (name.includes(":") && name !== digest) return reply.fail(400, "DIGEST_INVALID");
    const parsed: unknown = JSON.parse(stored.bytes.toString());
    const { subject } = parsed as { subject?: { digest: string } };
    of(this.manifests, repository).set(name, stored).set(digest, stored);
    reply.send(
      201,
      {
        location: `/v2/${repository}/manifests/${digest}`,
        "docker-content-digest": digest,
        ...(subject && this.options.referrersApi !== false
          ? { "oci-subject": subject.digest }
          : {}),
      },
      "",
    );
  }

  #referrers(repository: string, digest: string, url: URL, reply: Reply): void {
    const wanted = url.searchParams.get("artifactType");
    const all = [...(this.manifests.get(repository) ?? [])].flatMap(
      ([name, { bytes, mediaType }]) => {
        if (!name.includes(":")) return [];
        const parsed = JSON.parse(bytes.toString()) as Record<string, unknown>;
        const subject = parsed["subject"] as { digest: string } | undefined;
        if (subject?.digest !== digest) return [];
        const config = parsed["config"] as { mediaType: string } | undefined;
        const artifactType = parsed["artifactType"] ?? config?.mediaType;
        const { annotations } = parsed;
        return [{ mediaType, digest: name, size: bytes.length, artifactType, annotations }];
      },
    );
    const found = all.filter((one) => wanted === null || one.artifactType === wanted);
    const { page, link } = this.#page(found, url);
    reply.send(
      200,
      { "content-type": "application/vnd.oci.image.index.v1+json", ...link },
      JSON.stringify({
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.index.v1+json",
        manifests: page,
      }),
    );
  }

  #tags(repository: string, url: URL, reply: Reply): void {
    const kept = this.manifests.get(repository);
    if (!kept) return reply.fail(404, "NAME_UNKNOWN");
    const { page, link } = this.#page(
      [...kept.keys()].filter((name) => !name.includes(":")).toSorted(),
      url,
    );
    reply.send(
      200,
      { "content-type": "application/json", ...link },
      JSON.stringify({ name: repository, tags: page }),
    );
  }

  #page<Item>(
    all: readonly Item[],
    url: URL,
  ): { page: readonly Item[]; link: Record<string, string> } {
    const size = this.options.pageSize ?? all.length;
    const from = Number(url.searchParams.get("from") ?? 0);
    const page = all.slice(from, from + size);
    if (from + size >= all.length) return { page, link: {} };
    const next = new URL(url);
    next.searchParams.set("from", String(from + size));
    return { page, link: { link: `<${next.pathname}${next.search}>; rel="next"` } };
  }

  async #upload(
    request: IncomingMessage,
    { repository, id, url }: { repository: string; id: string; url: URL },
    reply: Reply,
  ): Promise<void> {
    const method = request.method ?? "";
    if (method === "POST") {
      const mount = url.searchParams.get("mount");
      const from = url.searchParams.get("from");
      const bytes = from === null ? undefined : this.blobs.get(from)?.get(mount ?? "");
      if (bytes && this.options.mounts !== false) {
        return this.#stored(repository, bytes, reply);
      }
      const made = randomBytes(8).toString("hex");
      this.#uploads.set(made, { repository, pieces: [], size: 0 });
      return this.#state(made, 202, reply);
    }
    const upload = this.#uploads.get(id);
    if (!upload) return reply.fail(404, "BLOB_UPLOAD_UNKNOWN");
    if (method === "GET") return this.#state(id, 204, reply);
    if (method === "DELETE") {
      this.#uploads.delete(id);
      return reply.send(204, {}, "");
    }
    const range = /^(\d+)-/.exec(request.headers["content-range"] ?? "");
    if (range && Number(range[1]) !== upload.size) {
      await drained(request);
      return this.#state(id, 416, reply);
    }
    for await (const piece of request as AsyncIterable<Buffer>) {
      upload.pieces.push(piece);
      upload.size += piece.length;
      if (reply.fault?.kind === "cut-upload" && upload.size >= reply.fault.afterBytes) {
        upload.size = reply.fault.afterBytes;
        upload.pieces = [Buffer.concat(upload.pieces).subarray(0, upload.size)];
        request.socket.destroy();
        return;
      }
    }
    if (method === "PATCH") return this.#state(id, 202, reply);
    this.#uploads.delete(id);
    const bytes = Buffer.concat(upload.pieces);
    if (url.searchParams.get("digest") !== digestOf(bytes))
      return reply.fail(400, "DIGEST_INVALID");
    return this.#stored(repository, bytes, reply);
  }

  #stored(repository: string, bytes: Buffer, reply: Reply): void {
    const { digest } = this.putBlob(repository, bytes);
    const location = `/v2/${repository}/blobs/${digest}`;
    reply.send(201, { location, "docker-content-digest": digest }, "");
  }

  #state(id: string, status: number, reply: Reply): void {
    const upload = this.#uploads.get(id);
    const size = upload?.size ?? 0;
    reply.send(
      status,
      {
        location: `/v2/${upload?.repository}/blobs/uploads/${id}?state=${size}`,
        range: `0-${Math.max(0, size - 1)}`,
        "docker-upload-uuid": id,
      },
      "",
    );
  }

  #mayPass({ headers }: IncomingMessage, scope: string): boolean {
    const { access } = this.options;
    if (!access) return true;
    const [scheme, value = ""] = headers.authorization?.split(" ") ?? [];
    if (access.kind === "basic") {
      return scheme === "Basic" && decoded(value) === `${access.username}:${access.password}`;
    }
    const token = scheme === "Bearer" ? this.tokens.get(value) : undefined;
    if (!token || token.untilMs < Date.now()) return false;
    const [, name, actions = ""] = scope.split(":");
    return actions.split(",").every((action) =>
      token.scopes.some((given) => {
        const [, to, may = ""] = given.split(":");
        return to === name && may.split(",").includes(action);
      }),
    );
  }

  #challenge(reply: Reply, scope: string): void {
    const { access } = this.options;
    const realm = access?.kind === "bearer" ? (access.realm ?? `${this.origin}/token`) : "stand-in";
    const rest = access?.kind === "bearer" ? access.challenge : undefined;
    const header =
      access?.kind === "bearer"
        ? `Bearer realm="${realm}",${rest ?? `service="stand-in",scope="${scope}"`}`
        : `Basic realm="${realm}", charset="UTF-8"`;
    reply.fail(401, "UNAUTHORIZED", { "www-authenticate": header });
  }

  async #token(request: IncomingMessage, url: URL, reply: Reply): Promise<void> {
    const { access } = this.options;
    const body = (await drained(request)).toString();
    if (access?.kind !== "bearer") return reply.fail(404, "UNSUPPORTED");
    const form = new URLSearchParams(body);
    const asked =
      request.method === "POST"
        ? (form.get("scope") ?? "").split(" ")
        : url.searchParams.getAll("scope");
    const [scheme, value = ""] = request.headers.authorization?.split(" ") ?? [];
    const [username = "", password] = scheme === "Basic" ? decoded(value).split(/:(.*)/s) : [];
    const known =
      request.method === "POST"
        ? (access.identityTokens ?? []).includes(form.get("refresh_token") ?? "")
        : password !== undefined && access.users?.[username] === password;
    const pulls = asked.every((scope) => scope.endsWith(":pull"));
    const nobody = request.method === "GET" && scheme === undefined;
    if (!known && !(nobody && access.anonymousPull === true && pulls)) {
      return reply.send(401, {}, JSON.stringify({ details: `incorrect login ${value}` }));
    }
    const token = `token-${randomBytes(12).toString("hex")}`;
    const seconds = access.expiresSeconds ?? 300;
    this.tokens.set(token, { scopes: asked, untilMs: Date.now() + seconds * 1000 });
    const answer = { [access.tokenKey ?? "token"]: token, expires_in: seconds };
    reply.send(200, { "content-type": "application/json" }, JSON.stringify(answer));
  }

  /** How many connections are open. */
  connections(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.getConnections((thrown, count) => (thrown ? reject(thrown) : resolve(count)));
    });
  }

  /** Closes all connections, as a registry does with those on which nothing happens. */
  closeConnections(): void {
    this.#server.closeAllConnections();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** An answer, and what goes wrong with it. */
class Reply {
  readonly fault: Fault | undefined;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse, fault: Fault | undefined) {
    this.#request = request;
    this.#response = response;
    this.fault = fault;
  }

  send(status: number, headers: Record<string, string>, body: string | Buffer): void {
    const bytes = Buffer.from(body);
    const { fault } = this;
    const response = this.#response;
    if (fault?.kind === "corrupt" && bytes.length > 0) bytes[0] = (bytes[0] ?? 0) ^ 0xff;
    if (fault?.kind === "endless") {
      response.writeHead(status, headers);
      response.write(bytes);
      response.end(Buffer.alloc(64 * 1024));
      return;
    }
    const empty = status === 204;
    response.writeHead(status, empty ? headers : { ...headers, "content-length": bytes.length });
    if (this.#request.method === "HEAD" || empty) response.end();
    else if (fault?.kind === "cut") {
      response.write(bytes.subarray(0, fault.afterBytes), () => response.destroy());
    } else if (fault?.kind === "stall") {
      response.write(bytes.subarray(0, fault.afterBytes));
    } else if (fault?.kind === "drip") {
      let at = 0;
      const timer = setInterval(() => response.write(bytes.subarray(at, ++at)), fault.everyMs);
      response.on("close", () => clearInterval(timer));
    } else response.end(bytes);
  }

  fail(status: number, code: string, headers: Record<string, string> = {}): void {
    const message = code.toLowerCase().replaceAll("_", " ");
    this.send(
      status,
      { "content-type": "application/json", ...headers },
      JSON.stringify({ errors: [{ code, message, detail: null }] }),
    );
  }
}

function of<Value>(map: Map<string, Map<string, Value>>, key: string): Map<string, Value> {
  const known = map.get(key);
  if (known) return known;
  const made = new Map<string, Value>();
  map.set(key, made);
  return made;
}

async function drained(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}

function decoded(text: string): string {
  return Buffer.from(text, "base64").toString();
}

function scopeOf(method: string, url: URL): string {
  const [, repository = ""] =
    /^\/v2\/(.+)\/(?:manifests|blobs|referrers|tags)\//.exec(url.pathname) ?? [];
  const reading = method === "GET" || method === "HEAD";
  return `repository:${repository}:${reading && !url.pathname.includes("/uploads/") ? "pull" : "pull,push"}`;
}

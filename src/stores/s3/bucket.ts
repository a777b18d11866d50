import { Failure } from "../../errors/mod.ts";
import type { S3Location } from "../mod.ts";
import { retried, type Attempts } from "../retries.ts";
import type { StoreContext } from "../stores.ts";
import type { Answer, Manner } from "../transport.ts";
import { Trouble } from "../trouble.ts";
import { readError, troubleOf } from "./answers.ts";
import { endpointOf, regionPattern, type Endpoint } from "./endpoint.ts";
import type { Identities } from "./identities.ts";
import { emptyPayload, sign, type Identity } from "./signature.ts";

/** A body and what is known of it before it goes. */
export interface Body {
  readonly size: number;
  /** SHA-256 in hex, or `UNSIGNED-PAYLOAD`. */
  readonly payload: string;
  /** Asked for again when the request goes again. */
  readonly pieces: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export interface Ask {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Absent: of the bucket itself. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  /** By names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Body;
  /** How long the answer may take, where that is longer than usual. */
  readonly headersMs?: number;
  readonly signal: AbortSignal;
}

/** What was found out about endpoints and is worth keeping: regions of buckets, and how much a clock is off. */
export class Known {
  readonly regions: Map<string, string> = new Map();
  readonly offsetsMs: Map<string, number> = new Map();
  /** Buckets that are known to be there. */
  readonly made: Set<string> = new Set();
}

/** A page of a list with the longest keys there may be. */
const answerBytes = 8 * 1024 * 1024;
const errorBytes = 64 * 1024;
/** Half of what S3 accepts. */
const skewMs = 5 * 60_000;

/** One bucket, reached as a location says. */
export class Bucket {
  readonly location: S3Location;
  readonly context: StoreContext;
  readonly endpoint: Endpoint;
  readonly known: Known;
  readonly #manner: Manner;
  readonly #identities: Identities;
  readonly #name: string;

  constructor(
    location: S3Location,
    options: {
      readonly context: StoreContext;
      readonly endpoint: Endpoint;
      readonly manner: Manner;
      readonly identities: Identities;
      readonly known: Known;
    },
  ) {
    this.location = location;
    this.context = options.context;
    this.endpoint = options.endpoint;
    this.known = options.known;
    this.#manner = options.manner;
    this.#identities = options.identities;
    this.#name = `${options.endpoint.host}/${location.bucket}`;
  }

  get region(): string {
    const { location, endpoint, known } = this;
    return (
      known.regions.get(this.#name) ??
      location.region ??
      endpoint.region ??
      this.#identities.region ??
      "us-east-1"
    );
  }

  get secure(): boolean {
    return this.location.insecure !== true;
  }

  /** Makes a request until it is answered with success, and reads all of the answer. */
  async text(ask: Ask): Promise<{ readonly answer: Answer; readonly text: string }> {
    return this.retried(ask.signal, async () => {
      const answer = await this.once(ask);
      const text = await this.context.transport.small(answer, answerBytes, ask.signal);
      return { answer, text: text.toString() };
    });
  }

  retried<Value>(
    signal: AbortSignal,
    work: (attempts: Attempts) => Promise<Value>,
  ): Promise<Value> {
    return retried(this.context.retries, signal, work);
  }

  /** One attempt; somebody must read or drop the answer's body. Corrects once what an answer says is wrong and can be. */
  async once(ask: Ask): Promise<Answer> {
    const corrected = new Set<string>();
    for (;;) {
      const identity = await this.#identities.get(ask.signal);
      const answer = await this.#send(ask, identity);
      if (answer.status >= 200 && answer.status < 300) return answer;
      const { transport } = this.context;
      const body = await transport
        .small(answer, errorBytes, ask.signal)
        .catch((thrown: unknown) => {
          ask.signal.throwIfAborted();
          // Its status is known; that the explanation broke off changes nothing.
          if (thrown instanceof Failure) return Buffer.alloc(0);
          throw thrown;
        });
      const error = readError(answer, body.toString());
      const correction = this.#correct(error, answer, identity);
      if (correction === undefined || corrected.has(correction)) {
        const { accessKey = "", secretKey = "", sessionToken = "" } = identity ?? {};
        throw troubleOf(error, answer, [sessionToken, secretKey, accessKey]);
      }
      corrected.add(correction);
    }
  }

  async #send(ask: Ask, identity: Identity | undefined): Promise<Answer> {
    const { method, key, query, body, signal } = ask;
    const { region, endpoint, known } = this;
    const url = endpoint.url(region, key, query);
    const payload = body?.payload ?? emptyPayload;
    const headers = {
      host: url.host,
      "user-agent": "atalanta",
      // Bytes as they are stored.
      "accept-encoding": "identity",
      ...ask.headers,
      ...(body || method === "PUT" || method === "POST"
        ? { "content-length": String(body?.size ?? 0) }
        : {}),
    };
    const date = new Date(Date.now() + (known.offsetsMs.get(endpoint.host) ?? 0));
    return this.context.transport.call({
      method,
      url,
      headers: identity
        ? sign({ method, url, headers, payload }, identity, { region, service: "s3", date })
        : headers,
      manner: this.#manner,
      headersMs: ask.headersMs,
      signal,
      ...(body && body.size > 0 ? { body: body.pieces() } : {}),
    });
  }

  /** Learns from an error what makes another attempt worth while; tells what it learnt. */
  #correct(
    { code, region, status }: ReturnType<typeof readError>,
    { headers }: Answer,
    identity: Identity | undefined,
  ): string | undefined {
    const wrongRegion = [301, 307, 400].includes(status) || code === "SignatureDoesNotMatch";
    if (
      wrongRegion &&
      region !== undefined &&
      region !== this.region &&
      regionPattern.test(region)
    ) {
      this.known.regions.set(this.#name, region);
      return "region";
    }
    if (code === "RequestTimeTooSkewed" || (status === 403 && code === "AccessDenied")) {
      const theirs = Date.parse(headers.date ?? "");
      const offset = theirs - Date.now();
      const before = this.known.offsetsMs.get(this.endpoint.host) ?? 0;
      if (Math.abs(offset - before) > skewMs) {
        this.known.offsetsMs.set(this.endpoint.host, offset);
        return "clock";
      }
    }
    if (
      (code === "ExpiredToken" || code === "InvalidToken" || code === "ExpiredTokenException") &&
      identity &&
      this.#identities.forget(identity)
    ) {
      return "identity";
    }
    return undefined;
  }
}

/** Reads a location and finds who goes there. */
export async function openBucket(
  location: S3Location,
  options: {
    readonly context: StoreContext;
    readonly identities: Identities;
    readonly known: Known;
  },
): Promise<Bucket> {
  const endpoint = endpointOf(location);
  const common = options.context.manner(location);
  const own = await location.authorities?.(endpoint.host);
  const manner = own ? { ...common, authorities: [Buffer.from(own).toString()] } : common;
  return new Bucket(location, { ...options, endpoint, manner });
}

/** Says what was wanted in the words of a user, around what kept it from being done. */
export async function named<Value>(
  { location, endpoint }: Bucket,
  what: string,
  work: () => Promise<Value>,
): Promise<Value> {
  try {
    return await work();
  } catch (thrown) {
    if (!(thrown instanceof Failure) || thrown.code === "aborted") throw thrown;
    const place = `${what} in bucket "${location.bucket}" at ${endpoint.host}`;
    throw new Trouble(thrown.code, `Cannot ${place}: ${thrown.message}`, {
      cause: thrown,
      ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
      ...(thrown instanceof Trouble && thrown.reason !== undefined
        ? { reason: thrown.reason }
        : {}),
    });
  }
}

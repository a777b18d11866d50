import { Failure } from "../../errors/mod.ts";
import type { GcsLocation } from "../mod.ts";
import { encoded } from "../objects/keys.ts";
import { retried, retryAfterMs, type Attempts } from "../retries.ts";
import type { StoreContext } from "../stores.ts";
import { objectIn, type Tokens } from "../tokens.ts";
import type { Answer, Manner } from "../transport.ts";
import { shortened, Trouble } from "../trouble.ts";

export interface Ask {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  readonly url: URL;
  /** By names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: {
    readonly size: number;
    /** Asked for again when the request goes again. */
    readonly pieces: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  };
  /** Statuses that are answers as well as those of success. */
  readonly also?: readonly number[];
  readonly signal: AbortSignal;
}

const answerBytes = 8 * 1024 * 1024;
const errorBytes = 64 * 1024;
const passingStatuses = new Set([408, 429, 500, 502, 503, 504]);

/** One bucket, reached as a location says. */
export class Bucket {
  readonly context: StoreContext;
  readonly secure: boolean;
  readonly #name: string;
  readonly #base: URL;
  readonly #manner: Manner;
  readonly #tokens: Tokens | undefined;

  constructor(
    { bucket }: GcsLocation,
    options: {
      readonly context: StoreContext;
      readonly base: URL;
      readonly manner: Manner;
      /** Absent: nobody asks. */
      readonly tokens: Tokens | undefined;
    },
  ) {
    if (!/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/.test(bucket)) {
      throw new Failure("invalid-argument", `"${bucket}" is no name of a bucket`, {
        hint: "Write 3 or more small letters, digits, dots, hyphens and underscores.",
      });
    }
    this.#name = bucket;
    this.context = options.context;
    this.#base = options.base;
    this.secure = options.base.protocol === "https:";
    this.#manner = options.manner;
    this.#tokens = options.tokens;
  }

  /** Of an object or, without a key, of all of them. */
  url(
    place: "storage" | "upload/storage",
    key: string | undefined,
    query: Readonly<Record<string, string>>,
  ): URL {
    const object = key === undefined ? "" : `/${encoded(key)}`;
    const url = new URL(`/${place}/v1/b/${encoded(this.#name)}/o${object}`, this.#base);
    url.search = Object.entries(query)
      .map(([name, value]) => `${name}=${encoded(value)}`)
      .join("&");
    return url;
  }

  /** Whether what an answer names is a place of this store. */
  isHere({ protocol, host }: URL): boolean {
    const google = /(?:^|\.)googleapis\.com$/;
    if (protocol !== this.#base.protocol) return false;
    return host === this.#base.host || (google.test(host) && google.test(this.#base.host));
  }

  async named<Value>(what: string, work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (thrown) {
      if (!(thrown instanceof Failure) || thrown.code === "aborted") throw thrown;
      const place = `${what} in bucket "${this.#name}" at ${this.#base.host}`;
      throw new Trouble(thrown.code, `Cannot ${place}: ${thrown.message}`, {
        cause: thrown,
        ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
        ...(thrown instanceof Trouble && thrown.reason !== undefined
          ? { reason: thrown.reason }
          : {}),
      });
    }
  }

  retried<Value>(
    signal: AbortSignal,
    work: (attempts: Attempts) => Promise<Value>,
  ): Promise<Value> {
    return retried(this.context.retries, signal, work);
  }

  /** Makes a request until it is answered with success, and reads all of the answer. */
  async json(ask: Ask): Promise<Readonly<Record<string, unknown>>> {
    return this.retried(ask.signal, async () => {
      const answer = await this.once(ask);
      const text = await this.context.transport.small(answer, answerBytes, ask.signal);
      return objectIn(text.toString());
    });
  }

  /** One attempt; somebody must read or drop the answer's body. A token that ended is fetched anew, once. */
  async once(ask: Ask): Promise<Answer> {
    for (let renewed = false; ; renewed = true) {
      const token = await this.#tokens?.get(ask.signal);
      const answer = await this.#send(ask, token);
      const { status } = answer;
      if ((status >= 200 && status < 300) || ask.also?.includes(status) === true) return answer;
      const trouble = await this.#trouble(answer, ask.signal, token);
      if (status !== 401 || token === undefined || renewed) throw trouble;
      this.#tokens?.forget(token);
    }
  }

  #send({ method, url, headers, body, signal }: Ask, token: string | undefined): Promise<Answer> {
    return this.context.transport.call({
      method,
      url,
      headers: {
        host: url.host,
        "user-agent": "atalanta",
        accept: "application/json",
        "accept-encoding": "identity",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(method === "GET" ? {} : { "content-length": String(body?.size ?? 0) }),
        ...headers,
      },
      manner: this.#manner,
      signal,
      ...(body && body.size > 0 ? { body: body.pieces() } : {}),
    });
  }

  async #trouble(answer: Answer, signal: AbortSignal, token: string | undefined): Promise<Trouble> {
    const body = await this.context.transport
      .small(answer, errorBytes, signal)
      .catch((thrown: unknown) => {
        signal.throwIfAborted();
        // Its status is known; that the explanation broke off changes nothing.
        if (thrown instanceof Failure) return Buffer.alloc(0);
        throw thrown;
      });
    const { status, headers } = answer;
    const text = messageIn(body.toString());
    const said = shortened(token === undefined ? text : text.replaceAll(token, "***"));
    const again = passingStatuses.has(status);
    const hint = hints[status];
    return new Trouble(
      again ? "store-unavailable" : "store-refused",
      `it answered ${status}${said === "" ? "" : ` (${said})`}`,
      {
        ...(reasons[status] === undefined ? {} : { reason: reasons[status] }),
        ...(hint === undefined ? {} : { hint }),
        ...(again ? { againMs: retryAfterMs(headers["retry-after"]) } : {}),
      },
    );
  }
}

/** An error of the JSON interface; the one for bytes answers with plain text. */
function messageIn(body: string): string {
  const { error } = objectIn(body);
  if (typeof error === "object" && error !== null && "message" in error)
    return typeof error.message === "string" ? error.message : "";
  return /^[\s{<]/.test(body) ? "" : body;
}

const reasons: Readonly<Record<number, string>> = {
  404: "notFound",
  412: "PreconditionFailed",
  416: "InvalidRange",
};

const hints: Readonly<Record<number, string>> = {
  401: "Name serviceAccountKeySecret, if the bucket is not public.",
  403: "Does this account have a right to it? It needs Storage Object Admin, or Viewer to read.",
  404: "Is the bucket's name right? Nobody makes it.",
};

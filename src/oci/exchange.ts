import { parseChallenges } from "./challenge.ts";
import type { Credentials } from "./credentials.ts";
import type { Endpoint } from "./endpoints.ts";
import { errorCodes, shortened, told, Trouble } from "./failures.ts";
import { Login, mayPass, type Asked } from "./login.ts";
import { Retries, retryAfterMs, type RetryOptions } from "./retries.ts";
import { common, type Answer, type Transport } from "./transport.ts";

/** One request to a registry. */
export interface Ask extends Asked {
  readonly endpoint: Endpoint;
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below the registry's base, or where the registry itself said. */
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: () => AsyncIterable<Uint8Array>;
  readonly fresh?: boolean;
  /** Statuses from 400 on that are an answer and no failure. */
  readonly expected?: readonly number[];
  readonly signal: AbortSignal;
}

const mirrorAttempts = 2;
const mostRedirects = 5;
const explanationBytes = 64 * 1024;

/** Speaks with registries: logs in where that is asked for, and follows to where they keep their blobs. */
export class Exchange implements Disposable {
  readonly transport: Transport;
  readonly #credentials: Credentials;
  readonly #retries: Required<RetryOptions>;
  readonly #logins = new Map<string, Login>();
  readonly #closing = new AbortController();

  constructor(
    transport: Transport,
    options: { credentials: Credentials; retries: Required<RetryOptions> },
  ) {
    this.transport = transport;
    this.#credentials = options.credentials;
    this.#retries = options.retries;
  }

  /** Does a piece of work again as long as its failure may pass. */
  async retried<Value>(
    { endpoint, signal }: Pick<Ask, "endpoint" | "signal">,
    work: (retries: Retries) => Promise<Value>,
  ): Promise<Value> {
    const { attempts, ...rest } = this.#retries;
    // Behind a mirror there is another one, or the registry.
    const most = endpoint.mirror ? Math.min(attempts, mirrorAttempts) : attempts;
    const retries = new Retries({ ...rest, attempts: most }, signal);
    for (;;) {
      try {
        return await work(retries);
      } catch (thrown) {
        await retries.after(thrown);
      }
    }
  }

  /** One attempt. Throws what the answer means when its status is none of success. */
  async once(ask: Ask): Promise<Answer> {
    const { endpoint, expected = [], signal } = ask;
    const closed = this.#closing.signal;
    const login = this.#login(endpoint);
    for (let round = 0; ; round++) {
      closed.throwIfAborted();
      const sent = await login.authorization(ask, signal);
      const answer = await this.#follow(ask, sent);
      const { status } = answer;
      if (status < 300 || expected.includes(status)) return answer;
      const text = (await this.transport.beginning(answer, explanationBytes, signal)).toString();
      // As long as the login that was tried is known.
      const hint = login.hint();
      const clean = (detail: string): string => login.clean(detail, sent);
      const failure = (): Trouble => failureOf(ask, answer, { text, clean, hint });
      // Where blobs are kept, our login is nobody's business.
      const own = answer.url.origin === endpoint.base.origin;
      if (status !== 401 || !own) throw failure();
      const challenges = parseChallenges(answer.all("www-authenticate"));
      const wider = login.challenged(challenges, ask, sent);
      if (round >= (wider ? 2 : 1)) throw failure();
    }
  }

  /** One attempt for which only the head counts. Its connection is free for the next request. */
  async head(ask: Ask): Promise<Answer> {
    const answer = await this.once(ask);
    await this.transport.beginning(answer, explanationBytes, ask.signal);
    return answer;
  }

  /** The whole body of an answer. Throws `image-invalid` when it is larger than may be. */
  async read(answer: Answer, mostBytes: number, { endpoint, signal }: Ask): Promise<Buffer> {
    const tooLarge = (size: string): Trouble =>
      new Trouble("image-invalid", `${endpoint.name} sends ${size} bytes; ${mostBytes} may be`);
    const { "content-length": length } = answer.headers;
    if (length !== undefined && Number(length) > mostBytes) {
      answer.message.destroy();
      throw tooLarge(length);
    }
    const pieces: Uint8Array[] = [];
    let size = 0;
    for await (const piece of this.transport.pieces(answer, signal)) {
      size += piece.length;
      if (size > mostBytes) throw tooLarge(`more than ${mostBytes}`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }

  async #follow(ask: Ask, authorization: string | undefined): Promise<Answer> {
    const { endpoint, method, headers = {}, body, fresh = false, signal } = ask;
    let { url } = ask;
    for (let hops = 0; ; hops++) {
      const own = url.origin === endpoint.base.origin;
      const answer = await this.transport.call({
        method,
        url,
        headers: {
          ...common,
          ...headers,
          ...(own && authorization !== undefined ? { authorization } : {}),
        },
        manner: endpoint.named(url),
        fresh,
        signal,
        ...(body ? { body: body() } : {}),
      });
      if (![301, 302, 303, 307, 308].includes(answer.status)) return answer;
      if (method !== "GET" && method !== "HEAD") return answer;
      await this.transport.beginning(answer, explanationBytes, signal);
      url = redirected(answer, endpoint);
      if (hops === mostRedirects) {
        throw new Trouble(
          "registry-refused",
          `${endpoint.name} redirects more than ${mostRedirects} times`,
        );
      }
    }
  }

  #login(endpoint: Endpoint): Login {
    const key = `${endpoint.base.href} ${endpoint.prefix}`;
    const known = this.#logins.get(key);
    if (known) return known;
    const made = new Login(endpoint, {
      transport: this.transport,
      credentials: this.#credentials,
      closed: this.#closing.signal,
    });
    this.#logins.set(key, made);
    if (this.#logins.size > 1000) this.#logins.delete(this.#logins.keys().next().value ?? "");
    return made;
  }

  [Symbol.dispose](): void {
    this.#closing.abort(new Trouble("aborted", "The registry client was closed"));
    this.transport[Symbol.dispose]();
  }
}

function redirected({ headers, url }: Answer, endpoint: Endpoint): URL {
  const to = URL.parse(headers.location ?? "", url);
  const name = endpoint.name;
  if (!to || headers.location === undefined || !/^https?:$/.test(to.protocol))
    throw new Trouble("registry-refused", `${name} redirects to nowhere`);
  if (to.username !== "" || to.password !== "")
    throw new Trouble("registry-refused", `${name} redirects to a URL with a password`);
  if (to.protocol === "http:" && endpoint.base.protocol === "https:") {
    throw new Trouble("registry-refused", `${name} redirects from HTTPS to plain HTTP: ${to.host}`);
  }
  return to;
}

function failureOf(
  ask: Ask,
  { status, headers, url }: Answer,
  explained: { text: string; clean: (text: string) => string; hint: string },
): Trouble {
  const { endpoint, method } = ask;
  const { text, clean, hint } = explained;
  const where =
    url.host === endpoint.base.host
      ? endpoint.name
      : `${url.host}, where ${endpoint.name} sends us,`;
  const contentType = headers["content-type"] ?? "";
  const message = `${where} answered ${told({ status, contentType, text }, clean)}`;
  const again = retryAfterMs(headers["retry-after"]);
  const login = `docker login ${endpoint.name}`;
  if (status === 404) {
    return new Trouble("image-not-found", message, {
      hint: `Is its name written right? A registry may also hide what ${login} would show.`,
    });
  }
  if (mayPass(status)) {
    return new Trouble("registry-unavailable", message, {
      againMs: again,
      ...(status === 429
        ? { hint: `Come back later, or log in with ${login} for a higher limit.` }
        : {}),
    });
  }
  if (status === 401 || errorCodes(text).includes("UNAUTHORIZED"))
    return new Trouble("registry-refused", message, { hint });
  if (status === 403 && url.host === endpoint.base.host) {
    return new Trouble("registry-refused", message, {
      hint: `The account has no right to ${method === "GET" || method === "HEAD" ? "read" : "write"} there, or there is none: ${login}.`,
    });
  }
  // What speaks HTTPS answers so to plain HTTP, which this machine's registries are spoken to with; a registry gives its reason.
  const plain =
    status === 400 &&
    url.protocol === "http:" &&
    url.host === endpoint.base.host &&
    errorCodes(text).length === 0;
  if (!plain) return new Trouble("registry-refused", shortened(message));
  return new Trouble("registry-refused", shortened(message), {
    hint: `It was asked over plain HTTP. If it speaks HTTPS, write plainHttp: false under registries: "${endpoint.name}": of the file for --config.`,
  });
}

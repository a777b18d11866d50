import { createSecureContext } from "node:tls";
import { Failure } from "../../errors/mod.ts";
import type { HttpLocation } from "../mod.ts";
import { retryAfterMs } from "../retries.ts";
import type { StoreContext } from "../stores.ts";
import type { Answer, Manner } from "../transport.ts";
import { shortened, Trouble } from "../trouble.ts";
import { Login, type KnownTokens } from "./login.ts";

const mostRedirects = 10;
const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const passing: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);
const missing: ReadonlySet<number> = new Set([404, 410]);
/** Of an error's page no more than this is looked at. */
const pageBytes = 64 * 1024;
/** A location says these for itself. */
const ownHeaders: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
/** Any other one may hold a secret, which is for the host that the location names and for no other one that it leads to. */
const impersonal: ReadonlySet<string> = new Set(["accept", "accept-language", "user-agent"]);

export interface Ask {
  readonly method: "GET" | "PUT";
  readonly headers?: Readonly<Record<string, string>>;
  /** Made anew for each request: a redirect may want the body once more. */
  readonly body?: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  readonly signal: AbortSignal;
}

/** Requests to one location, with its headers and login, and what it leads to. */
export class Exchange {
  readonly context: StoreContext;
  readonly #location: HttpLocation;
  readonly #url: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #login: Login;
  #manner: Promise<Manner> | undefined;

  constructor(location: HttpLocation, context: StoreContext, tokens: KnownTokens) {
    this.context = context;
    this.#location = location;
    this.#url = parsed(location.url);
    this.#headers = headersOf(location);
    this.#login = new Login(location, this.#url, { context, tokens });
  }

  /** Where it is, for people: a query may hold a secret. */
  get place(): string {
    return `${this.#url.origin}${this.#url.pathname}`;
  }

  /** An answer of success, whose body somebody must read or drop. Everything else is a failure. */
  async ask(ask: Ask): Promise<Answer> {
    const { signal } = ask;
    const answer = await this.#follow(ask);
    const { status } = answer;
    if (status >= 200 && status < 300) return answer;
    if (status === 401 && (await this.#login.forget())) {
      answer.message.destroy();
      const again = await this.#follow(ask);
      if (again.status >= 200 && again.status < 300) return again;
      throw await this.#trouble(again, signal);
    }
    throw await this.#trouble(answer, signal);
  }

  async #follow(ask: Ask): Promise<Answer> {
    let url = this.#url;
    for (let count = 0; ; count++) {
      const answer = await this.#once(url, ask);
      const { location } = answer.headers;
      if (!redirects.has(answer.status) || location === undefined) return answer;
      // A body goes again only where the answer says that the method stays the same.
      if (ask.body && answer.status !== 307 && answer.status !== 308) return answer;
      answer.message.destroy();
      if (count >= mostRedirects) {
        throw new Trouble("store-refused", `it leads on more than ${mostRedirects} times`);
      }
      url = next(location, url);
    }
  }

  async #once(url: URL, { method, headers, body, signal }: Ask): Promise<Answer> {
    const home = url.origin === this.#url.origin;
    const own = Object.entries(this.#headers).filter(([name]) => home || impersonal.has(name));
    const { certificate, ...manner } = await this.#mannerOf();
    return this.context.transport.call({
      method,
      url,
      headers: {
        "accept-encoding": "identity",
        "user-agent": "atalanta",
        ...Object.fromEntries(own),
        ...(home ? await this.#login.headers(signal) : {}),
        ...headers,
      },
      manner: home && certificate ? { ...manner, certificate } : manner,
      ...(body ? { body: body() } : {}),
      signal,
    });
  }

  #mannerOf(): Promise<Manner> {
    this.#manner ??= this.#makeManner();
    return this.#manner;
  }

  async #makeManner(): Promise<Manner> {
    const { authorities, auth } = this.#location;
    const { host } = this.#url;
    const text = async (secret: (host: string) => Promise<Uint8Array>): Promise<string> =>
      Buffer.from(await secret(host)).toString();
    const certificate =
      auth?.kind === "certificate"
        ? checked({ certificate: await text(auth.certificate), key: await text(auth.key) })
        : undefined;
    return {
      ...this.context.manner(this.#location),
      ...(authorities ? { authorities: [await text(authorities)] } : {}),
      ...(certificate ? { certificate } : {}),
    };
  }

  async #trouble(answer: Answer, signal: AbortSignal): Promise<Trouble> {
    const { status, headers, url } = answer;
    const page = await this.context.transport
      .small(answer, pageBytes, signal)
      .catch(() => Buffer.alloc(0));
    const plain = /^text\/plain\b|^application\/(?:problem\+)?json\b/i.test(
      headers["content-type"] ?? "",
    );
    const said = plain ? shortened(this.#withoutSecrets(page.toString())) : "";
    const message = `${url.host} answered ${status}${said === "" ? "" : ` (${said})`}`;
    if (missing.has(status)) return new Trouble("artifact-missing", message);
    if (status === 416) return new Trouble("store-refused", message, { reason: "range" });
    if (passing.has(status)) {
      const againMs = retryAfterMs(headers["retry-after"]);
      return new Trouble("store-unavailable", message, { againMs });
    }
    const login = status === 401 || status === 403;
    const hint = "Has this login a right to it? See auth: of the artifact.";
    return new Trouble("store-refused", message, login ? { hint } : {});
  }

  #withoutSecrets(text: string): string {
    const own = Object.entries(this.#headers).flatMap(([name, value]) =>
      impersonal.has(name) ? [] : [value],
    );
    return [...this.#login.secrets, ...own]
      .filter((secret) => secret.length > 3)
      .toSorted((one, other) => other.length - one.length)
      .reduce((told, secret) => told.replaceAll(secret, "***"), text);
  }
}

/** A certificate that can be shown. Throws `secret-invalid`. */
function checked(given: NonNullable<Manner["certificate"]>): NonNullable<Manner["certificate"]> {
  try {
    createSecureContext({ cert: given.certificate, key: given.key });
    return given;
  } catch (cause) {
    throw new Failure("secret-invalid", "The client's certificate and key do not make a pair", {
      cause,
      hint: "Both are to be PEM, and the key without a password.",
    });
  }
}

function parsed(text: string): URL {
  const url = URL.parse(text);
  const web = url?.protocol === "http:" || url?.protocol === "https:";
  if (url && web && url.username === "" && url.password === "") return url;
  throw new Failure("invalid-argument", "The URL of an artifact is none", {
    hint: "Write http://HOST/PATH or https://HOST/PATH, without a user name.",
  });
}

function next(location: string, from: URL): URL {
  const url = URL.parse(location, from);
  if (url && (url.protocol === "http:" || url.protocol === "https:")) {
    // A page does not lead out of what is secret.
    if (!(from.protocol === "https:" && url.protocol === "http:")) return url;
  }
  throw new Trouble(
    "store-refused",
    `it leads to ${url ? url.origin : "what is no URL"}, which is not followed`,
    { hint: "Name the place itself, if it is the right one." },
  );
}

function headersOf({ headers = [] }: HttpLocation): Readonly<Record<string, string>> {
  const made: Record<string, string> = Object.create(null);
  for (const [name, value] of headers) {
    const key = name.toLowerCase();
    if (ownHeaders.has(key) || !/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(key)) {
      throw new Failure("invalid-argument", `The header "${name}" cannot be set`, {
        hint: "Remove it.",
      });
    }
    if (!/^[\t\u0020-\u007e\u0080-\u00ff]*$/.test(value)) {
      throw new Failure(
        "invalid-argument",
        `The header "${name}" has a value that cannot be sent`,
        {
          hint: "Write it on one line.",
        },
      );
    }
    made[key] = made[key] === undefined ? value : `${made[key]}, ${value}`;
  }
  return made;
}

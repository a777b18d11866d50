import { createHash } from "node:crypto";
import { Failure } from "../../errors/mod.ts";
import type { HttpLocation, Secret } from "../mod.ts";
import { retried } from "../retries.ts";
import type { StoreContext } from "../stores.ts";
import { Tokens, type Token } from "../tokens.ts";
import type { Manner } from "../transport.ts";
import { Trouble } from "../trouble.ts";

type OAuth2 = Extract<NonNullable<HttpLocation["auth"]>, { readonly kind: "oauth2" }>;

const tokenBytes = 1024 * 1024;
/** How long a token is good when nobody says it. */
const usualMs = 5 * 60_000;
/** Tokens that are kept at once, of clients that differ. */
const mostTokens = 1000;

/** Tokens of all locations: those with the same client, scopes and parameters have one together. */
export class KnownTokens {
  readonly #tokens = new Map<string, Tokens>();

  get(client: string, fetch: (signal: AbortSignal) => Promise<Token>): Tokens {
    const known = this.#tokens.get(client) ?? new Tokens(fetch);
    const [oldest] = this.#tokens.keys();
    if (this.#tokens.size >= mostTokens && oldest !== undefined) this.#tokens.delete(oldest);
    this.#tokens.set(client, known);
    return known;
  }
}

/** Who asks: a name and password, or a token that is fetched with the client's own credentials (RFC 6749, 4.4). */
export class Login {
  readonly #location: HttpLocation;
  readonly #url: URL;
  readonly #context: StoreContext;
  readonly #known: KnownTokens;
  readonly #secrets = new Set<string>();
  #basic: Promise<string> | undefined;
  #tokens: Promise<Tokens> | undefined;
  #sent: string | undefined;

  constructor(
    location: HttpLocation,
    url: URL,
    { context, tokens }: { readonly context: StoreContext; readonly tokens: KnownTokens },
  ) {
    this.#location = location;
    this.#url = url;
    this.#context = context;
    this.#known = tokens;
  }

  /** What must not be told, also when a server repeats it. */
  get secrets(): readonly string[] {
    return [...this.#secrets];
  }

  async headers(signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const { auth } = this.#location;
    if (auth?.kind === "basic") {
      this.#basic ??= this.#basicOf(auth.user, auth.password, this.#url);
      return { authorization: await this.#basic };
    }
    if (auth?.kind !== "oauth2") return {};
    this.#tokens ??= this.#tokensOf(auth);
    this.#sent = await (await this.#tokens).get(signal);
    this.#secrets.add(this.#sent);
    return { authorization: `Bearer ${this.#sent}` };
  }

  /** Whether there is a token that may just have ended: then it is fetched anew. */
  async forget(): Promise<boolean> {
    if (!this.#tokens || this.#sent === undefined) return false;
    (await this.#tokens).forget(this.#sent);
    return true;
  }

  async #basicOf(user: Secret, password: Secret, { host }: URL): Promise<string> {
    const [name, word] = [await line(user, host), await line(password, host)];
    if (name.includes(":")) throw new Failure("secret-invalid", "A user's name has a colon");
    const both = Buffer.from(`${name}:${word}`).toString("base64");
    for (const secret of [`Basic ${both}`, both, word]) this.#secrets.add(secret);
    return `Basic ${both}`;
  }

  async #tokensOf(auth: OAuth2): Promise<Tokens> {
    const { scopes = [], parameters = [] } = auth;
    const url = URL.parse(await line(auth.tokenUrl, this.#url.host));
    if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) {
      throw new Failure("secret-invalid", "The secret tokenURLSecret is no URL");
    }
    const id = await line(auth.clientId, url.host);
    const secret = await line(auth.clientSecret, url.host);
    this.#secrets.add(secret);
    const operator = this.#location.ofOperator ?? false;
    // A token is for the host whose location asked for it, and for no other one.
    const all = [this.#url.origin, url.href, id, secret, scopes, parameters, operator];
    const client = createHash("sha256").update(JSON.stringify(all)).digest("hex");
    const asking = new TokenServer(this.#context, {
      url,
      id,
      secret,
      form: [
        ["grant_type", "client_credentials"],
        ...(scopes.length > 0 ? [["scope", scopes.join(" ")] as const] : []),
        ...parameters,
      ],
      manner: this.#context.manner(this.#location),
    });
    return this.#known.get(client, (signal) => asking.fetch(signal));
  }
}

interface Client {
  readonly url: URL;
  readonly id: string;
  readonly secret: string;
  readonly form: readonly (readonly [name: string, value: string])[];
  readonly manner: Manner;
}

class TokenServer {
  readonly #context: StoreContext;
  readonly #client: Client;

  constructor(context: StoreContext, client: Client) {
    this.#context = context;
    this.#client = client;
  }

  fetch(signal: AbortSignal): Promise<Token> {
    const { host } = this.#client.url;
    return retried(this.#context.retries, signal, async () => {
      // By a header first, as most servers take it; then in the body.
      const first = await this.#ask("header", signal);
      if (typeof first !== "number") return first;
      const second = await this.#ask("body", signal);
      if (typeof second !== "number") return second;
      throw new Trouble("store-refused", `${host} gave no token: it answered ${second}`, {
        hint: "Are the client's id and secret right, and the scopes?",
      });
    });
  }

  /** The token, or the status that refuses it. */
  async #ask(where: "header" | "body", signal: AbortSignal): Promise<Token | number> {
    const { url, id, secret, form, manner } = this.#client;
    const asked = new URLSearchParams(form.map(([name, value]) => [name, value]));
    if (where === "body") {
      asked.set("client_id", id);
      asked.set("client_secret", secret);
    }
    const pair = `${encodeURIComponent(id)}:${encodeURIComponent(secret)}`;
    const body = Buffer.from(asked.toString());
    const { transport } = this.#context;
    const answer = await transport.call({
      method: "POST",
      url,
      headers: {
        accept: "application/json",
        "content-type": "application/x-www-form-urlencoded",
        "content-length": String(body.length),
        ...(where === "body"
          ? {}
          : { authorization: `Basic ${Buffer.from(pair).toString("base64")}` }),
      },
      manner,
      body: [body],
      signal,
    });
    const page = await transport.small(answer, tokenBytes, signal);
    if (answer.status >= 500 || answer.status === 429) {
      throw new Trouble("store-unavailable", `${url.host} answered ${answer.status} for a token`, {
        againMs: 0,
      });
    }
    return answer.status === 200 ? tokenIn(page.toString(), url) : answer.status;
  }
}

function tokenIn(text: string, { host }: URL): Token {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    found = undefined;
  }
  if (typeof found === "object" && found !== null && "access_token" in found) {
    const { access_token: value } = found;
    const seconds = "expires_in" in found ? Number(found.expires_in) : Number.NaN;
    // It becomes a header.
    if (typeof value === "string" && /^[\u0021-\u007e]{1,65536}$/.test(value)) {
      const ms = Number.isFinite(seconds) ? seconds * 1000 : usualMs;
      return { value, untilMs: Date.now() + ms };
    }
  }
  throw new Trouble("store-refused", `${host} answered with no token`);
}

/** A secret's text, without the newline that files have. */
async function line(secret: Secret, host: string): Promise<string> {
  return Buffer.from(await secret(host))
    .toString()
    .replace(/\r?\n$/, "");
}

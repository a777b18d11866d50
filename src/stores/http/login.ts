import { Failure } from "../../errors/mod.ts";
import type { HttpLocation, Secret } from "../mod.ts";
import { retried } from "../retries.ts";
import type { StoreContext } from "../stores.ts";
import { Trouble } from "../trouble.ts";

type OAuth2 = Extract<NonNullable<HttpLocation["auth"]>, { readonly kind: "oauth2" }>;

const tokenBytes = 1024 * 1024;
/** A token is not used in its last moments, nor longer than this when nobody says how long it is good. */
const marginMs = 30_000;
const usualMs = 5 * 60_000;

/** Who asks: a name and password, or a token that is fetched with the client's own credentials (RFC 6749, 4.4). */
export class Login {
  readonly #location: HttpLocation;
  readonly #url: URL;
  readonly #context: StoreContext;
  #basic: Promise<string> | undefined;
  #token: { readonly value: Promise<string>; until: number } | undefined;

  constructor(location: HttpLocation, url: URL, context: StoreContext) {
    this.#location = location;
    this.#url = url;
    this.#context = context;
  }

  async headers(signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const { auth } = this.#location;
    if (auth?.kind === "basic") {
      this.#basic ??= this.#basicOf(auth.user, auth.password, this.#url);
      return { authorization: await this.#basic };
    }
    if (auth?.kind !== "oauth2") return {};
    if (!this.#token || this.#token.until <= Date.now()) {
      const token = { value: this.#fetch(auth, signal), until: Infinity };
      this.#token = token;
      token.value.catch(() => {
        if (this.#token === token) this.#token = undefined;
      });
    }
    return { authorization: `Bearer ${await this.#token.value}` };
  }

  /** Whether there is a token that may just have ended: then it is fetched anew. */
  forget(): boolean {
    const had = this.#token !== undefined;
    this.#token = undefined;
    return had;
  }

  async #basicOf(user: Secret, password: Secret, { host }: URL): Promise<string> {
    const [name, word] = await Promise.all([user(host), password(host)]);
    const both = Buffer.concat([name, Buffer.from(":"), word]);
    return `Basic ${both.toString("base64")}`;
  }

  async #fetch(auth: OAuth2, signal: AbortSignal): Promise<string> {
    const text = Buffer.from(await auth.tokenUrl(this.#url.host))
      .toString()
      .trim();
    const url = URL.parse(text);
    if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) {
      throw new Failure("secret-invalid", "The secret tokenURLSecret is no URL");
    }
    const id = Buffer.from(await auth.clientId(url.host)).toString();
    const secret = Buffer.from(await auth.clientSecret(url.host)).toString();
    const { retries } = this.#context;
    return retried(retries, signal, async () => {
      // By a header first, as most servers take it; then in the body.
      const first = await this.#ask(auth, url, { id, secret, inBody: false }, signal);
      if (typeof first === "string") return first;
      const second = await this.#ask(auth, url, { id, secret, inBody: true }, signal);
      if (typeof second === "string") return second;
      throw new Trouble("store-refused", `${url.host} gave no token: it answered ${second}`, {
        hint: "Are the client's id and secret right, and the scopes?",
      });
    });
  }

  /** The token, or the status that refuses it. */
  async #ask(
    { scopes = [], parameters = [] }: OAuth2,
    url: URL,
    client: { readonly id: string; readonly secret: string; readonly inBody: boolean },
    signal: AbortSignal,
  ): Promise<string | number> {
    const form = new URLSearchParams({ grant_type: "client_credentials" });
    if (scopes.length > 0) form.set("scope", scopes.join(" "));
    for (const [name, value] of parameters) form.append(name, value);
    if (client.inBody) {
      form.set("client_id", client.id);
      form.set("client_secret", client.secret);
    }
    const pair = `${encodeURIComponent(client.id)}:${encodeURIComponent(client.secret)}`;
    const body = Buffer.from(form.toString());
    const { transport } = this.#context;
    const answer = await transport.call({
      method: "POST",
      url,
      headers: {
        accept: "application/json",
        "content-type": "application/x-www-form-urlencoded",
        "content-length": String(body.length),
        ...(client.inBody
          ? {}
          : { authorization: `Basic ${Buffer.from(pair).toString("base64")}` }),
      },
      manner: this.#context.manner(this.#location),
      body: [body],
      signal,
    });
    const page = await transport.small(answer, tokenBytes, signal);
    if (answer.status >= 500 || answer.status === 429) {
      throw new Trouble("store-unavailable", `${url.host} answered ${answer.status} for a token`, {
        againMs: 0,
      });
    }
    if (answer.status !== 200) return answer.status;
    const { token, seconds } = tokenIn(page.toString(), url);
    const ms = seconds === undefined ? usualMs : seconds * 1000 - marginMs;
    if (this.#token) this.#token.until = Date.now() + Math.max(ms, 1000);
    return token;
  }
}

function tokenIn(
  text: string,
  { host }: URL,
): { readonly token: string; readonly seconds: number | undefined } {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    found = undefined;
  }
  if (typeof found === "object" && found !== null && "access_token" in found) {
    const { access_token: token } = found;
    const seconds = "expires_in" in found ? Number(found.expires_in) : Number.NaN;
    // It becomes a header.
    if (typeof token === "string" && /^[\u0021-\u007e]{1,65536}$/.test(token)) {
      return { token, seconds: Number.isFinite(seconds) ? seconds : undefined };
    }
  }
  throw new Trouble("store-refused", `${host} answered with no token`);
}

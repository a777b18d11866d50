import { Readable } from "node:stream";
import { Failure } from "../errors/mod.ts";
import { orAborted } from "../network/mod.ts";
import type { Challenge } from "./challenge.ts";
import type { Credential, Credentials } from "./credentials.ts";
import type { Endpoint } from "./endpoints.ts";
import { parseObject, shortened, told, Trouble } from "./failures.ts";
import { retryAfterMs } from "./retries.ts";
import { common, type Answer, type Transport } from "./transport.ts";

/** What a request needs a token for: `repository:acme/step:pull`. */
export type Scopes = readonly string[];

interface Token {
  readonly text: string;
  readonly untilMs: number;
}

/** How a registry wants to be spoken to. */
type Way =
  | { readonly kind: "basic" }
  | { readonly kind: "bearer"; readonly realm: URL; readonly service: string | undefined };

const answerBytes = 64 * 1024;
const tokenLength = 32 * 1024;
/** What a token is good for when its service does not say (docker's token specification). */
const standardSeconds = 60;
/** A token is renewed before it ends, as it must still be good when it arrives. */
const spareMs = 5000;
/** Of each kind; a workflow may name as many repositories as it likes. */
const kept = 500;

/** The logins of one registry: what it asked for, and the tokens that it gave. */
export class Login {
  readonly #endpoint: Endpoint;
  readonly #transport: Transport;
  readonly #credentials: Credentials;
  readonly #closed: AbortSignal;
  readonly #tokens = new Map<string, Token>();
  readonly #asking = new Map<string, Promise<Token>>();
  /** Scopes as a challenge names them, by the ones that we would ask for. */
  readonly #scopes = new Map<string, Scopes>();
  /** By repository. */
  readonly #found = new Map<string, Credential | undefined>();
  /** By repository, while they are looked for. */
  readonly #finding = new Map<string, Promise<Credential | undefined>>();
  /** What a request went with that was refused last. */
  #dropped: string | undefined;
  /** Why no login could be found. */
  #problem: Failure | undefined;
  /** Refresh tokens that came in the place of others. */
  readonly #refreshed = new Map<string, string>();
  #way: Way | undefined;

  constructor(
    endpoint: Endpoint,
    options: { transport: Transport; credentials: Credentials; closed: AbortSignal },
  ) {
    this.#endpoint = endpoint;
    this.#transport = options.transport;
    this.#credentials = options.credentials;
    this.#closed = options.closed;
  }

  /** The header that a request goes with; undefined before anything was asked for. Throws `registry-refused` where a login is needed. */
  async authorization(ask: Asked, signal: AbortSignal): Promise<string | undefined> {
    const way = this.#way;
    if (!way) return undefined;
    const credential = await this.#credential(ask.repository, signal);
    if (credential?.kind === "registry-token") return `Bearer ${credential.token}`;
    if (way.kind === "bearer") {
      return `Bearer ${(await this.#token(way, ask, credential, signal)).text}`;
    }
    if (credential?.kind === "basic") return `Basic ${encoded(credential)}`;
    throw this.#refused("wants a name and a password, and none is known for it");
  }

  /**
   * Takes in what a response with status 401 asks for. What the request went with is not used again. True when that is worth another attempt even
   * though a new token was just tried: other scopes are asked for. Throws `registry-refused` when nothing that is offered can be used.
   */
  challenged(challenges: readonly Challenge[], ask: Asked, sent: string | undefined): boolean {
    this.#way = this.#choose(challenges);
    for (const [key, { text }] of this.#tokens) {
      if (sent === `Bearer ${text}`) this.#tokens.delete(key);
    }
    // A helper may have a newer one by now. Many requests may come back with the same old one.
    if (sent !== undefined && sent !== this.#dropped) {
      this.#dropped = sent;
      this.#found.delete(ask.repository);
    }
    const named = challenges
      .filter(({ scheme }) => scheme === "bearer")
      .flatMap(({ parameters }) => parameters.get("scope")?.split(" ") ?? []);
    const scopes = [...new Set([...ask.scopes, ...named.filter((scope) => scope !== "")])];
    const before = this.#scopesOf(ask);
    if (scopes.every((scope) => before.includes(scope))) return false;
    this.#scopes.set(ask.scopes.join(" "), scopes.slice(0, 20));
    bounded(this.#scopes);
    return true;
  }

  /** What somebody can do who was refused. */
  hint(): string {
    const { name } = this.#endpoint;
    const known = [...this.#found.values()].some((credential) => credential !== undefined);
    if (this.#problem) return sentences(this.#problem);
    return known
      ? `Is the login right? docker login ${name} makes a new one.`
      : `Log in with docker login ${name}, if you have an account there.`;
  }

  /** A text of the registry's without the secrets that it got from us; `sent` is what a request went with. */
  clean(text: string, sent?: string): string {
    const credentials = [...this.#found.values()].flatMap((credential) => {
      if (!credential) return [];
      if (credential.kind !== "basic") return [credential.token];
      const { password } = credential;
      return [encoded(credential), password, encodeURIComponent(password)];
    });
    const tokens = [...this.#tokens.values()].map((token) => token.text);
    const own = sent?.split(" ")[1] ?? "";
    return [own, ...tokens, ...this.#refreshed.values(), ...credentials]
      .filter((secret) => secret.length >= 4)
      .reduce((rest, secret) => rest.replaceAll(secret, "(secret)"), text);
  }

  #choose(challenges: readonly Challenge[]): Way {
    const bearer = challenges.find(
      ({ scheme, parameters }) => scheme === "bearer" && parameters.has("realm"),
    );
    if (bearer) {
      return {
        kind: "bearer",
        realm: this.#realm(bearer.parameters.get("realm") ?? ""),
        service: bearer.parameters.get("service"),
      };
    }
    if (challenges.some(({ scheme }) => scheme === "basic")) return { kind: "basic" };
    const offered = challenges.map(({ scheme }) => shortened(scheme)).join(", ");
    throw this.#refused(
      `answered 401 and offers ${offered === "" ? "no way to log in" : offered}; expected Bearer or Basic`,
    );
  }

  #realm(text: string): URL {
    const url = URL.parse(text);
    if (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
      throw this.#refused(`names a token service that is no URL: "${shortened(text)}"`);
    if (url.protocol === "http:" && this.#endpoint.base.protocol === "https:")
      throw this.#refused(`names a token service that speaks plain HTTP: ${url.host}`);
    return url;
  }

  #scopesOf(ask: Asked): Scopes {
    return this.#scopes.get(ask.scopes.join(" ")) ?? ask.scopes;
  }

  /** Looked for once, however many want it. */
  #credential(repository: string, signal: AbortSignal): Promise<Credential | undefined> {
    if (this.#found.has(repository)) return Promise.resolve(this.#found.get(repository));
    let finding = this.#finding.get(repository);
    if (!finding) {
      finding = this.#find(repository).finally(() => this.#finding.delete(repository));
      this.#finding.set(repository, finding);
    }
    return orAborted(finding, signal);
  }

  async #find(repository: string): Promise<Credential | undefined> {
    const { name, prefix } = this.#endpoint;
    const where = { registry: name, repository: `${prefix}${repository}` };
    let found: Credential | undefined;
    try {
      found = await this.#credentials.find(where, { signal: this.#closed });
      this.#problem = undefined;
    } catch (thrown) {
      this.#closed.throwIfAborted();
      // What everybody may have needs no login; who is refused hears why there was none.
      if (!(thrown instanceof Failure)) throw thrown;
      this.#problem = thrown;
    }
    this.#found.set(repository, found);
    bounded(this.#found);
    return found;
  }

  /** A token that is still good, or a new one; asked for once however many want it. */
  #token(
    way: Way & { readonly kind: "bearer" },
    ask: Asked,
    credential: Credential | undefined,
    signal: AbortSignal,
  ): Promise<Token> {
    const scopes = this.#scopesOf(ask);
    const key = scopes.join(" ");
    const known = this.#tokens.get(key);
    if (known && known.untilMs > Date.now()) return Promise.resolve(known);
    let asking = this.#asking.get(key);
    if (!asking) {
      asking = this.#ask(way, scopes, credential).finally(() => this.#asking.delete(key));
      asking.then(
        (token) => {
          this.#tokens.set(key, token);
          bounded(this.#tokens);
        },
        () => undefined,
      );
      this.#asking.set(key, asking);
    }
    return orAborted(asking, signal);
  }

  async #ask(
    { realm, service }: Way & { readonly kind: "bearer" },
    scopes: Scopes,
    credential: Credential | undefined,
  ): Promise<Token> {
    const signal = this.#closed;
    const manner = this.#endpoint.named(realm);
    let answer: Answer;
    if (credential?.kind === "identity-token") {
      const form = Buffer.from(
        new URLSearchParams({
          grant_type: "refresh_token",
          refresh_token: this.#refreshed.get(credential.token) ?? credential.token,
          client_id: "atalanta",
          ...(service === undefined ? {} : { service }),
          ...(scopes.length === 0 ? {} : { scope: scopes.join(" ") }),
        }).toString(),
      );
      const headers = {
        ...common,
        "content-type": "application/x-www-form-urlencoded",
        "content-length": String(form.length),
      };
      const body = Readable.from([form]);
      answer = await this.#transport.call({
        method: "POST",
        url: realm,
        headers,
        manner,
        body,
        signal,
      });
    } else {
      const url = new URL(realm);
      if (service !== undefined) url.searchParams.set("service", service);
      for (const scope of scopes) url.searchParams.append("scope", scope);
      if (credential?.kind === "basic") url.searchParams.set("account", credential.username);
      const headers = {
        ...common,
        ...(credential?.kind === "basic" ? { authorization: `Basic ${encoded(credential)}` } : {}),
      };
      answer = await this.#transport.call({ method: "GET", url, headers, manner, signal });
    }
    const text = (await this.#transport.beginning(answer, answerBytes, signal)).toString();
    if (answer.status !== 200) throw this.#notGiven(answer, text, credential);
    return this.#parse(text, realm, credential);
  }

  #notGiven(answer: Answer, text: string, credential: Credential | undefined): Trouble {
    const { status, headers } = answer;
    const contentType = headers["content-type"] ?? "";
    const who =
      credential === undefined
        ? "without a login"
        : credential.kind === "basic"
          ? `as ${shortened(credential.username)}`
          : "with an identity token";
    const message = `The token service ${answer.url.host} of ${this.#endpoint.name} answered ${told({ status, contentType, text }, (detail) => this.clean(detail))} ${who}`;
    if (mayPass(status)) {
      return new Trouble("registry-unavailable", message, {
        againMs: retryAfterMs(headers["retry-after"]),
      });
    }
    return new Trouble("registry-refused", message, {
      hint: this.hint(),
    });
  }

  #parse(text: string, realm: URL, credential: Credential | undefined): Token {
    const parsed = parseObject(text);
    // OAuth 2 calls it access_token; a service may give both (docker's token specification).
    const token = [parsed?.["token"], parsed?.["access_token"]].find(
      (value) => typeof value === "string" && value !== "",
    );
    if (typeof token !== "string" || token.length > tokenLength || !/^[\x21-\x7e]+$/.test(token)) {
      throw new Trouble(
        "registry-refused",
        `The token service ${realm.host} of ${this.#endpoint.name} answered without a token`,
      );
    }
    const refresh = parsed?.["refresh_token"];
    if (credential?.kind === "identity-token" && typeof refresh === "string" && refresh !== "") {
      this.#refreshed.set(credential.token, refresh);
      bounded(this.#refreshed);
    }
    const given = parsed?.["expires_in"];
    const seconds = typeof given === "number" && given > 0 ? given : standardSeconds;
    // Its clock and ours may differ, so the time counts from now and not from issued_at.
    const lastsMs = Math.min(seconds, 24 * 3600) * 1000;
    return { text: token, untilMs: Date.now() + Math.max(lastsMs - spareMs, lastsMs / 2) };
  }

  #refused(what: string): Trouble {
    return new Trouble("registry-refused", `${this.#endpoint.name} ${what}`, {
      hint: this.hint(),
    });
  }
}

/** What a request wants to do, and where. */
export interface Asked {
  readonly repository: string;
  readonly scopes: Scopes;
}

/** Whether a status is one of a registry that has its hands full or broke, rather than of a wrong request. */
export function mayPass(status: number): boolean {
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505);
}

function encoded({ username, password }: Credential & { readonly kind: "basic" }): string {
  return Buffer.from(`${username}:${password}`).toString("base64");
}

function sentences({ message, hint }: Failure): string {
  return hint === undefined ? `${message}.` : `${message}. ${hint}`;
}

function bounded(map: Map<string, unknown>): void {
  if (map.size > kept) map.delete(map.keys().next().value ?? "");
}

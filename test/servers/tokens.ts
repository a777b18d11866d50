// A token server as registries send their clients to (https://distribution.github.io/distribution/spec/auth/token/): it signs what the registry then checks.
import { createHash, generateKeyPairSync, randomUUID, sign, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface TokenServerOptions {
  readonly user: string;
  readonly password: string;
  /** How long it says that a token lasts, in seconds; default 300. Registries take a token for a minute longer. */
  readonly lifetimeS?: number;
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

export const issuer = "atalanta-tests";
export const service = "registry-of-the-tests";

/** Gives what was asked for to the user that it knows, and pulls of `public/…` to everybody; by GET with Basic and by POST as OAuth2. */
export class TokenServer implements AsyncDisposable {
  /** What was asked for, in the order of the requests. */
  readonly asked: string[] = [];
  readonly #options: TokenServerOptions;
  readonly #server: Server;
  readonly #key: KeyObject;
  readonly #public: Readonly<Record<string, unknown>> & { readonly kid: string };

  private constructor(options: TokenServerOptions) {
    this.#options = options;
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const jwk = publicKey.export({ format: "jwk" });
    const kid = createHash("sha256").update(JSON.stringify(jwk)).digest("hex").slice(0, 16);
    this.#key = privateKey;
    this.#public = { ...jwk, kid };
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(options: TokenServerOptions): Promise<TokenServer> {
    const server = new TokenServer(options);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get realm(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  /** The key that the registry must know, as a set of keys. */
  get keys(): string {
    return JSON.stringify({ keys: [{ ...this.#public, use: "sig", alg: "ES256" }] });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { user, password, lifetimeS = 300 } = this.#options;
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    const basic = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
    let fields = url.searchParams;
    let login: string | undefined;
    let refresh = `refresh-${user}`;
    if (request.method === "POST") {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      fields = new URLSearchParams(Buffer.concat(chunks).toString());
      const kind = fields.get("grant_type");
      const right =
        kind === "refresh_token"
          ? fields.get("refresh_token") === refresh
          : kind === "password" &&
            fields.get("username") === user &&
            fields.get("password") === password;
      login = right ? user : "";
    } else if (request.headers.authorization !== undefined) {
      login = request.headers.authorization === basic ? user : "";
    }
    const scopes = fields.getAll("scope").flatMap((scope) => scope.split(" "));
    this.asked.push(`${request.method} ${scopes.join(" ")}`);
    if (login === "" || fields.get("service") !== service) {
      response.writeHead(401, { "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: "UNAUTHORIZED", message: "unknown user" }] }));
      return;
    }
    const access = scopes.flatMap((scope) => granted(scope, login !== undefined));
    const token = this.token(access, lifetimeS);
    if (login === undefined) refresh = "";
    response.writeHead(200, { "content-type": "application/json" });
    response.end(
      JSON.stringify({
        token,
        access_token: token,
        expires_in: lifetimeS,
        issued_at: new Date().toISOString(),
        ...(refresh === "" ? {} : { refresh_token: refresh }),
      }),
    );
  }

  /** A token that ends so many seconds from now; before now with a negative number. */
  token(access: readonly Access[], lifetimeS: number): string {
    const now = Math.floor(Date.now() / 1000);
    const part = (value: unknown): string =>
      Buffer.from(JSON.stringify(value)).toString("base64url");
    const head = part({ typ: "JWT", alg: "ES256", kid: this.#public.kid });
    const claims = part({
      iss: issuer,
      aud: service,
      sub: this.#options.user,
      exp: now + lifetimeS,
      nbf: now - 10,
      iat: now,
      jti: randomUUID(),
      access,
    });
    const signature = sign("sha256", Buffer.from(`${head}.${claims}`), {
      key: this.#key,
      dsaEncoding: "ieee-p1363",
    });
    return `${head}.${claims}.${signature.toString("base64url")}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

function granted(scope: string, known: boolean): Access[] {
  const [, type = "", name = "", actions = ""] = /^([a-z]+):(.+):([a-z,*]+)$/.exec(scope) ?? [];
  const allowed = actions
    .split(",")
    .filter((action) => known || (action === "pull" && name.startsWith("public/")));
  return type === "repository" && allowed.length > 0 ? [{ type, name, actions: allowed }] : [];
}

// A token service of Amazon's kind for tests: it looks at the signature, issuer, audience and time of a token as an issuer's key and words say, and at who may have a role.
import { randomBytes, verify, type KeyObject } from "node:crypto";
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { S3Server } from "./s3.ts";

export interface StsOptions {
  /** Whoever makes the tokens. */
  readonly issuer: string;
  /** Its public key. */
  readonly key: KeyObject;
  /** Subjects that may have a role. */
  readonly trust: ReadonlyMap<string, readonly string[]>;
  /** Takes the sessions. */
  readonly s3: S3Server;
}

export interface Given {
  readonly role: string;
  readonly subject: string;
  readonly session: string;
  readonly accessKey: string;
}

export class TokenService implements AsyncDisposable {
  /** Roles that were given. */
  readonly given: Given[] = [];
  /** Codes of refusals. */
  readonly refused: string[] = [];
  readonly #options: StsOptions;
  readonly #server: Server;

  private constructor(options: StsOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      void text(request)
        .then((body) => this.#answer(new URLSearchParams(body)))
        .catch((thrown: unknown) => {
          const { code, message } =
            thrown instanceof Refused ? thrown : new Refused("InternalFailure", String(thrown));
          this.refused.push(code);
          return { status: 400, text: refusal(code, message) };
        })
        .then(({ status, text }) => {
          response.writeHead(status, { "content-type": "text/xml" }).end(text);
        });
    });
  }

  static async start(options: StsOptions): Promise<TokenService> {
    const service = new TokenService(options);
    service.#server.listen(0, "127.0.0.1");
    await once(service.#server, "listening");
    return service;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #answer(asked: URLSearchParams): { status: number; text: string } {
    if (
      asked.get("Action") !== "AssumeRoleWithWebIdentity" ||
      asked.get("Version") !== "2011-06-15"
    )
      throw new Refused("InvalidAction", "Only a web identity");
    const session = asked.get("RoleSessionName") ?? "";
    if (!/^[\w+=,.@-]{2,64}$/.test(session)) throw new Refused("ValidationError", session);
    const subject = this.#subject(asked.get("WebIdentityToken") ?? "");
    const role = asked.get("RoleArn") ?? "";
    if (this.#options.trust.get(role)?.includes(subject) !== true) {
      throw new Refused("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity");
    }
    const accessKey = `ASIA${randomBytes(8).toString("hex").toUpperCase()}`;
    const [secretKey, token] = [randomBytes(20).toString("hex"), randomBytes(40).toString("hex")];
    this.#options.s3.sessions.set(accessKey, { secretKey, token });
    this.given.push({ role, subject, session, accessKey });
    const until = new Date(Date.now() + 3_600_000).toISOString();
    return {
      status: 200,
      text: `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Audience>sts.amazonaws.com</Audience><Credentials><SessionToken>${token}</SessionToken><SecretAccessKey>${secretKey}</SecretAccessKey><Expiration>${until}</Expiration><AccessKeyId>${accessKey}</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
    };
  }

  /** Whose token it is, once all that can be wrong with it was looked at. */
  #subject(token: string): string {
    const [head = "", body = "", signature = ""] = token.split(".");
    const bytes = Buffer.from(`${head}.${body}`);
    if (!verify("sha256", bytes, this.#options.key, Buffer.from(signature, "base64url")))
      throw new Refused("InvalidIdentityToken", "The signature is of nobody");
    const { iss, aud, exp, sub } = decoded(body);
    if (iss !== this.#options.issuer)
      throw new Refused("InvalidIdentityToken", `Issuer ${String(iss)}`);
    if (!Array.isArray(aud) || !aud.includes("sts.amazonaws.com"))
      throw new Refused("InvalidIdentityToken", "Incorrect token audience");
    if (!(Number(exp) * 1000 > Date.now())) throw new Refused("ExpiredTokenException", "It ended");
    return String(sub);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

class Refused extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

function decoded(part: string): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(part, "base64url").toString() || "{}") as Record<string, unknown>;
}

function refusal(code: string, message: string): string {
  return `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error><RequestId>1</RequestId></ErrorResponse>`;
}

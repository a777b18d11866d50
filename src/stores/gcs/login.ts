import { createHash, createPrivateKey, sign, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../../errors/mod.ts";
import { isLoopback } from "../../network/mod.ts";
import type { StoreContext } from "../stores.ts";
import { askMachine, askToken, objectIn, readNamed, Tokens, type Token } from "../tokens.ts";

const scope = "https://www.googleapis.com/auth/devstorage.read_write";
const usualServer = "https://oauth2.googleapis.com/token";
const assertionSeconds = 600;
/** Keys whose tokens are kept; operators name few. */
const keptKeys = 64;

/** Tokens by who asks for them. */
export class Logins {
  readonly #context: StoreContext;
  readonly #byKey = new Map<string, Tokens>();
  #machine: Tokens | undefined;

  constructor(context: StoreContext) {
    this.#context = context;
  }

  /** Of a service account, by its JSON. */
  ofAccount(json: string): Tokens {
    const digest = createHash("sha256").update(json).digest("base64");
    const known = this.#byKey.get(digest);
    if (known) return known;
    const file = parseFile(json, "serviceAccountKeySecret");
    const made = new Tokens((signal) => fromFile(this.#context, file, signal));
    this.#byKey.set(digest, made);
    const [oldest] = this.#byKey.keys();
    if (this.#byKey.size > keptKeys && oldest !== undefined) this.#byKey.delete(oldest);
    return made;
  }

  /** Of this machine: the file that the environment names, what gcloud left, or the machine's own account. */
  ofMachine(): Tokens {
    this.#machine ??= new Tokens(async (signal) => {
      const found = (await this.#file(signal)) ?? (await this.#metadata(signal));
      if (found) return found;
      throw new Failure("secret-missing", "This machine has no identity at Google's", {
        hint: "Name serviceAccountKeySecret, set GOOGLE_APPLICATION_CREDENTIALS, or give the machine an account.",
      });
    });
    return this.#machine;
  }

  async #file(signal: AbortSignal): Promise<Token | undefined> {
    const named = this.#variable("GOOGLE_APPLICATION_CREDENTIALS");
    if (named !== undefined) {
      const text = await readNamed(named, "GOOGLE_APPLICATION_CREDENTIALS");
      return fromFile(this.#context, parseFile(text, `"${named}"`), signal);
    }
    const home = this.#variable("HOME");
    if (home === undefined) return undefined;
    const usual = join(home, ".config", "gcloud", "application_default_credentials.json");
    const text = await readFile(usual, "utf8").catch(() => undefined);
    return text === undefined
      ? undefined
      : fromFile(this.#context, parseFile(text, `"${usual}"`), signal);
  }

  #metadata(signal: AbortSignal): Promise<Token | undefined> {
    const host = this.#variable("GCE_METADATA_HOST") ?? "metadata.google.internal";
    const path = "/computeMetadata/v1/instance/service-accounts/default/token";
    const url = URL.parse(`http://${host}${path}`);
    if (!url) throw new Failure("invalid-argument", "GCE_METADATA_HOST is no host");
    return askMachine(this.#context, { url, headers: { "metadata-flavor": "Google" } }, signal);
  }

  #variable(name: string): string | undefined {
    const value = this.#context.environment[name];
    return value === undefined || value === "" ? undefined : value;
  }
}

type KeyFile =
  | {
      readonly kind: "account";
      readonly email: string;
      readonly key: KeyObject;
      readonly keyId: string | undefined;
      readonly server: URL;
    }
  | {
      readonly kind: "user";
      readonly form: Readonly<Record<string, string>>;
      readonly server: URL;
    };

/** Reads a file of credentials. Throws `secret-invalid` without a word of what is in it. */
function parseFile(text: string, from: string): KeyFile {
  const found = objectIn(text);
  const word = (name: string): string => {
    const value = found[name];
    if (typeof value === "string" && value !== "") return value;
    throw new Failure("secret-invalid", `${from} has no ${name}`, {
      hint: "It is the JSON that Google gives for a key of a service account.",
    });
  };
  const server = serverOf(found["token_uri"], from);
  const type = word("type");
  if (type === "service_account") {
    const email = word("client_email");
    const keyId = found["private_key_id"];
    let key;
    try {
      key = createPrivateKey(word("private_key"));
    } catch (cause) {
      if (cause instanceof Failure) throw cause;
      throw new Failure("secret-invalid", `The private_key of ${from} cannot be read`);
    }
    if (key.asymmetricKeyType !== "rsa")
      throw new Failure("secret-invalid", `The private_key of ${from} is no RSA key`);
    return {
      kind: "account",
      email,
      key,
      keyId: typeof keyId === "string" ? keyId : undefined,
      server,
    };
  }
  if (type === "authorized_user") {
    const form = {
      grant_type: "refresh_token",
      client_id: word("client_id"),
      client_secret: word("client_secret"),
      refresh_token: word("refresh_token"),
    };
    return { kind: "user", form, server };
  }
  throw new Failure(
    "secret-invalid",
    `${from} is of the type ${JSON.stringify(type.slice(0, 64))}, which is not supported`,
    {
      hint: "Give the key of a service account, or run where the machine has an account of its own.",
    },
  );
}

/** Who gets the key's word. */
function serverOf(given: unknown, from: string): URL {
  const url = URL.parse(typeof given === "string" ? given : usualServer);
  if (url && (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url.hostname))))
    return url;
  throw new Failure("secret-invalid", `The token_uri of ${from} is no URL of HTTPS`);
}

function fromFile(context: StoreContext, file: KeyFile, signal: AbortSignal): Promise<Token> {
  const form =
    file.kind === "user"
      ? file.form
      : { grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion: assertion(file) };
  const manner = context.manner({ ofOperator: true });
  return askToken(context, { url: file.server, form, manner }, signal);
}

/** RFC 7523, as Google wants it: https://developers.google.com/identity/protocols/oauth2/service-account */
function assertion({
  email,
  key,
  keyId,
  server,
}: Extract<KeyFile, { readonly kind: "account" }>): string {
  const now = Math.floor(Date.now() / 1000);
  const parts = [
    { alg: "RS256", typ: "JWT", ...(keyId === undefined ? {} : { kid: keyId }) },
    { iss: email, scope, aud: server.href, iat: now, exp: now + assertionSeconds },
  ].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
  const text = parts.join(".");
  return `${text}.${sign("sha256", Buffer.from(text), key).toString("base64url")}`;
}

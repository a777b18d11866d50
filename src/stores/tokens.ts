import { readFile } from "node:fs/promises";
import { Failure } from "../errors/mod.ts";
import { addressRules, loopbackAddresses, orAborted, privateAddresses } from "../network/mod.ts";
import { retried, retryAfterMs } from "./retries.ts";
import type { StoreContext } from "./stores.ts";
import type { Manner } from "./transport.ts";
import { shortened, Trouble } from "./trouble.ts";

/** A token of OAuth 2, and when it ends. */
export interface Token {
  readonly value: string;
  readonly untilMs: number;
}

/** A new one is fetched this long before the old one ends. */
const earlyMs = 2 * 60_000;
const fetchMs = 60_000;
/** How long a token is good that says nothing of it. */
const usualSeconds = 5 * 60;
const tokenBytes = 64 * 1024;
/** Metadata services are near or not there at all. */
const nearMs = 3000;

/** Keeps a token until it ends; there is one fetch at a time, however many ask. */
export class Tokens {
  readonly #fetch: (signal: AbortSignal) => Promise<Token>;
  #good: Token | undefined;
  #fetching: Promise<Token> | undefined;

  constructor(fetch: (signal: AbortSignal) => Promise<Token>) {
    this.#fetch = fetch;
  }

  async get(signal: AbortSignal): Promise<string> {
    if (this.#good && this.#good.untilMs - earlyMs > Date.now()) return this.#good.value;
    // Of its own: who asked first may give up, and others wait for it as well.
    this.#fetching ??= this.#fetch(AbortSignal.timeout(fetchMs)).finally(
      () => (this.#fetching = undefined),
    );
    try {
      this.#good = await orAborted(this.#fetching, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      // What ends soon and cannot be had anew is still good.
      if (!this.#good || this.#good.untilMs < Date.now()) throw thrown;
    }
    return this.#good.value;
  }

  /** The store does not accept it any more. */
  forget(value: string): void {
    // Another request may have got a new one already.
    if (this.#good?.value === value) this.#good = undefined;
  }
}

export interface TokenRequest {
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent by POST; without it, it is a GET. */
  readonly form?: Readonly<Record<string, string>>;
  readonly manner: Manner;
}

/** Asks a server for a token. */
export function askToken(
  context: StoreContext,
  { url, headers = {}, form, manner }: TokenRequest,
  signal: AbortSignal,
): Promise<Token> {
  const body = form && Buffer.from(new URLSearchParams(form).toString());
  return retried(context.retries, signal, async () => {
    const answer = await context.transport.call({
      method: body ? "POST" : "GET",
      url,
      headers: {
        host: url.host,
        accept: "application/json",
        ...headers,
        ...(body
          ? {
              "content-type": "application/x-www-form-urlencoded",
              "content-length": String(body.length),
            }
          : {}),
      },
      manner,
      ...(body ? { body: [body] } : {}),
      signal,
    });
    const text = (await context.transport.small(answer, tokenBytes, signal)).toString();
    const { status } = answer;
    if (status === 200) return tokenIn(text, url);
    const again = status >= 500 || status === 429 || status === 408;
    const said = shortened(errorIn(text));
    throw new Trouble(
      again ? "store-unavailable" : "store-refused",
      `${url.host} gave no token: it answered ${status}${said === "" ? "" : ` (${said})`}`,
      again ? { againMs: retryAfterMs(answer.headers["retry-after"]) } : {},
    );
  });
}

/** Asks the service that tells a machine who it is. Undefined: there is none. */
export async function askMachine(
  context: StoreContext,
  request: Omit<TokenRequest, "manner">,
  signal: AbortSignal,
): Promise<Token | undefined> {
  const allowedAddresses = [...privateAddresses, ...loopbackAddresses, ...machineAddresses];
  const manner: Manner = { rules: addressRules({ allowedAddresses }), direct: true };
  const soon = AbortSignal.timeout(nearMs);
  const retries = { ...context.retries, attempts: Math.min(context.retries.attempts, 2) };
  try {
    return await askToken(
      { ...context, retries },
      { ...request, manner },
      AbortSignal.any([signal, soon]),
    );
  } catch (thrown) {
    signal.throwIfAborted();
    const nobody =
      soon.aborted || (thrown instanceof Failure && thrown.code === "store-unavailable");
    if (nobody) return undefined;
    throw thrown;
  }
}

/** Where clouds tell a machine or a container its tokens. Nothing but this asks there. */
const machineAddresses = ["169.254.0.0/16", "169.254.169.254", "fd00:ec2::254", "fd20:ce::254"];

/** A file that the environment of the machine's owner names. */
export async function readNamed(file: string, variable: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new Failure("secret-missing", `Cannot read "${file}", which ${variable} names`, {
      cause,
    });
  }
}

function tokenIn(text: string, { host }: URL): Token {
  const found = objectIn(text);
  const { access_token: value } = found;
  // Azure's machines say it as a text.
  const seconds = Number(found["expires_in"] ?? usualSeconds);
  // It becomes part of a header.
  if (typeof value === "string" && /^[\x21-\x7E]+$/.test(value) && Number.isFinite(seconds)) {
    return { value, untilMs: Date.now() + seconds * 1000 };
  }
  throw new Trouble("store-refused", `${host} gives no token that can be read`);
}

/** What a token server says of a refusal (RFC 6749, 5.2). */
function errorIn(text: string): string {
  const { error, error_description: description } = objectIn(text);
  return [error, description].filter((part) => typeof part === "string").join(": ");
}

export function objectIn(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null)
      return Object.fromEntries(Object.entries(value));
  } catch {
    // Nothing of use.
  }
  return {};
}

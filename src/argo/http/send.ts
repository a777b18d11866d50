import { request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import { Failure } from "../../errors/mod.ts";
import { connectionProblem, readAll, type AddressRules } from "../../network/mod.ts";

export interface Asked {
  readonly method: string;
  readonly url: URL;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
  readonly anyCertificate: boolean;
  readonly timeoutMs: number;
  readonly mostBytes: number;
}

export interface Answer {
  readonly status: number;
  /** By name as Go writes it: `Content-Type`. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: Buffer;
}

interface SendOptions {
  readonly rules: AddressRules;
  readonly authorities: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

const mostRedirects = 10;
/** What does not go along to another host. */
const ownHeaders: ReadonlySet<string> = new Set([
  "authorization",
  "cookie",
  "cookie2",
  "host",
  "proxy-authorization",
  "www-authenticate",
]);

/** Sends a request and follows redirects as Go's client does. */
export async function sendRequest(asked: Asked, options: SendOptions): Promise<Answer> {
  let { url, method, body } = asked;
  let headers = asked.headers;
  for (let redirects = 0; ; redirects += 1) {
    const message = await hop({ ...asked, url, method, body, headers }, options);
    const { statusCode: status = 0 } = message;
    const to = message.headers.location;
    const next = to === undefined ? undefined : URL.parse(to, url.href);
    if (![301, 302, 303, 307, 308].includes(status) || !next) {
      return { status, headers: headersOf(message), body: await read(message, asked.mostBytes) };
    }
    message.destroy();
    if (redirects === mostRedirects) {
      throw new Failure("network-failed", `stopped after ${mostRedirects} redirects`);
    }
    if (status < 307 && method !== "GET" && method !== "HEAD") {
      method = "GET";
      body = new Uint8Array();
      headers = headers.filter(([name]) => !/^content-/i.test(name));
    }
    if (next.host !== url.host) {
      headers = headers.filter(([name]) => !ownHeaders.has(name.toLowerCase()));
    }
    url = next;
  }
}

async function hop(
  { url, method, headers, body, anyCertificate }: Asked,
  { rules, authorities, signal }: SendOptions,
): Promise<IncomingMessage> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const where = `${method} ${url.origin}${url.pathname}`;
  const refusal = rules.refusal(host);
  if (refusal !== undefined) {
    throw new Failure("network-denied", `${where}: the address is ${refusal}`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new Failure("network-invalid", `${where}: a redirect leads to ${url.protocol}`);
  }
  const grouped = new Map<string, string[]>();
  for (const [name, value] of headers) grouped.set(name, [...(grouped.get(name) ?? []), value]);
  const given = Object.fromEntries(
    [...grouped].map(([name, values]) => [name, values.length === 1 ? values[0] : values]),
  );
  const options: RequestOptions & { rejectUnauthorized?: boolean; ca?: string[] } = {
    method,
    host,
    port: url.port || (url.protocol === "https:" ? 443 : 80),
    path: `${url.pathname}${url.search}`,
    headers: {
      "user-agent": "atalanta",
      ...given,
      ...(body.length > 0 ? { "content-length": body.length } : {}),
    },
    agent: false,
    signal,
    lookup: rules.lookup,
    ...(anyCertificate ? { rejectUnauthorized: false } : {}),
    ...(authorities ? { ca: [...authorities] } : {}),
  };
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  try {
    const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(options, resolve);
    request.on("error", reject);
    request.end(body);
    return await promise;
  } catch (thrown) {
    signal.throwIfAborted();
    if (thrown instanceof Failure) throw thrown;
    throw new Failure("network-failed", `${where}: ${connectionProblem(thrown).reason}`, {
      cause: thrown,
    });
  }
}

async function read(message: IncomingMessage, mostBytes: number): Promise<Buffer> {
  try {
    return await readAll(
      message,
      mostBytes,
      () => new Failure("network-failed", `The response has more than ${mostBytes} bytes`),
    );
  } catch (thrown) {
    if (thrown instanceof Failure) throw thrown;
    if (thrown instanceof Error && (thrown.name === "TimeoutError" || thrown.name === "AbortError"))
      throw thrown;
    throw new Failure(
      "network-failed",
      `The response broke off: ${connectionProblem(thrown).reason}`,
      { cause: thrown },
    );
  }
}

function headersOf({ headersDistinct }: IncomingMessage): Answer["headers"] {
  return Object.fromEntries(
    Object.entries(headersDistinct).map(([name, values]) => [canonical(name), values ?? []]),
  );
}

function canonical(name: string): string {
  return name.replace(/(^|-)[a-z]/g, (letters) => letters.toUpperCase());
}

import { Failure } from "../errors/mod.ts";
import type { Target } from "./target.ts";

type Header = readonly [name: string, value: string];

const headerCount = 100;
const headerBytes = 32 * 1024;

/**
 * Headers that say where a request ends, which way it goes and who is spoken to (RFC 9110, 7.6.1; RFC 9112, 6): with them one request
 * can be made to look like two, or to belong to another host.
 */
const ours: ReadonlySet<string> = new Set([
  "connection",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "via",
]);
/** Of a response, what was about the connection, which the guest never sees. */
const hidden: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-connection",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Looks at what a guest wants to send. Throws `network-invalid`. */
export function checkRequest(
  headers: readonly Header[],
  body: Uint8Array,
  { method }: Target,
): readonly Header[] {
  if (headers.length > headerCount)
    throw invalid(`The request has ${headers.length} headers; ${headerCount} may be`);
  const size = headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0);
  if (size > headerBytes)
    throw invalid(`The request's headers have ${size} bytes; ${headerBytes} may be`);
  if (body.length > 0 && (method === "GET" || method === "HEAD")) {
    throw invalid(
      `A ${method} request has no body`,
      "A server that does not expect one may take it for a further request. Use POST.",
    );
  }
  return headers.flatMap(([name, value]) => {
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name))
      throw invalid(`${JSON.stringify(name.slice(0, 64))} is no header name`);
    const lower = name.toLowerCase();
    const trimmed = value.replaceAll(/^[ \t]+|[ \t]+$/g, "");
    // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
    if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(trimmed))
      throw invalid(`The header "${lower}" has a line end or another control character`);
    if (lower === "content-length") {
      if (trimmed === String(body.length)) return [];
      throw invalid(`The header "content-length" is not the body's length, ${body.length}`);
    }
    if (ours.has(lower) || lower.startsWith("proxy-"))
      throw invalid(`The header "${lower}" is the host's alone`);
    return [[name, trimmed] as const];
  });
}

/** What a guest gets of a response's headers. Their values may be anything but line ends, which the parser has looked at. */
export function visible(headers: readonly Header[]): readonly Header[] {
  return headers.filter(([name]) => !hidden.has(name));
}

/** What a redirect to another origin does not take along, as browsers do it. */
export function withoutCredentials(headers: readonly Header[]): readonly Header[] {
  return headers.filter(([name]) => !/^(?:authorization|cookie)$/i.test(name));
}

/** What a redirect that becomes a GET does not take along: what was said about the body. */
export function withoutBody(headers: readonly Header[]): readonly Header[] {
  return headers.filter(([name]) => !/^content-/i.test(name));
}

export function headerSize(headers: readonly Header[]): number {
  return headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0);
}

function invalid(what: string, hint?: string): Failure {
  return new Failure("network-invalid", what, hint === undefined ? {} : { hint });
}

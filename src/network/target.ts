import { isIP } from "node:net";
import { Failure } from "../errors/mod.ts";

/** Where a request goes, in the one spelling in which it is compared and sent. */
export interface Target {
  readonly method: string;
  readonly scheme: "http" | "https";
  /** A name in lower case and ASCII, or an address, without brackets. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** With its `?`, or empty. */
  readonly query: string;
}

const urlLength = 16 * 1024;
/** Tunnels, and what hands a request's headers back. */
const refusedMethods: ReadonlySet<string> = new Set(["CONNECT", "TRACE", "TRACK"]);

/**
 * Reads what a guest or a redirect gave, by the URL standard, which knows one host for `0x7f.1`, `2130706433` and `127.0.0.1`. What
 * programs read in different ways is refused. Throws `network-invalid`.
 */
export function parseTarget(method: string, text: string): Target {
  if (!/^[A-Z]{1,24}$/.test(method) || refusedMethods.has(method))
    throw invalid(`The method "${method.slice(0, 32)}" is not offered`);
  if (text.length > urlLength) throw invalid(`A URL has more than ${urlLength} characters`);
  // The standard drops tabs and line ends, and reads a backslash as a slash.
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u0020\u007f\\]/.test(text))
    throw invalid("The URL has a blank, a control character or a backslash", text);
  if (!/^https?:\/\/[^/]/i.test(text))
    throw invalid("The URL does not begin with http:// or https://", text);
  const url = URL.parse(text);
  if (!url) throw invalid("The URL is no URL", text);
  if (url.username !== "" || url.password !== "" || /^[^/]*\/\/[^/?#]*@/.test(text))
    throw invalid("The URL has a user name", text, "Send it in an Authorization header.");
  const host = canonicalHost(url.hostname);
  if (host === undefined) throw invalid("The URL has no usable host", text);
  const scheme = url.protocol === "https:" ? "https" : "http";
  const port = url.port === "" ? (scheme === "https" ? 443 : 80) : Number(url.port);
  if (port === 0) throw invalid("The URL has the port 0", text);
  return { method, scheme, host: host.name, port, path: url.pathname, query: url.search };
}

/** How a target is shown: without its query, which may hold what is not for a log. */
export function shown({ scheme, host, port, path }: Target): string {
  const named = host.includes(":") ? `[${host}]` : host;
  const standard = port === (scheme === "https" ? 443 : 80);
  const text = `${scheme}://${named}${standard ? "" : `:${port}`}${path}`;
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** A host in its one spelling; undefined for what is none, or has more than one (a dot at its end). */
export function canonicalHost(
  text: string,
): { readonly name: string; readonly address: boolean } | undefined {
  const bracketed = text.includes(":") && !text.startsWith("[") ? `[${text}]` : text;
  if (/[/?#@\\%\s]/.test(bracketed)) return undefined;
  const url = URL.parse(`http://${bracketed}/`);
  if (!url || url.port !== "") return undefined;
  const { hostname } = url;
  const name = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
  const address = isIP(name) !== 0;
  if (address) return { name, address };
  // Labels of letters, digits, hyphens and underscores; what IDNA makes of other letters is among them.
  if (name.length > 253 || !/^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/.test(name))
    return undefined;
  return { name, address };
}

/**
 * Whether a server might take a path for another one than it seems to be: an encoded or doubled slash, a backslash, `..` in
 * disguise, also when it is decoded more than once. Only a list that names paths has to ask.
 */
export function unclearPath(path: string): boolean {
  let text = path;
  for (let round = 0; round < 4; round++) {
    if (/\/\/|\\|%2f|%5c|%00|\0/i.test(text)) return true;
    // `..;x` is `..` for servers that know parameters of segments.
    if (text.split("/").some((segment) => /^\.{1,2}(?:;.*)?$/.test(segment))) return true;
    let decoded: string;
    try {
      decoded = decodeURIComponent(text);
    } catch {
      // Bytes that are no text, or a lone percent sign: nothing that our prefixes could be spelled with.
      return /%(?:25|2e)/i.test(text);
    }
    if (decoded === text) return false;
    text = decoded;
  }
  return true;
}

function invalid(what: string, text?: string, hint?: string): Failure {
  const shownText = text === undefined ? "" : `: ${JSON.stringify(text.slice(0, 200))}`;
  return new Failure("network-invalid", `${what}${shownText}`, hint === undefined ? {} : { hint });
}

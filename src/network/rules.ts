import { Failure } from "../errors/mod.ts";
import { canonicalHost, parseTarget, unclearPath, type Target } from "./target.ts";

/** An entry of `allowedHosts` in its long form. */
export interface AllowedHost {
  /** A name, an address, `*.example.com` for every name below it, or `*`. */
  readonly host: string;
  /** Default: https. */
  readonly scheme?: string;
  /** Default: the scheme's own; `*` is any. */
  readonly port?: number | string;
  /** Default: all. */
  readonly methods?: readonly string[];
  /** Default: all paths. `/v1` is it and what lies below it, `/v1/` only what lies below. */
  readonly pathPrefix?: string;
}

/** `[METHOD[,METHOD] ][SCHEME://]HOST[:PORT][/PATH]`, or its parts by name. */
export type AskedHost = string | AllowedHost;

/** What one entry of a list allows. */
export interface Rule {
  /** In the short form. */
  readonly text: string;
  readonly allows: (target: Target) => boolean;
  /** Whether the host is one of the entry's, whatever else of the request is not. */
  readonly knows: (host: string) => boolean;
  /** The address that it names, if it does so. */
  readonly address: string | undefined;
}

/** Entries of one list; whoever writes it does so by hand. */
const entryCount = 1000;
const entryLength = 2048;

/** Reads a list. Throws `invalid-argument` with the entry that is wrong. */
export function parseRules(asked: readonly AskedHost[]): readonly Rule[] {
  if (asked.length > entryCount) {
    throw new Failure(
      "invalid-argument",
      `allowedHosts has ${asked.length} entries; ${entryCount} may be`,
      { hint: "Use a wildcard such as *.example.com." },
    );
  }
  return asked.map((entry) => parseRule(typeof entry === "string" ? split(entry) : entry, entry));
}

/** The entry that would allow a request, as short as it can be. */
export function entryFor({ scheme, host, port }: Target): string {
  const named = host.includes(":") ? `[${host}]` : host;
  const place = port === ports[scheme] ? named : `${named}:${port}`;
  return scheme === "https" ? place : `${scheme}://${place}`;
}

const ports = { http: 80, https: 443 } as const;

function split(entry: string): AllowedHost {
  const match =
    entry.length > entryLength
      ? undefined
      : /^(?:([A-Z]+(?:,[A-Z]+)*) +)?(?:([A-Za-z][A-Za-z0-9+.-]*):\/\/)?(\[[^\]/]*\]|[^:/]*)(?::([^/]*))?(\/.*)?$/.exec(
          entry,
        );
  const [, methods, scheme, host = "", port, path] = match ?? [];
  if (!match) throw wrong(entry, "is not an entry");
  return {
    host,
    ...(methods === undefined ? {} : { methods: methods.split(",") }),
    ...(scheme === undefined ? {} : { scheme }),
    ...(port === undefined ? {} : { port }),
    ...(path === undefined ? {} : { pathPrefix: path }),
  };
}

function parseRule(asked: AllowedHost, entry: AskedHost): Rule {
  const scheme = asked.scheme?.toLowerCase() ?? "https";
  if (scheme !== "http" && scheme !== "https")
    throw wrong(entry, `has the scheme "${scheme}"; http and https are known`);
  const port = parsePort(asked.port ?? ports[scheme], entry);
  const methods = asked.methods && new Set(asked.methods);
  for (const method of methods ?? []) {
    if (!/^[A-Z]+$/.test(method))
      throw wrong(entry, `has the method "${method}", which cannot be one`);
  }
  const hosts = parseHost(asked.host, entry);
  const prefix = parsePrefix(asked.pathPrefix, entry);
  if (hosts.address !== undefined && prefix !== undefined && /^\/\d+$/.test(prefix))
    throw wrong(entry, "is a range of addresses, which belongs in the operator's allowedAddresses");
  const shownPort = port === ports[scheme] ? "" : `:${port}`;
  const text = `${methods ? `${[...methods].join()} ` : ""}${scheme}://${hosts.text}${shownPort}${prefix ?? ""}`;
  return {
    text,
    knows: hosts.match,
    address: hosts.address,
    allows: (target) =>
      hosts.match(target.host) &&
      target.scheme === scheme &&
      (port === "*" || port === target.port) &&
      (!methods || methods.has(target.method)) &&
      (prefix === undefined || below(prefix, target.path)),
  };
}

function parsePort(asked: number | string, entry: AskedHost): number | "*" {
  if (asked === "*") return asked;
  const port = Number(asked);
  if (/^\d{1,5}$/.test(String(asked)) && port >= 1 && port <= 65_535) return port;
  throw wrong(entry, `has the port "${asked}", which cannot be one`);
}

function parseHost(
  asked: string,
  entry: AskedHost,
): {
  readonly text: string;
  readonly match: (host: string) => boolean;
  readonly address: string | undefined;
} {
  if (asked === "*") return { text: asked, match: () => true, address: undefined };
  const wild = asked.startsWith("*.");
  const host = canonicalHost(wild ? asked.slice(2) : asked);
  if (host === undefined) throw wrong(entry, `has the host "${asked}", which cannot be one`);
  const { name, address } = host;
  if (!wild) {
    const text = name.includes(":") ? `[${name}]` : name;
    return { text, match: (other) => other === name, address: address ? name : undefined };
  }
  if (address) throw wrong(entry, "has a wildcard before an address");
  return {
    text: `*.${name}`,
    match: (other) => other.endsWith(`.${name}`) && other.length > name.length + 1,
    address: undefined,
  };
}

function parsePrefix(asked: string | undefined, entry: AskedHost): string | undefined {
  if (asked === undefined || asked === "/") return undefined;
  if (!asked.startsWith("/") || /[?#]/.test(asked))
    throw wrong(entry, `has the path "${asked}"; it begins with "/" and has no "?" or "#"`);
  let path: string;
  try {
    ({ path } = parseTarget("GET", `http://x${asked}`));
  } catch {
    throw wrong(entry, `has the path "${asked}", which cannot be one`);
  }
  if (unclearPath(asked) || unclearPath(path))
    throw wrong(entry, `has the path "${asked}", which is not in plain form`);
  return path;
}

/** Whole segments count, so that `/v1` does not allow `/v10`. Nothing that a server may read as another path is below anything. */
function below(prefix: string, path: string): boolean {
  if (unclearPath(path)) return false;
  return path === prefix || path.startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`);
}

function wrong(entry: AskedHost, what: string): Failure {
  const shown = (typeof entry === "string" ? entry : JSON.stringify(entry)).slice(0, 200);
  return new Failure("invalid-argument", `The allowed host ${JSON.stringify(shown)} ${what}`, {
    hint: 'Write a host such as "api.example.com", "*.example.com" or "GET,POST https://api.example.com:8443/v1/".',
  });
}

import { parseRules } from "./rules.ts";
import type { Secret } from "./secrets.ts";
import { canonicalHost } from "./target.ts";

/** A host of a store or of a repository, in the one spelling in which it is compared. */
export interface Endpoint {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `HOST`, `HOST:PORT`, a URL, or git's `USER@HOST:PATH`; undefined when it is none of them. What is not plain HTTP counts as
 * https, of its own port when none is said.
 */
export function parseEndpoint(text: string, insecure: boolean = false): Endpoint | undefined {
  // Whatever begins with a dash is an option for the programs that it is handed to.
  const scp = /^\w[\w.~-]*@(\w[^/:@]*):/.exec(text)?.[1];
  const bare = insecure ? "http" : "https";
  const url = URL.parse(
    scp === undefined ? (text.includes("://") ? text : `${bare}://${text}`) : `https://${scp}`,
  );
  // Of schemes that it does not know, the standard leaves the host as it was written.
  const host = url ? canonicalHost(url.hostname) : undefined;
  if (!url || host === undefined || host.name.startsWith("-")) return undefined;
  const plain = url.protocol === "http:";
  const scheme = plain ? "http" : "https";
  const web = url.protocol === "http:" || url.protocol === "https:";
  const port = web && url.port !== "" ? Number(url.port) : plain ? 80 : 443;
  return { scheme, host: host.name, port };
}

/** As an entry of `hosts` allows it. */
export function endpointEntry({ scheme, host, port }: Endpoint): string {
  const named = host.includes(":") ? `[${host}]` : host;
  const place = port === (scheme === "http" ? 80 : 443) ? named : `${named}:${port}`;
  return scheme === "http" ? `http://${place}` : place;
}

/** Whether a secret may be used at an endpoint. An entry for some paths or methods of a host alone is not one for a store. */
export function isFor(secret: Pick<Secret, "hosts">, endpoint: Endpoint): boolean {
  return parseRules(secret.hosts).some((rule) =>
    rule.allows({ ...endpoint, method: "", path: "/", query: "" }),
  );
}

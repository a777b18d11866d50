import { BlockList, isIP, isIPv4 } from "node:net";
import { Failure } from "../errors/mod.ts";

/** Finds the proxy for a URL, or undefined where there is none. Throws `invalid-argument` for one that cannot be used. */
export type ProxyFor = (url: URL) => string | undefined;

/**
 * Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in capitals or not. `NO_PROXY` has names (with all below them), addresses and ranges, with a port
 * or without, or `*`. What leads to this machine goes to no proxy, as with docker.
 */
export function proxiesFrom(environment: Readonly<Record<string, string | undefined>>): ProxyFor {
  const variable = (name: string): string | undefined => {
    const value = environment[name.toLowerCase()] ?? environment[name];
    return value === undefined || value === "" ? undefined : value;
  };
  const proxies = new Map([
    ["https:", variable("HTTPS_PROXY")],
    ["http:", variable("HTTP_PROXY")],
  ]);
  const exceptions = (variable("NO_PROXY") ?? "")
    .split(/[\s,]+/)
    .filter((part) => part !== "")
    .map(exception);
  return (url) => {
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
    if (isLoopback(host) || exceptions.some((matches) => matches(host, port))) return undefined;
    const proxy = proxies.get(url.protocol);
    return proxy === undefined ? undefined : checked(proxy, `${url.protocol.slice(0, -1)}_proxy`);
  };
}

function checked(text: string, name: string): string {
  const proxy = text.includes("://") ? text : `http://${text}`;
  const protocol = URL.parse(proxy)?.protocol;
  if (protocol === "http:" || protocol === "https:") return proxy;
  // A password may be in it, so it is not shown.
  throw new Failure(
    "invalid-argument",
    `${name.toUpperCase()} ${protocol === undefined ? "is no URL" : `names a proxy by ${protocol}//`}`,
    { hint: "Write a proxy such as http://proxy.example.com:3128, or unset it." },
  );
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Whether a host, as it is written and whatever a name server says, leads to this machine. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost") || inside(loopback, host);
}

function inside(list: BlockList, host: string): boolean {
  return isIP(host) !== 0 && list.check(host, isIPv4(host) ? "ipv4" : "ipv6");
}

function exception(text: string): (host: string, port: string) => boolean {
  if (text === "*") return () => true;
  const [, named = "", ported] =
    isIP(text) === 0 ? (/^(.*?)(?::(\d+))?$/.exec(text) ?? []) : [undefined, text];
  const name = named.replace(/^\[|\]$/g, "").toLowerCase();
  const matches = addresses(name) ?? names(name.replace(/^\*?\.?/, ""));
  return (host, port) => matches(host) && (ported === undefined || ported === port);
}

function names(name: string): (host: string) => boolean {
  return (host) => host === name || host.endsWith(`.${name}`);
}

function addresses(text: string): ((host: string) => boolean) | undefined {
  const [address = "", bits] = text.split("/");
  if (isIP(address) === 0) return undefined;
  const family = isIPv4(address) ? "ipv4" : "ipv6";
  const list = new BlockList();
  const most = family === "ipv4" ? 32 : 128;
  const count = bits === undefined ? most : Number(bits);
  // What cannot be read matches nothing, as with other programs; it must not stop one that needs no proxy.
  if (Number.isInteger(count) && count >= 0 && count <= most)
    list.addSubnet(address, count, family);
  return (host) => inside(list, host);
}

import { isIP } from "node:net";
import { Failure } from "../../errors/mod.ts";
import type { AddressRules } from "../../network/mod.ts";
import { Trouble, shortened } from "../trouble.ts";

/** Where a repository lies. */
export interface Remote {
  readonly protocol: "http" | "https" | "ssh" | "git";
  readonly user: string | undefined;
  readonly host: string;
  readonly port: number;
  /** As git takes it, without a password. */
  readonly url: string;
}

const ports = { http: 80, https: 443, ssh: 22, git: 9418 } as const;

/** Reads a repository's URL, or ssh's short form `USER@HOST:PATH`. Throws `invalid-argument` for everything that does not lead over a network. */
export function parseRemote(text: string): Remote {
  const wrong = (what: string): Failure =>
    new Failure("invalid-argument", `"${shown(text)}" is no place of a git repository: ${what}`, {
      hint: "Write a URL such as https://github.com/acme/source.git.",
    });
  if (/[\p{Cc}\s]/u.test(text)) throw wrong("it has blanks or control characters");
  const short = /^(?:([\w.-]+)@)?([\w.-]+|\[[\da-fA-F:.]+\]):(?!\/\/)([^:].*)$/.exec(text);
  const written = short ? `ssh://${short[1] ?? "git"}@${short[2]}/${short[3]}` : text;
  const url = URL.parse(written);
  const protocol = url?.protocol.slice(0, -1) ?? "";
  if (!url || !isProtocol(protocol)) throw wrong("only http, https, ssh and git can be used");
  if (url.password !== "") throw wrong("a password does not belong there, but into a secret");
  const host = url.hostname.replace(/^\[|\]$/g, "");
  // ssh and git take what begins with a dash for an option.
  if (isIP(host) === 0 && !/^\w[\w.-]*$/.test(host)) throw wrong("its host");
  const port = url.port === "" ? ports[protocol] : Number(url.port);
  const user = url.username === "" ? undefined : decoded(url.username);
  const web = protocol === "http" || protocol === "https";
  if (!web) {
    // git decodes such a URL before it looks for the host, and looks for an address in brackets in its path as well: each of these could lead it elsewhere.
    const path = decoded(short ? (short[3] ?? "") : url.pathname);
    const clear = path !== undefined && !/@\[|[\p{Cc}]/u.test(path);
    const named = url.username === "" || /^\w[\w.+-]*$/.test(url.username);
    if (!clear || !named || url.search !== "" || url.hash !== "")
      throw wrong("it can be read in more than one way");
  }
  return {
    protocol,
    user,
    host,
    port,
    // As it was understood here, not as it is written: others read `http://one\\@two/` in another way. In the short form a path without a slash begins at home.
    url: short ? text : url.href,
  };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function isProtocol(text: string): text is Remote["protocol"] {
  return Object.hasOwn(ports, text);
}

/** The addresses of a host that may be connected to. Throws `network-denied`. */
export async function addressesOf(
  { host }: Pick<Remote, "host">,
  rules: AddressRules,
): Promise<readonly string[]> {
  if (isIP(host) !== 0) {
    const why = rules.refusal(host);
    if (why === undefined) return [host];
    throw new Failure("network-denied", `"${host}" is an address that is ${why}`, {
      hint: "An operator opens it with --allow-address.",
    });
  }
  return new Promise((resolve, reject) => {
    rules.lookup(host, { all: true }, (problem, found) => {
      if (problem instanceof Failure) reject(problem);
      else if (problem) {
        const message = `There is no host "${host}": ${problem.code ?? problem.message}`;
        reject(new Trouble("store-unavailable", message, { againMs: 0, cause: problem }));
      } else if (typeof found === "string") resolve([found]);
      else resolve(found.map(({ address }) => address));
    });
  });
}

/** A revision, branch or refspec of a stranger's: nothing that git could take for an option, or that is no name. */
export function checkedName(text: string, what: string): string {
  if (/^[^-\s\p{Cc}~^:?*[\\][^\s\p{Cc}]*$/u.test(text) || /^\+?refs\/[^\s\p{Cc}]+$/u.test(text)) {
    return text;
  }
  throw new Failure("invalid-argument", `"${shortened(text)}" is no ${what} of a git repository`);
}

/** Without what may be a secret. */
export function shown(url: string): string {
  return shortened(url).replace(/\/\/[^/@]*@/, "//");
}

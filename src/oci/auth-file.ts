import { Failure } from "../errors/mod.ts";
import type { Credential, Credentials } from "./credentials.ts";
import { asObject, parseObject } from "./failures.ts";

/** What a file of logins says. */
export interface AuthFile {
  /** By registry, or by registry and the beginning of a repository's name. */
  readonly logins: ReadonlyMap<string, Credential>;
  /** Programs that know logins, by registry. */
  readonly helpers: ReadonlyMap<string, string>;
  /** The program that is asked for all others. */
  readonly store?: string;
}

/** Where a login is looked for. */
export interface Where {
  readonly registry: string;
  readonly repository: string;
}

const hub = "docker.io";
const hubNames: ReadonlySet<string> = new Set([hub, "index.docker.io", "registry-1.docker.io"]);

/** Reads a `config.json` of docker's or an `auth.json` of podman's. Throws `secret-invalid`. */
export function parseAuthFile(text: string, name: string): AuthFile {
  const parsed = parseObject(text);
  // What the parser says about a text shows a part of it.
  if (!parsed) throw invalid(`${name} is no JSON object`);
  const store = parsed["credsStore"];
  return {
    logins: logins(parsed["auths"], name),
    helpers: new Map(
      Object.entries(asObject(parsed["credHelpers"]) ?? {}).flatMap(([key, helper]) =>
        typeof helper === "string" && helper !== "" ? [[normalKey(key), helper] as const] : [],
      ),
    ),
    ...(typeof store === "string" && store !== "" ? { store } : {}),
  };
}

/**
 * Logins from pull secrets of Kubernetes: the text of `.dockerconfigjson`, or of `.dockercfg` as older ones have it. Their names may have `*` for a part of a
 * host. Programs that they name are not run. Throws `secret-invalid`.
 */
export function pullSecretCredentials(
  secrets: readonly { readonly key: ".dockerconfigjson" | ".dockercfg"; readonly text: string }[],
): Credentials {
  const all = secrets.map(({ key, text }) => {
    const parsed = parseObject(text);
    if (!parsed) throw invalid(`The pull secret's ${key} is no JSON object`);
    return logins(key === ".dockercfg" ? parsed : parsed["auths"], `The pull secret's ${key}`);
  });
  return {
    async find(where) {
      for (const known of all) {
        const found = bestMatch(known, where, true);
        if (found) return found;
      }
      return undefined;
    },
  };
}

/** The entry whose name fits best: the longest path counts, as containers-auth.json(5) says. */
export function bestMatch<Value>(
  entries: ReadonlyMap<string, Value>,
  { registry, repository }: Where,
  patterns = false,
): Value | undefined {
  let longest = -1;
  let best: Value | undefined;
  for (const [key, value] of entries) {
    const [host = "", ...path] = key.split("/");
    const hostFits = host === registry || (patterns && host.includes("*") && fits(host, registry));
    const pathFits = path.length === 0 || `${repository}/`.startsWith(`${path.join("/")}/`);
    // A name without a star goes before one that has it.
    const weight = path.join("/").length * 2 + (host === registry ? 1 : 0);
    if (!hostFits || !pathFits || weight <= longest) continue;
    longest = weight;
    best = value;
  }
  return best;
}

/** A star stands for a part between dots or for some of it; ports must be the same. */
function fits(pattern: string, registry: string): boolean {
  const wanted = pattern.split(/[.:]/);
  const given = registry.split(/[.:]/);
  if (pattern.includes(":") !== registry.includes(":") || wanted.length !== given.length)
    return false;
  return wanted.every((part, index) => {
    const [head = "", ...rest] = part.split("*");
    const text = given[index] ?? "";
    if (rest.length === 0) return text === part;
    if (rest.length > 1) return false;
    const [tail = ""] = rest;
    return text.length >= part.length - 1 && text.startsWith(head) && text.endsWith(tail);
  });
}

/** The name under which a registry is in references: without a scheme, and without what docker writes behind it. */
function normalKey(key: string): string {
  const bare = key.trim().replace(/^https?:\/\//i, "");
  const [host = "", ...path] = bare.split("/");
  const name = host.toLowerCase();
  const rest = path.filter((part) => part !== "");
  if (rest.length === 1 && /^v[12]$/.test(rest[0] ?? "")) rest.pop();
  return [hubNames.has(name) ? hub : name, ...rest].join("/");
}

function logins(value: unknown, name: string): ReadonlyMap<string, Credential> {
  const found = new Map<string, Credential>();
  for (const [key, entry] of Object.entries(asObject(value) ?? {})) {
    const credential = login(asObject(entry) ?? {}, `${name}: the login for "${key}"`);
    const named = normalKey(key);
    // docker's own way to write the hub goes before others.
    if (credential && (!found.has(named) || key.includes("index.docker.io")))
      found.set(named, credential);
  }
  return found;
}

function login(entry: Readonly<Record<string, unknown>>, what: string): Credential | undefined {
  const text = (key: string): string => {
    const value = entry[key];
    return typeof value === "string" ? value : "";
  };
  if (text("registrytoken") !== "") return { kind: "registry-token", token: text("registrytoken") };
  if (text("identitytoken") !== "") return { kind: "identity-token", token: text("identitytoken") };
  const auth = text("auth").trim();
  if (auth !== "") {
    const decoded = Buffer.from(auth, "base64").toString();
    const colon = decoded.indexOf(":");
    if (colon < 1) throw invalid(`${what} is not the base64 of NAME:PASSWORD`);
    return {
      kind: "basic",
      username: decoded.slice(0, colon),
      password: decoded.slice(colon + 1).replaceAll("\0", ""),
    };
  }
  const [username, password] = [text("username"), text("password")];
  return username === "" || password === "" ? undefined : { kind: "basic", username, password };
}

function invalid(message: string): Failure {
  return new Failure("secret-invalid", message, { hint: "docker login writes such a file anew." });
}

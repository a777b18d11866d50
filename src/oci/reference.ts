import { isIPv6 } from "node:net";
import { Failure } from "../errors/mod.ts";

/** The name of an image, in the one spelling in which it is compared and asked for. */
export interface Reference {
  /** Host and port of the registry: `docker.io`, `localhost:5000`, `[::1]:5000`. */
  readonly registry: string;
  /** `library/alpine`, `acme/tools/step`. */
  readonly repository: string;
  /** Undefined only when there is a digest. */
  readonly tag?: string;
  /** When it is there, it is what counts, whatever the tag says. */
  readonly digest?: string;
}

const hub = "docker.io";
const nameLength = 255;
const tagLength = 128;
/** Longer texts are not shown whole. */
const shownLength = 300;

/** Hexadecimal digits of each algorithm. */
const algorithms: ReadonlyMap<string, number> = new Map([
  ["sha256", 64],
  ["sha512", 128],
]);

/**
 * Reads a reference as docker does: without a registry it is one of `docker.io`, there without a folder one of `library/`, and without tag
 * and digest it is the tag `latest`. Throws `invalid-argument`.
 */
export function parseReference(text: string): Reference {
  const wrong = (what: string, hint: string): Failure =>
    new Failure(
      "invalid-argument",
      `"${text.length > shownLength ? `${text.slice(0, shownLength)}…` : text}" is no image reference: ${what}`,
      { hint },
    );
  if (text === "") throw wrong("it is empty", 'Write one such as "ghcr.io/acme/step:1.2".');
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text);
  if (scheme) throw wrong(`it begins with ${scheme[0]}`, `Write it without ${scheme[0]}.`);
  if (/\s/.test(text)) throw wrong("it has a blank", "Remove the blank.");
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined) checkDigest(digest, wrong);
  const named = at < 0 ? text : text.slice(0, at);
  // A colon before the last slash is a port's.
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  if (tag !== undefined) checkTag(tag, wrong);
  const { registry, path } = split(colon < 0 ? named : named.slice(0, colon));
  checkRegistry(registry, wrong);
  checkPath(path, wrong);
  const repository = registry === hub && !path.includes("/") ? `library/${path}` : path;
  if (registry.length + 1 + repository.length > nameLength) {
    throw wrong(
      `registry and repository have ${registry.length + 1 + repository.length} characters`,
      `At most ${nameLength} may be.`,
    );
  }
  const parts = { registry, repository };
  if (digest === undefined) return { ...parts, tag: tag ?? "latest" };
  return tag === undefined ? { ...parts, digest } : { ...parts, tag, digest };
}

/** Reads the name of a registry as it stands in references: `ghcr.io`, `localhost:5000`. Throws `invalid-argument`. */
export function parseRegistryName(text: string): string {
  const { registry, path } = split(`${text}/x`);
  const wrong = (what: string, hint: string): Failure =>
    new Failure("invalid-argument", `"${text}" names no registry: ${what}`, { hint });
  if (path !== "x" || text === "") {
    throw wrong(
      "references have hosts with a dot or a port in it, or localhost",
      'Write one such as "ghcr.io" or "localhost:5000".',
    );
  }
  checkRegistry(registry, wrong);
  return registry;
}

/** A reference in full: `docker.io/library/alpine:3@sha256:…`. */
export function formatReference({ registry, repository, tag, digest }: Reference): string {
  const named = `${registry}/${repository}`;
  return `${named}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** Whether a text is a digest that can be checked here. */
export function isDigest(text: string): boolean {
  const [algorithm = "", digits = ""] = text.split(":");
  return (
    text.split(":").length === 2 &&
    /^[0-9a-f]+$/.test(digits) &&
    algorithms.get(algorithm) === digits.length
  );
}

/**
 * The first part is a registry when it looks like a host: it has a dot or a port, or is `localhost`. For docker a part with a capital is one too; as hosts are the same
 * in both spellings, `Acme/step` and `acme/step` would then be different images, so it is refused as any name with capitals.
 */
function split(name: string): { readonly registry: string; readonly path: string } {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  if (first === "" || !(/[.:[]/.test(first) || first === "localhost"))
    return { registry: hub, path: name };
  const registry = first.toLowerCase();
  return {
    registry:
      registry === "index.docker.io" || registry === "registry-1.docker.io" ? hub : registry,
    path: name.slice(slash + 1),
  };
}

type Wrong = (what: string, hint: string) => Failure;

function checkRegistry(registry: string, wrong: Wrong): void {
  const [, host = "", port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(registry) ?? [];
  const component = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?";
  const named = new RegExp(`^${component}(?:\\.${component})*$`).test(host);
  const hint = 'Write a registry such as "ghcr.io" or "localhost:5000".';
  if (!named && !(host.startsWith("[") && isIPv6(host.slice(1, -1))))
    throw wrong(`"${registry}" is no host`, hint);
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) < 65_536))
    throw wrong(`"${port}" is no port`, hint);
}

function checkPath(path: string, wrong: Wrong): void {
  if (/^[0-9a-f]{64}$/.test(path))
    throw wrong("a name may not look like a digest", `Write name@sha256:${path}.`);
  if (/[A-Z]/.test(path)) {
    throw wrong(`"${path}" has capitals`, `Write "${path.toLowerCase()}".`);
  }
  for (const part of path.split("/")) {
    if (/^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/.test(part)) continue;
    throw wrong(
      part === "" ? "a part of the name is empty" : `"${part}" cannot be part of a name`,
      'A name has lower-case letters, digits and single ".", "_", "__" or "-" between them.',
    );
  }
}

function checkTag(tag: string, wrong: Wrong): void {
  if (/^\w[\w.-]*$/.test(tag) && tag.length <= tagLength) return;
  throw wrong(
    tag.length > tagLength ? `its tag has ${tag.length} characters` : `"${tag}" is no tag`,
    `A tag has at most ${tagLength} letters, digits, "_", "." and "-" and begins with no "." or "-".`,
  );
}

function checkDigest(digest: string, wrong: Wrong): void {
  if (isDigest(digest)) return;
  const [algorithm = "", digits = ""] = digest.split(":");
  const expected = algorithms.get(algorithm);
  const hint = `Write @sha256: and ${algorithms.get("sha256")} digits 0-9a-f.`;
  if (expected === undefined) {
    throw wrong(`the digest "${digest}" has an algorithm other than sha256 and sha512`, hint);
  }
  if (/[A-F]/.test(digits)) throw wrong("its digest has capitals", "Write it in lower case.");
  throw wrong(`its digest has ${digits.length} characters where ${expected} digits are`, hint);
}

import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { Failure } from "../../errors/mod.ts";
import type { Principal } from "../mod.ts";
import { checkGrant } from "./grants.ts";

interface Entry {
  readonly hash: Buffer;
  readonly principal: Principal;
  readonly grants: readonly string[];
  readonly expiresAt: number;
}

const lookMs = 1000;
const mostTokens = 10_000;

/**
 * Bearer tokens out of a file: `{"tokens": [{"name": "ci", "sha256": "…", "scopes": ["default:call"], "expires": "2027-01-01T00:00:00Z"}]}`. Of a token only its
 * digest stands there. The file is read again when it has changed; a version of it that is wrong leaves the one before in force.
 */
export class Tokens {
  readonly #path: string;
  readonly #onTrouble: ((failure: Failure) => void) | undefined;
  #entries: readonly Entry[];
  #looks: string;
  #lookedAt = performance.now();

  /** Throws `invalid-argument` when the file cannot be read or says something else. */
  constructor(path: string, onTrouble?: (failure: Failure) => void) {
    this.#path = path;
    this.#onTrouble = onTrouble;
    this.#looks = looks(path);
    this.#entries = read(path);
  }

  find(
    token: string,
  ): { readonly principal: Principal; readonly grants: readonly string[] } | undefined {
    this.#look();
    const hash = createHash("sha256").update(token).digest();
    const now = Date.now();
    let found: Entry | undefined;
    // All are compared, so that the time says nothing of which one it was.
    for (const entry of this.#entries) if (timingSafeEqual(entry.hash, hash)) found = entry;
    return found && found.expiresAt > now ? found : undefined;
  }

  #look(): void {
    const now = performance.now();
    if (now - this.#lookedAt < lookMs) return;
    this.#lookedAt = now;
    const current = looks(this.#path);
    if (current === this.#looks) return;
    this.#looks = current;
    try {
      this.#entries = read(this.#path);
    } catch (thrown) {
      if (thrown instanceof Failure) this.#onTrouble?.(thrown);
    }
  }
}

/** A new token, and what stands in the file for it. */
export function makeToken(options: {
  readonly name: string;
  readonly scopes: readonly string[];
  readonly expires?: string;
}): { readonly token: string; readonly entry: Readonly<Record<string, unknown>> } {
  for (const scope of options.scopes) checkGrant(scope);
  const token = `atalanta_${randomBytes(32).toString("base64url")}`;
  const sha256 = createHash("sha256").update(token).digest("hex");
  return { token, entry: { ...options, sha256 } };
}

function looks(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found ? `${found.mtimeMs} ${found.size} ${found.ino}` : "";
}

function read(path: string): readonly Entry[] {
  const wrong = (what: string): Failure =>
    new Failure("invalid-argument", `The file of tokens "${path}" ${what}`, {
      hint: "atalanta token NAME --scope default:call --file FILE writes one.",
    });
  let said: unknown;
  try {
    said = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw wrong(`cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  const list: unknown =
    typeof said === "object" && said !== null ? Reflect.get(said, "tokens") : undefined;
  if (!Array.isArray(list) || list.length > mostTokens) throw wrong("has no list of tokens");
  return list.map((item: unknown, at): Entry => {
    const field = (name: string): unknown =>
      typeof item === "object" && item !== null ? Reflect.get(item, name) : undefined;
    const [name, sha256, scopes, expires] = [
      field("name"),
      field("sha256"),
      field("scopes"),
      field("expires"),
    ];
    if (typeof name !== "string" || name === "") throw wrong(`has no name in tokens[${at}]`);
    if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256))
      throw wrong(`has no sha256 of 64 digits for "${name}"`);
    if (!Array.isArray(scopes)) throw wrong(`has no scopes for "${name}"`);
    const grants = scopes.map(String);
    for (const grant of grants) checkGrant(grant);
    const expiresAt =
      expires === undefined
        ? Infinity
        : typeof expires === "string"
          ? Date.parse(expires)
          : Number.NaN;
    if (Number.isNaN(expiresAt)) throw wrong(`has an expires for "${name}" that is no time`);
    return { hash: Buffer.from(sha256, "hex"), principal: { name }, grants, expiresAt };
  });
}

import { randomBytes } from "node:crypto";
import { Failure } from "../errors/mod.ts";
import { Redactor, spellings } from "./redact.ts";
import { parseRules, type AskedHost, type Rule } from "./rules.ts";
import { shown, type Target } from "./target.ts";

/** A secret of the operator. */
export interface Secret {
  /** Reads the value when a step needs it. */
  readonly value: () => Promise<Uint8Array>;
  /** Where it may go. */
  readonly hosts: readonly AskedHost[];
  /** In which parts of a request; default: headers. */
  readonly in?: readonly ("header" | "body")[];
}

/** What a step asks for: a secret's name and key, and the variable that gets the placeholder. */
export interface SecretReference {
  readonly variable: string;
  readonly name: string;
  readonly key: string;
  /** The variable is missing when the secret is. */
  readonly optional?: boolean;
}

type Header = readonly [name: string, value: string];

interface Placeholder {
  readonly token: string;
  readonly label: string;
  readonly value: string;
  readonly rules: readonly Rule[];
  readonly header: boolean;
  readonly body: boolean;
}

/** Shorter ones could be guessed by watching what is taken out of a response. */
const shortest = 8;
const longest = 16 * 1024;
const keptCredentials = 8;
/** What a request's part may become: a secret can be much longer than the word in its place, which a guest may write a million times. */
const filledBytes = 64 * 1024 * 1024;

/** The secrets of one step, each behind a word that means nothing anywhere else and is made anew for each invocation. */
export class Placeholders {
  readonly #all: readonly Placeholder[];
  readonly #needles = new Map<string, string>();
  #redactor: Redactor | undefined;
  /** Basic credentials that were made, the oldest first. */
  readonly #encoded: string[] = [];
  /** Variables of the guest's environment. */
  readonly environment: ReadonlyMap<string, string>;

  private constructor(all: readonly (readonly [variable: string, placeholder: Placeholder])[]) {
    this.#all = all.map(([, placeholder]) => placeholder);
    this.environment = new Map(all.map(([variable, { token }]) => [variable, token]));
    for (const { value, token } of this.#all) {
      for (const text of spellings(value)) this.#needles.set(text, token);
    }
  }

  static async make(
    references: readonly SecretReference[],
    secrets: ReadonlyMap<string, Secret>,
  ): Promise<Placeholders> {
    const all: (readonly [string, Placeholder])[] = [];
    for (const { variable, name, key, optional } of references) {
      const label = `${name}/${key}`;
      const secret = secrets.get(label);
      if (!secret && optional) continue;
      if (!secret) {
        throw new Failure(
          "secret-missing",
          `The step wants the secret "${label}", which the operator has not given`,
          {
            hint: `Name where it lies and where it may go in the file for --config, under secrets.${name}.${key}.`,
          },
        );
      }
      const parts = secret.in ?? ["header"];
      const header = parts.includes("header");
      const value = readable(await secret.value(), label, header);
      const token = `ATALANTA_SECRET_${randomBytes(16).toString("hex")}`;
      const rules = parseRules(secret.hosts);
      all.push([variable, { token, label, value, rules, header, body: parts.includes("body") }]);
    }
    return new Placeholders(all);
  }

  get size(): number {
    return this.#all.length;
  }

  /** Whether one of the secrets may go to a host. */
  reaches(target: Target): boolean {
    return this.#all.some(({ rules }) => rules.some((rule) => rule.knows(target.host)));
  }

  /** For all that comes back. */
  redactor(): Redactor {
    this.#redactor ??= new Redactor(this.#needles);
    return this.#redactor;
  }

  /** Whether a value has a placeholder that may not go to a target. */
  holdsForeign(value: string, target: Target): boolean {
    return this.#all.some(
      (secret) => !this.#may(secret, target) && plain(value).includes(secret.token),
    );
  }

  /** A secret never stands in a URL, which lands in logs everywhere. */
  checkUrl(text: string): void {
    const found = this.#all.find(({ token }) => text.includes(token));
    if (!found) return;
    throw new Failure("network-denied", `The secret "${found.label}" is in a URL`, {
      hint: "Send it in a header, or in the body where that is allowed.",
    });
  }

  headers(headers: readonly Header[], target: Target): readonly Header[] {
    if (this.#all.length === 0) return headers;
    return headers.map(([name, value]) => {
      const credentials = basic(name, value);
      if (credentials === undefined) return [name, this.#fill(value, "header", target)];
      const filled = this.#fill(credentials, "header", target);
      if (filled === credentials) return [name, value];
      const encoded = Buffer.from(filled, "latin1").toString("base64");
      this.#keep(encoded);
      this.#needles.set(encoded, Buffer.from(credentials, "latin1").toString("base64"));
      return [name, `Basic ${encoded}`];
    });
  }

  /** A guest may think of ever new users; of older ones the secret itself is still found, encoded as it is. */
  #keep(encoded: string): void {
    if (this.#needles.has(encoded)) return;
    this.#redactor = undefined;
    this.#encoded.push(encoded);
    const oldest = this.#encoded.length > keptCredentials ? this.#encoded.shift() : undefined;
    if (oldest !== undefined) this.#needles.delete(oldest);
  }

  body(body: Uint8Array, target: Target): Uint8Array {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    if (!this.#all.some(({ token }) => bytes.includes(token))) return body;
    return Buffer.from(this.#fill(bytes.toString("latin1"), "body", target), "latin1");
  }

  #fill(text: string, part: "header" | "body", target: Target): string {
    let filled = text;
    for (const secret of this.#all) {
      if (!filled.includes(secret.token)) continue;
      if (!this.#may(secret, target)) {
        throw new Failure(
          "network-denied",
          `The secret "${secret.label}" may not go to ${shown(target)}`,
          {
            hint: `Its hosts are listed in the file for --config, under secrets.${secret.label.replace("/", ".")}.`,
          },
        );
      }
      if (!secret[part]) {
        throw new Failure(
          "network-denied",
          `The secret "${secret.label}" may not go into a ${part}`,
          { hint: `Add "${part}" to "in" of the secret, in the file for --config.` },
        );
      }
      const count = filled.split(secret.token).length - 1;
      const size = filled.length + count * (secret.value.length - secret.token.length);
      if (size > filledBytes) {
        throw new Failure(
          "network-invalid",
          `A ${part} with the secret "${secret.label}" in it ${count} times is too large`,
          { hint: "Name it fewer times." },
        );
      }
      filled = filled.replaceAll(secret.token, () => secret.value);
    }
    return filled;
  }

  #may({ rules }: Placeholder, target: Target): boolean {
    return rules.some((rule) => rule.allows(target));
  }
}

/** User and password of a Basic authorization, in which a placeholder lies encoded (RFC 7617). */
function basic(name: string, value: string): string | undefined {
  if (name.toLowerCase() !== "authorization") return undefined;
  const match = /^[ \t]*basic[ \t]+([A-Za-z0-9+/_-]+=*)[ \t]*$/i.exec(value);
  return match?.[1] === undefined ? undefined : Buffer.from(match[1], "base64").toString("latin1");
}

/** A header's value, with what is encoded in it beside it. */
function plain(value: string): string {
  return `${value}\n${basic("authorization", value) ?? ""}`;
}

/** The value as bytes in characters. A file's last line end is not part of it. No failure shows any of it. */
function readable(bytes: Uint8Array, label: string, header: boolean): string {
  const value = Buffer.from(bytes)
    .toString("latin1")
    .replace(/\r?\n$/, "");
  const what =
    value.length < shortest
      ? `has ${value.length} bytes; at least ${shortest} are needed to find it in responses`
      : value.length > longest
        ? `has ${value.length} bytes; ${longest} may be`
        : // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
          header && /[\u0000-\u001f\u007f]/.test(value)
          ? "has line ends or control characters, which a header cannot hold"
          : undefined;
  if (what === undefined) return value;
  throw new Failure("secret-invalid", `The secret "${label}" ${what}`, {
    hint: "Check the variable or file that the file for --config names for it.",
  });
}

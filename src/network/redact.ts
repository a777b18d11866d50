/**
 * Takes secrets out of what comes back from a host: as they are, and in the spellings in which servers echo what they got. Texts hold one byte
 * in each character.
 */
export class Redactor {
  readonly #needles: readonly Buffer[];
  readonly #replacements: ReadonlyMap<string, Buffer>;
  /** Any of them, the longest that begins at a place; V8 looks for all at once, several times faster than one after the other. */
  readonly #any: RegExp | undefined;

  constructor(needles: ReadonlyMap<string, string>) {
    const longestFirst = [...needles.keys()].toSorted((left, right) => right.length - left.length);
    this.#needles = longestFirst.map((needle) => Buffer.from(needle, "latin1"));
    this.#replacements = new Map(
      [...needles].map(([needle, replacement]) => [needle, Buffer.from(replacement, "latin1")]),
    );
    if (needles.size > 0) this.#any = new RegExp(longestFirst.map(escaped).join("|"), "g");
  }

  /** A whole text. */
  text(text: string): string {
    if (!this.#any) return text;
    return this.#replace(Buffer.from(text, "latin1"), true).done.toString("latin1");
  }

  /** A body, piece by piece. Only what may be the beginning of a secret is held back until the next piece. */
  async *stream(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, undefined> {
    let held: Uint8Array = new Uint8Array(0);
    for await (const piece of pieces) {
      const { done, rest } = this.#replace(Buffer.concat([held, piece]), false);
      held = rest;
      if (done.length > 0) yield done;
    }
    const { done } = this.#replace(Buffer.from(held), true);
    if (done.length > 0) yield done;
    return undefined;
  }

  #replace(bytes: Buffer, last: boolean): { readonly done: Buffer; readonly rest: Uint8Array } {
    const out: Uint8Array[] = [];
    let from = 0;
    let end = last ? bytes.length : this.#tail(bytes, from);
    const found = this.#any ? bytes.toString("latin1").matchAll(this.#any) : [];
    for (const { 0: needle, index } of found) {
      // What may still become a longer secret that begins before waits for it.
      if (index >= end) break;
      const replacement = this.#replacements.get(needle);
      if (replacement) out.push(bytes.subarray(from, index), replacement);
      from = index + needle.length;
      if (!last && end < from) end = this.#tail(bytes, from);
    }
    out.push(bytes.subarray(from, end));
    return { done: Buffer.concat(out), rest: bytes.subarray(end) };
  }

  /** Where the earliest beginning of a secret lies that the bytes end with. */
  #tail(bytes: Buffer, from: number): number {
    let earliest = bytes.length;
    for (const needle of this.#needles) {
      const [letter = 0] = needle;
      let at = bytes.indexOf(letter, Math.max(from, bytes.length - needle.length + 1));
      while (at >= 0 && at < earliest) {
        if (bytes.compare(needle, 0, bytes.length - at, at) === 0) earliest = at;
        else at = bytes.indexOf(letter, at + 1);
      }
    }
    return earliest;
  }
}

/** A text as the part of a regular expression that finds it. */
function escaped(text: string): string {
  return text.replaceAll(
    /[^A-Za-z0-9]/g,
    (letter) => `\\x${letter.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

/** A secret (as bytes in characters) in the spellings that are looked for. */
export function spellings(secret: string): readonly string[] {
  const bytes = Buffer.from(secret, "latin1");
  const percent = [...bytes]
    .map((byte) => {
      const letter = String.fromCharCode(byte);
      return /[A-Za-z0-9_.~-]/.test(letter)
        ? letter
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
  const lowered = percent.replaceAll(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase());
  const json = JSON.stringify(bytes.toString()).slice(1, -1);
  return [
    secret,
    percent,
    lowered,
    percent.replaceAll("%20", "+"),
    Buffer.from(json).toString("latin1"),
    Buffer.from(json.replaceAll("/", String.raw`\/`)).toString("latin1"),
    bytes.toString("hex"),
    bytes.toString("hex").toUpperCase(),
    ...base64(bytes),
  ].filter((text) => text.length >= Math.min(8, secret.length));
}

/** What of the secret is sure to be seen in base64, for each of the three places at which it can begin. */
function base64(bytes: Buffer): readonly string[] {
  return [0, 1, 2].flatMap((before) => {
    const whole = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64url");
    // The first characters hold bits of what is before, and the last one may hold bits of what is after.
    const start = before === 0 ? 0 : before + 1;
    const end = Math.floor(((before + bytes.length) * 8) / 6);
    const text = whole.slice(start, end);
    return [text, text.replaceAll("-", "+").replaceAll("_", "/")];
  });
}

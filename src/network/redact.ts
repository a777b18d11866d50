/**
 * Takes secrets out of what comes back from a host: as they are, and in the spellings in which servers echo what they got. Texts hold one byte
 * in each character.
 */
export class Redactor {
  readonly #needles: readonly { readonly bytes: Buffer; readonly replacement: Buffer }[];
  readonly #longest: number;

  constructor(needles: ReadonlyMap<string, string>) {
    this.#needles = [...needles]
      .map(([needle, replacement]) => ({
        bytes: Buffer.from(needle, "latin1"),
        replacement: Buffer.from(replacement, "latin1"),
      }))
      // Where two begin at one place, the longer one counts.
      .toSorted((left, right) => right.bytes.length - left.bytes.length);
    this.#longest = this.#needles[0]?.bytes.length ?? 0;
  }

  /** A whole text. */
  text(text: string): string {
    if (this.#longest === 0) return text;
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
    const places = this.#needles.map((needle) => ({ needle, at: bytes.indexOf(needle.bytes) }));
    let from = 0;
    let end = last ? bytes.length : this.#tail(bytes, from);
    for (;;) {
      let next: (typeof places)[number] | undefined;
      for (const place of places) {
        if (place.at >= 0 && place.at < from) place.at = bytes.indexOf(place.needle.bytes, from);
        if (place.at >= 0 && (!next || place.at < next.at)) next = place;
      }
      // What may still become a longer secret that begins before waits for it.
      if (!next || next.at >= end) break;
      out.push(bytes.subarray(from, next.at), next.needle.replacement);
      from = next.at + next.needle.bytes.length;
      if (!last && end < from) end = this.#tail(bytes, from);
    }
    out.push(bytes.subarray(from, end));
    return { done: Buffer.concat(out), rest: bytes.subarray(end) };
  }

  /** Where the earliest beginning of a secret lies that the bytes end with. */
  #tail(bytes: Buffer, from: number): number {
    let earliest = bytes.length;
    for (const { bytes: needle } of this.#needles) {
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

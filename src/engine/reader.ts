import { Failure } from "../errors/mod.ts";

/** Reads the binary form of a module byte by byte; whatever is missing or too large is a `Failure`. */
export class Reader {
  at: number;
  readonly #bytes: Uint8Array;
  readonly #name: string;
  constructor(bytes: Uint8Array, name: string, at = 0) {
    this.#bytes = bytes;
    this.#name = name;
    this.at = at;
  }
  byte(): number {
    const value = this.#bytes[this.at++];
    if (value === undefined) throw truncated(this.#name);
    return value;
  }
  /** An unsigned LEB128 number of at most 32 bits. */
  number(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** shift;
      if (byte >= 128) continue;
      // The fifth byte has room for more than 32 bits.
      if (value <= 0xffff_ffff) return value;
      break;
    }
    throw this.damaged("a number of more than 32 bits");
  }
  /** Passes by a type of a value: a reference to a type is one byte and a number, any other one byte. */
  valueType(): void {
    const type = this.byte();
    if (type === 0x63 || type === 0x64) this.number();
  }
  /** Nothing may follow: what we would drop, V8 refuses. */
  end(): void {
    if (this.at !== this.#bytes.length) throw this.damaged("a section longer than its content");
  }
  damaged(what: string): Failure {
    return new Failure("module-invalid", `"${this.#name}" has ${what}`, {
      hint: "The file is damaged; build or download it again.",
    });
  }
  take(size: number): Uint8Array {
    const start = this.at;
    this.at += size;
    if (this.at > this.#bytes.length) throw truncated(this.#name);
    return this.#bytes.subarray(start, this.at);
  }
}

export function truncated(name: string): Failure {
  return new Failure("module-invalid", `"${name}" ends in the middle of a section`, {
    hint: "The file is truncated or damaged; build or download it again.",
  });
}

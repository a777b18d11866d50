import { Failure } from "../errors/mod.ts";

/**
 * Told of an instruction that is no plain sum, no variable and no access to memory. `second` is the number behind a prefix byte, `listed`
 * how many labels a `br_table` or handlers a `try_table` has; it lies from `from` to `to`.
 */
type Visit = (opcode: number, second: number, from: number, to: number, listed: number) => void;

/**
 * Goes over the local variables and all instructions of a function (core specification, section 5.4), and gives the number of those
 * variables. An instruction that is not known is refused: behind it, anything could hide.
 */
export function walkInstructions(code: Uint8Array, name: string, visit: Visit): number {
  return new Walk(code, name, visit).function();
}

class Walk {
  #at = 0;
  readonly #bytes: Uint8Array;
  readonly #name: string;
  readonly #visit: Visit;

  constructor(bytes: Uint8Array, name: string, visit: Visit) {
    this.#bytes = bytes;
    this.#name = name;
    this.#visit = visit;
  }

  function(): number {
    let locals = 0;
    for (let left = this.#number(); left > 0 && this.#more(); left--) {
      locals += this.#number();
      this.#valueType();
    }
    while (this.#more()) this.#instruction(this.#bytes[this.#at++] ?? 0);
    // Where an instruction ended behind the last byte, V8 and we have read two different programs.
    if (this.#at !== this.#bytes.length) {
      throw new Failure("module-invalid", `"${this.#name}" has a function that ends too early`, {
        hint: "The file is damaged; build or download it again.",
      });
    }
    return locals;
  }

  #instruction(opcode: number): void {
    if (opcode >= 0x45 && opcode <= 0xc4) return;
    if (opcode >= 0x20 && opcode <= 0x26) this.#skip();
    else if (opcode >= 0x28 && opcode <= 0x3e) this.#memory();
    else {
      const numbers = plain.get(opcode);
      if (numbers === undefined) this.#other(opcode);
      else this.#told(opcode, numbers);
    }
  }

  /** Passes by so many numbers and tells of the instruction that they belong to. */
  #told(opcode: number, numbers: number): void {
    const from = this.#at - 1;
    for (let left = numbers; left > 0; left--) this.#skip();
    this.#visit(opcode, 0, from, this.#at, 0);
  }

  /** Every opcode that is not in the table of plain ones. */
  #other(opcode: number): void {
    const from = this.#at - 1;
    let second = 0;
    let listed = 0;
    switch (opcode) {
      case 0x02:
      case 0x03:
      case 0x04:
      case 0x06:
        this.#valueType();
        break;
      case 0x0e:
        listed = this.#number() + 1;
        this.#numbers(listed);
        break;
      case 0x1c:
        for (let left = this.#number(); left > 0 && this.#more(); left--) this.#valueType();
        break;
      case 0x1f:
        this.#valueType();
        // Kinds 0 and 1 name a tag and a label, 2 and 3 a label.
        for (let left = this.#number(); left > 0 && this.#more(); left--) {
          listed++;
          this.#numbers(this.#number() < 2 ? 2 : 1);
        }
        break;
      case 0x43:
        this.#at += 4;
        break;
      case 0x44:
        this.#at += 8;
        break;
      case 0xfb:
        second = this.#listedIn(references, opcode);
        break;
      case 0xfc:
        second = this.#listedIn(bulk, opcode);
        break;
      case 0xfd:
        this.#vector();
        break;
      case 0xfe:
        this.#atomic();
        break;
      default:
        throw this.#unknown(opcode);
    }
    this.#visit(opcode, second, from, this.#at, listed);
  }

  /** An instruction whose second number says how many others follow. */
  #listedIn(table: readonly (number | undefined)[], opcode: number): number {
    const second = this.#number();
    const numbers = table[second];
    if (numbers === undefined) throw this.#unknown(opcode, second);
    this.#numbers(numbers);
    return second;
  }

  #vector(): void {
    const opcode = this.#number();
    if (opcode <= 11 || opcode === 92 || opcode === 93) this.#memory();
    else if (opcode === 12 || opcode === 13) this.#at += 16;
    else if (opcode >= 21 && opcode <= 34) this.#at++;
    else if (opcode >= 84 && opcode <= 91) {
      this.#memory();
      this.#at++;
    } else if (opcode > 0x1ff) throw this.#unknown(0xfd, opcode);
  }

  #atomic(): void {
    const opcode = this.#number();
    if (opcode === 3) this.#at++;
    else if (opcode <= 0x4e) this.#memory();
    else throw this.#unknown(0xfe, opcode);
  }

  /** Alignment and offset; a bit of the first says that a memory's number lies between them. */
  #memory(): void {
    if (this.#number() & 0x40) this.#skip();
    this.#skip();
  }

  /**
   * One byte, a type's number, or a byte and a number for a reference to a type. What a block has is the same, or nothing, or the number of
   * a function's type, which has no byte of a reference.
   */
  #valueType(): void {
    const byte = this.#bytes[this.#at] ?? 0;
    if (byte === 0x63 || byte === 0x64) this.#at++;
    this.#skip();
  }

  #more(): boolean {
    return this.#at < this.#bytes.length;
  }

  /** A list without end ends with the function. */
  #numbers(count: number): void {
    for (let left = count; left > 0 && this.#more(); left--) this.#skip();
  }

  /** Passes a number of any length by; V8 judges what it holds. */
  #skip(): void {
    while ((this.#bytes[this.#at++] ?? 0) > 127);
  }

  #number(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes[this.#at++] ?? 0;
      if (shift < 35) value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  }

  #unknown(opcode: number, second?: number): Failure {
    const shown = [opcode, ...(second === undefined ? [] : [second])]
      .map((part) => `0x${part.toString(16)}`)
      .join(" ");
    return new Failure("module-unsupported", `"${this.#name}" has the instruction ${shown}`, {
      hint: "Build it without proposals that are not part of WebAssembly 3.",
    });
  }
}

/** Opcodes of which so many numbers follow. */
const plain: ReadonlyMap<number, number> = new Map([
  ...[0x00, 0x01, 0x05, 0x0a, 0x0b, 0x0f, 0x19, 0x1a, 0x1b, 0xd1, 0xd3, 0xd4].map(followedBy(0)),
  ...[0x07, 0x08, 0x09, 0x0c, 0x0d, 0x10, 0x12, 0x14, 0x15, 0x18].map(followedBy(1)),
  ...[0x3f, 0x40, 0x41, 0x42, 0xd0, 0xd2, 0xd5, 0xd6].map(followedBy(1)),
  ...[0x11, 0x13].map(followedBy(2)),
]);
function followedBy(numbers: number): (opcode: number) => readonly [number, number] {
  return (opcode) => [opcode, numbers];
}
/** By the number behind 0xfb, how many numbers follow: structs, arrays, tests and casts, conversions, small numbers. */
const references = digits("112222 11222111101222 111144 00000");
/** By the number behind 0xfc: conversions, memory, tables, and after one that is none, sums of 128 bits. */
const bulk = digits("00000000 2121212111 x0000");

function digits(text: string): readonly (number | undefined)[] {
  return Array.from(text.replaceAll(" ", ""), (one) => (one === "x" ? undefined : Number(one)));
}

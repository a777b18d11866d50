import { Failure } from "../errors/mod.ts";
import { Reader } from "./reader.ts";

/** What V8's optimising compiler may be asked to do for one function, and for a module; programs of 3 MB have 80,000 and 1 million. */
const functionEffort = 10_000_000;
const moduleEffort = 1_000_000_000;
/**
 * Measured with Node 26.10: a unit is about 100 ns and 25 bytes. `value` is one that a call or a catch takes
 * or gives, `kept` one that is kept at a branch. A guest's thread compiles a function when it is first called, and cannot be stopped meanwhile: 0.3 s at worst.
 */
const efforts = { byte: 9, loop: 1000, call: 60, indirectCall: 500, value: 4, kept: 2 } as const;

/**
 * Looks at all instructions before V8 does, and refuses two kinds of programs.
 *
 * Tail calls: V8 gives a function whose only calls are tail calls no check of its stack, so two of them that call each other can be stopped
 * by nothing: no limit, no abort, not even the end of the process (tried with Node 26.10; docs/decisions/0018-what-v8-cannot-stop.md). No tool chain
 * makes them unless it is told to.
 *
 * Functions that cost V8's compiler more than they weigh: it keeps a value for each local variable at each branch, so a module of
 * 50 KB took minutes and all of the machine's memory, which ends the whole process.
 *
 * `widest` is the most parameters and results that a type of the module has together: whose they are is not looked up.
 *
 * The walk follows the core specification, section 5.4. An instruction that it does not know is refused, too: behind it, anything could hide.
 */
export function checkCode(body: Uint8Array, name: string, widest: number): void {
  const reader = new Reader(body, name);
  const count = reader.number();
  let sum = 0;
  for (let index = 0; index < count; index++) {
    const effort = new Walk(reader.take(reader.number()), name).function(widest);
    sum += effort;
    if (effort <= functionEffort && sum <= moduleEffort) continue;
    const what = effort > functionEffort ? "a function" : "functions";
    throw new Failure("module-unsupported", `"${name}" has ${what} that would take too long to compile`, {
      hint: "Split functions of hundreds of kilobytes, or of thousands of local variables and branches, into smaller ones.",
    });
  }
  reader.end();
} // prettier-ignore

class Walk {
  #at = 0;
  readonly #bytes: Uint8Array;
  readonly #name: string;
  #branches = 0;
  #loops = 0;
  #calls = 0;
  #indirectCalls = 0;

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.#name = name;
  }

  /** The groups of locals, then instructions up to the last byte; what it costs to compile. */
  function(widest: number): number {
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
    return (
      this.#bytes.length * efforts.byte +
      this.#loops * efforts.loop +
      this.#calls * (efforts.call + widest * efforts.value) +
      this.#indirectCalls * efforts.indirectCall +
      this.#branches * (locals + widest) * efforts.kept
    );
  }

  #instruction(opcode: number): void {
    if (opcode >= 0x45 && opcode <= 0xc4) return;
    if (opcode >= 0x20 && opcode <= 0x26) this.#skip();
    else if (opcode >= 0x28 && opcode <= 0x3e) this.#memory();
    else {
      const read = plain.get(opcode);
      if (read !== undefined) for (let left = read; left > 0; left--) this.#skip();
      else this.#other(opcode);
    }
  }

  #other(opcode: number): void {
    // Every opcode that is not in the table of plain ones.
    switch (opcode) {
      case 0x02:
      case 0x03:
      case 0x04:
      case 0x06:
        if (opcode === 0x03) this.#loops++;
        this.#blockType();
        break;
      case 0x05:
      case 0x07:
      case 0x0c:
      case 0x0d:
      case 0x19:
      case 0xd5:
      case 0xd6:
        this.#branches++;
        if (opcode === 0x07) this.#calls++;
        if (opcode !== 0x05 && opcode !== 0x19) this.#skip();
        break;
      case 0x08:
      case 0x10:
        this.#calls++;
        this.#skip();
        break;
      case 0x0e: {
        const targets = this.#number() + 1;
        this.#branches += targets;
        this.#numbers(targets);
        break;
      }
      case 0x11:
      case 0x14:
        this.#calls++;
        this.#indirectCalls++;
        this.#numbers(opcode === 0x11 ? 2 : 1);
        break;
      case 0x12:
      case 0x13:
      case 0x15:
        throw new Failure("module-unsupported", `"${this.#name}" makes tail calls`, {
          hint: "Build it without them (without -mtail-call): such a loop could not be stopped.",
        });
      case 0x1c:
        for (let left = this.#number(); left > 0 && this.#more(); left--) this.#valueType();
        break;
      case 0x1f:
        this.#blockType();
        // Kinds 0 and 1 name a tag and a label, 2 and 3 a label.
        for (let left = this.#number(); left > 0 && this.#more(); left--) {
          this.#branches++;
          this.#calls++;
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
        this.#references();
        break;
      case 0xfc:
        this.#bulk();
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
  }

  /** What of the garbage-collection proposal needs no type of it. */
  #references(): void {
    const opcode = this.#number();
    const read = references[opcode];
    if (read === undefined) throw this.#unknown(0xfb, opcode);
    this.#numbers(read);
  }

  #bulk(): void {
    const opcode = this.#number();
    const read = bulk[opcode];
    if (read === undefined) throw this.#unknown(0xfc, opcode);
    this.#numbers(read);
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

  /** A type of one value, none, or the number of a function's type, which has no byte of a reference. */
  #blockType(): void {
    this.#branches++;
    this.#valueType();
  }

  /** One byte, a type's number, or a byte and a number for a reference to a type. */
  #valueType(): void {
    const byte = this.#bytes[this.#at] ?? 0;
    if (byte === 0x63 || byte === 0x64) this.#at++;
    this.#skip();
  }

  #more(): boolean {
    return this.#at < this.#bytes.length;
  }

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
  ...[0x00, 0x01, 0x0a, 0x0b, 0x0f, 0x1a, 0x1b, 0xd1, 0xd3, 0xd4].map(without),
  ...[0x09, 0x18, 0x3f, 0x40, 0x41, 0x42, 0xd0, 0xd2].map(withOne),
]);
function without(opcode: number): readonly [number, number] {
  return [opcode, 0];
}
function withOne(opcode: number): readonly [number, number] {
  return [opcode, 1];
}
/** By the number behind 0xfb, how many numbers follow: structs, arrays, tests and casts, conversions, small numbers. */
const references = digits("112222 11222111101222 111144 00000");
/** By the number behind 0xfc: conversions, memory, tables, and after one that is none, sums of 128 bits. */
const bulk = digits("00000000 2121212111 x0000");

function digits(text: string): readonly (number | undefined)[] {
  return Array.from(text.replaceAll(" ", ""), (one) => (one === "x" ? undefined : Number(one)));
}

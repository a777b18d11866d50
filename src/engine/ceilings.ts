import { Failure } from "../errors/mod.ts";
import type { Limits } from "../limits/mod.ts";
import { namesWithoutEnd } from "./names.ts";

const pageBytes = 65_536;
/** Globals of a module; one may hold a reference to something in V8's heap. */
const globalCount = 100_000;

/**
 * Writes our ceilings into the memory and table sections of a module: V8 has no ceiling of its own for a memory that the
 * module defines. Everything else stays as it is, byte for byte (WebAssembly core specification, section 5.5), but for a section of
 * names that are too long. Types of the garbage-collection proposal are refused: what they make lies in V8's heap, where no ceiling of ours
 * reaches, and one large array there ends the whole process.
 */
export function withCeilings(bytes: Uint8Array, name: string, limits: Limits): Uint8Array {
  checkHeader(bytes, name, limits);
  const parts: Uint8Array[] = [bytes.subarray(0, 8)];
  const reader = new Reader(bytes, name, 8);
  while (reader.at < bytes.length) {
    const start = reader.at;
    const id = reader.byte();
    const size = reader.number();
    const body = reader.take(size);
    if (id === 1) checkTypes(new Reader(body, name), name);
    if (id === 6) checkGlobals(new Reader(body, name).number(), name);
    // Nothing but traps reads it, and a trap names up to 64 functions.
    if (id === 0 && namesWithoutEnd(body)) continue;
    if (id === 4) parts.push(section(id, tables(body, name, limits)));
    else if (id === 5) parts.push(section(id, memories(body, name, limits)));
    else parts.push(bytes.subarray(start, reader.at));
  }
  return Buffer.concat(parts);
}

function checkHeader(bytes: Uint8Array, name: string, limits: Limits): void {
  if (bytes.length > limits.moduleBytes) {
    throw new Failure(
      "module-too-large",
      `"${name}" has ${bytes.length} bytes; the ceiling is ${limits.moduleBytes}`,
      {
        hint: "Build it with optimisation for size and without debug information.",
      },
    );
  }
  const magic = Buffer.from(bytes.subarray(0, 4)).toString("latin1");
  if (magic !== "\0asm") {
    const shown = Buffer.from(bytes.subarray(0, 4)).toString("hex");
    throw new Failure(
      "module-invalid",
      `"${name}" is not a WebAssembly module: it begins with ${shown || "nothing"}`,
      {
        hint: "A module begins with 0061736d. Text (.wat) must be compiled first.",
      },
    );
  }
  if (bytes.length < 8) throw truncated(name);
  if (bytes[6] === 1) {
    throw new Failure("module-component", `"${name}" is a component; a core module is expected`, {
      hint: "Build it for wasip1 (for example `--target wasm32-wasip1`).",
    });
  }
  if (bytes[4] !== 1 || bytes[5] !== 0) {
    throw new Failure(
      "module-invalid",
      `"${name}" has WebAssembly version ${bytes[4]}; 1 is expected`,
      {
        hint: "Build it with a current tool chain.",
      },
    );
  }
}

function truncated(name: string): Failure {
  return new Failure("module-invalid", `"${name}" ends in the middle of a section`, {
    hint: "The file is truncated or damaged; build or download it again.",
  });
}

/** Functions are the only types that make nothing on V8's heap (section 5.3 of the specification's version 3). */
function checkTypes(reader: Reader, name: string): void {
  const count = reader.number();
  for (let index = 0; index < count; index++) {
    const form = reader.byte();
    // Types are small negative numbers, in one byte; anything else is no module.
    if (form < 0x40 || form > 0x7f) throw reader.damaged(`a type of form ${form}`);
    if (form !== 0x60) {
      throw new Failure("module-unsupported", `"${name}" has a type of a kind we do not know`, {
        hint: "Build it without the garbage-collection and typed-reference proposals.",
      });
    }
    for (let list = 0; list < 2; list++) {
      for (let left = reader.number(); left > 0; left--) {
        // A reference to a type is one byte and a number, any other value type one byte.
        const type = reader.byte();
        if (type === 0x63 || type === 0x64) reader.number();
      }
    }
  }
}

function checkGlobals(count: number, name: string): void {
  if (count <= globalCount) return;
  throw new Failure(
    "module-unsupported",
    `"${name}" has ${count} globals; the ceiling is ${globalCount}`,
    { hint: "Build it with fewer globals." },
  );
}

function memories(body: Uint8Array, name: string, limits: Limits): Uint8Array {
  const ceiling = Math.min(65_536, Math.floor(limits.memoryBytes / pageBytes));
  const reader = new Reader(body, name);
  const count = reader.number();
  if (count > 1) {
    // Each of them would have the ceiling of its own.
    throw new Failure("module-unsupported", `"${name}" has ${count} memories`, {
      hint: "Build it without the multi-memory proposal.",
    });
  }
  const out = [leb(count)];
  for (let index = 0; index < count; index++) {
    const flags = reader.byte();
    if (flags & ~1) {
      const what = flags & 2 ? "shared memory (threads)" : "a 64-bit memory";
      throw new Failure("module-unsupported", `"${name}" asks for ${what}`, {
        hint: "Build it for wasm32-wasip1 without threads.",
      });
    }
    const minimum = reader.number();
    const maximum = flags & 1 ? reader.number() : 65_536;
    if (minimum > ceiling) {
      throw new Failure(
        "limit-memory",
        `"${name}" starts with ${minimum * pageBytes} bytes of memory; the ceiling is ${ceiling * pageBytes}`,
        {
          hint: "Raise limits.memory of the step.",
        },
      );
    }
    out.push(Buffer.from([1]), leb(minimum), leb(Math.min(maximum, ceiling)));
  }
  reader.end();
  return Buffer.concat(out);
}

function tables(body: Uint8Array, name: string, limits: Limits): Uint8Array {
  const reader = new Reader(body, name);
  const count = reader.number();
  // All tables together stay below the ceiling.
  const ceiling = Math.floor(limits.tableElements / Math.max(1, count));
  const out = [leb(count)];
  for (let index = 0; index < count; index++) {
    const type = reader.byte();
    const flags = type === 0x70 || type === 0x6f ? reader.byte() : 255;
    // A table with an initialiser or of another reference type is newer than what our tool chains make.
    if (flags > 1) {
      throw new Failure("module-unsupported", `"${name}" has a table of a kind we do not know`, {
        hint: "Build it without the garbage-collection and typed-reference proposals.",
      });
    }
    const minimum = reader.number();
    const maximum = flags === 1 ? reader.number() : 0xffff_ffff;
    if (minimum > ceiling) {
      throw new Failure(
        "limit-table",
        `"${name}" has a table of ${minimum} elements; the ceiling is ${ceiling}`,
        { hint: "Build it with fewer function pointers and tables." },
      );
    }
    out.push(Buffer.from([type, 1]), leb(minimum), leb(Math.min(maximum, ceiling)));
  }
  reader.end();
  return Buffer.concat(out);
}

function section(id: number, body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from([id]), leb(body.length), body]);
}

function leb(value: number): Uint8Array {
  const out: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    out.push(rest > 0 ? low | 128 : low);
  } while (rest > 0);
  return Buffer.from(out);
}

class Reader {
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

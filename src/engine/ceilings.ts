import { Failure } from "../errors/mod.ts";
import { formatLimit, limitFailure, type Limits } from "../limits/mod.ts";
import { checkCode } from "./code.ts";
import { namesWithoutEnd } from "./names.ts";
import { Reader, truncated } from "./reader.ts";
import { leb, section, sections } from "./sections.ts";
import { Tally } from "./tally.ts";

const pageBytes = 65_536;
/** Programs have one or two; each costs memory even when it is empty. */
const tableCount = 1000;
/** Entries of tables have a byte or more; V8 lays them out before a guest's first instruction, and nothing stops it: 150 ms for so many. */
const elementBytes = 1024 * 1024;

/**
 * Writes our ceilings into the memory and table sections of a module: V8 has no ceiling of its own for a memory that the
 * module defines. Everything else stays as it is, byte for byte (WebAssembly core specification, section 5.5), but for a section of
 * names that are too long. Types of the garbage-collection proposal are refused: what they make lies in V8's heap, where no ceiling of ours
 * reaches, and one large array there ends the whole process.
 */
export function withCeilings(bytes: Uint8Array, name: string, limits: Limits): Uint8Array {
  checkHeader(bytes, name, limits);
  const parts: Uint8Array[] = [];
  const tally = new Tally(name, limits);
  // What stays as it is is handed on in as few parts as possible.
  let unchanged = 0;
  let widest = 0;
  for (const { id, from, to, body } of sections(bytes, name)) {
    tally.add(id, body);
    if (id === 1) widest = checkTypes(new Reader(body, name), name);
    else if (id === 9) checkElements(body, name);
    else if (id === 10) checkCode(body, name, widest);
    const changed = rewritten(id, body, name, limits);
    if (changed === undefined) continue;
    parts.push(bytes.subarray(unchanged, from), changed);
    unchanged = to;
  }
  parts.push(bytes.subarray(unchanged));
  return Buffer.concat(parts);
}

/** What stands in a section's place; nothing for one that stays as it is. */
function rewritten(
  id: number,
  body: Uint8Array,
  name: string,
  limits: Limits,
): Uint8Array | undefined {
  if (id === 4) return section(id, tables(body, name, limits));
  if (id === 5) return section(id, memories(body, name, limits));
  // Nothing but traps reads it, and a trap names up to 64 functions.
  return id === 0 && namesWithoutEnd(body) ? new Uint8Array(0) : undefined;
}

/** Names the ceilings that decide what becomes of a module. */
export function ceilingsOf(limits: Limits): string {
  const { memoryBytes, tableElements, moduleBytes } = limits;
  return [memoryBytes, tableElements, moduleBytes, ...Tally.ceilings(limits)].join(" ");
}

function checkHeader(bytes: Uint8Array, name: string, limits: Limits): void {
  if (bytes.length > limits.moduleBytes) {
    throw limitFailure(
      "moduleSize",
      limits,
      `"${name}" has ${bytes.length} bytes`,
      "Build it with optimisation for size and without debug information.",
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

/** Functions are the only types that make nothing on V8's heap (section 5.3 of the specification's version 3). Returns the most values that one has. */
function checkTypes(reader: Reader, name: string): number {
  const count = reader.number();
  let widest = 0;
  for (let index = 0; index < count; index++) {
    const form = reader.byte();
    // Types are small negative numbers, in one byte; anything else is no module.
    if (form < 0x40 || form > 0x7f) throw reader.damaged(`a type of form ${form}`);
    if (form !== 0x60) {
      throw new Failure("module-unsupported", `"${name}" has a type of a kind we do not know`, {
        hint: "Build it without the garbage-collection and typed-reference proposals.",
      });
    }
    widest = Math.max(widest, values(reader) + values(reader));
  }
  return widest;
}

function checkElements(body: Uint8Array, name: string): void {
  if (body.length <= elementBytes) return;
  const what = `"${name}" has ${body.length} bytes of entries for tables; the ceiling is ${elementBytes}`;
  throw new Failure("module-unsupported", what, { hint: "Build it with fewer function pointers." });
}

/** Passes by a list of types of values; how many there were. */
function values(reader: Reader): number {
  const count = reader.number();
  for (let left = count; left > 0; left--) reader.valueType();
  return count;
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
      const asked = `"${name}" starts with ${formatLimit("memory", minimum * pageBytes)} of memory`;
      throw limitFailure("memory", limits, asked);
    }
    out.push(Buffer.from([1]), leb(minimum), leb(Math.min(maximum, ceiling)));
  }
  reader.end();
  return Buffer.concat(out);
}

function tables(body: Uint8Array, name: string, limits: Limits): Uint8Array {
  const reader = new Reader(body, name);
  const count = reader.number();
  if (count > tableCount) {
    throw limitFailure("tableElements", limits, `"${name}" has ${count} tables`);
  }
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
      throw limitFailure(
        "tableElements",
        limits,
        `"${name}" has ${count === 1 ? "a table" : `${count} tables, and one`} of ${minimum} elements`,
        "Build it with fewer function pointers and tables.",
      );
    }
    out.push(Buffer.from([type, 1]), leb(minimum), leb(Math.min(maximum, ceiling)));
  }
  reader.end();
  return Buffer.concat(out);
}

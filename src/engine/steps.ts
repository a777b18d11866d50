import { walkInstructions } from "./instructions.ts";
import { Reader } from "./reader.ts";
import { leb, section, sections, type Section } from "./sections.ts";

/** What one instruction may do before V8 can stop the guest: about a millisecond of work. */
const stepBytes = 4 * 1024 * 1024;

/**
 * Lets V8 stop a guest between instructions that take long. V8's first compiler looks whether it is to stop at each function's begin,
 * but in a loop only after some 100,000 rounds, and a round that fills all of the memory takes 50 ms: such a guest could be stopped
 * by nothing. So `memory.fill` and `memory.copy` become calls of functions of ours, which do the same in steps of 4 MiB, and after an
 * instruction for a whole table or data segment an empty function is called. Undefined when there is nothing to change.
 */
export function inSteps(bytes: Uint8Array, name: string): Uint8Array | undefined {
  const found = new Map<number, Section>();
  for (const one of sections(bytes, name)) if (one.id !== 0) found.set(one.id, one);
  const [types, functions, code] = [1, 3, 10].map((id) => found.get(id));
  if (!types || !functions || !code || code.body.indexOf(0xfc) < 0) return undefined;
  const typeCount = new Reader(types.body, name).number();
  const functionCount = new Reader(functions.body, name).number();
  const look = importedFunctions(found.get(2)?.body, name) + functionCount;
  const [toFill, toCopy] = [look + 1, look + 2];
  // Without a memory there is nothing to fill, and no function may say that it would.
  const bulk = found.has(5) ? { fill: toFill, copy: toCopy } : undefined;
  const bodies = changed(code.body, name, { look, bulk });
  if (!bodies) return undefined;
  const nothing = [0x60, 0, 0];
  const empty = [0, 0x0b];
  const all = bulk
    ? {
        types: [nothing, [0x60, 3, 0x7f, 0x7f, 0x7f, 0]],
        functions: [typeCount, typeCount + 1, typeCount + 1],
        bodies: [empty, fill(toFill), copy(toCopy)],
      }
    : { types: [nothing], functions: [typeCount], bodies: [empty] };
  const parts = [
    { ...types, id: 1, body: appended(types.body, name, all.types) },
    { ...functions, id: 3, body: appended(functions.body, name, all.functions.map((type) => [...leb(type)])) },
    { ...code, id: 10, body: appended(bodies, name, all.bodies.map((body) => [...leb(body.length), ...body])) },
  ]; // prettier-ignore
  let at = 0;
  const out: Uint8Array[] = [];
  for (const { from, to, id, body } of parts) {
    out.push(bytes.subarray(at, from), section(id, body));
    at = to;
  }
  return Buffer.concat([...out, bytes.subarray(at)]);
}

/** A vector with some more items at its end. */
function appended(
  body: Uint8Array,
  name: string,
  items: readonly (readonly number[])[],
): Uint8Array {
  const reader = new Reader(body, name);
  const count = reader.number();
  return Buffer.concat([
    leb(count + items.length),
    body.subarray(reader.at),
    Buffer.from(items.flat()),
  ]);
}

function importedFunctions(body: Uint8Array | undefined, name: string): number {
  if (!body) return 0;
  const reader = new Reader(body, name);
  let count = 0;
  for (let left = reader.number(); left > 0; left--) {
    reader.take(reader.number());
    reader.take(reader.number());
    const kind = reader.byte();
    if (kind === 0) {
      count++;
      reader.number();
    } else if (kind === 1 || kind === 2) {
      if (kind === 1) reader.valueType();
      const flags = reader.byte();
      reader.number();
      if (flags & 1) reader.number();
    } else if (kind === 3) {
      reader.valueType();
      reader.byte();
    } else {
      reader.byte();
      reader.number();
    }
  }
  return count;
}

/** Indices of our functions. */
interface Ours {
  readonly look: number;
  readonly bulk: { readonly fill: number; readonly copy: number } | undefined;
}

/** The code section's body with our calls in it; undefined when there are none. */
function changed(body: Uint8Array, name: string, ours: Ours): Uint8Array | undefined {
  const reader = new Reader(body, name);
  const parts: Uint8Array[] = [];
  let unchanged = 0;
  for (let left = reader.number(); left > 0; left--) {
    const start = reader.at;
    const code = reader.take(reader.number());
    if (code.indexOf(0xfc) < 0) continue;
    const rewritten = functionInSteps(code, name, ours);
    if (!rewritten) continue;
    parts.push(body.subarray(unchanged, start), leb(rewritten.length), rewritten);
    unchanged = reader.at;
  }
  if (parts.length === 0) return undefined;
  return Buffer.concat([...parts, body.subarray(unchanged)]);
}

function functionInSteps(code: Uint8Array, name: string, ours: Ours): Uint8Array | undefined {
  const parts: Uint8Array[] = [];
  let unchanged = 0;
  const call = (index: number): Uint8Array => Buffer.concat([Buffer.from([0x10]), leb(index)]);
  walkInstructions(code, name, (opcode, operation, from, to) => {
    if (opcode !== 0xfc || !long.has(operation)) return;
    const inBulk = operation === 10 || operation === 11;
    // V8 says what is wrong with one that has no memory to work on.
    if (inBulk && !ours.bulk) return;
    if (inBulk && ours.bulk) {
      const { fill: toFill, copy: toCopy } = ours.bulk;
      parts.push(code.subarray(unchanged, from), call(operation === 11 ? toFill : toCopy));
    } else parts.push(code.subarray(unchanged, to), call(ours.look));
    unchanged = to;
  });
  if (parts.length === 0) return undefined;
  return Buffer.concat([...parts, code.subarray(unchanged)]);
}

/** `memory.init`, `copy` and `fill`, `table.init`, `copy`, `grow` and `fill`; their numbers after the byte 0xfc. */
const long: ReadonlySet<number> = new Set([8, 10, 11, 12, 14, 15, 17]);

// The bodies of our functions. Each has parameters 0, 1 and 2, all of 32 bits.
const get = (index: number): number[] => [0x20, index];
const step = [0x41, ...signed(stepBytes)];
/** Whether so many bytes (parameter 2) from there on lie in the memory. */
const inside = (index: number): number[] => [...get(index), 0xad, ...get(2), 0xad, 0x7c, 0x3f, 0, 0xad, 0x42, 16, 0x86, 0x58]; // prettier-ignore
const plus = (index: number): number[] => [...get(index), ...step, 0x6a];
const less = [...get(2), ...step, 0x6b];
const isLong = [...get(2), ...step, 0x4b];

/** Fills a step, and calls itself for the rest. What is short, or must trap, is done at once. */
function fill(self: number): number[] {
  const at = [...get(0), ...get(1)];
  return [
    0, ...isLong, ...inside(0), 0x71, 0x04, 0x40,
    ...at, ...step, 0xfc, 11, 0,
    ...plus(0), ...get(1), ...less, 0x10, ...leb(self),
    0x05, ...at, ...get(2), 0xfc, 11, 0, 0x0b, 0x0b,
  ]; // prettier-ignore
}

/** Copies a step, from the side on which nothing is overwritten that is still to be copied, and calls itself for the rest. */
function copy(self: number): number[] {
  const again = [0x10, ...leb(self)];
  const last = (index: number): number[] => [...get(index), ...less, 0x6a];
  return [
    0, ...isLong, ...inside(0), 0x71, ...inside(1), 0x71, 0x04, 0x40,
    ...get(0), ...get(1), 0x4d, 0x04, 0x40,
    ...get(0), ...get(1), ...step, 0xfc, 10, 0, 0,
    ...plus(0), ...plus(1), ...less, ...again,
    0x05,
    ...last(0), ...last(1), ...step, 0xfc, 10, 0, 0,
    ...get(0), ...get(1), ...less, ...again,
    0x0b,
    0x05, ...get(0), ...get(1), ...get(2), 0xfc, 10, 0, 0, 0x0b, 0x0b,
  ]; // prettier-ignore
}

/** A number in signed LEB128. */
function signed(value: number): number[] {
  const low = value & 127;
  const rest = value >> 7;
  return (rest === 0 && low < 64) || (rest === -1 && low >= 64)
    ? [low]
    : [low | 128, ...signed(rest)];
}

import assert from "node:assert/strict";
import { withCeilings } from "../src/engine/ceilings.ts";
import { Failure } from "../src/errors/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";
import { header, leb, list, section, text, type, type Bytes } from "../test/hostile/assemble.ts";
import type { Chance } from "./chance.ts";

const i32 = 0x7f;
const i64 = 0x7e;
const valueTypes: readonly Bytes[] = [
  [i32], [i64], [0x7d], [0x7c], [0x7b], [0x70], [0x6f], [0x69], [0x63, 0], [0x63, 0x70], [0x63, 1], [0x64, 2],
]; // prettier-ignore

/** A number in LEB128 as it is, or with more bytes than it needs. */
function number(chance: Chance, value: number): Bytes {
  const short = leb(value);
  if (short.length > 4 || !chance.one(4)) return short;
  const more = chance.below(5 - short.length) + 1;
  const last = short.at(-1) ?? 0;
  const filled = Array.from({ length: more - 1 }, () => 0x80);
  return [...short.slice(0, -1), last | 0x80, ...filled, 0];
}

function signed(chance: Chance, bits: 32 | 64): Bytes {
  let left = BigInt.asIntN(bits, chance.bytes(8).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)) >> BigInt(chance.below(bits));
  const out: number[] = [];
  for (;;) {
    const low = Number(left & 127n);
    left >>= 7n;
    if ((left === 0n && low < 64) || (left === -1n && low >= 64)) return [...out, low];
    out.push(low | 128);
  }
} // prettier-ignore

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** Opcodes without anything behind them. */
const bare = [0x01, 0x1a, ...range(0x45, 0xc4), 0xd1];
const loads = range(0x28, 0x3e);
/** Logarithms of the largest alignment of each load and store, in the order of the opcodes. */
const alignments = [2, 3, 2, 3, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 3, 2, 3, 0, 1, 0, 1, 2];
const bareVectors = [
  14,
  ...range(15, 20),
  ...range(35, 83),
  ...range(94, 153),
  ...range(155, 161),
  ...range(163, 164),
];

/** One instruction that V8 accepts where any values lie on the stack, and which is no tail call. */
function instruction(chance: Chance, depth: number): Bytes {
  const n = (value: number): Bytes => number(chance, value);
  const memory = (most: number): Bytes => [...n(chance.below(most + 1)), ...n(chance.below(70_000))];
  switch (chance.below(18)) {
    case 0: return [chance.pick(bare)];
    case 1: {
      const at = chance.below(loads.length);
      return [loads[at] ?? 0x28, ...memory(alignments[at] ?? 0)];
    }
    case 2: return [0x41, ...signed(chance, 32)];
    case 3: return [0x42, ...signed(chance, 64)];
    case 4: return [0x43, ...chance.bytes(4)];
    case 5: return [0x44, ...chance.bytes(8)];
    case 6: return [0xfd, 12, ...chance.bytes(16)];
    case 7: return [0xfd, 13, ...Array.from(chance.bytes(16), (byte) => byte % 32)];
    case 8: return [0xfd, ...n(chance.pick(bareVectors))];
    case 9: return chance.one(2) ? [0xfd, ...n(84), ...memory(0), chance.below(16)] : [0xfd, ...n(chance.pick([21, 22, 23])), chance.below(16)];
    case 10: return [0xfd, ...n(chance.pick([0, 11])), ...memory(4)];
    case 11: return chance.pick<Bytes>([
      [0xfc, ...n(chance.below(8))], [0xfc, ...n(8), ...n(0), 0], [0xfc, ...n(9), ...n(0)], [0xfc, ...n(10), 0, 0], [0xfc, ...n(11), 0],
      [0xfc, ...n(12), ...n(0), ...n(0)], [0xfc, ...n(13), ...n(0)], [0xfc, ...n(14), ...n(0), ...n(0)], [0xfc, ...n(15), ...n(0)],
      [0xfc, ...n(16), ...n(0)], [0xfc, ...n(17), ...n(0)],
    ]);
    case 12: return [chance.pick([0x20, 0x21, 0x22]), ...n(chance.below(2))];
    case 13: return chance.pick<Bytes>([[0x23, ...n(0)], [0x24, ...n(0)], [0x25, ...n(0)], [0x26, ...n(0)], [0x3f, 0], [0x40, 0], [0x1b]]);
    case 14: return chance.pick<Bytes>([[0x10, ...n(1)], [0x11, ...n(1), ...n(0)], [0x08, ...n(0)], [0x0a], [0x0f], [0x14, ...n(1)]]);
    case 15: return chance.pick<Bytes>([[0x0c, ...n(depth)], [0x0d, ...n(depth)], [0x0e, ...n(3), ...n(depth), ...n(depth), ...n(depth), ...n(depth)], [0xd5, ...n(depth)]]);
    case 16: return chance.pick<Bytes>([[0x1c, 1, ...chance.pick(valueTypes)], [0xd0, 0x70], [0xd0, 0x6f], [0xd0, ...n(1)], [0xd2, ...n(1)], [0xd3], [0xd4]]);
    default: return chance.pick<Bytes>([[0xfe, 3, 0], [0xfe, ...n(0x10), ...n(2), ...n(8)], [0xfe, ...n(0x1e), ...n(2), ...n(8)], [0xfe, ...n(0x4e), ...n(2), ...n(8)],
      [0xfb, ...n(28)], [0xfb, ...n(29)], [0xfb, ...n(30)], [0xfb, ...n(26)], [0xfb, ...n(27)], [0xfb, ...n(20), 0x6c], [0xfb, ...n(22), 0x6c]]);
  }
} // prettier-ignore

const tailCalls: readonly Bytes[] = [[0x12, 0], [0x13, 0, 0], [0x15, 0]]; // prettier-ignore

/** Instructions in blocks in each other; before each stands one that makes every stack right. */
function body(chance: Chance, withTail: boolean): Bytes {
  const out: number[] = [];
  const open: number[] = [];
  const left = 1 + chance.below(40);
  const tailAt = withTail ? chance.below(left) : -1;
  for (let index = 0; index < left; index++) {
    out.push(0x00);
    if (index === tailAt) out.push(...chance.pick(tailCalls), 0x00);
    const kind = chance.below(8);
    if (kind === 0 && open.length < 8) {
      const opener = chance.pick([0x02, 0x03, 0x04, 0x1f]);
      const block = chance.one(2) ? [0x40] : chance.one(2) ? chance.pick(valueTypes) : number(chance, chance.below(3));
      // Labels of a handler count without it.
      const handlers = chance.below(3);
      const caught = opener === 0x1f ? [handlers, ...Array.from({ length: handlers }, () => [2, ...number(chance, open.length)]).flat()] : [];
      out.push(opener, ...block, ...caught);
      open.push(opener);
    } else if (kind === 1 && open.length > 0) {
      if (open.at(-1) === 0x04) out.push(0x05, 0x00);
      out.push(0x0b);
      open.pop();
    } else out.push(...instruction(chance, open.length));
  }
  while (open.length > 0) {
    out.push(0x00, ...(open.pop() === 0x04 ? [0x05, 0x00] : []), 0x0b);
  }
  return [...out, 0x00, 0x0b];
} // prettier-ignore

function module(code: Bytes): Uint8Array {
  const own = [2, 1, i32, 1, i64, ...code];
  const functionType = type([], []);
  return Buffer.from([
    ...header,
    ...section(1, list([functionType, type([i32], [i32]), type([i64, i64], [i64, i64])])),
    ...section(3, [2, 0, 1]),
    ...section(4, [1, 0x70, 0, 10]),
    ...section(5, [1, 0, 1]),
    ...section(13, [1, 0, 0]),
    ...section(6, list([[i64, 1, 0x42, 0, 0x0b]])),
    ...section(7, list([[...text("_start"), 0, 0]])),
    ...section(9, list([[1, 0, 1, 1]])),
    ...section(12, [1]),
    ...section(10, list([[...leb(own.length), ...own], [4, 0, 0x20, 0, 0x0b]])),
    ...section(11, list([[1, 1, 7]])),
  ]);
} // prettier-ignore

/** A function that V8 accepts is refused when, and only when, a tail call is in it: the walk over its instructions never loses its place. */
export function round(chance: Chance): Promise<void> {
  const withTail = chance.one(2);
  const bytes = module(body(chance, withTail));
  assert.ok(WebAssembly.validate(Uint8Array.from(bytes)), `V8 refuses ${shown(bytes)}`);
  let refused = false;
  try {
    withCeilings(bytes, "fuzz", defaultLimits);
  } catch (thrown) {
    if (!(thrown instanceof Failure && /makes tail calls/.test(thrown.message))) throw thrown;
    refused = true;
  }
  assert.equal(refused, withTail, shown(bytes));
  return Promise.resolve();
}

/** The bytes, and what V8 has against them. */
function shown(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex");
  try {
    const kept = new WebAssembly.Module(Uint8Array.from(bytes));
    return `${hex} with ${WebAssembly.Module.exports(kept).length} exports`;
  } catch (thrown) {
    return `${hex}: ${String(thrown)}`;
  }
}

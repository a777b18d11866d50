import assert from "node:assert/strict";
import { globSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { withCeilings } from "../src/engine/ceilings.ts";
import { createEngine } from "../src/engine/mod.ts";
import { Failure } from "../src/errors/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";
import type { Chance } from "./chance.ts";

const mebibyte = 1024 * 1024;
const limits = {
  ...defaultLimits,
  memoryBytes: 8 * mebibyte,
  tableElements: 10_000,
  timeMs: 100,
  outputBytes: mebibyte,
  filesBytes: 8 * mebibyte,
  moduleBytes: mebibyte,
};

const root = join(import.meta.dirname, "..");
const corpus = globSync("{test,examples}/**/*.wasm", { cwd: root })
  .map((path) => join(root, path))
  .filter((path) => statSync(path).size < 150_000)
  .toSorted((left, right) => statSync(left).size - statSync(right).size)
  .map((path) => new Uint8Array(readFileSync(path)));

interface Section {
  readonly id: number;
  readonly body: Uint8Array;
}

function number(bytes: Uint8Array, at: number): readonly [value: number, next: number] {
  let value = 0;
  for (let index = 0; index < 5; index++) {
    const byte = bytes[at + index] ?? 0;
    value += (byte & 127) * 128 ** index;
    if (byte < 128) return [value, at + index + 1];
  }
  return [value, at + 5];
}

function leb(value: number): number[] {
  const out: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...out, rest];
    out.push((rest % 128) + 128);
  }
}

function split(bytes: Uint8Array): readonly Section[] {
  const sections: Section[] = [];
  for (let at = 8; at < bytes.length;) {
    const [size, start] = number(bytes, at + 1);
    sections.push({ id: bytes[at] ?? 0, body: bytes.subarray(start, start + size) });
    at = start + size;
  }
  return sections;
}

function joined(sections: readonly Section[]): Uint8Array {
  const parts = sections.flatMap(({ id, body }) => [Buffer.from([id, ...leb(body.length)]), body]);
  return Buffer.concat([Buffer.from("\0asm\x01\0\0\0", "latin1"), ...parts]);
}

const numbers = [0, 1, 127, 128, 255, 1000, 65_535, 65_536, 65_537, 2 ** 31, 2 ** 32 - 1];
/** Bytes that mean something: types, flags, opcodes of control, growth and bulk memory. */
const bytes = [
  0, 1, 2, 3, 4, 5, 7, 0x0b, 0x0c, 0x10, 0x11, 0x12, 0x40, 0x60, 0x63, 0x6f, 0x70, 0x7f, 0xfc, 0xfd,
  0xff,
];

function changed(sections: readonly Section[], chance: Chance): readonly Section[] {
  const at = chance.below(sections.length);
  const section = sections[at];
  if (!section) return sections;
  const { id, body } = section;
  const place = chance.below(body.length + 1);
  switch (chance.below(10)) {
    case 0: {
      const flipped = Uint8Array.from(body);
      for (let left = chance.below(4); left >= 0; left--) {
        const index = chance.below(body.length + 1);
        flipped[index] = chance.one(2)
          ? chance.pick(bytes)
          : (flipped[index] ?? 0) ^ (1 << chance.below(8));
      }
      return sections.with(at, { id, body: flipped });
    }
    case 1:
      return sections.toSpliced(at, 1);
    case 2:
      return sections.toSpliced(at, 0, section);
    case 3: {
      const [first, second] = [section, sections[chance.below(sections.length)] ?? section];
      return sections.with(at, second).with(sections.indexOf(second), first);
    }
    case 4:
      return sections.with(at, { id: chance.below(14), body });
    case 5: {
      const value = leb(chance.pick(numbers));
      const [, next] = number(body, place);
      return sections.with(at, {
        id,
        body: Buffer.concat([body.subarray(0, place), Buffer.from(value), body.subarray(next)]),
      });
    }
    case 6:
      return sections.with(at, { id, body: body.subarray(0, place) });
    case 7: {
      const other = split(chance.pick(corpus));
      const taken = other[chance.below(other.length)];
      return taken ? sections.toSpliced(at, chance.below(2), taken) : sections;
    }
    case 8: {
      // A memory or a table of any shape.
      const limit = [chance.below(8), ...leb(chance.pick(numbers)), ...leb(chance.pick(numbers))];
      const memory = chance.one(2);
      const count = 1 + chance.below(3);
      const one = memory ? limit : [chance.pick([0x70, 0x6f, 0x63, 0x40]), ...limit];
      const made = Buffer.from([...leb(count), ...Array.from({ length: count }, () => one).flat()]);
      const table = { id: memory ? 5 : 4, body: made };
      const old = sections.findIndex((item) => item.id === table.id);
      return old < 0 ? sections.toSpliced(at, 0, table) : sections.with(old, table);
    }
    default:
      return sections.with(at, {
        id,
        body: Buffer.concat([
          body.subarray(0, place),
          chance.bytes(1 + chance.below(8)),
          body.subarray(place),
        ]),
      });
  }
}

/** The maximum of each memory (5) or table (4), read without the code that wrote it. */
function maxima(module: Uint8Array, id: 4 | 5): readonly number[] {
  return split(module)
    .filter((section) => section.id === id)
    .flatMap(({ body }) => {
      const found: number[] = [];
      let [count, at] = number(body, 0);
      for (; count > 0; count--) {
        const flags = body[at + (id === 4 ? 1 : 0)] ?? 0;
        const [, second] = number(body, at + (id === 4 ? 2 : 1));
        const [maximum, next] = number(body, second);
        found.push(flags & 1 ? maximum : Number.POSITIVE_INFINITY);
        at = flags & 1 ? next : second;
      }
      return found;
    });
}

const engine = createEngine({ threads: 1 });

/**
 * A damaged module is refused with a failure that has a code, or it runs: with our ceilings in it, still valid, and to an end that
 * is the guest's own or a ceiling's.
 */
export async function round(chance: Chance, signal: AbortSignal): Promise<void> {
  let sections = split(chance.pick(corpus));
  for (let left = chance.below(4); left >= 0; left--) sections = changed(sections, chance);
  let given = joined(sections);
  if (chance.one(8)) given = given.subarray(0, chance.below(given.length + 1));
  const ours = rewritten(given);
  if (ours) {
    // A maximum that only we make small enough is the one thing that makes a module valid.
    if (WebAssembly.validate(Uint8Array.from(given))) {
      assert(WebAssembly.validate(Uint8Array.from(ours)), "no longer valid with our ceilings");
    }
    if (WebAssembly.validate(Uint8Array.from(ours))) {
      const pages = limits.memoryBytes / 65_536;
      for (const most of maxima(ours, 5)) assert(most <= pages, `a memory of ${most} pages`);
      const elements = maxima(ours, 4).reduce((sum, most) => sum + most, 0);
      assert(elements <= limits.tableElements, `tables of ${elements} elements`);
    }
  }
  try {
    const module = await engine.load({ bytes: given, name: "fuzz" }, { limits, signal });
    const result = await engine.run(
      module,
      {
        arguments: ["fuzz", "a"],
        environment: new Map([["A", "b"]]),
        mounts: [],
        collect: [],
        limits,
      },
      { signal },
    );
    if (result.kind === "failed") {
      assert(result.failure.code.startsWith("module-"), JSON.stringify(result.failure));
    } else if (result.kind === "stopped" && !signal.aborted) {
      assert(result.failure.code.startsWith("limit-"), JSON.stringify(result.failure));
    }
    assert(result.usage.memoryBytes <= limits.memoryBytes, "more memory than the ceiling");
  } catch (thrown) {
    allowed(thrown);
  }
}

function rewritten(given: Uint8Array): Uint8Array | undefined {
  try {
    return withCeilings(given, "fuzz", limits);
  } catch (thrown) {
    allowed(thrown);
    // What V8 takes for a module may be more than we offer, but damaged it is not: then we would read it differently.
    const damaged = thrown instanceof Failure && thrown.code === "module-invalid";
    assert(
      !(damaged && WebAssembly.validate(Uint8Array.from(given))),
      `V8 accepts it: ${damaged && thrown.message}`,
    );
    return undefined;
  }
}

/** Rethrows what is not an answer to a bad module. */
function allowed(thrown: unknown): void {
  if (thrown instanceof Failure && /^(?:module|limit)-/.test(thrown.code)) return;
  throw thrown;
}

export async function close(): Promise<void> {
  await engine[Symbol.asyncDispose]();
}

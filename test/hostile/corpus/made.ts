import { readFileSync } from "node:fs";
import { join } from "node:path";
import { constant, header, i32, leb, list, section, text, type, type Bytes } from "../assemble.ts";
import type { Hostile } from "../guest.ts";

/** Modules that are too large, too many of something, or damaged: made when they are run. */
const hello = (): Buffer =>
  readFileSync(join(import.meta.dirname, "../../guests/hello/hello.wasm"));
const many = (count: number, item: Bytes): Buffer =>
  Buffer.alloc(count * item.length, Buffer.from(item));
/** A section with content that is too long for a list of numbers. */
const large = (id: number, ...content: readonly (Bytes | Buffer)[]): Buffer => {
  const body = Buffer.concat(content.map((part) => Buffer.from(part)));
  return Buffer.concat([Buffer.from([id, ...leb(body.length)]), body]);
};
const whole = (...sections: readonly (Bytes | Buffer)[]): Buffer =>
  Buffer.concat([header, ...sections].map((part) => Buffer.from(part)));
/** The first function, exported by so many names. */
const exported = (count: number): Buffer =>
  Buffer.concat(
    Array.from({ length: count }, (_, index) => Buffer.from([...text(`e${index}`), 0, 0])),
  );
const emptyType = section(1, list([type([], [])]));
const start = section(7, list([[...text("_start"), 0, 0]]));
const oneFunction = section(3, [1, 0]);
/** A module with one function `_start` of these instructions. */
const withCode = (locals: number, ...code: readonly (Bytes | Buffer)[]): Buffer => {
  const body = Buffer.concat(
    [locals === 0 ? [0] : [1, ...leb(locals), i32], ...code, [0x0b]].map((part) =>
      Buffer.from(part),
    ),
  );
  return whole(emptyType, oneFunction, start, large(10, [1, ...leb(body.length)], body));
};
const block: Bytes = [0x02, 0x40];
const loop: Bytes = [0x03, 0x40];
const end: Bytes = [0x0b];

const bytes: readonly (readonly [string, string, () => Uint8Array])[] = [
  ["empty", "be nothing at all", () => Buffer.alloc(0)],
  ["three-bytes", "be less than its first word", () => Buffer.from([0, 0x61, 0x73])],
  ["header-half", "end in its header", () => Buffer.from(header.slice(0, 6))],
  ["text", "be text", () => Buffer.from("(module)")],
  ["elf", "be a program of the host", () => Buffer.from("\x7fELF\x02\x01\x01")],
  ["javascript", "be a script", () => Buffer.from("process.exit(66)")],
  ["version-2", "be of another version", () => Buffer.from([0, 0x61, 0x73, 0x6d, 2, 0, 0, 0])],
  ["section-cut", "end in the middle of a section", () => hello().subarray(0, 100)],
  ["section-too-long", "claim 4 GiB for a section", () => whole([1, 0xff, 0xff, 0xff, 0xff, 15, 1])],
  ["size-overlong", "write a size with more bytes than it may have", () => whole([1, 0x81, 0x80, 0x80, 0x80, 0x80, 0, 0])],
  ["size-of-35-bits", "write a size that has more than 32 bits", () => whole([1, 0xff, 0xff, 0xff, 0xff, 0x7f])],
  ["section-unknown", "have a section that there is not", () => whole([77, 1, 0])],
  ["sections-twice", "have two sections of memory", () => whole(section(5, [1, 0, 1]), section(5, [1, 0, 1]))],
  ["sections-disordered", "have its code before its functions", () => whole(emptyType, section(10, [1, 2, 0, 0x0b]), oneFunction)],
  ["memory-longer", "have more in the section of memory than it says", () => whole(section(5, [1, 0, 1, 0, 1]))],
  ["memory-flags", "have a memory of a kind that there is not", () => whole(section(5, [1, 0x80, 1]))],
  ["start-index", "start a function that there is not", () => whole(emptyType, section(8, [9]))],
  ["export-index", "export a function that there is not", () => whole(emptyType, start)],
  ["export-twice", "export one name twice", () => whole(emptyType, oneFunction, section(7, list([[...text("a"), 0, 0], [...text("a"), 0, 0]])), section(10, [1, 2, 0, 0x0b]))],
  ["code-missing", "have a function without code", () => whole(emptyType, oneFunction, start)],
  ["code-longer", "have a function that is longer than its code", () => whole(emptyType, oneFunction, start, section(10, [1, 9, 0, 0x0b]))],
  ["code-cut", "have a constant that ends behind its function", () => withCode(0, [0x42, 0xff])],
  ["type-of-type", "have a local of a type that there is not", () => whole(emptyType, oneFunction, start, section(10, [1, 4, 1, 1, 0x01, 0x0b]))],
  ["utf-8", "have a name that is no UTF-8", () => whole(emptyType, oneFunction, section(7, [1, 2, 0xc0, 0xae, 0, 0]), section(10, [1, 2, 0, 0x0b]))],
  ...Array.from({ length: 13 }, (_, index) => index + 1)
    .filter((id) => id !== 8)
    .map((id) => [`count-${id}`, `claim four thousand million things in section ${id}`, () => whole(section(id, [0xff, 0xff, 0xff, 0xff, 15]))] as const),
]; // prettier-ignore

const damaged = bytes.map(([name, wants, make]): Hostile => ({
  name,
  wants,
  make,
  ends: /^(module-(invalid|unsupported|component)|limit-module-\w+|limit-table)$/,
}));

export const made: readonly Hostile[] = [
  ...damaged,
  { name: "sections-most", wants: "have as many sections as it may", ends: "exit 0", make: () => Buffer.concat([hello(), many(9980, [0, 1, 0])]) },
  { name: "sections-more", wants: "have a few more sections than it may", ends: "module-unsupported", make: () => Buffer.concat([hello(), many(10_000, [0, 1, 0])]) },
  { name: "sections-million", wants: "have 20 million sections", ends: "module-unsupported", make: () => whole(many(20_000_000, [0, 1, 0])) },
  { name: "functions-million", wants: "have a million functions", ends: "limit-module-functions", make: () => whole(emptyType, large(3, leb(1_000_000), many(1_000_000, [0])), large(10, leb(1_000_000), many(1_000_000, [2, 0, 0x0b]))) },
  { name: "types-million", wants: "have a million types", ends: "limit-module-types", make: () => whole(large(1, leb(1_000_000), many(1_000_000, type([], [])))) },
  { name: "imports-many", wants: "import one function 100,000 times", ends: "limit-module-imports", make: () => whole(emptyType, large(2, leb(100_000), many(100_000, [...text("wasi_snapshot_preview1"), ...text("sched_yield"), 0, 0]))) },
  { name: "import-name-long", wants: "have an import whose name has 99,000 letters", ends: /^module-(import|invalid)$/, make: () => whole(emptyType, large(2, [1, ...text("wasi_snapshot_preview1"), ...leb(99_000)], Buffer.alloc(99_000, "A"), [0, 0])) },
  { name: "exports-many", wants: "export a function by 200,000 names", ends: "limit-module-exports", make: () => whole(emptyType, oneFunction, large(7, leb(200_000), exported(200_000)), section(10, [1, 2, 0, 0x0b])) },
  { name: "exports-thousands", wants: "export a function by 20,000 names, one of them `_start`", ends: "exit 0", make: () => whole(emptyType, oneFunction, large(7, leb(20_001), [...text("_start"), 0, 0], exported(20_000)), section(10, [1, 2, 0, 0x0b])) },
  { name: "globals-million", wants: "have a million variables", ends: /^(limit-module-globals|module-unsupported)$/, make: () => whole(large(6, leb(1_000_000), many(1_000_000, [i32, 0, 0x41, 0, 0x0b]))) },
  { name: "segments-million", wants: "have a million segments of data", ends: "limit-module-segments", make: () => whole(section(5, [1, 0, 1]), large(11, leb(1_000_000), many(1_000_000, [1, 0]))) },
  { name: "locals-many", wants: "have 50,000 local variables in each of 1,000 functions", ends: "limit-module-locals", make: () => whole(emptyType, large(3, leb(1000), many(1000, [0])), large(10, leb(1000), many(1000, [6, 1, ...leb(50_000), i32, 0x0b]))) },
  { name: "locals-overflow", wants: "have local variables whose number overflows", ends: /^(limit-module-locals|module-invalid)$/, make: () => whole(emptyType, oneFunction, section(10, [1, 14, 2, ...leb(0xffff_ffff), i32, ...leb(0xffff_ffff), i32, 0x0b])) },
  { name: "locals-by-branches", wants: "have the compiler keep 50,000 values at each of 10,000 branches", ends: "module-unsupported", make: () => withCode(50_000, many(10_000, [0x20, 0, 0x04, 0x40, 0x0b])) },
  { name: "locals-by-catches", wants: "have the compiler keep 50,000 values at each of 10,000 catches", ends: "module-unsupported", make: () => withCode(50_000, many(10_000, [...block, 0x1f, 0x40, 1, 2, 0, ...end, ...end])) },
  { name: "loops-in-loops", wants: "have loops in each other, 50,000 deep", ends: "module-unsupported", make: () => withCode(0, many(50_000, loop), many(50_000, end)) },
  { name: "loops-many", wants: "have 100,000 loops in a row", ends: "module-unsupported", make: () => withCode(0, many(100_000, [...loop, ...end])) },
  { name: "blocks-in-blocks", wants: "have blocks in each other, 100,000 deep", ends: "exit 0", make: () => withCode(0, many(100_000, block), many(100_000, end)) },
  { name: "code-large", wants: "have one function of 5 MB", ends: "module-unsupported", make: () => withCode(1, many(700_000, [0x20, 0, 0x20, 0, 0x6a, 0x21, 0])) },
  { name: "table-of-branches", wants: "have a table of a million branches", ends: "module-unsupported", make: () => withCode(10, [...block, ...constant(0), 0x0e, ...leb(1_000_000)], many(1_000_000, [0]), [0, ...end]) },
  { name: "parameters-many", wants: "have a function of 1,000 parameters and 1,000 results that calls itself", ends: /^(limit-stack|trap: Maximum call stack size exceeded)$/, make: manyParameters },
  { name: "stack-high", wants: "leave 100,000 numbers on its stack of values", ends: /^(exit 0|module-invalid|module-unsupported)$/, make: () => withCode(0, many(100_000, constant(1)), many(100_000, [0x1a])) },
  { name: "elements-million", wants: "fill a table nine times with a million entries before its first instruction", ends: "module-unsupported", make: () => withElements(9, 1_000_000) },
  { name: "elements-many", wants: "fill a table with as many entries as it may", ends: "exit 0", make: () => withElements(1, 1_000_000) },
  { name: "data-outside", wants: "have data behind its memory", ends: /^trap: .*data segment 0 is out of bounds/, make: () => whole(emptyType, oneFunction, section(5, [1, 0, 1]), start, section(10, [1, 2, 0, 0x0b]), section(11, [1, 0, ...constant(65_535), 0x0b, 2, 1, 1])) },
  { name: "data-large", wants: "have 60 MB of data", ends: "exit 0", make: () => whole(emptyType, oneFunction, section(5, [1, 0, ...leb(1000)]), start, section(10, [1, 2, 0, 0x0b]), large(11, [1, 0, 0x41, 0, 0x0b, ...leb(60_000_000)], Buffer.alloc(60_000_000, 7))), long: true },
  { name: "constant-long", wants: "have a variable that is a sum of 500,000 numbers", ends: /^(exit 0|module-invalid|module-unsupported)$/, make: () => whole(emptyType, oneFunction, large(6, [1, i32, 0], constant(1), many(500_000, [0x41, 1, 0x6a]), [0x0b]), start, section(10, [1, 2, 0, 0x0b])) },
  { name: "too-large", wants: "be one byte larger than a module may be", ends: "module-too-large", make: () => Buffer.concat([hello(), Buffer.alloc(64 * 1024 * 1024)]) },
  { name: "custom-url", wants: "have whoever reads it fetch something", ends: "exit 0", make: () => Buffer.concat([hello(), large(0, text("sourceMappingURL"), text("http://169.254.169.254/latest/meta-data")), large(0, text("external_debug_info"), text("file:///etc/passwd"))]) },
  { name: "trap-forged", wants: "show a stack, an error or a terminal's orders of its own by the names of its functions", ends: "trap: unreachable", make: forgedNames },
  { name: "custom-names", wants: "have names of megabytes for its functions", ends: "exit 0", make: () => Buffer.concat([hello(), large(0, text("name"), [1, ...leb(5_000_006), 1, 0, ...leb(5_000_000)], Buffer.alloc(5_000_000, "A"))]) },
  { name: "custom-names-damaged", wants: "have names that end behind their section", ends: "exit 0", make: () => Buffer.concat([hello(), large(0, text("name"), [1, 0xff, 0xff, 0xff, 0xff, 15, 0xff, 0xff, 0xff, 0xff, 15, 0, 0xff, 0xff, 0x7f])]) },
]; // prettier-ignore

/** Calls itself with a thousand values and gives a thousand back. */
function manyParameters(): Uint8Array {
  const thousand = Array.from({ length: 1000 }, () => i32);
  const own = Buffer.concat([Buffer.from([0]), ...thousand.map((_, index) => Buffer.from([0x20, ...leb(index)])), Buffer.from([0x10, 1, 0x0b])]);
  const first = Buffer.concat([Buffer.from([0]), many(1000, constant(1)), Buffer.from([0x10, 1]), many(1000, [0x1a]), Buffer.from([0x0b])]);
  return whole(
    section(1, list([type([], []), type(thousand, thousand)])),
    section(3, [2, 0, 1]),
    start,
    large(10, [2, ...leb(first.length)], first, leb(own.length), own),
  );
} // prettier-ignore

/** Three functions that call each other to a trap, under names that are more than names. */
function forgedNames(): Uint8Array {
  const names = [
    "x (/root/.ssh/id_rsa:1:1)\n    at fake (wasm://wasm/1:wasm-function[7]:0x1)",
    "\u001b[2J\u001b]0;title\u0007\r::error::fake",
    "__proto__",
  ].map((name, index) => [index, ...text(name)]);
  const inner = list(names);
  return whole(
    emptyType,
    section(3, [3, 0, 0, 0]),
    section(7, list([[...text("_start"), 0, 2]])),
    section(10, list([[3, 0, 0x00, 0x0b], [4, 0, 0x10, 0, 0x0b], [4, 0, 0x10, 1, 0x0b]])),
    section(0, [...text("name"), 1, ...leb(inner.length), ...inner]),
  );
} // prettier-ignore

/** Segments of a table of a million entries, all of the first function. */
function withElements(segments: number, entries: number): Uint8Array {
  const one = Buffer.concat([Buffer.from([0, ...constant(0), 0x0b, ...leb(entries)]), Buffer.alloc(entries)]);
  return whole(
    emptyType,
    oneFunction,
    section(4, [1, 0x70, 0, ...leb(1_000_000)]),
    start,
    large(9, leb(segments), ...Array.from({ length: segments }, () => one)),
    section(10, [1, 2, 0, 0x0b]),
  );
} // prettier-ignore

/** A small assembler for guests that are about one number; the numbers are those of the core specification, chapter 5. */
type Bytes = readonly number[];

const header: Bytes = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const i32 = 0x7f;

function leb(value: number): Bytes {
  return value < 128 ? [value] : [(value % 128) | 128, ...leb(Math.floor(value / 128))];
}

/** `i32.const` */
export function constant(value: number): Bytes {
  const signed = (rest: number): Bytes =>
    rest >= -64 && rest < 64 ? [rest & 127] : [(rest & 127) | 128, ...signed(rest >> 7)];
  return [0x41, ...signed(value)];
}

const text = (value: string): Bytes => [...leb(value.length), ...Buffer.from(value)];
const list = (items: readonly Bytes[]): Bytes => [...leb(items.length), ...items.flat()];
const section = (id: number, body: Bytes): Bytes => [id, ...leb(body.length), ...body];
const times = (count: number, make: (index: number) => Bytes): readonly Bytes[] =>
  Array.from({ length: count }, (_, index) => make(index));

/** How many of each part a module has; `_start`, its type, its export and the memory's are counted in. */
export interface Parts {
  readonly types?: number;
  readonly imports?: number;
  readonly functions?: number;
  readonly globals?: number;
  readonly exports?: number;
  readonly segments?: number;
  readonly locals?: number;
  readonly pages?: number;
  readonly tableElements?: number;
  /** Of `_start`, without its end. */
  readonly body?: Bytes;
}

/** A module whose `_start` does nothing, or `body`. */
export function moduleOf(parts: Parts): Uint8Array {
  const { types = 2, imports = 0, functions = 1, globals = 0, exports = 2, segments = 0 } = parts;
  const { locals = 0, pages = 1, tableElements, body = [] } = parts;
  const entry = [...(locals === 0 ? [0] : [1, ...leb(locals), i32]), ...body, 0x0b];
  const idle: Bytes = [2, 0, 0x0b];
  return Buffer.from([
    ...header,
    ...section(1, list([[0x60, 0, 0], ...times(types - 1, () => [0x60, 1, i32, 1, i32])])),
    ...section(
      2,
      list(times(imports, () => [...text("wasi_snapshot_preview1"), ...text("fd_close"), 0, 1])),
    ),
    ...section(3, list(times(functions, () => [0]))),
    ...(tableElements === undefined ? [] : section(4, [1, 0x70, 0, ...leb(tableElements)])),
    ...section(5, [1, 0, ...leb(pages)]),
    ...section(6, list(times(globals, () => [i32, 0, 0x41, 0, 0x0b]))),
    ...section(
      7,
      list([
        [...text("_start"), 0, ...leb(imports)],
        [...text("memory"), 2, 0],
        ...times(exports - 2, (index) => [...text(`e${index}`), 0, ...leb(imports)]),
      ]),
    ),
    ...section(10, list([[...leb(entry.length), ...entry], ...times(functions - 1, () => idle)])),
    ...section(11, list(times(segments, () => [0, 0x41, 0, 0x0b, 1, 0]))),
  ]);
}

/** Traps unless the memory grows by so many pages. */
export function growing(pages: number): Bytes {
  return [...constant(pages), 0x40, 0, ...constant(-1), 0x46, 0x04, 0x40, 0x00, 0x0b];
}

/** Counts to a number, or without end. */
export function counting(to: number): Bytes {
  const again = to === Infinity ? [0x1a, 0x0c, 0] : [...constant(to), 0x49, 0x0d, 0];
  return [0x03, 0x40, 0x20, 0, ...constant(1), 0x6a, 0x22, 0, ...again, 0x0b];
}

/** Calls itself so many times deep, counting in the word at address 0; `_start` is the first function. */
export function calling(depth: number): Bytes {
  const count = [...constant(0), 0x28, 2, 0];
  const add = [...constant(0), ...count, ...constant(1), 0x6a, 0x36, 2, 0];
  const more = depth === Infinity ? constant(1) : [...count, ...constant(depth), 0x49];
  return [...add, ...more, 0x04, 0x40, 0x10, 0, 0x0b];
}

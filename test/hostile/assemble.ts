/** A small assembler; the numbers are those of the core specification, chapter 5. */
export type Bytes = readonly number[];

export const header: Bytes = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
export const i32 = 0x7f;
export const i64 = 0x7e;

export function leb(value: number): Bytes {
  return value < 128 ? [value] : [(value % 128) | 128, ...leb(Math.floor(value / 128))];
}

/** `i32.const`. */
export function constant(value: number): Bytes {
  const signed = (rest: number): Bytes =>
    rest >= -64 && rest < 64 ? [rest & 127] : [(rest & 127) | 128, ...signed(rest >> 7)];
  return [0x41, ...signed(value)];
}

export function text(value: string): Bytes {
  return [...leb(value.length), ...Buffer.from(value)];
}

export function list(items: readonly Bytes[]): Bytes {
  return [...leb(items.length), ...items.flat()];
}

/** A function's type. */
export function type(parameters: Bytes, results: Bytes): Bytes {
  return [0x60, ...leb(parameters.length), ...parameters, ...leb(results.length), ...results];
}

export function section(id: number, body: Bytes): Bytes {
  return [id, ...leb(body.length), ...body];
}

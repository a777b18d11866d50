import { Failure } from "../errors/mod.ts";
import { Reader } from "./reader.ts";

/** Programs have 10 to 30; a module of 64 MiB could have 20 million, which takes seconds to count. */
const sectionCount = 10_000;

/** A section of a module (core specification, section 5.5): all of it lies from `from` to `to`, its content is `body`. */
export interface Section {
  readonly id: number;
  readonly from: number;
  readonly to: number;
  readonly body: Uint8Array;
}

/** The sections of a module in their order, up to the one that is damaged or one too many. */
export function* sections(bytes: Uint8Array, name: string): Generator<Section, void> {
  const reader = new Reader(bytes, name, 8);
  for (let count = 1; reader.at < bytes.length; count++) {
    if (count > sectionCount) {
      throw new Failure("module-unsupported", `"${name}" has more than ${sectionCount} sections`, {
        hint: "Build it without custom sections.",
      });
    }
    const from = reader.at;
    const id = reader.byte();
    const body = reader.take(reader.number());
    yield { id, from, to: reader.at, body };
  }
}

/** Writes a section. */
export function section(id: number, body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from([id]), leb(body.length), body]);
}

/** An unsigned number in LEB128 (section 5.2.2). */
export function leb(value: number): Uint8Array {
  const out: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    out.push(rest > 0 ? low | 128 : low);
  } while (rest > 0);
  return Buffer.from(out);
}

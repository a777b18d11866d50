import { Reader } from "./reader.ts";
import { leb, section, sections, type Section } from "./sections.ts";

/** What a module's start function is exported as. */
export const startExport = "atalanta:start";

/**
 * Turns a module's start function into an export, which the sandbox calls before `_start`; undefined for a module without one. V8 runs
 * a start function inside of the instantiation: there it has no memory that we could read from, cannot be put aside when it waits,
 * and everything before it is done already (core specification, section 4.5.4), so nothing else changes. `bytes` are a valid module.
 */
export function startAsExport(bytes: Uint8Array, name: string): Uint8Array | undefined {
  let exports: Section | undefined;
  let start: Section | undefined;
  for (const one of sections(bytes, name)) {
    if (one.id === 7) exports = one;
    if (one.id === 8) start = one;
  }
  if (!start) return undefined;
  const entry = Buffer.concat([
    leb(startExport.length),
    Buffer.from(startExport),
    Buffer.from([0]),
    start.body,
  ]);
  // Exports come right before the start section, so its place is theirs when there are none.
  const at = exports ?? { from: start.from, to: start.from, body: Buffer.from([0]) };
  const old = new Reader(at.body, name);
  const count = old.number();
  return Buffer.concat([
    bytes.subarray(0, at.from),
    section(7, Buffer.concat([leb(count + 1), at.body.subarray(old.at), entry])),
    bytes.subarray(at.to, start.from),
    bytes.subarray(start.to),
  ]);
}

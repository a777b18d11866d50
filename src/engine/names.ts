/** Longest name that a trap may show; mangled ones of C++ and Rust reach some thousands of bytes. */
const nameBytes = 16_384;

/**
 * Whether a custom section is one of names, and the module's or a function's is longer than a trap may show: V8 puts the
 * names of up to 64 frames into one text.
 */
export function namesWithoutEnd(section: Uint8Array): boolean {
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = section[at++] ?? 0;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    return value;
  };
  /** The length of the name at this place, which is passed by. */
  const name = (): number => {
    const length = number();
    at += length;
    return length;
  };
  const length = number();
  if (Buffer.from(section.subarray(at, at + length)).toString("latin1") !== "name") return false;
  at += length;
  while (at < section.length) {
    const id = section[at++];
    const size = number();
    const end = at + size;
    if (id === 0 && name() > nameBytes) return true;
    if (id === 1) {
      for (let left = number(); left > 0 && at < section.length; left--) {
        number();
        if (name() > nameBytes) return true;
      }
    }
    // V8 goes on where the last name ended, whatever the size says.
    if ((id === 0 || id === 1) && at !== end) return true;
    at = end;
  }
  return false;
}

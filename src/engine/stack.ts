/** Frames that V8 keeps of a trap; a guest's panic handler alone takes about ten. */
export const keptFrames = 64;

/** The guest's functions out of V8's stack of a trap, innermost first; nothing of the host's. */
export function guestStack(stack: string, module: WebAssembly.Module): string[] {
  const prefix = `${moduleName(module)}.`;
  return [...stack.matchAll(/^\s+at (?:(.+?) \()?wasm:\/\/[^\s:]*:(wasm-function\[\d+\])/gm)].map(
    ([, shown, index = ""]) => {
      if (shown === undefined) return index;
      // V8 puts the module's name before the function's, or one of its own when the module has none.
      const name = shown.startsWith(prefix)
        ? shown.slice(prefix.length)
        : shown.replace(/^wasm-[0-9a-f]+\./, "");
      return demangled(name);
    },
  );
}

/** The module's name in its section "name" (core specification, appendix "Custom Sections"); empty when it has none. */
function moduleName(module: WebAssembly.Module): string {
  const [section] = WebAssembly.Module.customSections(module, "name");
  if (!section) return "";
  const bytes = new Uint8Array(section);
  // Subsection 0 comes first when it is there: its id, its size and the name's length (both short for any real name), the name.
  const [id, size = 0, length = 0] = bytes;
  if (id !== 0 || size > 127 || length > 126) return "";
  return Buffer.from(bytes.subarray(3, 3 + length)).toString();
}

const escapes: ReadonlyMap<string, string> = new Map([
  ["SP", "@"],
  ["BP", "*"],
  ["RF", "&"],
  ["LT", "<"],
  ["GT", ">"],
  ["LP", "("],
  ["RP", ")"],
  ["C", ","],
]);

/**
 * Rust's names as they are in the source. Its legacy mangling is that of C++ with a hash as the last part, so what has no
 * such hash (C++) stays as it is: https://doc.rust-lang.org/rustc/symbol-mangling/legacy.html
 */
export function demangled(name: string): string {
  const match = /^_ZN(.+)17h[0-9a-f]{16}E(?:\.llvm\.\d+)?$/.exec(name);
  if (!match) return name;
  const parts: string[] = [];
  let rest = match[1] ?? "";
  while (rest !== "") {
    const digits = /^\d+/.exec(rest)?.[0] ?? "";
    const length = Number(digits);
    const part = rest.slice(digits.length, digits.length + length);
    if (digits === "" || part.length !== length) return name;
    rest = rest.slice(digits.length + length);
    parts.push(
      part
        .replace(/^_\$/, "$")
        .replace(/\$(SP|BP|RF|LT|GT|LP|RP|C)\$/g, (_all, code: string) => escapes.get(code) ?? "")
        .replace(/\$u([0-9a-f]{1,6})\$/g, (_all, code: string) =>
          String.fromCodePoint(Math.min(Number.parseInt(code, 16), 0x10ffff)),
        )
        .replaceAll("..", "::"),
    );
  }
  return parts.join("::");
}

/**
 * What an unquoted word of YAML is, as Argo's reader takes it (sigs.k8s.io/yaml, YAML 1.1 without base 60 and with dates as text):
 * `yes` is true, `0755` is octal, `1_000` is a number.
 */
export function resolvePlain(word: string): string | number | boolean | null {
  const fixed = words.get(word);
  if (fixed !== undefined) return fixed;
  const plain = word.replaceAll("_", "");
  const whole = /^([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9]\d*))$/.exec(
    plain,
  );
  if (whole && !word.startsWith("_")) {
    const [, sign, hex, binary, octal, decimal = ""] = whole;
    const number =
      hex !== undefined
        ? Number.parseInt(hex, 16)
        : binary !== undefined
          ? Number.parseInt(binary, 2)
          : octal !== undefined
            ? Number.parseInt(octal, 8)
            : Number(decimal);
    return sign === "-" ? -number : number;
  }
  if (/^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$/.test(plain) && !word.startsWith("_")) {
    const number = Number(plain);
    if (Number.isFinite(number)) return number;
  }
  return word;
}

const words: ReadonlyMap<string, boolean | null> = new Map<string, boolean | null>([
  ...both(["y", "yes", "true", "on"], true),
  ...both(["n", "no", "false", "off"], false),
  ...both(["null"], null),
  ["", null],
  ["~", null],
]);

/** The three ways YAML 1.1 writes a word: small, with a capital, in capitals. */
function both(
  list: readonly string[],
  value: boolean | null,
): (readonly [string, boolean | null])[] {
  return list.flatMap((word) =>
    [word, word.slice(0, 1).toUpperCase() + word.slice(1), word.toUpperCase()].map(
      (written) => [written, value] as const,
    ),
  );
}

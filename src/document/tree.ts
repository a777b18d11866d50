import type { Spot } from "./source.ts";

/** What a YAML text says, with the point where each thing stands. Aliases and merge keys are resolved: a tree may be shared. */
export type Tree = ScalarTree | Mapping | Sequence;

export interface ScalarTree extends Spot {
  readonly kind: "scalar";
  /** Plain words as Argo's YAML reader takes them: `yes` is true and `0755` octal, see `resolve`. */
  readonly value: string | number | boolean | null;
  /** The value as text; for a number that JavaScript cannot hold, as it was written. */
  readonly text: string;
  readonly style: "plain" | "single" | "double" | "literal" | "folded";
  readonly end: number;
}

export interface Mapping extends Spot {
  readonly kind: "mapping";
  readonly entries: ReadonlyMap<string, Entry>;
}

interface Entry {
  readonly key: Spot;
  readonly value: Tree;
}

export interface Sequence extends Spot {
  readonly kind: "sequence";
  readonly items: readonly Tree[];
}

/** The tree below a mapping's key; what is null counts as absent, as for Argo. */
export function child(tree: Tree | undefined, key: string): Tree | undefined {
  if (tree?.kind !== "mapping") return undefined;
  const value = tree.entries.get(key)?.value;
  return value === undefined || isNull(value) ? undefined : value;
}

export function isNull(tree: Tree): boolean {
  return tree.kind === "scalar" && tree.value === null;
}

/** The text of the scalar below a key. */
export function textOf(tree: Tree | undefined, key: string): string | undefined {
  const value = child(tree, key);
  return value?.kind === "scalar" ? value.text : undefined;
}

/** A mapping like this one with other or more entries; entries that are undefined are left out. */
export function withEntries(
  base: Mapping,
  entries: Readonly<Record<string, Tree | undefined>>,
): Mapping {
  const merged = new Map(base.entries);
  for (const [key, value] of Object.entries(entries)) {
    if (value === undefined) merged.delete(key);
    else merged.set(key, { key: merged.get(key)?.key ?? value, value });
  }
  return { ...base, entries: merged };
}

/** A text that stands nowhere: messages about it point to what it was made from. */
export function madeText(spot: Spot, text: string): ScalarTree {
  const { source, at } = spot;
  return { kind: "scalar", source, at, end: at, value: text, text, style: "folded" };
}

export function madeMapping(
  spot: Spot,
  entries: Readonly<Record<string, Tree | undefined>>,
): Mapping {
  const { source, at } = spot;
  return withEntries({ kind: "mapping", source, at, entries: new Map() }, entries);
}

/** Data as JSON has it, as a tree that stands nowhere. */
export function madeTree(spot: Spot, value: unknown): Tree {
  const { source, at } = spot;
  if (Array.isArray(value)) {
    return { kind: "sequence", source, at, items: value.map((item) => madeTree(spot, item)) };
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(
      ([key, inner]) => [key, { key: spot, value: madeTree(spot, inner) }] as const,
    );
    return { kind: "mapping", source, at, entries: new Map(entries) };
  }
  if (typeof value === "number" || typeof value === "boolean") {
    return { ...madeText(spot, String(value)), value };
  }
  return typeof value === "string" ? madeText(spot, value) : { ...madeText(spot, ""), value: null };
}

/** Texts that are longer are searched for places in vain: it would take time for each mistake in them. */
const exactLength = 100_000;

/** Where character `index` of a scalar's text stands: exact for all but folded and plain texts over several lines. */
export function spotIn(scalar: ScalarTree, index: number): Spot {
  const { source, at, end, style, text } = scalar;
  if (text.length > exactLength) return scalar;
  const raw = source.text.slice(at, end);
  if (style === "literal") return literalSpot(scalar, raw, index) ?? scalar;
  if (raw.includes("\n")) return scalar;
  if (style === "plain") return raw.startsWith(text) ? { source, at: at + index } : scalar;
  if (style === "folded") return scalar;
  let offset = 1; // the opening quote
  for (let seen = 0; seen < index && offset < raw.length;) {
    const written =
      style === "single" ? (raw.startsWith("''", offset) ? 2 : 1) : escape(raw, offset);
    // `\U0001F600` is one character and two units of a JavaScript string
    seen += written === 10 && (text.codePointAt(seen) ?? 0) > 0xffff ? 2 : 1;
    offset += written;
  }
  return { source, at: at + offset };
}

const hexDigits: ReadonlyMap<string, number> = new Map([
  ["x", 2],
  ["u", 4],
  ["U", 8],
]);

/** How long the character or escape at this offset of a double-quoted text is. */
function escape(raw: string, offset: number): number {
  if (raw[offset] !== "\\") return 1;
  return 2 + (hexDigits.get(raw[offset + 1] ?? "") ?? 0);
}

/** In a literal block (`|`) each line of the text is a line of the file, moved right by the indentation. */
function literalSpot(
  { source, at, text }: ScalarTree,
  raw: string,
  index: number,
): Spot | undefined {
  const before = text.slice(0, index);
  const line = before.split("\n").length - 1;
  const column = index - (before.lastIndexOf("\n") + 1);
  let from = raw.indexOf("\n") + 1;
  if (from === 0) return undefined;
  for (let skipped = 0; skipped < line; skipped++) {
    const next = raw.indexOf("\n", from);
    if (next < 0) return undefined;
    from = next + 1;
  }
  const end = raw.indexOf("\n", from);
  const written = raw.slice(from, end < 0 ? undefined : end).replace(/\r$/, "");
  const wanted = text.split("\n", line + 1)[line] ?? "";
  if (!written.endsWith(wanted)) return undefined;
  return { source, at: at + from + written.length - wanted.length + column };
}

/** What a loop goes over: plain data, where a number that JavaScript would write otherwise is its own text. */
export type Item = unknown;

// Not yet in TypeScript's library: https://tc39.es/proposal-json-parse-with-source/
declare global {
  interface JSON {
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown;
    rawJSON(text: string): object;
    isRawJSON(value: unknown): boolean;
  }
}

/** A number that needs its text: more digits than a double has, a fraction or an exponent. */
const odd = /\d{16}|\d[.eE]|-0/u;

/** Reads JSON so that a number keeps the digits it is written with: ids are longer than a double. */
export function parseJson(text: string): unknown {
  if (!odd.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_, value, { source }) =>
    typeof value === "number" && source !== undefined && String(value) !== source
      ? JSON.rawJSON(source)
      : value,
  );
}

function rawText(item: unknown): string | undefined {
  if (typeof item !== "object" || item === null || !JSON.isRawJSON(item)) return undefined;
  return JSON.stringify(item);
}

/** The fields of an item that is a map. */
export function itemFields(item: Item): Readonly<Record<string, unknown>> | undefined {
  return isPlain(item) ? item : undefined;
}

/** An object of JSON or YAML has only string keys. */
function isPlain(item: Item): item is Readonly<Record<string, unknown>> {
  return typeof item === "object" && item !== null && !Array.isArray(item) && !JSON.isRawJSON(item);
}

/** What `{{item}}` and `{{item.field}}` become. */
export function itemText(item: Item): string {
  if (typeof item === "string") return item;
  const fields = itemFields(item);
  if (!fields) return rawText(item) ?? JSON.stringify(item);
  return JSON.stringify(Object.fromEntries(Object.entries(fields).toSorted(byKey)));
}

/** How an item is shown in a node's name, with the parentheses that the name itself needs taken out. */
export function itemLabel(item: Item): string {
  return label(item).replaceAll(/[()]/gu, "");
}

function label(item: Item): string {
  // Argo shows the text of the JSON, without its quotes.
  if (typeof item === "string") return JSON.stringify(item).slice(1, -1);
  // As Go prints a list.
  if (Array.isArray(item)) return `[${item.map((part) => label(part)).join(" ")}]`;
  const fields = itemFields(item);
  if (!fields) return itemText(item);
  return Object.entries(fields)
    .toSorted(byKey)
    .map(([key, value]) => `${key}:${itemText(value)}`)
    .join(",");
}

function byKey([left]: readonly [string, unknown], [right]: readonly [string, unknown]): number {
  return left < right ? -1 : Number(left > right);
}

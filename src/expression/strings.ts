import type { Budget } from "./budget.ts";
import { fault } from "./failure.ts";

/** What Go's package strings does, on JavaScript's strings: lengths are code points, indexes bytes of UTF-8. */

/** The code points of a string; Go calls them runes. */
export function runes(text: string): string[] {
  return Array.from(text);
}

const whitespace = /^\p{White_Space}$/u;

export function isSpace(character: string): boolean {
  return whitespace.test(character);
}

function trimWhere(
  text: string,
  drop: (character: string) => boolean,
  sides: "both" | "left" | "right" = "both",
): string {
  const characters = runes(text);
  let start = 0;
  let end = characters.length;
  if (sides !== "right") while (start < end && drop(characters[start] ?? "")) start += 1;
  if (sides !== "left") while (end > start && drop(characters[end - 1] ?? "")) end -= 1;
  return characters.slice(start, end).join("");
}

export function trimSpace(text: string): string {
  return trimWhere(text, isSpace);
}

export function trimCharacters(text: string, characters: string): string {
  const dropped = new Set(characters);
  return trimWhere(text, (character) => dropped.has(character));
}

export function trimPrefix(text: string, prefix: string): string {
  return text.startsWith(prefix) ? text.slice(prefix.length) : text;
}

export function trimSuffix(text: string, suffix: string): string {
  return suffix !== "" && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
}

/** Go maps each code point to one, so `ß` stays. */
export function upper(text: string): string {
  return text.replaceAll(/\P{ASCII}|[a-z]+/gu, (part) => {
    const mapped = part.toUpperCase();
    return runes(mapped).length === runes(part).length ? mapped : part;
  });
}

export function lower(text: string): string {
  return text.replaceAll(/\P{ASCII}|[A-Z]+/gu, (part) => {
    const mapped = part.toLowerCase();
    return runes(mapped).length === runes(part).length ? mapped : part;
  });
}

/** Go's SplitN: all parts for a negative count, none for 0; an empty separator splits between code points. */
export function split(text: string, separator: string, most: number, budget: Budget): string[] {
  if (most === 0) return [];
  const parts = separator === "" ? runes(text) : text.split(separator);
  budget.step(parts.length);
  budget.allocate(text.length + parts.length);
  if (most < 0 || parts.length <= most) return parts;
  const front = parts.slice(0, most - 1);
  return [...front, parts.slice(most - 1).join(separator)];
}

export function splitAfter(
  text: string,
  separator: string,
  most: number,
  budget: Budget,
): string[] {
  const parts = split(text, separator, most, budget);
  return parts.map((part, index) => (index < parts.length - 1 ? part + separator : part));
}

/** Go's Replace: the first `most` occurrences, or all for a negative count. */
export function replace(
  text: string,
  old: string,
  by: string,
  most: number,
  budget: Budget,
): string {
  const parts = old === "" ? ["", ...runes(text), ""] : text.split(old);
  const last = parts.length - 1;
  // Between the parts of an empty `old` lie as many places as there are code points, and one more.
  const places = Math.min(most < 0 ? parts.length : most, old === "" ? last : parts.length - 1);
  budget.step(parts.length);
  budget.allocate(text.length + places * by.length);
  if (places <= 0) return text;
  if (old === "") {
    return parts
      .slice(0, -1)
      .map((part, index) => (index < places ? part + by : part))
      .join("");
  }
  return parts.slice(0, places).join(by) + by + parts.slice(places).join(old);
}

export function repeat(text: string, count: number, budget: Budget): string {
  if (count < 0) throw fault(`cannot repeat a string ${count} times`);
  budget.allocate(text.length * count);
  return text.repeat(count);
}

/** The byte offset of a UTF-16 offset; -1 stays. */
export function byteIndex(text: string, index: number): number {
  return index < 0 ? index : Buffer.byteLength(text.slice(0, index));
}

/** How many code points a string has. */
export function runeCount(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** Strings of ASCII have the same indexes in bytes as in UTF-16. */
function isAscii(text: string): boolean {
  // oxlint-disable-next-line no-control-regex
  return !/[^\u0000-\u007F]/u.test(text);
}

/** A slice by bytes; half a character becomes U+FFFD. */
export function byteSlice(text: string, from: number, to: number): string {
  if (isAscii(text)) return text.slice(from, to);
  return Buffer.from(text).subarray(from, to).toString();
}

export function byteLength(text: string): number {
  return Buffer.byteLength(text);
}

export function byteAt(text: string, index: number): number | undefined {
  return isAscii(text) ? text.charCodeAt(index) : Buffer.from(text)[index];
}

/** Go's strconv.Atoi, undefined where it fails. */
export function parseInt64(text: string): bigint | undefined {
  if (!/^[+-]?\d{1,20}$/u.test(text)) return undefined;
  const value = BigInt(text.replace("+", ""));
  return BigInt.asIntN(64, value) === value ? value : undefined;
}

/** Go's strconv.ParseFloat of decimal numbers, undefined where it fails. */
export function parseFloat64(text: string): number | undefined {
  const word = /^([+-]?)(?:(inf|infinity)|(nan))$/iu.exec(text);
  if (word !== null) {
    if (word[3] !== undefined) return Number.NaN;
    return word[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  if (!/^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/u.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

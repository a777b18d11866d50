import type { Budget } from "../budget.ts";
import { fault } from "../failure.ts";
import { define, many, type Function } from "../functions.ts";
import {
  byteLength,
  byteSlice,
  isSpace,
  lower,
  repeat,
  replace,
  runes,
  split,
  trimCharacters,
  trimPrefix,
  trimSpace,
  trimSuffix,
  upper,
} from "../strings.ts";
import { compareStrings, isList, type Value } from "../value.ts";
import { textOf, textsOf } from "./text.ts";

function abbreviate(text: string, width: number, offset = 0): string {
  const length = byteLength(text);
  if (length <= width) return text;
  const room = width - 3;
  let start = Math.min(offset, length);
  if (length - start < room) start = length - room;
  if (start <= 4) return `${byteSlice(text, 0, room)}...`;
  if (start + room < length) return `...${abbreviate(byteSlice(text, start, length), room)}`;
  return `...${byteSlice(text, length - room, length)}`;
}

/** Changes the first letter of each word. */
function eachWord(text: string, change: (letter: string) => string): string {
  let first = true;
  return runes(text)
    .map((character) => {
      if (isSpace(character)) {
        first = true;
        return character;
      }
      const changed = first ? change(character) : character;
      first = false;
      return changed;
    })
    .join("");
}

/** Go's strings.Title: a word begins behind whatever is no letter, digit or underscore (or is a space, beyond ASCII). */
function title(text: string): string {
  let previous = " ";
  return runes(text)
    .map((character) => {
      const begins = /[\p{ASCII}]/u.test(previous)
        ? !/\w/u.test(previous)
        : !/[\p{L}\p{Nd}]/u.test(previous) && isSpace(previous);
      previous = character;
      return begins ? upper(character) : character;
    })
    .join("");
}

function swapCase(text: string): string {
  return runes(text)
    .map((character) => (/\p{Lu}/u.test(character) ? lower(character) : upper(character)))
    .join("");
}

/** Word by word, and digits with the word before them unless small letters follow: `HTTPServer`, `http2xx`, `Bld4Floor`. */
const words =
  /\p{Lu}+(?!\p{Ll})(?:\p{N}+(?![\p{Ll}\p{N}]))?|\p{Lu}?\p{Ll}+(?:\p{N}+(?![\p{Ll}\p{N}]))?|\p{N}+[\p{Ll}\p{N}]*/gu;

function separated(text: string, connector: string): string {
  let result = "";
  let end = 0;
  for (const match of text.matchAll(words)) {
    const between = text.slice(end, match.index).replaceAll(/[-_\p{White_Space}]/gu, connector);
    result += match.index === end && end > 0 ? connector : between;
    result += lower(match[0]);
    end = match.index + match[0].length;
  }
  return result + text.slice(end).replaceAll(/[-_\p{White_Space}]/gu, connector);
}

function pascalCase(text: string): string {
  let result = "";
  let connectors = "";
  for (const [part] of text.matchAll(/[-_\p{White_Space}]+|[^-_\p{White_Space}]+/gu)) {
    if (/^[-_\p{White_Space}]/u.test(part)) {
      connectors = part;
      continue;
    }
    // Of the connectors within a text one goes, those at its ends stay.
    result += (result === "" ? connectors : connectors.slice(0, -1)) + pascalWord(part);
    connectors = "";
  }
  return result + connectors;
}

function pascalWord(word: string): string {
  const [first = "", ...rest] = runes(word);
  if (!/\p{Lu}/u.test(first)) return upper(first) + rest.join("");
  const small = rest.findIndex((character) => !/\p{Lu}/u.test(character));
  const end = small === -1 ? rest.length : small;
  return first + lower(rest.slice(0, end).join("")) + rest.slice(end).join("");
}

function wrap(
  text: string,
  asked: number,
  separator: string,
  long: boolean,
  budget: Budget,
): string {
  const width = Math.max(1, asked);
  let result = "";
  let at = 0;
  const line = (end: number, next: number): void => {
    budget.step();
    budget.allocate(end - at + separator.length);
    result += text.slice(at, end) + separator;
    at = next;
  };
  while (text.length - at > width) {
    if (text.charAt(at) === " ") {
      at += 1;
      budget.step();
      continue;
    }
    const space = at + text.slice(at, at + width + 1).lastIndexOf(" ");
    if (space >= at) {
      line(space, space + 1);
    } else if (long) {
      line(at + width, at + width);
    } else {
      const after = text.indexOf(" ", at + width);
      if (after === -1) break;
      line(after, after + 1);
    }
  }
  return result + text.slice(at);
}

/** Go's %q. */
function quote(text: string): string {
  const escaped = runes(text).map((character) => {
    const short = escapes.get(character);
    if (short !== undefined) return short;
    if (/[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(character)) return character;
    const point = character.codePointAt(0) ?? 0;
    const hex = point.toString(16);
    if (point < 0x80) return String.raw`\x${hex.padStart(2, "0")}`;
    return point < 0x1_00_00
      ? String.raw`\u${hex.padStart(4, "0")}`
      : String.raw`\U${hex.padStart(8, "0")}`;
  });
  return `"${escaped.join("")}"`;
}

const escapes: ReadonlyMap<string, string> = new Map([
  ["\u0007", String.raw`\a`],
  ["\b", String.raw`\b`],
  ["\f", String.raw`\f`],
  ["\n", String.raw`\n`],
  ["\r", String.raw`\r`],
  ["\t", String.raw`\t`],
  ["\v", String.raw`\v`],
  ["\\", String.raw`\\`],
  ['"', String.raw`\"`],
]);

function indent(text: string, spaces: number, budget: Budget): string {
  const pad = repeat(" ", spaces, budget);
  return pad + replace(text, "\n", `\n${pad}`, -1, budget);
}

function numbered(parts: readonly string[]): Value {
  return new Map(parts.map((part, index) => [`_${index}`, part]));
}

function truncate(text: string, count: number): string {
  const length = byteLength(text);
  if (count < 0) return length + count > 0 ? byteSlice(text, length + count, length) : text;
  return length > count ? byteSlice(text, 0, count) : text;
}

function substring(text: string, start: number, end: number): string {
  const length = byteLength(text);
  const [from, to] = start < 0 ? [0, end] : [start, end < 0 || end > length ? length : end];
  if (from > to || to > length || to < 0) {
    throw fault(`there is no part from ${start} to ${end} of ${length} bytes`);
  }
  return byteSlice(text, from, to);
}

/** The arguments stand so that the text comes last, for pipes. */
export const strings: ReadonlyMap<string, Function> = new Map([
  ["hello", define(0, 0, () => "Hello!")],
  [
    "abbrev",
    define(2, 2, (given) =>
      given.whole(0) < 4 ? given.text(1) : abbreviate(given.text(1), given.whole(0)),
    ),
  ],
  [
    "abbrevboth",
    define(3, 3, (given) => {
      const [left, right, text] = [given.whole(0), given.whole(1), given.text(2)];
      return right < 4 || (left > 0 && right < 7) ? text : abbreviate(text, right, left);
    }),
  ],
  ["trunc", define(2, 2, (given) => truncate(given.text(1), given.whole(0)))],
  ["trim", define(1, 1, (given) => trimSpace(given.text(0)))],
  ["upper", define(1, 1, (given) => upper(given.text(0)))],
  ["lower", define(1, 1, (given) => lower(given.text(0)))],
  ["title", define(1, 1, (given) => title(given.text(0)))],
  ["untitle", define(1, 1, (given) => eachWord(given.text(0), lower))],
  ["substr", define(3, 3, (given) => substring(given.text(2), given.whole(0), given.whole(1)))],
  ["repeat", define(2, 2, (given, { budget }) => repeat(given.text(1), given.whole(0), budget))],
  ["trimall", define(2, 2, (given) => trimCharacters(given.text(1), given.text(0)))],
  ["trimAll", define(2, 2, (given) => trimCharacters(given.text(1), given.text(0)))],
  ["trimSuffix", define(2, 2, (given) => trimSuffix(given.text(1), given.text(0)))],
  ["trimPrefix", define(2, 2, (given) => trimPrefix(given.text(1), given.text(0)))],
  [
    "nospace",
    define(1, 1, (given) =>
      runes(given.text(0))
        .filter((character) => !isSpace(character))
        .join(""),
    ),
  ],
  [
    "initials",
    define(1, 1, (given) =>
      given
        .text(0)
        .split(/\p{White_Space}+/u)
        .map((word) => runes(word)[0] ?? "")
        .join(""),
    ),
  ],
  ["swapcase", define(1, 1, (given) => swapCase(given.text(0)))],
  ["snakecase", define(1, 1, (given) => separated(given.text(0), "_"))],
  ["kebabcase", define(1, 1, (given) => separated(given.text(0), "-"))],
  ["camelcase", define(1, 1, (given) => pascalCase(given.text(0)))],
  [
    "wrap",
    define(2, 2, (given, { budget }) => wrap(given.text(1), given.whole(0), "\n", false, budget)),
  ],
  [
    "wrapWith",
    define(3, 3, (given, { budget }) => {
      const separator = given.text(1);
      return wrap(given.text(2), given.whole(0), separator === "" ? "\n" : separator, true, budget);
    }),
  ],
  ["contains", define(2, 2, (given) => given.text(1).includes(given.text(0)))],
  ["hasPrefix", define(2, 2, (given) => given.text(1).startsWith(given.text(0)))],
  ["hasSuffix", define(2, 2, (given) => given.text(1).endsWith(given.text(0)))],
  [
    "quote",
    define(0, many, (given, { budget }) =>
      textsOf(given.values, budget)
        .map((text) => quote(text))
        .join(" "),
    ),
  ],
  [
    "squote",
    define(0, many, (given, { budget }) =>
      textsOf(given.values, budget)
        .map((text) => `'${text}'`)
        .join(" "),
    ),
  ],
  ["cat", define(0, many, (given, { budget }) => textsOf(given.values, budget).join(" "))],
  ["indent", define(2, 2, (given, { budget }) => indent(given.text(1), given.whole(0), budget))],
  [
    "nindent",
    define(2, 2, (given, { budget }) => `\n${indent(given.text(1), given.whole(0), budget)}`),
  ],
  [
    "replace",
    define(3, 3, (given, { budget }) =>
      replace(given.text(2), given.text(0), given.text(1), -1, budget),
    ),
  ],
  ["plural", define(3, 3, (given) => (given.int(2) === 1n ? given.text(0) : given.text(1)))],
  ["toString", define(1, 1, (given, { budget }) => textOf(given.value(0), budget))],
  ["toStrings", define(1, 1, (given, { budget }) => textsOf(given.value(0), budget))],
  [
    "split",
    define(2, 2, (given, { budget }) => numbered(split(given.text(1), given.text(0), -1, budget))),
  ],
  [
    "splitn",
    define(3, 3, (given, { budget }) =>
      numbered(split(given.text(2), given.text(0), given.whole(1), budget)),
    ),
  ],
  [
    "splitList",
    define(2, 2, (given, { budget }) => split(given.text(1), given.text(0), -1, budget)),
  ],
  [
    "join",
    define(2, 2, (given, { budget }) => {
      const texts = textsOf(given.value(1), budget);
      budget.allocate(texts.length * given.text(0).length);
      return texts.join(given.text(0));
    }),
  ],
  [
    "sortAlpha",
    define(1, 1, (given, { budget }) => {
      const value = given.value(0);
      const texts = textsOf(value, budget);
      budget.step(texts.length * 20);
      return isList(value) ? texts.toSorted(compareStrings) : texts;
    }),
  ],
]);

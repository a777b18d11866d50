import { stripVTControlCharacters } from "node:util";

/** A text from a guest or a document as it may go to a terminal: control characters could move the cursor or retitle the window. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return stripVTControlCharacters(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "�");
}

/**
 * JSON or YAML that moves no cursor: what both leave as they are in their quotes are DEL and the controls of 8 bits, which a terminal
 * takes for the beginning of a sequence. A program reads the same values.
 */
export function escaped(text: string): string {
  return text.replace(
    /[\u007f-\u009f]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A text as it may go to a terminal, on one line. */
export function oneLine(text: string): string {
  return printable(text.trim().replace(/\s*\n\s*/g, " ⏎ ")).replaceAll("\t", " ");
}

/** Columns of a terminal that a text takes. */
export function width(text: string): number {
  let columns = 0;
  for (const character of stripVTControlCharacters(text)) columns += widthOf(character);
  return columns;
}

const zero = /^[\p{Mn}\p{Me}\p{Cf}]$/u;

function widthOf(character: string): number {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x300) return 1;
  if (zero.test(character)) return 0;
  // Blocks of Unicode's East Asian Width "W" and "F", and the emoji.
  return (code >= 0x1100 && code <= 0x115f) ||
    (code >= 0x2e80 && code <= 0xa4cf) ||
    (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0xffe0 && code <= 0xffe6) ||
    (code >= 0x1f300 && code <= 0x1faff) ||
    (code >= 0x20000 && code <= 0x3fffd)
    ? 2
    : 1;
}

/** Cuts a text with colours in it to so many columns; the colours are ended. */
export function cut(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  let left = columns - 1;
  let out = "";
  // oxlint-disable-next-line no-control-regex -- the escape that begins a colour
  for (const [piece] of text.matchAll(/\u001b\[[\d;]*m|./gsu)) {
    if (piece.startsWith("\u001b")) out += piece;
    else if ((left -= widthOf(piece)) >= 0) out += piece;
    else break;
  }
  return out.includes("\u001b") ? `${out}…\u001b[0m` : `${out}…`;
}

/** Lines of cells, each column as wide as its widest cell; the last one is not filled up. */
export function table(rows: readonly (readonly string[])[], gap = "  "): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, width(cell));
  }
  return rows.map((row) =>
    row
      .map((cell, at) => cell + " ".repeat((widths[at] ?? 0) - width(cell)))
      .join(gap)
      .trimEnd(),
  );
}

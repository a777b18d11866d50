import { stripVTControlCharacters } from "node:util";

/** A text from a guest or a document as it may go to a terminal: control characters could move the cursor or retitle the window. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return stripVTControlCharacters(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "�");
}

/** The same on one line. */
export function oneLine(text: string): string {
  return printable(text.trim().replace(/\s*\n\s*/g, " ⏎ ")).replaceAll("\t", " ");
}

import { styleText } from "node:util";
import type { WriteStream } from "node:tty";

type Format = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "magenta" | "cyan";

/** Colours a text, or leaves it as it is where the reader is no terminal or wants none (`NO_COLOR`, `TERM=dumb`, `--no-color`). */
export type Paint = (format: Format, text: string) => string;

const plain: Paint = (_format, text) => text;

/** What a stream's reader can show. */
export function paintFor(stream: WriteStream): Paint {
  // An empty NO_COLOR means nothing (no-color.org), while Node takes it for a wish.
  if (process.env["NO_COLOR"] === "") delete process.env["NO_COLOR"];
  if (styleText("red", "x", { stream }) === "x") return plain;
  return (format, text) => styleText(format, text, { validateStream: false });
}

/** Whether lines on the stream can be written over. */
export function canRedraw(stream: WriteStream): boolean {
  return stream.isTTY && process.env["TERM"] !== "dumb";
}

import { Failure } from "../errors/mod.ts";
import { paintFor } from "./style.ts";
import { escaped, printable } from "./text.ts";

/** Gives the lines of a file that a user wrote; for the line under a message. */
export type SourceLine = (file: string, line: number) => string | undefined;

interface PrintOptions {
  readonly json: boolean;
  /** Default `error`. */
  readonly level?: "error" | "warning";
  readonly sourceLine?: SourceLine;
}

/**
 * Prints a failure to stderr: `file:line:column: error[code]: message`, the line with a caret below the place where that is
 * known, and a hint; or one line of JSON with `type` error or warning.
 */
export function printFailure(failure: Failure, how: boolean | PrintOptions): void {
  const { json, level = "error", sourceLine } = typeof how === "boolean" ? { json: how } : how;
  if (json) {
    process.stderr.write(`${escaped(JSON.stringify({ type: level, ...failure.toJSON() }))}\n`);
    return;
  }
  const paint = paintFor(process.stderr);
  const { place, code, message, hint } = failure;
  const where = place ? `${place.file}:${place.line}:${place.column}: ` : "";
  const word = paint(level === "error" ? "red" : "yellow", level);
  const lines = [`${paint("bold", printable(where))}${word}[${code}]: ${printable(message)}`];
  const source = place && sourceLine?.(place.file, place.line);
  if (place && source !== undefined) {
    const number = String(place.line).padStart(5);
    // Tabs stay tabs, so that the caret stands below its column whatever their width.
    const before = source.slice(0, place.column - 1).replace(/[^\t]/g, " ");
    lines.push(paint("dim", `${number} | `) + printable(source));
    lines.push(paint("dim", `${" ".repeat(number.length)} | `) + before + paint("red", "^"));
  }
  if (hint !== undefined) lines.push(`  ${paint("cyan", "hint")}: ${printable(hint)}`);
  process.stderr.write(`${lines.join("\n")}\n`);
}

/** What the parser of the arguments has to say, as a failure like any other. */
export function usageFailure(text: string): Failure {
  const [first = "", ...rest] = text.trim().split("\n");
  return new Failure("invalid-argument", first.replace(/^error: /, ""), {
    hint: rest.join(" ").replace(/^\(|\)$/g, "") || "Add --help to see what it takes.",
  });
}

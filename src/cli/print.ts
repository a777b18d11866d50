import type { Failure } from "../errors/mod.ts";

const colour = process.stderr.isTTY && process.env["NO_COLOR"] === undefined;

/** Prints a failure to stderr: `file:line:column: error[code]: message` and a hint, or one line of JSON. */
export function printFailure(failure: Failure, json: boolean): void {
  if (json) {
    process.stderr.write(`${JSON.stringify({ type: "error", ...failure.toJSON() })}\n`);
    return;
  }
  const { place, code, message, hint } = failure;
  const where = place ? `${place.file}:${place.line}:${place.column}: ` : "";
  const word = colour ? "\x1b[31merror\x1b[0m" : "error";
  process.stderr.write(`${where}${word}[${code}]: ${message}\n`);
  if (hint !== undefined) process.stderr.write(`  hint: ${hint}\n`);
}

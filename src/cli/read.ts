import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import {
  readBundle,
  type Bundle,
  type ReadOptions,
  type Reading,
  type SourceFile,
} from "../document/mod.ts";
import { Failure } from "../errors/mod.ts";
import { printFailure, type SourceLine } from "./print.ts";

/** Reads files that a user named; `-` is stdin. */
export async function readSources(paths: readonly string[]): Promise<readonly SourceFile[]> {
  const files: SourceFile[] = [];
  for (const path of paths) {
    files.push(
      path === "-"
        ? { file: "<stdin>", text: await textOf(process.stdin, "stdin") }
        : { file: path, text: await readText(path) },
    );
  }
  return files;
}

/** A workflow for a command that needs one: prints what is wrong, and then there is none and the exit code is 2. */
export async function readWorkflow(
  paths: readonly string[],
  { json, ...options }: ReadOptions & { readonly json: boolean },
): Promise<Bundle | undefined> {
  const files = await readSources(paths);
  // What comes through a pipe has no folder of its own.
  const folder = paths[0] === "-" ? { folder: process.cwd() } : {};
  const reading = readBundle(files, { ...folder, ...options });
  printReading(reading, files, { json });
  if (!reading.bundle) process.exitCode = 2;
  return reading.bundle;
}

/** Prints what was found in files; on a terminal, with the line that each thing stands in. */
export function printReading(
  { problems, warnings }: Omit<Reading, "bundle">,
  files: readonly SourceFile[],
  { json, strict = false }: { readonly json: boolean; readonly strict?: boolean },
): void {
  const how = { json, ...(process.stderr.isTTY ? { sourceLine: linesOf(files) } : {}) };
  for (const problem of problems) printFailure(problem, how);
  const level = strict ? "error" : "warning";
  for (const warning of warnings) printFailure(warning, { ...how, level });
}

function linesOf(files: readonly SourceFile[]): SourceLine {
  const lines = new Map<string, readonly string[]>();
  return (file, line) => {
    const known = lines.get(file) ?? files.find((item) => item.file === file)?.text.split("\n");
    if (known) lines.set(file, known);
    return known?.[line - 1]?.replace(/\r$/, "");
  };
}

/** What is read before anybody has looked how long a text may be: a name may lead to a device without an end. */
const mostBytes = 128 * 1024 * 1024;

async function textOf(source: Readable, name: string): Promise<string> {
  const blocks: Uint8Array[] = [];
  let size = 0;
  for await (const block of source) {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no encoding was set, so it is bytes
    const bytes = block as Uint8Array;
    size += bytes.length;
    if (size > mostBytes) {
      throw new Failure("invalid-argument", `"${name}" has more than ${mostBytes} bytes`, {
        hint: "Name a file of YAML or JSON.",
      });
    }
    blocks.push(bytes);
  }
  return Buffer.concat(blocks, size).toString();
}

export async function readText(path: string): Promise<string> {
  try {
    return await textOf(createReadStream(path), path);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("not-found", `Cannot read "${path}": ${reason}`, {
      cause,
      hint: "Check the path; it is relative to the folder you are in.",
    });
  }
}

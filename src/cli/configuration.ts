import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { isMap, isScalar, LineCounter, parseDocument, type Node } from "yaml";
import { Failure, type Place } from "../errors/mod.ts";

/** What `atalanta.yaml` beside a workflow says. */
export interface Configuration {
  /** A module file for each image reference; absolute paths. */
  readonly images: ReadonlyMap<string, string>;
}

/** A configuration is written by hand. */
const longest = 1024 * 1024;

/** Reads `atalanta.yaml` in the folder of a workflow; nothing is configured where there is none. */
export async function readConfiguration(folder: string): Promise<Configuration> {
  const path = join(folder, "atalanta.yaml");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") {
      return { images: new Map() };
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `Cannot read "${path}": ${reason}`, { cause });
  }
  return parseConfiguration(path, text);
}

function parseConfiguration(path: string, text: string): Configuration {
  if (text.length > longest) throw wrong(`"${path}" is larger than ${longest} characters`);
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter });
  const place = (offset: number): Place => {
    const { line, col } = lineCounter.linePos(offset);
    return { file: path, line, column: col };
  };
  const at = (node: unknown): Place => place(rangeStart(node));
  const [error] = document.errors;
  if (error) throw wrong(`YAML: ${error.message.split("\n")[0]}`, place(error.pos[0]));
  const images = new Map<string, string>();
  const { contents } = document;
  if (contents === null) return { images };
  if (!isMap(contents)) throw wrong("The configuration is no mapping", at(contents));
  for (const { key, value } of contents.items) {
    const name = scalarText(key);
    if (name !== "images") {
      throw wrong(`Unknown key "${name}"`, at(key), "The only key is images.");
    }
    if (!isMap(value)) {
      throw wrong("images is no mapping", at(value ?? key), "Write REFERENCE: FILE below it.");
    }
    for (const { key: reference, value: file } of value.items) {
      if (!isScalar(file) || typeof file.value !== "string") {
        const hint = "Write the path of a module file, relative to this file.";
        throw wrong(`images."${scalarText(reference)}" is no text`, at(file ?? reference), hint);
      }
      images.set(scalarText(reference), resolve(dirname(path), file.value));
    }
  }
  return { images };
}

function scalarText(node: unknown): string {
  return isScalar(node) ? String(node.value) : "";
}

function rangeStart(node: unknown): number {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- keys and values of a parsed document are nodes
  return (node as Node | null)?.range?.[0] ?? 0;
}

function wrong(message: string, place?: Place, hint?: string): Failure {
  return new Failure("invalid-argument", message, {
    ...(place ? { place } : {}),
    ...(hint === undefined ? {} : { hint }),
  });
}

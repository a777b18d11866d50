import { readFile, realpath, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { isMap, isScalar, LineCounter, parseDocument, type Node } from "yaml";
import { Failure, type Place } from "../errors/mod.ts";
import { strongest, trustClasses, type Trust } from "../runner/mod.ts";
import { nobody, readOperator, type Operator } from "./operator.ts";

/** What is configured for a run. */
export interface Configuration {
  /** A module file for each image reference; absolute paths. */
  readonly images: ReadonlyMap<string, string>;
  /** Those files that not the operator named, but a configuration beside the workflow. */
  readonly foreignFiles: readonly string[];
  /** The least trust class of every step. Any file may raise it. */
  readonly trust: Trust;
  /** What the operator allows. */
  readonly operator: Operator;
}

/** A configuration that was read: its values by key, and where they stand. */
export interface ConfigurationFile {
  readonly path: string;
  readonly root: ReadonlyMap<string, unknown>;
  readonly place: (node: unknown) => Place;
}

/** A configuration is written by hand. */
const longest = 1024 * 1024;
const knownKeys = [
  "artifactRepositories",
  "artifactRepository",
  "imageCache",
  "images",
  "limits",
  "permissions",
  "policy",
  "registries",
  "secrets",
  "trust",
];
/** What only the operator says. A workflow's folder may be somebody else's, and what lies in it is not the operator's word. */
const operatorKeys = [
  "artifactRepositories",
  "artifactRepository",
  "imageCache",
  "limits",
  "permissions",
  "policy",
  "registries",
  "secrets",
];

/**
 * Reads `atalanta.yaml` in the folder of a workflow, if there is one, and before it the file that the operator named with `--config`.
 */
export async function readConfiguration(folder: string, named?: string): Promise<Configuration> {
  const beside = await read(join(folder, "atalanta.yaml"), true);
  const own = named === undefined ? undefined : await read(named, false);
  const same = own && beside && (await realpath(own.path)) === (await realpath(beside.path));
  if (beside && !same) checkForeign(beside);
  const foreign = beside && !same ? images(beside) : new Map<string, string>();
  return {
    foreignFiles: [...foreign.values()],
    images: new Map([...(beside ? images(beside) : []), ...(own ? images(own) : [])]),
    trust: strongest(beside && trust(beside), own && trust(own)),
    operator: own ? await readOperator(own) : nobody,
  };
}

/** What the file that the operator named says alone, for who looks at a workflow and does not run it. */
export async function readOperatorFile(named: string | undefined): Promise<Operator> {
  const own = named === undefined ? undefined : await read(named, false);
  return own ? await readOperator(own) : nobody;
}

function checkForeign({ path, root, place }: ConfigurationFile): void {
  const key = operatorKeys.find((word) => root.has(word));
  if (key === undefined) return;
  throw wrong(
    `"${key}" of "${path}" counts only when you say that the file is yours`,
    place(root.get(key)),
    `Look at it, and then give --config ${path}.`,
  );
}

async function read(path: string, optional: boolean): Promise<ConfigurationFile | undefined> {
  let text: string;
  try {
    // What lies beside a workflow is not always its reader's: a pipe or a device would have no end.
    if (optional && !(await stat(path)).isFile()) throw new Error("it is not a file");
    text = await readFile(path, "utf8");
  } catch (cause) {
    const missing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    if (missing && optional) return undefined;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `Cannot read "${path}": ${reason}`, { cause });
  }
  return parse(path, text);
}

function parse(path: string, text: string): ConfigurationFile {
  if (text.length > longest) throw wrong(`"${path}" is larger than ${longest} characters`);
  const lineCounter = new LineCounter();
  // The parser's own search for double keys takes quadratic time.
  const document = parseDocument(text, { lineCounter, uniqueKeys: false });
  const at = (offset: number): Place => {
    const { line, col } = lineCounter.linePos(offset);
    return { file: path, line, column: col };
  };
  const place = (node: unknown): Place => at(rangeStart(node));
  const [error] = document.errors;
  if (error) throw wrong(`YAML: ${error.message.split("\n")[0]}`, at(error.pos[0]));
  const root = new Map<string, unknown>();
  const { contents } = document;
  if (contents === null) return { path, root, place };
  if (!isMap(contents)) throw wrong("The configuration is no mapping", place(contents));
  for (const { key, value } of contents.items) {
    const name = scalarText(key);
    if (!knownKeys.includes(name)) {
      throw wrong(`Unknown key "${name}"`, place(key), `The keys are ${knownKeys.join(", ")}.`);
    }
    if (root.has(name)) throw twice(name, place(key));
    root.set(name, value ?? key);
  }
  return { path, root, place };
}

function images({ path, root, place }: ConfigurationFile): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const node = root.get("images");
  if (node === undefined) return found;
  if (!isMap(node)) {
    throw wrong("images is no mapping", place(node), "Write REFERENCE: FILE below it.");
  }
  for (const { key: reference, value: file } of node.items) {
    const name = scalarText(reference);
    if (found.has(name)) throw twice(name, place(reference));
    if (!isScalar(file) || typeof file.value !== "string") {
      const hint = "Write the path of a module file, relative to this file.";
      throw wrong(`images."${name}" is no text`, place(file ?? reference), hint);
    }
    found.set(name, resolve(dirname(path), file.value));
  }
  return found;
}

function trust({ root, place }: ConfigurationFile): Trust | undefined {
  const node = root.get("trust");
  if (node === undefined) return undefined;
  const found = trustClasses.find((name) => isScalar(node) && node.value === name);
  if (found) return found;
  throw wrong("trust is no trust class", place(node), `Write ${trustClasses.join(", ")}.`);
}

function scalarText(node: unknown): string {
  return isScalar(node) ? String(node.value) : "";
}

function rangeStart(node: unknown): number {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- keys and values of a parsed document are nodes
  return (node as Node | null)?.range?.[0] ?? 0;
}

function twice(name: string, place: Place): Failure {
  return wrong(`The key "${name}" is there twice`, place, "Remove one.");
}

function wrong(message: string, place?: Place, hint?: string): Failure {
  return new Failure("invalid-argument", message, {
    ...(place ? { place } : {}),
    ...(hint === undefined ? {} : { hint }),
  });
}

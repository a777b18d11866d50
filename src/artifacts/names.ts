import { createHash } from "node:crypto";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Failure } from "../errors/mod.ts";
import { isCode, writeAll, type Blobs } from "./blobs.ts";
import { comparePaths } from "./index-file.ts";
import type { StoredArtifact } from "./mod.ts";

/** As S3 has it. */
const keyBytes = 1024;
/** Longer names of a segment become a digest: file systems stop at 255. */
const nameBytes = 200;

interface Named {
  readonly path: string;
  readonly artifact: StoredArtifact;
}

/** The names of the artifact repository: one small file for each key, replaced by a rename. */
export class Names {
  readonly #folder: string;
  readonly #blobs: Blobs;
  constructor(folder: string, blobs: Blobs) {
    this.#folder = folder;
    this.#blobs = blobs;
  }

  /** Gives the artifact the name; an older one of that name loses it. */
  async publish(key: string, artifact: StoredArtifact): Promise<void> {
    const path = this.#file(segments(key));
    const text = Buffer.from(`${JSON.stringify({ path: key, artifact } satisfies Named)}\n`);
    await mkdir(dirname(path), { recursive: true });
    await this.#blobs.writeAndPublish(path, (file) => writeAll(file, text));
  }

  async find(key: string): Promise<StoredArtifact | undefined> {
    return (await readName(this.#file(segments(key))))?.artifact;
  }

  /** Every key below `prefix/` (all for an empty prefix), in order, with the prefix taken off. */
  async below(prefix: string): Promise<readonly Named[]> {
    const parts = prefix === "" ? [] : segments(prefix);
    const start = parts.length === 0 ? 0 : parts.join("/").length + 1;
    const found: Named[] = [];
    for await (const { path, artifact } of walk(join(this.#folder, ...parts.map(folderName)))) {
      found.push({ path: path.slice(start), artifact });
    }
    return found.toSorted(comparePaths);
  }

  #file(parts: readonly string[]): string {
    const last = parts.at(-1) ?? "";
    return join(this.#folder, ...parts.slice(0, -1).map(folderName), `${encoded(last)}.json`);
  }
}

/** Splits a key; a slash at either end means nothing, as with Argo's keys. */
export function segments(key: string): readonly string[] {
  const parts = key.replace(/^\/|\/$/g, "").split("/");
  const bad = parts.some((part) => part === "" || part === "." || part === "..");
  if (!bad && !key.includes("\0") && Buffer.byteLength(key) <= keyBytes) return parts;
  throw new Failure("artifact-path", `The artifact key "${key.slice(0, 200)}" is not usable`, {
    hint: `Write names with "/" between them, none of them empty, "." or "..", and at most ${keyBytes} bytes.`,
  });
}

/** Folders and files of one name stand beside each other, because "a" and "a/b" may both be keys. */
function folderName(part: string): string {
  return `${encoded(part)}.d`;
}

/** A file name that means the same on every file system, whatever it thinks of upper case or of accents. */
function encoded(part: string): string {
  const name = [...Buffer.from(part)]
    .map((byte) => {
      const character = String.fromCodePoint(byte);
      return /[a-z0-9_-]/.test(character) ? character : `%${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
  if (name.length <= nameBytes) return name;
  return `%-${createHash("sha256").update(part).digest("hex")}`;
}

async function* walk(folder: string): AsyncGenerator<Named> {
  let items;
  try {
    items = await readdir(folder, { withFileTypes: true });
  } catch (thrown) {
    if (isCode(thrown, "ENOENT")) return;
    throw thrown;
  }
  for (const item of items) {
    const path = join(folder, item.name);
    if (item.isDirectory()) yield* walk(path);
    else {
      const named = await readName(path);
      if (named) yield named;
    }
  }
}

async function readName(path: string): Promise<Named | undefined> {
  let text;
  try {
    text = await readFile(path, "utf8");
  } catch (thrown) {
    if (isCode(thrown, "ENOENT")) return undefined;
    throw thrown;
  }
  try {
    const value: unknown = JSON.parse(text);
    if (isNamed(value)) return value;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
  }
  throw new Failure("storage", `The name in "${path}" is damaged`, {
    hint: "Remove the file and run the step that published it again.",
  });
}

function isNamed(value: unknown): value is Named {
  if (typeof value !== "object" || value === null) return false;
  if (!("path" in value) || typeof value.path !== "string" || !("artifact" in value)) return false;
  const { artifact } = value;
  return (
    typeof artifact === "object" &&
    artifact !== null &&
    "digest" in artifact &&
    typeof artifact.digest === "string" &&
    /^sha256:[0-9a-f]{64}$/.test(artifact.digest) &&
    "size" in artifact &&
    Number.isSafeInteger(artifact.size) &&
    "kind" in artifact &&
    (artifact.kind === "file" || artifact.kind === "directory")
  );
}

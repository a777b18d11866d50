import { join } from "node:path";
import { Failure } from "../../errors/mod.ts";
import type { TreeEntry } from "../../wasi/mod.ts";
import { eachOf } from "../files.ts";
import type { ListedObject } from "../mod.ts";
import type { Transfer } from "../stores.ts";
import { Trouble } from "../trouble.ts";
import { tooLarge } from "./ceilings.ts";
import { downloadObject } from "./download.ts";
import type { Objects } from "./objects.ts";

const objectsAtOnce = 8;
const mode = 0o644;
const folderMode = 0o755;
const nameBytes = 255;

/** Brings all objects whose keys begin with `prefix`, which is empty or ends in a slash. Undefined: there is none. */
export async function downloadFolder(
  objects: Objects,
  prefix: string,
  folder: string,
  { signal, onProgress }: Transfer,
): Promise<readonly TreeEntry[] | undefined> {
  const { bytes: mostBytes } = objects.context.limits;
  const tree = new Tree(prefix, objects.context.limits.files);
  let told = 0;
  let listed = 0;
  const files = async function* (): AsyncGenerator<{ object: ListedObject; content: string }> {
    for await (const object of objects.list(prefix, signal)) {
      listed += object.size;
      if (listed > mostBytes) throw tooLarge("has more bytes", mostBytes);
      const path = tree.add(object);
      if (path !== undefined) yield { object, content: join(folder, String(path)) };
    }
  };
  await eachOf(files(), { atOnce: objectsAtOnce, signal }, async ({ object, content }, signal) => {
    const size = await downloadObject(objects, object.key, content, {
      signal,
      mostBytes,
      onBytes: (bytes) => {
        told += bytes;
        onProgress(told);
      },
    });
    tree.have(object.key, { path: content, size });
  });
  return tree.entries();
}

/** What keys say of a folder. Names of the store's stay strings: no file of ours has one. */
class Tree {
  readonly #prefix: string;
  readonly #mostFiles: number;
  readonly #files = new Map<string, { readonly path: string; readonly size: number } | undefined>();
  readonly #folders = new Set<string>();
  #count = 0;

  constructor(prefix: string, mostFiles: number) {
    this.#prefix = prefix;
    this.#mostFiles = mostFiles;
  }

  /** Takes an object up. Gives the number of its file, or undefined for one that only says that a folder is there. */
  add({ key, size }: ListedObject): number | undefined {
    const path = key.slice(this.#prefix.length);
    this.#count++;
    if (this.#count > this.#mostFiles) {
      throw new Failure(
        "artifact-too-large",
        `the folder has more than ${this.#mostFiles} objects`,
        {
          hint: "The ceiling is of all artifacts from stores; make several of it, or an archive.",
        },
      );
    }
    if (path === "") {
      this.#folders.add("");
      return undefined;
    }
    // A console makes folders by empty objects whose keys end in a slash.
    const marker = path.endsWith("/") && size === 0;
    const parts = (marker ? path.slice(0, -1) : path).split("/");
    const bad = parts.find(
      (part) =>
        part === "" ||
        part === "." ||
        part === ".." ||
        part.includes("\0") ||
        Buffer.byteLength(part) > nameBytes,
    );
    if (bad !== undefined) {
      throw hostile(
        key,
        bad.length > 2
          ? "a part of it is too long or has a zero byte"
          : `"${bad}" is no name of a file`,
      );
    }
    const folders = marker ? parts : parts.slice(0, -1);
    for (const [index] of folders.entries()) {
      const folder = folders.slice(0, index + 1).join("/");
      if (this.#files.has(folder)) throw hostile(key, `"${folder}" is a file as well`);
      this.#folders.add(folder);
    }
    if (marker) return undefined;
    const name = parts.join("/");
    if (this.#folders.has(name)) throw hostile(key, "it is a folder as well");
    if (this.#files.has(name)) throw new Trouble("store-refused", "it lists the same key twice");
    this.#files.set(name, undefined);
    return this.#count;
  }

  have(key: string, file: { readonly path: string; readonly size: number }): void {
    this.#files.set(key.slice(this.#prefix.length), file);
  }

  entries(): readonly TreeEntry[] | undefined {
    if (this.#count === 0) return undefined;
    const folders = [...this.#folders].map((path) => ({
      kind: "directory" as const,
      path,
      mode: folderMode,
    }));
    const files = [...this.#files].flatMap(([path, file]) =>
      file
        ? [
            {
              kind: "file" as const,
              path,
              mode,
              content: { kind: "slice" as const, offset: 0, ...file },
            },
          ]
        : [],
    );
    return [...folders, ...files];
  }
}

function hostile(key: string, why: string): Failure {
  return new Failure(
    "artifact-path",
    `the key ${JSON.stringify(key.slice(0, 200))} cannot be a file of a folder: ${why}`,
    { hint: "Rename or remove that object." },
  );
}

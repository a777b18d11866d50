import { join } from "node:path";
import { Failure } from "../../errors/mod.ts";
import type { HostBytes, TreeEntry } from "../../wasi/mod.ts";
import { eachOf, sizeOf } from "../files.ts";
import type { Downloaded, ListedObject, Location, UploadContent, Uploaded } from "../mod.ts";
import type { Store, Transfer, Wait } from "../stores.ts";
import { downloadObject } from "./download.ts";
import { downloadFolder } from "./folder.ts";
import type { Objects } from "./objects.ts";
import type { UploadOptions } from "./source.ts";

const filesAtOnce = 8;
/** Keys that are given to be removed together; S3 takes no more. */
const removedAtOnce = 1000;

export interface ObjectStoreOptions<Kind> {
  readonly open: (location: Kind) => Promise<Objects>;
  readonly keyOf: (location: Kind) => string;
  /** Makes what an upload goes into, where the location wants that. */
  readonly prepare?: (location: Kind, signal: AbortSignal) => Promise<void>;
}

/** Artifacts in stores of objects: a file is an object, a folder all objects below a key. */
export class ObjectStore<Kind extends Location> implements Required<Store<Kind>> {
  readonly #options: ObjectStoreOptions<Kind>;

  constructor(options: ObjectStoreOptions<Kind>) {
    this.#options = options;
  }

  async download(location: Kind, folder: string, options: Transfer): Promise<Downloaded> {
    const objects = await this.#options.open(location);
    const key = this.#options.keyOf(location);
    return objects.named(`download "${key}"`, async () => {
      const isFolder = key === "" || key.endsWith("/");
      if (!isFolder) objects.checkKey(key);
      const file = isFolder
        ? undefined
        : await downloadFile(objects, key, join(folder, "0"), options);
      if (file !== undefined) return file;
      const prefix = isFolder ? key : `${key}/`;
      const entries = await downloadFolder(objects, prefix, folder, options);
      if (entries) return { kind: "directory", entries };
      throw new Failure("artifact-missing", "there is no object of that key and none below it", {
        hint: "Was it written under that key, and to that bucket?",
      });
    });
  }

  async upload(location: Kind, content: UploadContent, options: Transfer): Promise<Uploaded> {
    const objects = await this.#options.open(location);
    const key = this.#options.keyOf(location);
    return objects.named(`upload "${key}"`, async () => {
      await this.#options.prepare?.(location, options.signal);
      let sent = 0;
      const counted = {
        signal: options.signal,
        onBytes: (bytes: number) => {
          sent += bytes;
          if (bytes !== 0) options.onProgress(sent);
        },
      };
      if (content.kind === "directory") {
        return uploadFolder(objects, key, content.entries, counted);
      }
      if (key === "" || key.endsWith("/")) {
        throw new Failure("artifact-path", "A file needs a key that does not end in a slash", {
          hint: "Write the name of the object.",
        });
      }
      objects.checkKey(key);
      if (content.kind === "stream") {
        return { bytes: await objects.uploadStream(key, content.bytes, counted), files: 1 };
      }
      await objects.upload(key, content.content, counted);
      return { bytes: sizeOf(content.content), files: 1 };
    });
  }

  async *list(location: Kind, { signal }: Wait): AsyncGenerator<ListedObject> {
    const objects = await this.#options.open(location);
    const key = this.#options.keyOf(location);
    const what = `list "${key}"`;
    if (key !== "" && !key.endsWith("/")) {
      objects.checkKey(key);
      const object = await objects.named(what, () => objects.head(key, signal));
      if (object) yield object;
    }
    const prefix = key === "" || key.endsWith("/") ? key : `${key}/`;
    const found = objects.list(prefix, signal)[Symbol.asyncIterator]();
    for (;;) {
      const next = await objects.named(what, () => found.next());
      if (next.done === true) return;
      yield next.value;
    }
  }

  async delete(location: Kind, { signal }: Wait): Promise<void> {
    const objects = await this.#options.open(location);
    const key = this.#options.keyOf(location);
    await objects.named(`delete "${key}"`, async () => {
      if (key.replaceAll("/", "") === "") {
        throw new Failure("invalid-argument", "That would be all of the bucket", {
          hint: "Write the key of an artifact.",
        });
      }
      if (!key.endsWith("/")) {
        objects.checkKey(key);
        return objects.remove(key, signal);
      }
      let keys: string[] = [];
      for await (const object of objects.list(key, signal)) {
        keys.push(object.key);
        if (keys.length < removedAtOnce) continue;
        await objects.removeAll(keys, signal);
        keys = [];
      }
      if (keys.length > 0) await objects.removeAll(keys, signal);
    });
  }
}

/** Undefined: there is no such object. */
async function downloadFile(
  objects: Objects,
  key: string,
  path: string,
  { signal, onProgress }: Transfer,
): Promise<Downloaded | undefined> {
  let told = 0;
  try {
    const size = await downloadObject(objects, key, path, {
      signal,
      mostBytes: objects.context.limits.bytes,
      onBytes: (bytes) => {
        told += bytes;
        onProgress(told);
      },
    });
    return { kind: "file", content: { kind: "slice", path, offset: 0, size } };
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "artifact-missing") return undefined;
    throw thrown;
  }
}

/** Files by their paths, and an empty object for each folder that would be lost. Links are left out, as Argo does. */
async function uploadFolder(
  objects: Objects,
  key: string,
  entries: readonly TreeEntry[],
  options: UploadOptions,
): Promise<Uploaded> {
  const prefix = key === "" || key.endsWith("/") ? key : `${key}/`;
  const files = entries.filter((entry) => entry.kind === "file");
  const nonEmpty = new Set(
    entries.flatMap(({ kind, path }) => (kind === "symlink" ? [] : parentsOf(path))),
  );
  const empty = entries.filter(
    ({ kind, path }) => kind === "directory" && path !== "" && !nonEmpty.has(path),
  );
  const nothing = { kind: "bytes" as const, bytes: new Uint8Array() };
  const all: { readonly key: string; readonly content: HostBytes }[] = [
    ...files.map(({ path, content }) => ({ key: `${prefix}${path}`, content })),
    ...empty.map(({ path }) => ({ key: `${prefix}${path}/`, content: nothing })),
  ];
  if (all.length === 0 && prefix !== "") all.push({ key: prefix, content: nothing });
  await eachOf(
    all,
    { atOnce: filesAtOnce, signal: options.signal },
    async ({ key, content }, signal) => {
      objects.checkKey(key);
      await objects.upload(key, content, { ...options, signal });
    },
  );
  return {
    bytes: files.reduce((sum, { content }) => sum + sizeOf(content), 0),
    files: all.length,
  };
}

/** `a` and `a/b` of `a/b/c`. */
function parentsOf(path: string): readonly string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
}

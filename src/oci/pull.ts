import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { defaultArchiveLimits } from "../archives/mod.ts";
import type { Failure } from "../errors/mod.ts";
import { limitFailure, type Limits } from "../limits/mod.ts";
import type { TreeEntry } from "../wasi/mod.ts";
import type { Registry } from "./client.ts";
import { digestOfFile } from "./file-digest.ts";
import { unpackLayers, type LayerFile } from "./layers.ts";
import type { Manifest } from "./manifest.ts";
import {
  configOf,
  contentsOf,
  layerTypes,
  unfit,
  type Descriptor,
  type ImageConfig,
  type Packaging,
} from "./packaging.ts";
import type { Reference } from "./reference.ts";

/** How far a pull is. */
export interface Progress {
  readonly receivedBytes: number;
  readonly totalBytes: number;
}

export interface PullOptions {
  readonly registry: Registry;
  /** With the digest that is wanted. */
  readonly reference: Reference;
  /** A new folder, which becomes the image's; the caller removes it when this fails. */
  readonly folder: string;
  readonly limits: Limits;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Whether the image may be had, once its manifest is known and before anything more is fetched. */
  readonly check?: ((manifest: Manifest) => Promise<void>) | undefined;
}

/** What a pull left in its folder. Paths are relative to it. */
export interface Pulled {
  readonly packaging: Packaging;
  readonly module: { readonly path: string; readonly digest: string; readonly size: number };
  readonly config: Pick<ImageConfig, "entrypoint" | "command" | "environment" | "workingDir">;
  readonly entries: readonly TreeEntry[];
}

/** Indexes in indexes. */
const deepest = 3;
/** A config is a page of JSON. */
const configBytes = 4 * 1024 * 1024;
const mostLayers = 128;
/** Names of repositories may be longer than a file's. */
const shownName = 100;
const nothingSaid = { entrypoint: [], command: [], environment: [], workingDir: "" };

/** Brings an image into a folder and finds its module. */
export async function pull(options: PullOptions): Promise<Pulled> {
  const { registry, reference, signal, check } = options;
  let manifest = await registry.manifest(reference, signal ? { signal } : {});
  await check?.(manifest);
  let contents = contentsOf(manifest);
  for (let depth = 1; contents.kind === "index"; depth++) {
    if (depth > deepest) throw unfit(`it is an index in ${deepest} others`);
    const { digest } = contents.manifest;
    manifest = await registry.manifest({ ...reference, digest }, signal ? { signal } : {});
    contents = contentsOf(manifest);
  }
  if (contents.kind === "files") return pullFiles(contents, options);
  const { layer, packaging } = contents;
  const { limits, folder } = options;
  if (layer.size > limits.moduleBytes) throw tooLarge(layer.size, options);
  const name = moduleFile(options);
  const path = join(folder, name);
  await fetchAll([{ ...layer, path }], options);
  await checkModule(path, `layer "${layer.mediaType}"`);
  // The module's digest is ours, whatever algorithm the layer's has.
  const module = { path: name, digest: await digestOfFile(path), size: layer.size };
  return { packaging, module, config: nothingSaid, entries: [] };
}

async function pullFiles(
  contents: Extract<ReturnType<typeof contentsOf>, { readonly kind: "files" }>,
  options: PullOptions,
): Promise<Pulled> {
  const { packaging } = contents;
  const { folder, signal } = options;
  const { size } = contents.config;
  if (size > configBytes) throw unfit(`its config has ${size} bytes; ${configBytes} may be`);
  if (contents.layers.length > mostLayers) {
    throw unfit(`it has ${contents.layers.length} layers; ${mostLayers} may be`);
  }
  const configPath = join(folder, "config.json");
  await fetchAll([{ ...contents.config, path: configPath }], options);
  const config = configOf(await readFile(configPath), packaging);
  const { diffIds } = config;
  if (diffIds.length > 0 && diffIds.length !== contents.layers.length) {
    throw unfit(
      `its config has ${diffIds.length} layers and its manifest ${contents.layers.length}`,
    );
  }
  const blobs = contents.layers.map((layer, at) => ({
    ...layer,
    path: join(folder, `blob-${at + 1}`),
  }));
  const packedBytes = blobs.reduce((sum, blob) => sum + blob.size, 0);
  if (packedBytes > defaultArchiveLimits.totalBytes) {
    throw unfit(`its layers have ${packedBytes} bytes; ${defaultArchiveLimits.totalBytes} may be`);
  }
  await fetchAll(blobs, options);
  const layers = blobs.map(({ path, size: packed, mediaType }, at): LayerFile => {
    const diffId = diffIds[at];
    return {
      path,
      size: packed,
      packed: layerTypes.get(mediaType) ?? "none",
      ...(diffId === undefined ? {} : { diffId }),
    };
  });
  const entries = await unpackLayers(layers, {
    scratch: folder,
    limits: defaultArchiveLimits,
    signal,
  });
  for (const { path } of blobs) await rm(path);
  const found = findModule(entries, config, packaging);
  const { moved, ...module } = await moduleAt(found, options);
  // A hard link to the module is another name of the same file.
  const below = (path: string): string =>
    path === moved ? module.path : path.slice(folder.length + 1);
  return {
    packaging,
    module,
    config: started(config),
    entries: entries
      .filter((entry) => entry !== found)
      .map((entry) =>
        entry.kind === "file" && entry.content.kind === "slice"
          ? { ...entry, content: { ...entry.content, path: below(entry.content.path) } }
          : entry,
      ),
  };
}

/** An image may name what runs as its command. */
function started({ entrypoint, command, environment, workingDir }: ImageConfig): Pulled["config"] {
  const [program, ...rest] = command;
  if (entrypoint.length > 0 || program === undefined)
    return { entrypoint, command, environment, workingDir };
  return { entrypoint: [program], command: rest, environment, workingDir };
}

type FileEntry = Extract<TreeEntry, { readonly kind: "file" }>;

/** The file that the image says is to run; in an image of the variant `compat`, else its `plugin.wasm` or its only module. */
function findModule(
  entries: readonly TreeEntry[],
  { entrypoint, command, workingDir }: ImageConfig,
  packaging: Packaging,
): FileEntry {
  const tree = new Map(entries.map((entry) => [entry.path, entry]));
  const named = entrypoint[0] ?? command[0];
  if (named !== undefined) {
    const tried = named.startsWith("/") ? [named] : [`${workingDir}/${named}`, `/${named}`];
    for (const path of tried) {
      const found = fileAt(tree, path);
      if (found) return found;
    }
    throw unfit(`its entry point "${named.slice(0, 200)}" is no file in it`);
  }
  const modules = entries.filter(
    (entry): entry is FileEntry => entry.kind === "file" && entry.path.endsWith(".wasm"),
  );
  const plugin = modules.find(({ path }) => path === "plugin.wasm");
  const [only] = modules;
  if (packaging === "compat" && plugin) return plugin;
  if (packaging === "compat" && only && modules.length === 1) return only;
  throw unfit("it has no entry point", 'Build it with ENTRYPOINT ["/NAME.wasm"].');
}

/** The file at an absolute path; links in the image are followed. */
function fileAt(tree: ReadonlyMap<string, TreeEntry>, path: string): FileEntry | undefined {
  const left = path.split("/").toReversed();
  const at: string[] = [];
  for (let steps = 0; left.length > 0 && steps < 1000; steps++) {
    const part = left.pop() ?? "";
    if (part === "" || part === ".") continue;
    if (part === "..") {
      at.pop();
      continue;
    }
    at.push(part);
    const entry = tree.get(at.join("/"));
    if (entry?.kind !== "symlink") continue;
    at.pop();
    left.push(...entry.target.split("/").toReversed());
  }
  const entry = left.length === 0 ? tree.get(at.join("/")) : undefined;
  return entry?.kind === "file" ? entry : undefined;
}

/** A module has a file of its own. */
async function moduleAt(
  entry: FileEntry,
  options: PullOptions,
): Promise<Pulled["module"] & { readonly moved?: string }> {
  const { folder, limits } = options;
  const { content } = entry;
  if (content.kind !== "slice") throw new Error("what came out of a layer lies in a file");
  if (content.size > limits.moduleBytes) throw tooLarge(content.size, options);
  const name = moduleFile(options);
  const path = join(folder, name);
  const whole = (await stat(content.path)).size === content.size;
  if (whole) await rename(content.path, path);
  else {
    await using from = await open(content.path);
    await using to = await open(path, "wx");
    const bytes = Buffer.alloc(content.size);
    await from.read(bytes, 0, content.size, content.offset);
    await to.writeFile(bytes);
  }
  await checkModule(path, `entry point "${entry.path.slice(0, 200)}"`);
  const module = { path: name, digest: await digestOfFile(path), size: content.size };
  return whole ? { ...module, moved: content.path } : module;
}

async function fetchAll(
  blobs: readonly (Descriptor & { readonly path: string })[],
  { registry, reference, signal, onProgress }: PullOptions,
): Promise<void> {
  const totalBytes = blobs.reduce((sum, { size }) => sum + size, 0);
  let before = 0;
  for (const { path, ...blob } of blobs) {
    const done = before;
    await registry.blob(
      reference,
      blob,
      { path },
      {
        ...(signal ? { signal } : {}),
        onProgress: (bytes) => onProgress?.({ receivedBytes: done + bytes, totalBytes }),
      },
    );
    before += blob.size;
  }
}

/** Messages show the file's name. */
function moduleFile({ reference: { repository } }: PullOptions): string {
  return `${repository.slice(repository.lastIndexOf("/") + 1).slice(0, shownName)}.wasm`;
}

/** A word on what else it is, before anything is compiled. */
async function checkModule(path: string, what: string): Promise<void> {
  await using file = await open(path);
  const start = Buffer.alloc(4);
  await file.read(start, 0, 4, 0);
  if (start.toString("latin1") === "\0asm") return;
  const elf = start.toString("latin1") === "\x7fELF" ? ", but a program for Linux" : "";
  throw unfit(`its ${what} is no WebAssembly module${elf}`);
}

function tooLarge(size: number, { limits }: PullOptions): Failure {
  return limitFailure("moduleSize", limits, `The image's module has ${size} bytes`);
}

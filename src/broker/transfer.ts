import type { ObjectStore } from "@nats-io/obj";
import { randomUUID } from "node:crypto";
import { open, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { Collected, Mount, TreeEntry } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import type { StoredArtifact } from "../task/mod.ts";

/** What is needed of the folder of artifacts. */
export interface Artifacts {
  content(artifact: StoredArtifact): Promise<Mount["content"]>;
  put(collected: Exclude<Collected, { readonly kind: "missing" }>): Promise<StoredArtifact>;
  stagingFolder(): Promise<string>;
}

const blockBytes = 256 * 1024;
/** Files up to here are kept in memory while they come, together no more than so much. */
const smallBytes = 64 * 1024;
const memoryBytes = 16 * 1024 * 1024;
const headerBytes = 256 * 1024 * 1024;

type Said =
  | readonly ["f", path: string, mode: number, size: number]
  | readonly ["d", path: string, mode: number]
  | readonly ["l", path: string, target: string];

interface Header {
  readonly kind: "file" | "directory";
  readonly entries: readonly Said[];
}

/** Artifacts in the broker's object store, by digest: each is put there once and taken out by who lacks it. Nothing is held whole. */
export class Transfer {
  readonly #store: ObjectStore;
  readonly #artifacts: Artifacts;
  readonly #sent = new Set<string>();

  constructor(store: ObjectStore, artifacts: Artifacts) {
    this.#store = store;
    this.#artifacts = artifacts;
  }

  /** Puts an artifact there, if it is not. */
  async send(artifact: StoredArtifact): Promise<void> {
    const name = nameOf(artifact);
    if (this.#sent.has(name)) return;
    if (!(await this.#store.info(name))) {
      const content = await this.#artifacts.content(artifact);
      await this.#store.put({ name }, streamOf(content));
    }
    if (this.#sent.size >= mostSent) this.#sent.clear();
    this.#sent.add(name);
  }

  /** Takes an artifact out, if it is not here. Throws `artifact-missing`. */
  async fetch(artifact: StoredArtifact): Promise<void> {
    try {
      await this.#artifacts.content(artifact);
      return;
    } catch (thrown) {
      // It is not here, or damaged.
      if (!(thrown instanceof Failure && thrown.code === "storage")) throw thrown;
    }
    const found = await this.#store.get(nameOf(artifact));
    if (!found) {
      throw new Failure(
        "artifact-missing",
        `The artifact ${artifact.digest} is not with the broker any more`,
        {
          hint: "Run the workflow anew, or keep outcomes longer (--keep).",
        },
      );
    }
    const staging = await this.#artifacts.stagingFolder();
    try {
      const collected = await collect(found.data, staging);
      const stored = await this.#artifacts.put(collected);
      if (stored.digest !== artifact.digest) {
        throw new Failure(
          "artifact-missing",
          `The artifact ${artifact.digest} came over damaged: it is ${stored.digest} now`,
        );
      }
    } finally {
      await rm(staging, { recursive: true, force: true });
    }
    await found.error;
  }
}

/** Reads an artifact; larger files go into the folder. */
async function collect(
  data: ReadableStream<Uint8Array>,
  staging: string,
): Promise<Exclude<Collected, { readonly kind: "missing" }>> {
  const reader = new Pieces(data);
  const length = Buffer.from(await reader.take(4)).readUInt32LE(0);
  if (length > headerBytes) throw damaged();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- looked at below, and what is made of it has the digest that was asked for or is thrown away
  const { kind, entries } = JSON.parse(Buffer.from(await reader.take(length)).toString()) as Header;
  const read: TreeEntry[] = [];
  let room = memoryBytes;
  for (const entry of entries) {
    if (entry[0] === "d") read.push({ kind: "directory", path: entry[1], mode: entry[2] });
    else if (entry[0] === "l") read.push({ kind: "symlink", path: entry[1], target: entry[2] });
    else {
      const [, path, mode, size] = entry;
      if (size <= smallBytes && size <= room) {
        room -= size;
        const bytes = new Uint8Array(await reader.take(size));
        read.push({ kind: "file", path, mode, content: { kind: "bytes", bytes } });
        continue;
      }
      const file = join(staging, `came-${randomUUID()}`);
      await using handle = await open(file, "wx", 0o600);
      await reader.into(handle, size);
      read.push({
        kind: "file",
        path,
        mode,
        content: { kind: "slice", path: file, offset: 0, size },
      });
    }
  }
  if (kind === "directory") return { path: "/", kind, entries: read };
  const [only] = read;
  if (only?.kind !== "file") throw damaged();
  return { path: "/", kind: "file", mode: only.mode, content: only.content };
}

const mostSent = 10_000;

function nameOf({ digest, mode }: StoredArtifact): string {
  return `artifact.${digest.replace(":", "-")}${mode === undefined ? "" : `.${mode.toString(8)}`}`;
}

function streamOf(content: Mount["content"]): ReadableStream<Uint8Array> {
  const pieces = piecesOf(content);
  return new ReadableStream({
    async pull(controller) {
      const step = await pieces.next();
      if (step.done) controller.close();
      else controller.enqueue(step.value);
    },
  });
}

async function* piecesOf(content: Mount["content"]): AsyncGenerator<Uint8Array, undefined> {
  const entries: readonly TreeEntry[] =
    content.kind === "directory"
      ? content.entries
      : [{ kind: "file", path: "", mode: content.mode, content: content.content }];
  const said = entries.map((entry): Said => {
    if (entry.kind === "directory") return ["d", entry.path, entry.mode];
    if (entry.kind === "symlink") return ["l", entry.path, entry.target];
    const { content: bytes } = entry;
    return ["f", entry.path, entry.mode, bytes.kind === "bytes" ? bytes.bytes.length : bytes.size];
  });
  const header = Buffer.from(
    JSON.stringify({ kind: content.kind, entries: said } satisfies Header),
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  yield length;
  for (let at = 0; at < header.length; at += blockBytes) yield header.subarray(at, at + blockBytes);
  let opened: { readonly path: string; readonly handle: FileHandle } | undefined;
  try {
    for (const entry of entries) {
      if (entry.kind !== "file") continue;
      const { content: bytes } = entry;
      if (bytes.kind === "bytes") {
        for (let at = 0; at < bytes.bytes.length; at += blockBytes)
          yield bytes.bytes.subarray(at, at + blockBytes);
        continue;
      }
      // Files of one pack lie in one file.
      if (opened?.path !== bytes.path) {
        await opened?.handle.close();
        opened = { path: bytes.path, handle: await open(bytes.path) };
      }
      for (let at = 0; at < bytes.size;) {
        const block = new Uint8Array(Math.min(blockBytes, bytes.size - at));
        const { bytesRead } = await opened.handle.read(block, 0, block.length, bytes.offset + at);
        if (bytesRead === 0)
          throw new Failure("artifact-missing", `"${bytes.path}" ends too early`);
        yield block.subarray(0, bytesRead);
        at += bytesRead;
      }
    }
  } finally {
    await opened?.handle.close();
  }
  return undefined;
}

/** A stream of which so many bytes at a time are wanted. */
class Pieces {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(data: ReadableStream<Uint8Array>) {
    this.#reader = data.getReader();
  }

  async take(size: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let left = size; left > 0;) {
      const part = await this.#some(left);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts, size);
  }

  async into(file: FileHandle, size: number): Promise<void> {
    for (let left = size; left > 0;) {
      const part = await this.#some(left);
      for (let at = 0; at < part.length;) at += (await file.write(part, at)).bytesWritten;
      left -= part.length;
    }
  }

  async #some(most: number): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#reader.read();
      if (done) throw damaged();
      this.#rest = value;
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }
}

function damaged(): Failure {
  return new Failure("artifact-missing", "An artifact came over damaged");
}

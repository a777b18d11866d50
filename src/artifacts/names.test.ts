import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openArtifactStore, type ArtifactStore, type StoredArtifact } from "./mod.ts";

const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const open = (name: string): Promise<ArtifactStore> =>
  openArtifactStore({ folder: join(folder, name) });

async function named(store: ArtifactStore, key: string): Promise<StoredArtifact | undefined> {
  const found = await store.find(key);
  return found && "artifact" in found ? found.artifact : undefined;
}

async function paths(store: ArtifactStore, key: string): Promise<readonly string[] | undefined> {
  const found = await store.find(key);
  if (!found || !("content" in found)) return undefined;
  const { content } = found;
  return content.kind === "file" ? ["(a file)"] : content.entries.map((entry) => entry.path);
}

const text = (value: string): Uint8Array => Buffer.from(value);

test("a published artifact is found by its key, in another process as well, until it is replaced", async () => {
  const store = await open("one");
  const first = await store.putBytes(text("first"));
  await store.publish("reports/2026/a.txt", first);
  await store.publish("reports/2026/a.txt", first);
  assert.deepEqual(await named(await open("one"), "reports/2026/a.txt"), first);
  const second = await store.putBytes(text("second"));
  await store.publish("reports/2026/a.txt", second);
  assert.deepEqual(await named(store, "reports/2026/a.txt"), second);
  assert.equal(await store.find("reports/2026/b.txt"), undefined);
  assert.equal(await store.find("reports/2026/a"), undefined);
});

test("what lies below a key is a folder, put together where it lies", async () => {
  const store = await open("two");
  const large = await store.putBytes(Buffer.alloc(100_000, "x"));
  await store.publish("run/pages/1", large);
  await store.publish("run/pages/deep/2", await store.putBytes(text("two")));
  await store.publish("run/pagesX", await store.putBytes(text("not below")));
  assert.deepEqual(await paths(store, "run/pages/"), ["1", "deep/2"]);
  assert.deepEqual(await paths(store, "run"), ["pages/1", "pages/deep/2", "pagesX"]);
  const found = await store.find("run/pages");
  assert(found && "content" in found);
  assert(found.content.kind === "directory");
  const folder = await store.put({ path: "", ...found.content });
  assert.equal(folder.count, 2);
  assert.equal(folder.size, 100_003);
});

test("a key may be an object and a folder at once, and the object comes first", async () => {
  const store = await open("three");
  const object = await store.putBytes(text("object"));
  await store.publish("a/b", object);
  await store.publish("a/b/c", await store.putBytes(text("below")));
  assert.deepEqual(await named(store, "a/b"), object);
  assert.equal((await named(store, "a/b/c"))?.size, 5);
  assert.deepEqual(await paths(store, "a"), ["b/c"]);
});

test("a key leads into a folder that was published under its beginning", async () => {
  const store = await open("four");
  const content = { kind: "bytes", bytes: text("page") } as const;
  const entries = [{ kind: "file", path: "x/1", mode: 0o644, content }] as const;
  await store.publish("out/pages", await store.put({ path: "", kind: "directory", entries }));
  assert.deepEqual(await paths(store, "out/pages/x/1"), ["(a file)"]);
  assert.deepEqual(await paths(store, "out/pages/x"), ["1"]);
  assert.equal(await store.find("out/pages/y"), undefined);
});

test("keys that differ only in case, in accents or beyond the length of a file name stay apart", async () => {
  const store = await open("five");
  const keys = [
    "A",
    "a",
    "\u00e9",
    "e\u0301",
    "x".repeat(900),
    `${"x".repeat(899)}y`,
    "%41",
    ".hid",
  ];
  for (const key of keys) await store.publish(key, await store.putBytes(text(key)));
  for (const key of keys) {
    const artifact = await named(store, key);
    assert(artifact, key);
    assert.equal(Buffer.from(await store.read(artifact)).toString(), key);
  }
});

test("keys that could lead elsewhere are refused", async () => {
  const store = await open("six");
  const artifact = await store.putBytes(text("x"));
  for (const key of ["", "/", "..", "a/../b", "a//b", "./a", "a\0b", "x".repeat(1025), "a/.."]) {
    await assert.rejects(store.publish(key, artifact), { code: "artifact-path" }, key);
    await assert.rejects(store.find(key), { code: "artifact-path" }, key);
  }
});

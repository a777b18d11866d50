import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TreeEntry } from "../wasi/mod.ts";
import { openArtifactStore, type StoredArtifact } from "./mod.ts";

const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const store = await openArtifactStore({ folder: join(folder, "artifacts") });

function slice(name: string, text: string | Uint8Array) {
  const path = join(folder, name);
  writeFileSync(path, text);
  return { kind: "slice", path, offset: 0, size: text.length } as const;
}

const bytes = (text: string | Uint8Array) => ({ kind: "bytes", bytes: Buffer.from(text) }) as const;

const tree = (entries: readonly TreeEntry[]) =>
  ({ path: "/d", kind: "directory", entries }) as const;

const large = Buffer.alloc(100_000, "large ");

function hostFile(artifact: StoredArtifact, kind: "sha256" | "packs" = "sha256"): string {
  const hex = artifact.digest.slice("sha256:".length);
  return join(folder, "artifacts", kind, hex.slice(0, 2), hex.slice(2));
}

test("a staged file may be stored twice and then discarded, and a file of the user's is only copied", async () => {
  const staged = slice("spill-1", "large");
  const collected = { path: "/f", kind: "file", mode: 0o644, content: staged } as const;
  const stored = await store.put(collected);
  assert.deepEqual(await store.put(collected), stored);
  await store.discard([collected]);
  assert.equal(existsSync(staged.path), false);
  assert.equal(Buffer.from(await store.read(stored)).toString(), "large");
  const own = slice("letter", "mine");
  const letter = await store.putPath(own.path);
  assert.equal(readFileSync(own.path, "utf8"), "mine");
  writeFileSync(own.path, "changed");
  assert.equal(Buffer.from(await store.read(letter)).toString(), "mine");
});

test("a staged file of the same file system becomes the blob without a copy", async () => {
  const stagingFolder = await store.stagingFolder();
  const path = join(stagingFolder, "spill-1");
  writeFileSync(path, large);
  const { ino } = statSync(path);
  const content = { kind: "slice", path, offset: 0, size: large.length } as const;
  const collected = { path: "/f", kind: "file", mode: 0o644, content } as const;
  const stored = await store.put(collected);
  await store.discard([collected]);
  assert.equal(existsSync(path), false);
  assert.equal(statSync(hostFile(stored)).ino, ino);
  assert.equal(statSync(hostFile(stored)).nlink, 1);
  assert.deepEqual(await store.read(stored), large);
});

test("a folder keeps its names, and its digest depends on nothing else", async () => {
  const make = (name: string): string => {
    const path = join(folder, name);
    mkdirSync(join(path, "sub"), { recursive: true });
    writeFileSync(join(path, "sub", "a"), "1");
    writeFileSync(join(path, "b"), large);
    chmodSync(join(path, "b"), 0o644);
    symlinkSync("sub/a", join(path, "link"));
    return path;
  };
  const stored = await store.putPath(make("one"));
  assert.equal(stored.digest, (await store.putPath(make("two"))).digest);
  assert.equal(stored.count, 2);
  assert.equal(stored.size, 1 + large.length);
  // The same tree as a guest hands it out: from memory, from staged files, in another order.
  const handed = await store.put(
    tree([
      { kind: "symlink", target: "sub/a", path: "link" },
      { kind: "file", content: bytes("1"), mode: 0o644, path: "sub/a" },
      { path: "sub", mode: 0o755, kind: "directory" },
      { kind: "file", path: "b", mode: 0o644, content: slice("spill-2", large) },
    ]),
  );
  assert.equal(handed.digest, stored.digest);
  const to = join(folder, "exported");
  await store.exportTo(stored, to);
  assert.equal(readFileSync(join(to, "link"), "utf8"), "1");
  assert.deepEqual(readFileSync(join(to, "b")), large);
  await assert.rejects(store.content(stored, "sub/b"), { code: "artifact-missing" });
});

test("a subPath is a file or a folder of the tree", async () => {
  const stored = await store.put(
    tree([
      { kind: "file", path: "pages/1", mode: 0o755, content: bytes("one") },
      { kind: "file", path: "pages/deep/2", mode: 0o644, content: bytes(large) },
      { kind: "file", path: "pages2", mode: 0o644, content: bytes("two") },
    ]),
  );
  const file = await store.content(stored, "/pages/1");
  assert.equal(file.kind === "file" && file.mode, 0o755);
  const part = await store.content(stored, "pages/");
  assert.deepEqual(part.kind === "directory" && part.entries.map((entry) => entry.path), [
    "1",
    "deep/2",
  ]);
  const again = await store.put({ path: "/p", ...part });
  assert.equal(again.count, 2);
  assert.deepEqual(await store.content(again, "deep/2").then((content) => content.kind), "file");
});

test("10,000 small files are two files of the host, and a tree handed on unchanged keeps its digest", async () => {
  const own = join(folder, "many");
  const many = await openArtifactStore({ folder: own });
  const entries = Array.from({ length: 10_000 }, (_, at): TreeEntry => {
    const path = `${at % 100}/${at}`;
    return { kind: "file", path, mode: 0o644, content: bytes(`file ${at}`) };
  });
  const stored = await many.put(tree(entries));
  assert.equal(globSync("{sha256,packs}/*/*", { cwd: own }).length, 2);
  const content = await many.content(stored);
  assert(content.kind === "directory");
  const places = content.entries.map((entry) =>
    entry.kind === "file" ? entry.content : undefined,
  );
  const paths = new Set(places.map((place) => (place?.kind === "slice" ? place.path : "")));
  assert.equal(paths.size, 1);
  assert.deepEqual(await many.put({ path: "/d", ...content }), stored);
  const to = join(folder, "many-out");
  await many.exportTo(stored, to);
  assert.equal(readFileSync(join(to, "34", "1234"), "utf8"), "file 1234");
});

test("an exported folder never leads outside, not even through links of links", async () => {
  const stored = await store.put(
    tree([
      { kind: "file", path: "../escaped", mode: 0o644, content: bytes("x") },
      { kind: "symlink", path: "out", target: "../../etc" },
      { kind: "symlink", path: "absolute", target: "/etc" },
      { kind: "symlink", path: "sub/deep/up", target: ".." },
      // By its letters this stays inside, but "up" is a link: what it means lies beside the folder.
      { kind: "symlink", path: "sly", target: "sub/deep/up/../../beside" },
      { kind: "symlink", path: "dir", target: "sub" },
      { kind: "file", path: "dir/written", mode: 0o644, content: bytes("x") },
    ]),
  );
  await store.exportTo(stored, join(folder, "safe"));
  assert.equal(existsSync(join(folder, "escaped")), false);
  for (const name of ["out", "absolute", "sly"]) {
    assert.equal(existsSync(join(folder, "safe", name)), false, name);
  }
  assert.equal(existsSync(join(folder, "safe/sub/written")), false);
  assert.equal(readFileSync(join(folder, "safe/dir/written"), "utf8"), "x");
});

test("a damaged or missing blob is noticed before anything reads it, and is named", async () => {
  const stored = await store.putBytes(Buffer.from("whole"));
  writeFileSync(hostFile(stored), "broke");
  const refused = { code: "storage", message: new RegExp(`${stored.digest} is damaged`) };
  await assert.rejects(store.read(stored), refused);
  await assert.rejects(store.content(stored), refused);
  await assert.rejects(store.exportTo(stored, join(folder, "never")), refused);
  assert.equal(existsSync(join(folder, "never")), false);
  truncateSync(hostFile(stored), 2);
  await assert.rejects(store.content(stored), { code: "storage", message: /2 bytes instead of 5/ });
  rmSync(hostFile(stored));
  await assert.rejects(store.content(stored), { code: "storage", message: /is not there/ });
  await assert.rejects(store.read(stored), { code: "storage", message: /is not there/ });
  // Storing the same again heals it.
  await store.putBytes(Buffer.from("whole"));
  assert.equal((await store.content(stored)).kind, "file");
});

test("damage that happened after a file was checked is noticed as well", async () => {
  const stored = await store.putBytes(large);
  await store.content(stored);
  const damaged = Buffer.from(large);
  damaged[70_000] = 0;
  writeFileSync(hostFile(stored), damaged);
  await assert.rejects(store.content(stored), { code: "storage", message: /is damaged/ });
});

test("one wrong byte among the small files of a tree is noticed, with the name of the file", async () => {
  const stored = await store.put(
    tree([
      { kind: "file", path: "a", mode: 0o644, content: bytes("first") },
      { kind: "file", path: "b/c", mode: 0o644, content: bytes("second") },
    ]),
  );
  writeFileSync(hostFile(stored, "packs"), "firstsecomd");
  await assert.rejects(store.content(stored), { code: "storage", message: /\(b\/c\) is damaged/ });
  rmSync(hostFile(stored, "packs"));
  await assert.rejects(store.content(stored), { code: "storage", message: /is not there/ });
});

test("full durability stores the same", async () => {
  const own = await openArtifactStore({ folder: join(folder, "full"), durability: "full" });
  const entries: readonly TreeEntry[] = [
    { kind: "file", path: "a", mode: 0o644, content: bytes("small") },
    { kind: "file", path: "b", mode: 0o644, content: slice("spill-3", large) },
  ];
  const stored = await own.put(tree(entries));
  assert.equal((await store.put(tree(entries))).digest, stored.digest);
  await own.publish("k", stored);
  assert.deepEqual(await own.find("k"), { artifact: stored });
});

test("a caller that stops waiting gets no half artifact", async () => {
  const stopped = AbortSignal.abort();
  const content = slice("spill-4", large);
  const collected = { path: "/f", kind: "file", mode: 0o644, content } as const;
  await assert.rejects(store.put(collected, { signal: stopped }), { code: "aborted" });
  assert.deepEqual(globSync("partial/*", { cwd: join(folder, "artifacts") }), []);
});

test("storing the same bytes again heals a damaged file", async () => {
  const bytes = Buffer.from("a log that is written twice");
  const stored = await store.putBytes(bytes);
  const hex = stored.digest.slice("sha256:".length);
  writeFileSync(
    join(folder, "artifacts/sha256", hex.slice(0, 2), hex.slice(2)),
    "a log that is written twicE",
  );
  assert.deepEqual(await store.putBytes(bytes), stored);
  assert.deepEqual(Buffer.from(await store.read(stored)), bytes);
});

test("an export that does not come to its end leaves nothing under the name, and an older file as it was", async () => {
  const store = await openArtifactStore({ folder: join(folder, "half") });
  // No file system of a host takes the second name.
  const tree = await store.put({
    path: "",
    kind: "directory",
    entries: ["a", "b".repeat(300)].map((path) => ({
      kind: "file",
      path,
      mode: 0o644,
      content: { kind: "bytes", bytes: Buffer.from(path) },
    })),
  });
  const to = join(folder, "half-out", "tree");
  await assert.rejects(store.exportTo(tree, to), { code: "storage" });
  assert.deepEqual(readdirSync(join(folder, "half-out")), []);
  mkdirSync(to);
  writeFileSync(join(to, "mine"), "not touched");
  await assert.rejects(store.exportTo(tree, to), { code: "storage" });
  assert.deepEqual(readdirSync(to).toSorted(), ["a", "mine"]);
});

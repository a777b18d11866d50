import assert from "node:assert/strict";
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openArtifactStore } from "./mod.ts";

const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const hourAgo = new Date(Date.now() - 61 * 60_000);
const dayAgo = new Date(Date.now() - 25 * 3_600_000);

/** Makes everything that is stored look as if it had been stored at that time. */
function age(own: string, time: Date): void {
  for (const path of globSync("{sha256,packs}/*/*", { cwd: own })) {
    utimesSync(join(own, path), time, time);
  }
}

const bytes = (value: string | Uint8Array) =>
  ({ kind: "bytes", bytes: Buffer.from(value) }) as const;

const tree = (small: string, large: string) =>
  ({
    path: "",
    kind: "directory",
    entries: [
      { kind: "file", path: "small", mode: 0o644, content: bytes(small) },
      { kind: "file", path: "large", mode: 0o644, content: bytes(Buffer.alloc(100_000, large)) },
    ],
  }) as const;

test("prune removes what nothing reaches, and only when it is old", async () => {
  const own = join(folder, "one");
  const store = await openArtifactStore({ folder: own });
  const live = await store.put(tree("a", "b"));
  const shared = await store.put(tree("c", "b"));
  const named = await store.put(tree("d", "e"));
  await store.publish("kept", named);
  const gone = await store.putBytes(Buffer.from("gone"));
  assert.deepEqual(await store.prune([live]), { files: 0, bytes: 0 });
  age(own, hourAgo);
  const young = await store.putBytes(Buffer.from("young"));
  // The file "gone", and the index and the pack of "shared", whose large file "live" has as well.
  const removed = await store.prune([live]);
  assert.equal(removed.files, 3);
  for (const artifact of [live, named, young]) await store.content(artifact);
  await assert.rejects(store.content(gone), { code: "storage" });
  await assert.rejects(store.read(shared), { code: "storage" });
  assert.deepEqual(globSync("partial/*", { cwd: own }), []);
});

test("what is handed on unchanged is young again", async () => {
  const own = join(folder, "two");
  const store = await openArtifactStore({ folder: own });
  const artifact = await store.putBytes(Buffer.from("passed on"));
  age(own, hourAgo);
  const content = await store.content(artifact);
  assert(content.kind === "file");
  assert.deepEqual(await store.put({ path: "", ...content }), artifact);
  assert.deepEqual(await store.prune([]), { files: 0, bytes: 0 });
});

test("the live artifacts may come one after the other, and a lost index does not stop the rest", async () => {
  const own = join(folder, "three");
  const store = await openArtifactStore({ folder: own });
  const kept = await store.put(tree("a", "b"));
  const lost = await store.put(tree("c", "d"));
  const hex = lost.digest.slice(7);
  rmSync(join(own, "sha256", hex.slice(0, 2), hex.slice(2)));
  age(own, hourAgo);
  const live = async function* () {
    yield lost;
    yield kept;
  };
  await store.prune(live());
  assert.equal((await store.content(kept)).kind, "directory");
});

test("opening removes what a killed process left a day ago, and nothing of those who still write", async () => {
  const own = join(folder, "four");
  await openArtifactStore({ folder: own });
  for (const name of ["partial/old", "partial/young"]) writeFileSync(join(own, name), "half");
  for (const name of ["staging/old", "staging/young"]) {
    mkdirSync(join(own, name));
    writeFileSync(join(own, name, "spill-1"), "half");
  }
  for (const name of ["partial/old", "staging/old"]) utimesSync(join(own, name), dayAgo, dayAgo);
  await openArtifactStore({ folder: own });
  for (const name of ["partial", "staging"]) {
    assert.equal(existsSync(join(own, name, "old")), false, name);
    assert.equal(existsSync(join(own, name, "young")), true, name);
  }
});

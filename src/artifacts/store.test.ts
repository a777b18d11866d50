import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openArtifactStore } from "./mod.ts";

const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const store = await openArtifactStore({ folder: join(folder, "artifacts") });

function slice(name: string, text: string) {
  const path = join(folder, name);
  writeFileSync(path, text);
  return { kind: "slice", path, offset: 0, size: text.length } as const;
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
  await store.putPath(own.path);
  assert.equal(readFileSync(own.path, "utf8"), "mine");
});

test("a folder keeps its names, and its digest depends on nothing else", async () => {
  const make = (name: string): string => {
    const path = join(folder, name);
    mkdirSync(join(path, "sub"), { recursive: true });
    writeFileSync(join(path, "sub", "a"), "1");
    symlinkSync("sub/a", join(path, "link"));
    return path;
  };
  const stored = await store.putPath(make("one"));
  assert.equal(stored.digest, (await store.putPath(make("two"))).digest);
  assert.equal(stored.count, 1);
  const to = join(folder, "exported");
  await store.exportTo(stored, to);
  assert.equal(readFileSync(join(to, "link"), "utf8"), "1");
  await assert.rejects(store.content(stored, "sub/b"), { code: "artifact-missing" });
});

test("an exported folder never leads outside", async () => {
  const content = { kind: "bytes", bytes: Buffer.from("x") } as const;
  const stored = await store.put({
    path: "/d",
    kind: "directory",
    entries: [
      { kind: "file", path: "../escaped", mode: 0o644, content },
      { kind: "symlink", path: "out", target: "../../etc" },
    ],
  });
  await store.exportTo(stored, join(folder, "safe"));
  assert.equal(existsSync(join(folder, "escaped")), false);
  assert.equal(existsSync(join(folder, "safe/out")), false);
});

test("a damaged blob is noticed", async () => {
  const stored = await store.putBytes(Buffer.from("whole"));
  const hex = stored.digest.slice("sha256:".length);
  writeFileSync(join(folder, "artifacts/sha256", hex.slice(0, 2), hex.slice(2)), "broke");
  await assert.rejects(store.read(stored), { code: "storage", message: /damaged/ });
});

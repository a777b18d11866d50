import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { openArtifactStore, type ArtifactStore } from "./mod.ts";

const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
const mounted: string[] = [];
after(() => {
  for (const path of mounted) spawnSync("umount", [path]);
  rmSync(folder, { recursive: true, force: true });
});

/** A file system of its own with 8 MiB. Only root on Linux may have one: elsewhere the test says that it did not run. */
function smallDisk(t: TestContext, name: string): string | undefined {
  const path = join(folder, name);
  mkdirSync(path);
  const done = spawnSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", path]);
  if (done.status !== 0) {
    t.skip("needs the right to mount a file system of 8 MiB (root on Linux)");
    return undefined;
  }
  mounted.push(path);
  return path;
}

const mebibyte = 1024 * 1024;

/** Every blob has the digest that its name says, and nothing half written lies about. */
function assertWhole(own: string): number {
  const blobs = globSync("sha256/*/*", { cwd: own });
  for (const name of blobs) {
    const hex = createHash("sha256")
      .update(readFileSync(join(own, name)))
      .digest("hex");
    assert.equal(name.replaceAll("/", ""), `sha256${hex}`);
  }
  return blobs.length;
}

async function refusals(store: ArtifactStore, staging: string): Promise<void> {
  const path = join(staging, "large");
  const content = { kind: "slice", path, offset: 0, size: 20 * mebibyte } as const;
  const small = { kind: "bytes", bytes: Buffer.alloc(60_000, "x") } as const;
  const entries = Array.from({ length: 400 }, (_, at) => {
    const bytes = Buffer.from(small.bytes);
    bytes.writeUInt32LE(at);
    return { kind: "file", path: `${at}`, mode: 0o644, content: { kind: "bytes", bytes } } as const;
  });
  const refused = { code: "storage", message: /Cannot store or read/ };
  await assert.rejects(store.put({ path: "", kind: "file", mode: 0o644, content }), refused);
  await assert.rejects(store.putPath(path), refused);
  await assert.rejects(store.put({ path: "", kind: "directory", entries }), refused);
  await assert.rejects(store.putBytes(Buffer.alloc(20 * mebibyte)), refused);
}

test("a full disk is an error that says so; what was stored before is whole, and goes on when there is room", async (t) => {
  const own = smallDisk(t, "full");
  if (own === undefined) return;
  const staging = join(folder, "staging-of-full");
  mkdirSync(staging);
  writeFileSync(join(staging, "large"), Buffer.alloc(20 * mebibyte, "large"));
  const store = await openArtifactStore({ folder: own });
  const before = await store.putBytes(Buffer.alloc(3 * mebibyte, "before"));
  await refusals(store, staging);
  await assert.rejects(store.putBytes(Buffer.alloc(20 * mebibyte)), {
    message: /ENOSPC|no space/i,
  });
  assert.deepEqual(globSync("partial/*", { cwd: own }), []);
  assert.equal(assertWhole(own), 1);
  assert.equal((await store.content(before)).kind, "file");
  await store.putBytes(Buffer.alloc(3 * mebibyte, "after"));
  assert.equal(assertWhole(own), 2);
});

test("a read-only folder is an error that says so, and can still be read", async (t) => {
  const own = smallDisk(t, "locked");
  if (own === undefined) return;
  const store = await openArtifactStore({ folder: own });
  const before = await store.putBytes(Buffer.from("before"));
  // What a killed process left cannot be removed here, and must not be in the way.
  writeFileSync(join(own, "partial", "old"), "half");
  utimesSync(join(own, "partial", "old"), 0, 0);
  execFileSync("mount", ["-o", "remount,ro", own]);
  const refused = { code: "storage", message: /EROFS|read-only/ };
  await assert.rejects(store.putBytes(Buffer.from("after")), refused);
  await assert.rejects(store.publish("key", before), refused);
  await assert.rejects(openArtifactStore({ folder: join(own, "new") }), { code: "storage" });
  assert.equal(Buffer.from(await store.read(before)).toString(), "before");
  const again = await openArtifactStore({ folder: own });
  assert.equal(Buffer.from(await again.read(before)).toString(), "before");
});

test("a folder that is a file is an error that names it", async () => {
  const path = join(folder, "no-folder");
  writeFileSync(path, "");
  await assert.rejects(openArtifactStore({ folder: path }), {
    code: "storage",
    message: new RegExp(path),
  });
});

/** Another process that stores the same again and again, and says so when it has begun. */
function storing(own: string, source: string, times: number) {
  const code = `
    const { openArtifactStore } = await import(${JSON.stringify(new URL("mod.ts", import.meta.url).href)});
    const store = await openArtifactStore({ folder: ${JSON.stringify(own)} });
    console.log("begun");
    for (let at = 0; at < ${times}; at++) {
      const { digest } = await store.putPath(${JSON.stringify(source)});
      await store.publish("the/key", { kind: "directory", digest, size: at });
    }
    console.log("done");`;
  return spawn(process.execPath, ["--no-warnings", "--input-type=module", "-e", code], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

function someTree(name: string): string {
  const source = join(folder, name);
  mkdirSync(source);
  writeFileSync(join(source, "large"), Buffer.alloc(3 * mebibyte, name));
  for (let at = 0; at < 50; at++) writeFileSync(join(source, `${at}`), `${name} ${at}`);
  return source;
}

test("a process killed while it stores leaves no half blob and no half name", async () => {
  const own = join(folder, "killed");
  const source = someTree("tree-killed");
  for (let round = 0; round < 8; round++) {
    const child = storing(own, source, 1_000_000);
    await once(child.stdout, "data");
    await new Promise((resume) => setTimeout(resume, 3 + round * 7));
    child.kill("SIGKILL");
    await once(child, "exit");
    assertWhole(own);
    const store = await openArtifactStore({ folder: own });
    const found = await store.find("the/key");
    if (found) {
      assert("artifact" in found);
      assert.equal((await store.content(found.artifact)).kind, "directory");
    }
  }
});

test("two processes that store the same at once get the same, whole", async () => {
  const own = join(folder, "two");
  const source = someTree("tree-two");
  const children = [storing(own, source, 30), storing(own, source, 30)];
  const codes = await Promise.all(
    children.map(async (child) => {
      child.stdout.resume();
      const [code]: unknown[] = await once(child, "exit");
      return code;
    }),
  );
  assert.deepEqual(codes, [0, 0]);
  assert.equal(assertWhole(own), 2);
  assert.equal(globSync("packs/*/*", { cwd: own }).length, 1);
  assert.deepEqual(globSync("partial/*", { cwd: own }), []);
  const store = await openArtifactStore({ folder: own });
  const content = await store.content(await store.putPath(source));
  assert.equal(content.kind === "directory" && content.entries.length, 51);
});

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { defaultLimits } from "../limits/mod.ts";
import { Tree } from "./mod.ts";

const folder = mkdtempSync(join(tmpdir(), "atalanta-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const mebibyte = 1024 * 1024;

/** A block of bytes, and after it some that are not to be written. */
function block(value: number, size = mebibyte): Uint8Array {
  const bytes = new Uint8Array(size + 2).fill(value);
  bytes[0] = bytes[size + 1] = 0xff;
  return bytes;
}

describe("content of a file", () => {
  test("is the same in memory and in a file of the host, wherever it is written and read", () => {
    const tree = new Tree(defaultLimits, () => folder);
    const expected = new Uint8Array(2 * mebibyte);
    const file = tree.createFile(tree.root, "f");
    // Sizes on both sides of the copy by hand and of the end of memory, out of order, with overlaps and holes.
    for (const [index, size] of [1, 63, 64, 65, 4096, 262_143, 262_145, 7].entries()) {
      for (const position of [0, size, 3 * size + 5, 100_000]) {
        tree.write(file, position, block(index + 1, size), 1, size);
        expected.fill(index + 1, position, position + size);
        const into = new Uint8Array(file.size + 2);
        assert.equal(tree.read(file, 0, into, 1, into.length), file.size);
        assert.equal(Buffer.compare(into.subarray(1, -1), expected.subarray(0, file.size)), 0);
        assert.equal(into[0] === 0 && into.at(-1) === 0, true);
      }
    }
    assert.equal(readdirSync(folder).length, 1);
    tree.close();
    assert.deepEqual(readdirSync(folder), []);
  });

  test("of a removed file is gone from the host, and its room free again, while the guest goes on", async () => {
    const tree = new Tree({ ...defaultLimits, filesBytes: 300 * mebibyte }, () => folder);
    for (let times = 0; times < 3; times++) {
      const files = ["large", "small"].map((name) => tree.createFile(tree.root, name));
      const [large, small] = files;
      assert(large && small);
      // A hole, and so much behind it that the host takes its time to give it back.
      for (let at = 200; at < 240; at++) tree.write(large, at * mebibyte, block(1), 1, mebibyte);
      tree.write(small, 0, block(2), 1, 100);
      assert.equal(tree.filesBytes, 240 * mebibyte + 100);
      assert.equal(tree.memoryBytes >= 100, true);
      assert.throws(() => tree.resize(small, 60 * mebibyte + 1), { limit: "files" });
      for (const file of files) tree.release(file);
      assert.equal(tree.filesBytes, 0);
      assert.equal(tree.memoryBytes, 0);
      assert.deepEqual(readdirSync(folder), []);
    }
    tree.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(readdirSync(folder), []);
  });

  test("of the host stays what it was when the guest writes into it", () => {
    const tree = new Tree(defaultLimits, () => folder);
    const bytes = new Uint8Array([1, 2, 3]);
    const content = { kind: "file", mode: 0o644, content: { kind: "bytes", bytes } } as const;
    tree.mount({ path: "/f", readOnly: false, content });
    const file = tree.root.children.get("f");
    assert(file?.kind === "file");
    assert.deepEqual([tree.memoryBytes, tree.filesBytes], [0, 0]);
    tree.write(file, 1, new Uint8Array([9]), 0, 1);
    const into = new Uint8Array(3);
    tree.read(file, 0, into, 0, 3);
    assert.deepEqual([...into], [1, 9, 3]);
    assert.deepEqual([...bytes], [1, 2, 3]);
    assert.deepEqual([tree.memoryBytes, tree.filesBytes], [3, 3]);
  });
});

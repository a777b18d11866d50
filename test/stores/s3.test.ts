import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { contents, kit } from "./s3-kit.ts";

const mebi = 1024 * 1024;

describe("S3", () => {
  test("a small file goes there and comes back", async () => {
    await using k = await kit();
    const bytes = Buffer.from("Hello, store!");
    const sent = await k.stores.upload(k.at("a/b c+ü.txt"), {
      kind: "file",
      content: { kind: "bytes", bytes },
    });
    assert.deepEqual(sent, { bytes: 13, files: 1 });
    assert.deepEqual(k.server.operations(), ["PUT"]);
    const got = await k.stores.download(k.at("a/b c+ü.txt"), await k.empty());
    assert(got.kind === "file");
    assert.deepEqual(await readFile(got.content.path), bytes);
  });

  test("a large one goes and comes in parts", async () => {
    await using k = await kit();
    const bytes = randomBytes(40 * mebi + 17);
    await k.stores.upload(k.at("large"), { kind: "file", content: { kind: "bytes", bytes } });
    assert.deepEqual(k.server.operations(), ["create", "part", "part", "part", "complete"]);
    assert.equal(k.server.uploads.size, 0);
    const got = await k.stores.download(k.at("large"), await k.empty());
    assert(got.kind === "file");
    assert.equal(got.content.size, bytes.length);
    assert(bytes.equals(await readFile(got.content.path)));
  });

  test("a folder goes there and comes back, with its empty folders", async () => {
    await using k = await kit({ pageSize: 2 });
    const file = (path: string, text: string) =>
      ({
        kind: "file",
        path,
        mode: 0o644,
        content: { kind: "bytes", bytes: Buffer.from(text) },
      }) as const;
    await k.stores.upload(k.at("tree"), {
      kind: "directory",
      entries: [
        file("a", "1"),
        file("b/c", "22"),
        { kind: "directory", path: "empty", mode: 0o755 },
        { kind: "directory", path: "b", mode: 0o755 },
        file("z", ""),
      ],
    });
    assert.deepEqual([...k.server.bucket("artifacts").keys()].toSorted(), [
      "tree/a",
      "tree/b/c",
      "tree/empty/",
      "tree/z",
    ]);
    const got = await k.stores.download(k.at("tree"), await k.empty());
    assert(got.kind === "directory");
    assert.deepEqual(await contents(got.entries), {
      a: "1",
      "b/": "",
      "b/c": "22",
      "empty/": "",
      z: "",
    });
  });
});

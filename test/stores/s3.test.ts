import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { open, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TreeEntry } from "../../src/wasi/mod.ts";
import { needs } from "../servers/given.ts";
import { bytesOf, contents, givenKit, kit, textFile } from "./s3-kit.ts";

const mebi = 1024 * 1024;

/** What holds for every S3 server: the stand-in of `npm test`, and the one that `npm run test:stores` starts. */
for (const [name, opened, options] of [
  ["a stand-in", kit, {}],
  ["a server that others wrote", givenKit, needs("s3")],
] as const) {
  describe(`S3, ${name}`, options, () => {
    for (const [key, bytes] of [
      ["hello.txt", Buffer.from("Hello, store!")],
      ["a/b c+ü~(1)!*'=&;,@$.txt", Buffer.from("strange names")],
      ["empty", Buffer.alloc(0)],
    ] as const) {
      test(`a small file goes to "${key}" by one request and comes back`, async () => {
        await using k = await opened();
        const sent = await k.stores.upload(k.at(key), {
          kind: "file",
          content: { kind: "bytes", bytes },
        });
        assert.deepEqual(sent, { bytes: bytes.length, files: 1 });
        assert.deepEqual(await bytesOf(await k.stores.download(k.at(key), await k.empty())), bytes);
      });
    }

    test("a part of a file of this machine goes in parts and comes back in ranges", async () => {
      await using k = await opened();
      const bytes = randomBytes(40 * mebi + 17);
      const path = join(k.path, "source");
      await writeFile(path, bytes);
      const content = { kind: "slice", path, offset: 1000, size: 38 * mebi } as const;
      const told: number[] = [];
      const onProgress = (bytes: number): void => void told.push(bytes);
      await k.stores.upload(k.at("large"), { kind: "file", content }, { onProgress });
      assert.equal(told.at(-1), content.size);
      told.length = 0;
      const got = await k.stores.download(k.at("large"), await k.empty(), { onProgress });
      assert.equal(told.at(-1), content.size);
      assert(bytes.subarray(1000, 1000 + content.size).equals(await bytesOf(got)));
    });

    for (const size of [0, 1, 16 * mebi - 1, 16 * mebi, 16 * mebi + 1, 33 * mebi]) {
      test(`a stream of ${size} bytes goes there without its length being known`, async () => {
        await using k = await opened();
        const bytes = randomBytes(size);
        const stream = async function* (): AsyncGenerator<Uint8Array> {
          for (let at = 0; at < size; at += 1_234_567) yield bytes.subarray(at, at + 1_234_567);
        };
        const sent = await k.stores.upload(k.at("stream"), { kind: "stream", bytes: stream });
        assert.deepEqual(sent, { bytes: size, files: 1 });
        assert(
          bytes.equals(await bytesOf(await k.stores.download(k.at("stream"), await k.empty()))),
        );
        assert.deepEqual(await readdir(join(k.path, "parts")), []);
      });
    }

    test("a folder goes there and comes back, with its empty folders and without its links", async () => {
      await using k = await opened();
      const entries: readonly TreeEntry[] = [
        textFile("a", "1"),
        textFile("b/c", "22"),
        { kind: "directory", path: "b", mode: 0o755 },
        { kind: "directory", path: "no files", mode: 0o755 },
        { kind: "symlink", path: "link", target: "a" },
        textFile("z", ""),
      ];
      const sent = await k.stores.upload(k.at("tree"), { kind: "directory", entries });
      assert.deepEqual(sent, { bytes: 3, files: 4 });
      const wanted = { a: "1", "b/": "", "b/c": "22", "no files/": "", z: "" };
      for (const key of ["tree", "tree/"]) {
        const got = await k.stores.download(k.at(key), await k.empty());
        assert(got.kind === "directory");
        assert.deepEqual(await contents(got.entries), wanted);
      }
      assert.deepEqual(await k.keys("tree"), ["tree/a", "tree/b/c", "tree/no files/", "tree/z"]);
    });

    test("an empty folder goes there and comes back", async () => {
      await using k = await opened();
      await k.stores.upload(k.at("nothing"), { kind: "directory", entries: [] });
      const got = await k.stores.download(k.at("nothing"), await k.empty());
      assert(got.kind === "directory");
      assert.deepEqual(Object.keys(await contents(got.entries)), ["/"]);
    });

    test("a list goes over all pages", async () => {
      await using k = await opened({ pageSize: 7 });
      const entries = Array.from({ length: 25 }, (_, index) => textFile(`f${index + 100}`, "x"));
      await k.stores.upload(k.at("many"), { kind: "directory", entries });
      await k.stores.upload(k.at("many more"), {
        kind: "file",
        content: textFile("", "x").content,
      });
      const wanted = entries.map(({ path }) => `many/${path}`);
      assert.deepEqual(await k.keys("many"), wanted);
      assert.deepEqual(await k.keys("many/f100"), ["many/f100"]);
      assert.deepEqual(await k.keys("nowhere"), []);
    });

    test("a file is deleted alone, a folder with all below it, and what is not there as well", async () => {
      await using k = await opened();
      const entries = [textFile("a", "1"), textFile("b/c & <d>", "2"), textFile("e", "3")];
      await k.stores.upload(k.at("gone"), { kind: "directory", entries });
      await k.stores.upload(k.at("gone too"), { kind: "file", content: textFile("", "x").content });
      await k.stores.delete(k.at("gone/a"));
      await k.stores.delete(k.at("gone/a"));
      assert.deepEqual(await k.keys("gone"), ["gone/b/c & <d>", "gone/e"]);
      await k.stores.delete(k.at("gone/"));
      await k.stores.delete(k.at("gone/"));
      assert.deepEqual(await k.keys("gone"), []);
      assert.deepEqual(await k.keys("gone too"), ["gone too"]);
    });

    test("what is not there is told with its place", async () => {
      await using k = await opened();
      const { endpoint, bucket, key } = k.at("not/there");
      await assert.rejects(k.stores.download(k.at("not/there"), await k.empty()), {
        code: "artifact-missing",
        message: `Cannot download "${key}" in bucket "${bucket}" at ${endpoint}: there is no object of that key and none below it`,
      });
      await assert.rejects(
        k.stores.download(k.at("a", { bucket: "no-such-bucket-of-ours" }), await k.empty()),
        {
          code: "store-refused",
          message: /404 \(NoSuchBucket/,
          hint: /Is the bucket's name right/,
        },
      );
    });

    test("a wrong secret key is told, and not shown", async () => {
      await using k = await opened();
      const { credentials } = k.at("x");
      assert(credentials.kind === "keys");
      const wrong = "this-is-the-wrong-one";
      const secretKey = async (): Promise<Buffer> => Buffer.from(wrong);
      const at = k.at("x", { credentials: { ...credentials, secretKey } });
      await assert.rejects(k.stores.download(at, await k.empty()), (thrown: Error) => {
        assert.match(thrown.message, /SignatureDoesNotMatch/);
        assert(!JSON.stringify(thrown).includes(wrong) && !thrown.stack?.includes(wrong));
        return true;
      });
    });
  });
}

describe("S3, by one request or many", () => {
  test("16 MiB go by one request, and a byte more in parts", async () => {
    await using k = await kit();
    const source = join(k.path, "source");
    await using file = await open(source, "w");
    await file.truncate(16 * mebi + 1);
    for (const [size, operations] of [
      [16 * mebi, ["PUT"]],
      [16 * mebi + 1, ["create", "part", "part", "complete"]],
    ] as const) {
      k.server.seen.length = 0;
      const content = { kind: "slice", path: source, offset: 0, size } as const;
      await k.stores.upload(k.at("x"), { kind: "file", content });
      assert.deepEqual(k.server.operations(), operations);
    }
    assert.equal(k.server.uploads.size, 0);
  });

  test("a key that is a file and the beginning of others is the file", async () => {
    await using k = await kit();
    await k.stores.upload(k.at("x"), { kind: "file", content: textFile("", "file").content });
    await k.stores.upload(k.at("x/y"), { kind: "file", content: textFile("", "below").content });
    const got = await k.stores.download(k.at("x"), await k.empty());
    assert.equal(String(await bytesOf(got)), "file");
  });

  test("a server that knows no ranges gives all at once", async () => {
    await using k = await kit({ ignoresRanges: true });
    const bytes = randomBytes(20 * mebi);
    await k.server.put("artifacts", "x", bytes);
    assert(bytes.equals(await bytesOf(await k.stores.download(k.at("x"), await k.empty()))));
    assert.deepEqual(k.server.operations(), ["GET"]);
  });
});

describe("S3, what a location says", () => {
  test("the bucket stands before the host where that is asked for", async () => {
    await using k = await kit();
    await k.server.put("artifacts", "a/b", Buffer.from("x"));
    const at = k.at("a/b", {
      endpoint: `localhost:${k.server.port}`,
      addressing: "virtual-hosted",
    });
    await k.stores.download(at, await k.empty());
    assert.equal(k.server.seen[0]?.headers.host, `artifacts.localhost:${k.server.port}`);
  });

  test("the region is found out where none is named, once", async () => {
    await using k = await kit({ region: "eu-west-3" });
    await k.server.put("artifacts", "x", Buffer.from("x"));
    await k.stores.download(k.at("x"), await k.empty());
    await k.stores.download(k.at("x"), await k.empty());
    assert.deepEqual(
      k.server.seen.map(({ status }) => status),
      [400, 206, 206],
    );
  });

  test("a bucket is made before an upload where that is asked for, and only when it is not there", async () => {
    await using k = await kit({ region: "eu-west-3" });
    const at = k.at("x", {
      bucket: "new-one",
      region: "eu-west-3",
      createBucket: { objectLocking: true },
      encryption: { kind: "s3" },
    });
    const content = { kind: "file", content: textFile("", "x").content } as const;
    await k.stores.upload(at, content);
    await k.stores.upload(at, content);
    assert.deepEqual(k.server.operations(), [
      "head-bucket",
      "create-bucket",
      "encryption",
      "PUT",
      "PUT",
    ]);
    assert.equal(
      k.server.bucketHeaders.get("new-one")?.["x-amz-bucket-object-lock-enabled"],
      "true",
    );
    k.server.seen.length = 0;
    await k.stores.upload(k.at("x", { createBucket: {}, region: "eu-west-3" }), content);
    assert.deepEqual(k.server.operations(), ["head-bucket", "PUT"]);
  });

  test("objects are encrypted by the store where that is asked for", async () => {
    await using k = await kit();
    const large = { kind: "bytes", bytes: randomBytes(17 * mebi) } as const;
    for (const [encryption, wanted] of [
      [{ kind: "s3" }, { "x-amz-server-side-encryption": "AES256" }],
      [
        { kind: "kms", keyId: "key-1", context: '{"team": "a"}' },
        {
          "x-amz-server-side-encryption": "aws:kms",
          "x-amz-server-side-encryption-aws-kms-key-id": "key-1",
          "x-amz-server-side-encryption-context": Buffer.from('{"team":"a"}').toString("base64"),
        },
      ],
    ] as const) {
      for (const content of [textFile("", "x").content, large]) {
        await k.stores.upload(k.at("x", { encryption }), { kind: "file", content });
        assert.deepEqual(k.server.bucket("artifacts").get("x")?.headers, wanted);
        await k.stores.download(k.at("x", { encryption }), await k.empty());
      }
    }
  });

  test("Alibaba's store is reached by its S3 interface, the bucket before the host", async () => {
    await using k = await kit();
    const { credentials } = k.at("x");
    const at = {
      kind: "oss",
      endpoint: `http://localhost:${k.server.port}`,
      bucket: "artifacts",
      key: "x",
      credentials,
    } as const;
    await k.stores.upload(at, { kind: "file", content: textFile("", "x").content });
    assert.equal(String(await bytesOf(await k.stores.download(at, await k.empty()))), "x");
    await k.stores.delete(at);
    assert.equal(k.server.seen[0]?.headers.host, `artifacts.localhost:${k.server.port}`);
  });
});

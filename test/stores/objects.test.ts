import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { needs } from "../servers/given.ts";
import { azureKit, gcsKit, givenObjects, type ObjectsKit } from "./objects-kit.ts";
import { bytesOf, contents, textFile } from "./s3-kit.ts";

const mebi = 1024 * 1024;

async function keys(k: ObjectsKit, key: string): Promise<readonly string[]> {
  const prefix = keyOf(k, "").length;
  return (await Array.fromAsync(k.stores.list(k.at(key)))).map(({ key }) => key.slice(prefix));
}

function keyOf(k: ObjectsKit, key: string): string {
  const location = k.at(key);
  return location.kind === "azure" ? location.blob : location.key;
}

/** What holds for both kinds, with the stand-ins of `npm test` and with the servers that `npm run test:stores` starts. */
for (const [name, opened, options] of [
  ["Azure, a stand-in", (): Promise<ObjectsKit> => azureKit({ pageSize: 2 }), {}],
  ["Google, a stand-in", (): Promise<ObjectsKit> => gcsKit({ pageSize: 2 }), {}],
  ["Azure, a server that others wrote", () => givenObjects("azure"), needs("azure")],
  ["Google, a server that others wrote", () => givenObjects("gcs"), needs("gcs")],
] as const) {
  describe(name, options, () => {
    for (const [key, bytes] of [
      ["hello.txt", Buffer.from("Hello, store!")],
      ["a/b c+ü~(1)!*'=&;,@$%.txt", Buffer.from("strange names")],
      ["empty", Buffer.alloc(0)],
    ] as const) {
      test(`a small file goes to "${key}" and comes back`, async () => {
        await using k = await opened();
        const content = { kind: "bytes", bytes } as const;
        const sent = await k.stores.upload(k.at(key), { kind: "file", content });
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

    for (const size of [0, 1, 16 * mebi, 16 * mebi + 1, 33 * mebi]) {
      test(`a stream of ${size} bytes goes there without its length being known`, async () => {
        await using k = await opened();
        const bytes = randomBytes(size);
        const stream = async function* (): AsyncGenerator<Uint8Array> {
          for (let at = 0; at < size; at += 1_234_567) yield bytes.subarray(at, at + 1_234_567);
        };
        const sent = await k.stores.upload(k.at("stream"), { kind: "stream", bytes: stream });
        assert.deepEqual(sent, { bytes: size, files: 1 });
        const got = await k.stores.download(k.at("stream"), await k.empty());
        assert(bytes.equals(await bytesOf(got)));
        // Parts on their way lay in a folder of ours.
        assert.deepEqual(await readdir(join(k.path, "parts")), []);
      });
    }

    test("a folder goes there file by file, comes back, is listed and deleted", async () => {
      await using k = await opened();
      const names = ["a", "b/c", "b/d e", "f/g/h"];
      const entries = names.map((name) => textFile(name, `of ${name}`));
      const sent = await k.stores.upload(k.at("folder"), { kind: "directory", entries });
      assert.equal(sent.files, 4);
      await k.stores.upload(k.at("folderly"), {
        kind: "file",
        content: { kind: "bytes", bytes: Buffer.from("x") },
      });
      assert.deepEqual(
        await keys(k, "folder"),
        names.map((name) => `folder/${name}`),
      );
      for (const key of ["folder", "folder/"]) {
        const got = await k.stores.download(k.at(key), await k.empty());
        assert(got.kind === "directory");
        const files = Object.fromEntries(names.map((name) => [name, `of ${name}`]));
        assert.deepEqual(await contents(got.entries), { ...files, "b/": "", "f/": "", "f/g/": "" });
      }
      await k.stores.delete(k.at("folder/"));
      assert.deepEqual(await keys(k, ""), ["folderly"]);
      await k.stores.delete(k.at("folderly"));
      await k.stores.delete(k.at("folderly"));
      assert.deepEqual(await keys(k, ""), []);
    });

    test("what is not there is missing, and nothing of the attempt is left", async () => {
      await using k = await opened();
      const to = await k.empty();
      await assert.rejects(k.stores.download(k.at("nothing"), to), {
        code: "artifact-missing",
        message: /Cannot download ".*nothing" in (?:bucket|container) "\w+" at 127\.0\.0\.1:\d+:/,
      });
      assert.deepEqual(await readdir(to), []);
    });

    test("a bucket that is not there is no missing artifact", async () => {
      await using k = await opened();
      const location = k.at("x");
      const wrong =
        location.kind === "azure"
          ? { ...location, container: "another" }
          : { ...location, bucket: "another" };
      await assert.rejects(k.stores.download(wrong, await k.empty()), {
        code: "store-refused",
        hint: /name right/,
      });
    });

    test("a file is written over by another", async () => {
      await using k = await opened();
      for (const text of ["first", "second, and longer"]) {
        const content = { kind: "bytes", bytes: Buffer.from(text) } as const;
        await k.stores.upload(k.at("x"), { kind: "file", content });
        const got = await k.stores.download(k.at("x"), await k.empty());
        assert.equal((await bytesOf(got)).toString(), text);
      }
    });
  });
}

describe("keys of stores of objects", () => {
  for (const kit of [azureKit, gcsKit]) {
    for (const key of ["a/../b", "./a", "a\nb", "x".repeat(1025)]) {
      test(`${kit.name} takes no ${JSON.stringify(key.slice(0, 10))}`, async () => {
        await using k = await kit();
        const content = { kind: "bytes", bytes: Buffer.from("x") } as const;
        const failure = { code: "artifact-path" };
        await assert.rejects(k.stores.download(k.at(key), await k.empty()), failure);
        await assert.rejects(k.stores.upload(k.at(key), { kind: "file", content }), failure);
        await assert.rejects(k.stores.delete(k.at(key)), failure);
        assert.equal(k.server.asked.length, 0);
      });
    }

    test(`${kit.name} does not delete all there is`, async () => {
      await using k = await kit();
      await assert.rejects(k.stores.delete(k.at("/")), { code: "invalid-argument" });
    });
  }

  test("names of a store's are no paths of this machine", async () => {
    for (const name of ["f/../../x", "f//x", "f/./x", `f/${"n".repeat(256)}`]) {
      await using azure = await azureKit();
      azure.server.blobs.set(name, Buffer.from("x"));
      const to = await azure.empty();
      await assert.rejects(azure.stores.download(azure.at("f"), to), { code: "artifact-path" });
      assert.deepEqual(await readdir(to), []);
      await using gcs = await gcsKit();
      gcs.server.objects.set(name, Buffer.from("x"));
      await assert.rejects(gcs.stores.download(gcs.at("f"), await gcs.empty()), {
        code: "artifact-path",
      });
    }
  });
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { addressRules, loopbackAddresses } from "../../src/network/mod.ts";
import { answering, contents, kit, secret, textFile } from "./s3-kit.ts";

const file = { kind: "file", content: textFile("", "x").content } as const;

describe("S3, keys", () => {
  for (const key of [
    "t/../../x",
    "t/..",
    "t/./x",
    "t/.",
    "t//x",
    "t/a//b",
    "t/a/b",
    `t/${"n".repeat(256)}`,
  ]) {
    test(`"${key.slice(0, 20)}" cannot be a file of a folder`, async () => {
      await using k = await kit();
      await k.server.put("artifacts", "t/a", Buffer.from("1"));
      await k.server.put("artifacts", key, Buffer.from("2"));
      const before = await readdir(k.path);
      const folder = await k.empty();
      await assert.rejects(k.stores.download(k.at("t/"), folder), { code: "artifact-path" });
      assert.deepEqual(await readdir(folder), []);
      assert.deepEqual((await readdir(k.path)).length, before.length + 1);
    });
  }

  test("names that mean something to a file system are names like others", async () => {
    await using k = await kit();
    const names = ["~", "a\\..\\b", "C:", "CON", "..x", "A", "a", "-rf", "x\n", "\u{202e}gpj.exe"];
    for (const name of names) await k.server.put("artifacts", `t/${name}`, Buffer.from(name));
    const folder = await k.empty();
    const got = await k.stores.download(k.at("t/"), folder);
    assert(got.kind === "directory");
    assert.deepEqual(
      await contents(got.entries),
      Object.fromEntries(names.map((name) => [name, name])),
    );
    // Files have names of ours.
    assert((await readdir(folder)).every((name) => /^\d+$/.test(name)));
  });

  for (const key of ["a/../b", "..", "./a", "a/.", "a\0b", "a\nb", "k".repeat(1025), "\ud800"]) {
    test(`${JSON.stringify(key.slice(0, 20))} is no key of a file`, async () => {
      await using k = await kit();
      await assert.rejects(k.stores.upload(k.at(key), file), { code: "artifact-path" });
      await assert.rejects(k.stores.download(k.at(key), await k.empty()), {
        code: "artifact-path",
      });
      await assert.rejects(k.stores.delete(k.at(key)), { code: "artifact-path" });
      assert.deepEqual(k.server.seen, []);
    });
  }

  for (const key of ["", "/", "//"]) {
    test(`"${key}" is not deleted: that would be all of the bucket`, async () => {
      await using k = await kit();
      await assert.rejects(k.stores.delete(k.at(key)), { code: "invalid-argument" });
      assert.deepEqual(k.server.seen, []);
    });
  }

  test("a folder has at most so many objects, and an artifact so many bytes", async () => {
    await using k = await kit({}, { limits: { files: 3, bytes: 10 } });
    for (const name of ["a", "b", "c"])
      await k.server.put("artifacts", `t/${name}`, Buffer.from("333"));
    await k.stores.download(k.at("t"), await k.empty());
    await k.server.put("artifacts", "t/d", Buffer.from(""));
    await assert.rejects(k.stores.download(k.at("t"), await k.empty()), {
      code: "artifact-too-large",
      message: /more than 3 objects/,
    });
    await k.server.put("artifacts", "u/a", Buffer.alloc(5));
    await k.server.put("artifacts", "u/b", Buffer.alloc(6));
    await assert.rejects(k.stores.download(k.at("u"), await k.empty()), {
      code: "artifact-too-large",
    });
    await k.server.put("artifacts", "x", Buffer.alloc(11));
    await assert.rejects(k.stores.download(k.at("x"), await k.empty()), {
      code: "artifact-too-large",
    });
    const stream = async function* (): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < 11; index++) yield Buffer.from("x");
    };
    for (const content of [
      { kind: "file", content: textFile("", "x".repeat(11)).content },
      { kind: "stream", bytes: stream },
    ] as const) {
      await assert.rejects(k.stores.upload(k.at("y"), content), { code: "artifact-too-large" });
    }
    assert.equal(await k.server.get("artifacts", "y"), undefined);
  });
});

describe("S3, endpoints", () => {
  const nobodys = addressRules({});

  test("a workflow's endpoint has a public address", async () => {
    await using k = await kit({}, { reach: nobodys });
    for (const endpoint of [
      k.server.endpoint,
      `localhost:${k.server.port}`,
      `[::1]:${k.server.port}`,
      "169.254.169.254",
    ]) {
      await assert.rejects(k.stores.download(k.at("x", { endpoint }), await k.empty()), {
        code: "network-denied",
        hint: /--allow-address/,
      });
    }
    assert.deepEqual(k.server.seen, []);
  });

  test("the operator's may have a private one, which opens it for nobody else", async () => {
    await using k = await kit({}, { reach: nobodys });
    await k.server.put("artifacts", "x", Buffer.from("x"));
    await k.stores.download(k.at("x", { ofOperator: true }), await k.empty());
    await assert.rejects(k.stores.download(k.at("x"), await k.empty()), { code: "network-denied" });
    assert.equal(k.server.seen.length, 1);
  });

  test("a name that leads to a private address is refused when it is connected to", async () => {
    const resolve = async (): Promise<string[]> => ["10.0.0.1"];
    await using k = await kit(
      {},
      { reach: addressRules({ resolve, allowedAddresses: loopbackAddresses }) },
    );
    await assert.rejects(
      k.stores.download(k.at("x", { endpoint: "s3.example.com" }), await k.empty()),
      {
        code: "network-denied",
        message: /"s3\.example\.com" leads to an address that is private/,
      },
    );
  });

  for (const endpoint of [
    "",
    "http://minio:9000",
    "minio:9000/x",
    "user@minio",
    "minio:99999",
    "a b",
    "minio?x",
  ]) {
    test(`"${endpoint}" is no endpoint`, async () => {
      await using k = await kit();
      await assert.rejects(k.stores.download(k.at("x", { endpoint }), await k.empty()), {
        code: "invalid-argument",
      });
    });
  }

  for (const more of [
    { bucket: "a/b" },
    { bucket: ".." },
    { bucket: "x.evil.example/" },
    { region: "x.evil.example/" },
    { region: "eu_west" },
  ]) {
    test(`${JSON.stringify(more)} does not become part of a host's name`, async () => {
      await using k = await kit();
      const at = k.at("x", { endpoint: "s3.amazonaws.com", ...more });
      await assert.rejects(k.stores.download(at, await k.empty()), { code: "invalid-argument" });
    });
  }

  test("secrets are asked for with the host that they go to, and a refusal is the failure", async () => {
    await using k = await kit();
    const asked: string[] = [];
    const accessKey = async (host: string): Promise<Uint8Array> => {
      asked.push(host);
      throw Object.assign(new Error("not for this host"), { code: "secret-missing" });
    };
    const credentials = { kind: "keys", accessKey, secretKey: secret("x") } as const;
    await assert.rejects(k.stores.download(k.at("x", { credentials }), await k.empty()), {
      message: "not for this host",
    });
    assert.deepEqual(asked, [k.server.endpoint]);
    assert.deepEqual(k.server.seen, []);
  });

  test("a secret that is no word is refused before it is sent", async () => {
    await using k = await kit();
    for (const bad of ["", " \n", "two words", "a\r\nx-evil: 1"]) {
      const credentials = { kind: "keys", accessKey: secret(bad), secretKey: secret("x") } as const;
      await assert.rejects(k.stores.download(k.at("x", { credentials }), await k.empty()), {
        code: "secret-invalid",
      });
    }
    assert.deepEqual(k.server.seen, []);
  });
});

describe("S3 over TLS", () => {
  const pem = (name: string): string =>
    readFileSync(join(import.meta.dirname, "../network/tls", name), "utf8");
  const tls = { cert: pem("host.pem"), key: pem("host.key") };
  const authorities = secret(pem("authority.pem"));

  test("an authority of its own is trusted where a location names it", async () => {
    await using k = await kit({ tls });
    const bytes = Buffer.alloc(17 * 1024 * 1024, 7);
    const content = { kind: "file", content: { kind: "bytes", bytes } } as const;
    await k.stores.upload(k.at("x", { authorities }), content);
    await k.stores.download(k.at("x", { authorities }), await k.empty());
    const part = k.server.seen.find(({ operation }) => operation === "part");
    assert.equal(part?.headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    await assert.rejects(k.stores.download(k.at("x"), await k.empty()), {
      code: "store-refused",
      hint: /caSecret/,
    });
    await assert.rejects(k.stores.download(k.at("x", { insecure: true }), await k.empty()), {
      code: "store-unavailable",
    });
  });

  test("a customer's key encrypts, and without it nothing is read", async () => {
    await using k = await kit({ tls });
    const at = (password?: string) =>
      k.at("some/key", {
        authorities,
        ...(password === undefined
          ? {}
          : { encryption: { kind: "customer", key: secret(password) } as const }),
      });
    for (const size of [10, 17 * 1024 * 1024]) {
      const bytes = Buffer.alloc(size, 1);
      await k.stores.upload(at("password"), { kind: "file", content: { kind: "bytes", bytes } });
      // What Argo's client makes of this password, this bucket and this key.
      assert.equal(
        k.server.bucket("artifacts").get("some/key")?.headers[
          "x-amz-server-side-encryption-customer-key-md5"
        ],
        "wkJpw5PFKxjTPGDOS0eRUQ==",
      );
      const got = await k.stores.download(at("password"), await k.empty());
      assert(got.kind === "file");
      assert.equal(got.content.size, size);
      assert.deepEqual(await Array.fromAsync(k.stores.list(at("password"))), [
        { key: "some/key", size },
      ]);
      for (const wrong of [at("another"), at()]) {
        await assert.rejects(k.stores.download(wrong, await k.empty()), { code: "store-refused" });
      }
    }
    await assert.rejects(k.stores.upload({ ...at("password"), bucket: "abc", key: "x" }, file), {
      message: /too short/,
    });
    const overHttp = { ...at("password"), insecure: true };
    await assert.rejects(k.stores.upload(overHttp, file), { message: /over TLS only/ });
  });
});

describe("S3, answers of a stranger", () => {
  const list = (inside: string): string => `<ListBucketResult>${inside}</ListBucketResult>`;
  const object = "<Contents><Key>t/a</Key><Size>1</Size></Contents>";
  for (const [what, answer] of [
    ["no XML", "hello"],
    ["nothing", ""],
    ["a tag that never ends", `<${"a".repeat(2_000_000)}`],
    ["tags that never end", "<a ".repeat(500_000)],
    ["a comment that never ends", `<!--${"<!--".repeat(500_000)}`],
    ["elements in elements", "<a>".repeat(100_000)],
    ["more elements than a list has", list("<a/>".repeat(200_000))],
    ["a document type", `<!DOCTYPE a [<!ENTITY b "c">]>${list(object)}`],
    ["more bytes than a list has", list(`${object}${" ".repeat(9 * 1024 * 1024)}`)],
    ["keys that nobody asked for", list("<Contents><Key>other</Key><Size>1</Size></Contents>")],
    ["a size that is none", list("<Contents><Key>t/a</Key><Size>-1</Size></Contents>")],
    ["a key twice", list(`${object}${object}`)],
    [
      "a page after which the same comes again",
      list("<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"),
    ],
  ] as const) {
    test(`${what} is refused, soon`, { timeout: 20_000 }, async () => {
      await using k = await kit();
      await using stranger = await answering(({ url }) =>
        url?.includes("list-type") ? answer : "x",
      );
      const endpoint = new URL(stranger.url).host;
      await assert.rejects(k.stores.download(k.at("t/", { endpoint }), await k.empty()), {
        code: "store-refused",
      });
    });
  }

  test("pages without a key and without an end are refused", async () => {
    await using k = await kit();
    let number = 0;
    await using stranger = await answering(() =>
      list(
        `<IsTruncated>true</IsTruncated><NextContinuationToken>${++number}</NextContinuationToken>`,
      ),
    );
    const endpoint = new URL(stranger.url).host;
    await assert.rejects(k.stores.delete(k.at("t/", { endpoint })), { code: "store-refused" });
    assert(number < 200);
  });
});

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { describe, test } from "node:test";
import { openRegistry, parseReference } from "../../src/oci/mod.ts";
import { digestOf, StandInRegistry } from "../servers/registry.ts";
import { failed, newPath, quick, someBytes } from "./setting.ts";

const manifestType = "application/vnd.oci.image.manifest.v1+json";
const large = someBytes(5_000_000);
const largeFile = { digest: digestOf(large), size: large.length };

function aFile(): typeof largeFile & { readonly path: string } {
  const path = newPath();
  writeFileSync(path, large);
  return { ...largeFile, path };
}

describe("A push", () => {
  test("sends a small blob in one piece, and not again", async () => {
    await using server = await StandInRegistry.start();
    await using registry = openRegistry(quick);
    const reference = parseReference(`${server.host}/acme/step:1`);
    const bytes = someBytes(1000);
    const first = await registry.pushBlob(reference, { bytes });
    assert.deepEqual(first, { digest: digestOf(bytes), size: 1000, how: "sent" });
    assert.equal(server.count("PATCH", ""), 0);
    assert.equal((await registry.pushBlob(reference, { bytes })).how, "there");
    assert(server.blobs.get("acme/step")?.get(digestOf(bytes))?.equals(bytes));
  });

  test("gets a blob from another repository without sending it", async () => {
    await using server = await StandInRegistry.start({
      access: { kind: "bearer", users: { ada: "long enough" } },
    });
    server.putBlob("acme/other", large);
    await using registry = openRegistry({
      ...quick,
      credentials: {
        find: async () => ({ kind: "basic", username: "ada", password: "long enough" }),
      },
    });
    const reference = parseReference(`${server.host}/acme/step:1`);
    const pushed = await registry.pushBlob(reference, aFile(), { from: "acme/other" });
    assert.equal(pushed.how, "mounted");
    assert(server.blobs.get("acme/step")?.has(largeFile.digest));
    assert.equal(server.count("PATCH", ""), 0);
  });

  test("goes on with the upload that a registry begins when it does not mount", async () => {
    await using server = await StandInRegistry.start({ mounts: false });
    server.putBlob("acme/other", large);
    await using registry = openRegistry(quick);
    const reference = parseReference(`${server.host}/acme/step:1`);
    const pushed = await registry.pushBlob(reference, aFile(), { from: "acme/other" });
    assert.equal(pushed.how, "sent");
    assert.equal(server.count("POST", ""), 1);
  });

  test("goes on where an upload was cut off", async () => {
    await using server = await StandInRegistry.start({
      fault: ({ method }, count) =>
        method === "PATCH" && count === 0
          ? { kind: "cut-upload", afterBytes: 2_000_000 }
          : undefined,
    });
    await using registry = openRegistry(quick);
    const reference = parseReference(`${server.host}/acme/step:1`);
    await registry.pushBlob(reference, aFile());
    assert(server.blobs.get("acme/step")?.get(largeFile.digest)?.equals(large));
    const patches = server.seen.filter(({ method }) => method === "PATCH");
    assert.equal(patches.at(-1)?.headers["content-range"], "2000000-4999999");
    assert.equal(server.count("POST", ""), 1);
  });

  test("begins anew when the registry does not know its upload any more", async () => {
    let cuts = 0;
    await using server = await StandInRegistry.start({
      fault: ({ method }) => {
        if (method === "PATCH" && cuts++ === 0) return { kind: "cut-upload", afterBytes: 100_000 };
        if (method === "GET") return { kind: "answer", status: 404 };
        return undefined;
      },
    });
    await using registry = openRegistry(quick);
    await registry.pushBlob(parseReference(`${server.host}/acme/step:1`), aFile());
    assert.equal(server.count("POST", ""), 2);
    assert(server.blobs.get("acme/step")?.has(largeFile.digest));
  });

  for (const method of ["PATCH", "PUT"]) {
    test(`begins anew when the registry has forgotten its upload at a ${method}`, async () => {
      let times = 0;
      await using server = await StandInRegistry.start({
        fault: (request) =>
          request.method === method && times++ === 0 ? { kind: "answer", status: 404 } : undefined,
      });
      await using registry = openRegistry(quick);
      await registry.pushBlob(parseReference(`${server.host}/acme/step:1`), aFile());
      assert.equal(server.count("POST", ""), 2);
      assert(server.blobs.get("acme/step")?.has(largeFile.digest));
    });
  }

  test("is given up when the registry loses each upload", async () => {
    let asked = 0;
    await using server = await StandInRegistry.start({
      fault: ({ method }) => {
        if (method === "PATCH") return { kind: "cut-upload", afterBytes: 2_000_000 };
        return method === "GET" && asked++ % 2 === 1 ? { kind: "answer", status: 404 } : undefined;
      },
    });
    await using registry = openRegistry(quick);
    await assert.rejects(
      registry.pushBlob(parseReference(`${server.host}/acme/step:1`), aFile()),
      failed("registry-unavailable", /the connection was cut off/),
    );
    assert(server.count("PATCH", "") < 10);
  });

  test("sends pieces where a registry takes no more at once", async () => {
    const bytes = someBytes(20 * 1024 * 1024);
    await using server = await StandInRegistry.start({
      fault: ({ method, headers }) =>
        method === "PATCH" && Number(headers["content-length"]) > 16 * 1024 * 1024
          ? { kind: "answer", status: 413 }
          : undefined,
    });
    await using registry = openRegistry(quick);
    await registry.pushBlob(parseReference(`${server.host}/acme/step:1`), { bytes });
    const patches = server.seen.filter(
      ({ method, status }) => method === "PATCH" && status === 202,
    );
    assert.deepEqual(
      patches.map(({ headers }) => headers["content-range"]),
      ["0-16777215", "16777216-20971519"],
    );
    assert(server.blobs.get("acme/step")?.get(digestOf(bytes))?.equals(bytes));
  });

  test("does not send a blob again when only the last answer was lost", async () => {
    let server: StandInRegistry | undefined;
    await using started = await StandInRegistry.start({
      fault: ({ method }, count) => {
        if (method !== "PUT" || count > 0) return undefined;
        server?.putBlob("acme/step", large);
        return { kind: "cut" };
      },
    });
    server = started;
    await using registry = openRegistry(quick);
    await registry.pushBlob(parseReference(`${server.host}/acme/step:1`), aFile());
    assert.equal(server.count("PATCH", ""), 1);
  });

  test("gets through to a registry that closes each connection without a word", async () => {
    await using server = await StandInRegistry.start({ fault: () => ({ kind: "hang-up" }) });
    await using registry = openRegistry(quick);
    const reference = parseReference(`${server.host}/acme/step:1`);
    assert.equal((await registry.pushBlob(reference, aFile())).how, "sent");
    assert.equal((await registry.pushBlob(reference, { bytes: someBytes(100) })).how, "sent");
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: manifestType }));
    await registry.pushManifest(reference, { mediaType: manifestType, bytes });
    await registry.blob(reference, largeFile, { path: newPath() });
  });

  test("takes an upload back that fails, and says what the registry said", async () => {
    await using server = await StandInRegistry.start({
      fault: ({ method }) =>
        method === "PATCH"
          ? {
              kind: "answer",
              status: 403,
              body: JSON.stringify({ errors: [{ code: "DENIED", message: "over quota" }] }),
            }
          : undefined,
    });
    await using registry = openRegistry(quick);
    await assert.rejects(
      registry.pushBlob(parseReference(`${server.host}/acme/step:1`), aFile()),
      failed(
        "registry-refused",
        /^Cannot push the blob sha256:\w+ to "127.0.0.1:\d+\/acme\/step:1": 127.0.0.1:\d+ answered 403 \(DENIED: over quota\)$/,
        /no right to write there/,
      ),
    );
    assert.equal(server.count("DELETE", "/uploads/"), 1);
  });

  test("stops sending when it is refused before all was sent", async () => {
    await using server = await StandInRegistry.start({
      fault: ({ method }) =>
        method === "PATCH" ? { kind: "answer", status: 403, early: true } : undefined,
    });
    await using registry = openRegistry(quick);
    const bytes = Buffer.alloc(64 * 1024 * 1024);
    const path = newPath();
    writeFileSync(path, bytes);
    let sent = 0;
    await assert.rejects(
      registry.pushBlob(
        parseReference(`${server.host}/acme/step:1`),
        { digest: digestOf(bytes), size: bytes.length, path },
        { onProgress: (sofar) => (sent = sofar) },
      ),
      failed("registry-refused", /answered 403/),
    );
    assert(sent < bytes.length / 2, String(sent));
    await new Promise((resolve) => setTimeout(resolve, 100));
    // The one that was used to take the upload back.
    assert.equal(await server.connections(), 1);
  });

  test("tells that the file to push is gone or has become shorter", async () => {
    await using server = await StandInRegistry.start();
    await using registry = openRegistry(quick);
    const reference = parseReference(`${server.host}/acme/step:1`);
    const file = { ...largeFile, path: newPath() };
    await assert.rejects(
      registry.pushBlob(reference, file),
      failed("storage", /Cannot read .*ENOENT/),
    );
    writeFileSync(file.path, large.subarray(0, 3_000_000));
    await assert.rejects(
      registry.pushBlob(reference, file),
      failed("invalid-argument", /has become shorter/),
    );
  });

  test("puts a manifest under its tag or its digest", async () => {
    await using server = await StandInRegistry.start();
    await using registry = openRegistry(quick);
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: manifestType }));
    const manifest = { mediaType: manifestType, bytes };
    const tagged = parseReference(`${server.host}/acme/step:1`);
    const digest = await registry.pushManifest(tagged, manifest);
    assert.equal(digest, digestOf(bytes));
    assert.equal(await registry.resolve(tagged), digest);
    const pinned = parseReference(`${server.host}/acme/other@${digest}`);
    assert.equal(await registry.pushManifest(pinned, manifest), digest);
    assert.equal((await registry.manifest(pinned)).digest, digest);
    await assert.rejects(
      registry.pushManifest(pinned, { mediaType: manifestType, bytes: Buffer.from("{}") }),
      failed("invalid-argument", /the reference has another digest/),
    );
  });

  for (const referrersApi of [true, false]) {
    const how = referrersApi ? "by the API" : "by a tag, where a registry has no API for it";
    test(`lists what refers to a manifest ${how}`, async () => {
      await using server = await StandInRegistry.start({ referrersApi, pageSize: 2 });
      await using registry = openRegistry(quick);
      const reference = parseReference(`${server.host}/acme/step:1`);
      const subject = await registry.pushManifest(reference, {
        mediaType: manifestType,
        bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: manifestType })),
      });
      assert.deepEqual(await registry.referrers(reference, subject), []);
      const { registry: host, repository } = reference;
      const digests: string[] = [];
      for (const kind of ["signature", "signature", "note", "signature"]) {
        const bytes = Buffer.from(
          JSON.stringify({
            schemaVersion: 2,
            mediaType: manifestType,
            artifactType: `application/vnd.test.${kind}`,
            subject: { mediaType: manifestType, digest: subject, size: 71 },
            annotations: { "org.example.number": String(digests.length) },
          }),
        );
        const pinned = { registry: host, repository, digest: digestOf(bytes) };
        digests.push(await registry.pushManifest(pinned, { mediaType: manifestType, bytes }));
      }
      const all = await registry.referrers(reference, subject);
      assert.deepEqual(all.map(({ digest }) => digest).toSorted(), digests.toSorted());
      const artifactType = "application/vnd.test.signature";
      const some = await registry.referrers(reference, subject, { artifactType });
      assert.deepEqual(
        some.map(({ annotations }) => annotations?.["org.example.number"]),
        ["0", "1", "3"],
      );
      const tag = subject.replace(":", "-");
      assert.equal(server.manifests.get("acme/step")?.has(tag), !referrersApi);
    });
  }

  test("lists tags, however many pages they take", async () => {
    await using server = await StandInRegistry.start({ pageSize: 3 });
    const names = Array.from({ length: 10 }, (_, index) => `v${index}`);
    for (const name of names) server.putManifest("acme/step", name, { schemaVersion: 2 });
    await using registry = openRegistry(quick);
    const reference = parseReference(`${server.host}/acme/step`);
    assert.deepEqual(await registry.tags(reference), names);
    assert.equal(server.count("GET", "/tags/"), 4);
    await assert.rejects(
      registry.tags(parseReference(`${server.host}/acme/none`)),
      failed("image-not-found", /Cannot list the tags of .* answered 404 \(NAME_UNKNOWN/),
    );
  });
});

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { openRegistry, parseReference } from "../../src/oci/mod.ts";
import { StandInRegistry } from "../servers/registry.ts";
import { failed, newPath, quick, someBytes } from "./setting.ts";

const bytes = someBytes(200_000);

describe("A pull", () => {
  test("brings manifest and blob without a login", async () => {
    await using server = await StandInRegistry.start();
    const blob = server.putBlob("acme/step", bytes);
    const manifest = server.putManifest("acme/step", "1", { schemaVersion: 2, layers: [] });
    await using registry = openRegistry(quick);
    const reference = parseReference(`${server.host}/acme/step:1`);
    assert.equal(await registry.resolve(reference), manifest.digest);
    const got = await registry.manifest(reference);
    assert.deepEqual(
      [got.digest, got.mediaType, Buffer.from(got.bytes)],
      [manifest.digest, "application/vnd.oci.image.manifest.v1+json", manifest.bytes],
    );
    const path = newPath();
    await registry.blob(reference, blob, { path });
    assert(readFileSync(path).equals(bytes));
  });

  test("gets one token for all its requests", async () => {
    await using server = await StandInRegistry.start({
      access: { kind: "bearer", anonymousPull: true },
    });
    const blob = server.putBlob("acme/step", bytes);
    server.putManifest("acme/step", "1", { schemaVersion: 2, layers: [] });
    await using registry = openRegistry(quick);
    const reference = parseReference(`${server.host}/acme/step:1`);
    await registry.resolve(reference);
    await registry.manifest(reference);
    await registry.blob(reference, blob, { path: newPath() });
    assert.equal(server.count("GET", "/token"), 1);
    assert.equal(server.seen.filter(({ status }) => status === 401).length, 1);
  });

  test("logs in with a name and a password where that is asked for", async () => {
    await using server = await StandInRegistry.start({
      access: { kind: "basic", username: "ada", password: "long enough" },
    });
    const { digest } = server.putManifest("acme/step", "1", { schemaVersion: 2 });
    const reference = parseReference(`${server.host}/acme/step:1`);
    await using registry = openRegistry({
      ...quick,
      credentials: {
        find: async () => ({ kind: "basic", username: "ada", password: "long enough" }),
      },
    });
    assert.equal((await registry.manifest(reference)).digest, digest);
    await using nobody = openRegistry(quick);
    await assert.rejects(
      nobody.manifest(reference),
      failed("registry-refused", /wants a name and a password, and none is known for it/),
    );
  });

  test("goes on where it was cut off", async () => {
    await using server = await StandInRegistry.start({
      fault: ({ url = "" }, count) =>
        url.includes("/blobs/") && count < 2 ? { kind: "cut", afterBytes: 70_000 } : undefined,
    });
    const blob = server.putBlob("acme/step", bytes);
    await using registry = openRegistry(quick);
    const path = newPath();
    await registry.blob(parseReference(`${server.host}/acme/step:1`), blob, { path });
    assert(readFileSync(path).equals(bytes));
    const ranges = server.seen.map(({ headers }) => headers.range);
    assert.deepEqual(ranges.length, 3);
    assert.match(ranges[1] ?? "", /^bytes=\d+-\d+$/);
  });

  test("leaves nothing of a blob with other bytes than its digest says", async () => {
    await using server = await StandInRegistry.start({ fault: () => ({ kind: "corrupt" }) });
    const blob = server.putBlob("acme/step", bytes);
    await using registry = openRegistry(quick);
    const path = newPath();
    await assert.rejects(
      registry.blob(parseReference(`${server.host}/acme/step:1`), blob, { path }),
      failed("image-invalid", /sent bytes with the digest sha256:\w+ instead of sha256:/),
    );
    assert(!existsSync(path));
  });
});

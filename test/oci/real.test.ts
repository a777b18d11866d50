import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { describe, test } from "node:test";
import {
  openRegistry,
  parseReference,
  type Credentials,
  type Registry,
} from "../../src/oci/mod.ts";
import { givenServers, needs, type GivenRegistry } from "../servers/given.ts";
import { digestOf } from "../servers/registry.ts";
import { failed, newPath, quick, someBytes } from "./setting.ts";

const manifestType = "application/vnd.oci.image.manifest.v1+json";
const run = `run-${process.pid}-${Date.now()}`;
const patient = { connectMs: 10_000, headersMs: 10_000, idleMs: 10_000 };

function login({ user: username, password }: GivenRegistry): Credentials {
  return {
    find: async () =>
      username === undefined || password === undefined
        ? undefined
        : { kind: "basic", username, password },
  };
}

function open(given: GivenRegistry, credentials = login(given), host = given.host): Registry {
  const authorities = given.authority === undefined ? [] : [readFileSync(given.authority, "utf8")];
  const registries = new Map([[host, { plainHttp: given.insecure, authorities }]]);
  return openRegistry({ ...quick, timeouts: patient, credentials, registries });
}

const kinds = [
  "registry",
  "registryWithPassword",
  "registryWithTokens",
  "registryWithTls",
  "registryWithReferrers",
] as const;

for (const kind of kinds) {
  describe(`A real ${kind}`, () => {
    const given = (): GivenRegistry => {
      const found = givenServers()[kind];
      assert(found);
      return found;
    };

    test("takes what is pushed, and gives it back", needs(kind), async () => {
      const it = given();
      await using registry = open(it);
      const reference = parseReference(`${it.host}/${run}/step:1`);
      const small = someBytes(1000);
      const large = someBytes(6_000_000);
      const file = { digest: digestOf(large), size: large.length, path: newPath() };
      writeFileSync(file.path, large);
      const config = await registry.pushBlob(reference, { bytes: small });
      const layer = await registry.pushBlob(reference, file);
      assert.deepEqual([config.how, layer.how], ["sent", "sent"]);
      assert.equal((await registry.pushBlob(reference, file)).how, "there");
      const other = parseReference(`${it.host}/${run}/other:1`);
      const moved = await registry.pushBlob(other, file, { from: reference.repository });
      // go-containerregistry's keeps the blobs of all repositories together.
      if (kind !== "registryWithReferrers") assert.equal(moved.how, "mounted");
      const bytes = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: manifestType,
          config: {
            mediaType: "application/vnd.oci.image.config.v1+json",
            digest: config.digest,
            size: config.size,
          },
          layers: [
            { mediaType: "application/octet-stream", digest: layer.digest, size: layer.size },
          ],
        }),
      );
      const digest = await registry.pushManifest(reference, { mediaType: manifestType, bytes });
      assert.equal(await registry.resolve(reference), digest);
      const got = await registry.manifest({ ...reference, digest });
      assert.deepEqual([got.mediaType, Buffer.from(got.bytes)], [manifestType, bytes]);
      const path = newPath();
      await registry.blob(reference, layer, { path });
      assert(readFileSync(path).equals(large));
      assert.deepEqual(await registry.tags(reference), ["1"]);

      const signature = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: manifestType,
          artifactType: "application/vnd.test.signature",
          config: {
            mediaType: "application/vnd.oci.empty.v1+json",
            digest: config.digest,
            size: config.size,
          },
          layers: [],
          subject: { mediaType: manifestType, digest, size: bytes.length },
        }),
      );
      const pinned = { ...parseReference(`${it.host}/${run}/step@${digestOf(signature)}`) };
      await registry.pushManifest(pinned, { mediaType: manifestType, bytes: signature });
      const referrers = await registry.referrers(reference, digest);
      assert.deepEqual(
        referrers.map((one) => one.digest),
        [digestOf(signature)],
      );
      // go-containerregistry's tells the type of its configuration instead.
      if (kind !== "registryWithReferrers")
        assert.equal(referrers[0]?.artifactType, "application/vnd.test.signature");
    });

    test("says what is not there", needs(kind), async () => {
      const it = given();
      await using registry = open(it);
      const reference = parseReference(`${it.host}/${run}/none:1`);
      await assert.rejects(
        registry.manifest(reference),
        failed("image-not-found", /answered 404 \((?:MANIFEST|NAME)_UNKNOWN/),
      );
      const blob = { digest: `sha256:${"0".repeat(64)}`, size: 1 };
      await assert.rejects(
        registry.blob(reference, blob, { path: newPath() }),
        failed("image-not-found", /answered 404/),
      );
      assert.deepEqual(await registry.referrers(reference, blob.digest), []);
    });

    test("goes on with pushes and pulls where a connection was cut", needs(kind), async () => {
      const it = given();
      // Through a front that cuts the first connections after 2,500,000 bytes. go-containerregistry's has nothing of an upload that was cut, so there are fewer.
      const cuts = kind === "registryWithReferrers" ? 2 : 4;
      await using front = await cutting(it.host, 2_500_000, cuts);
      await using registry = open(it, login(it), front.host);
      const bytes = someBytes(6_000_004);
      const reference = parseReference(`${front.host}/${run}/cut:1`);
      const file = { digest: digestOf(bytes), size: bytes.length, path: newPath() };
      writeFileSync(file.path, bytes);
      await registry.pushBlob(reference, file);
      front.cuts = 2;
      const path = newPath();
      await registry.blob(reference, file, { path });
      assert(readFileSync(path).equals(bytes));
      assert.equal(front.cuts, 0);
    });
  });
}

for (const kind of ["registryWithPassword", "registryWithTokens"] as const) {
  test(`A real ${kind} refuses a wrong login and none`, needs(kind), async () => {
    const it = givenServers()[kind];
    assert(it);
    const reference = parseReference(`${it.host}/${run}/step:1`);
    await using nobody = open(it, { find: async () => undefined });
    await assert.rejects(
      nobody.manifest(reference),
      failed("registry-refused", /./, /docker login/),
    );
    await using wrong = open(it, {
      find: async () => ({ kind: "basic", username: "ada", password: "not this one" }),
    });
    await assert.rejects(
      wrong.manifest(reference),
      failed("registry-refused", /answered 401/, /Is the login right\?/),
    );
  });
}

interface Front extends AsyncDisposable {
  readonly host: string;
  /** How many connections are still to be cut. */
  cuts: number;
}

async function cutting(target: string, afterBytes: number, cuts: number): Promise<Front> {
  const [host = "", port = ""] = target.split(":");
  const open = new Set<{ destroy(): void }>();
  const server = createServer((client) => {
    const onward = connect(Number(port), host);
    open.add(client).add(onward);
    let size = 0;
    const count = (piece: Buffer): void => {
      size += piece.length;
      if (size < afterBytes || front.cuts === 0) return;
      size = 0;
      front.cuts--;
      onward.destroy();
      client.resetAndDestroy();
    };
    client.on("data", count).on("error", () => onward.destroy());
    onward.on("data", count).on("error", () => client.destroy());
    client.pipe(onward).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const front: Front = {
    host: `127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    cuts,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return front;
}

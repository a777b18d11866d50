import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { copyImage, openRegistry, parseReference, type Registry } from "../../src/oci/mod.ts";
import { StandInRegistry } from "../servers/registry.ts";
import { hello, putArtifact } from "./images.ts";
import { envelope, keys, putSignature, putSigned } from "./signing.ts";

function open(): Registry {
  return openRegistry({ loopback: true, retries: { firstMs: 1, attempts: 2 } });
}

const dsse = "application/vnd.dsse.envelope.v1+json";

/** Puts a module with a signature by tag and an attestation that refers to it. */
function putSignedArtifact(server: StandInRegistry): string {
  const pair = keys("ec");
  const image = putArtifact(server, { repository: "a", tag: "1", module: hello });
  putSignature(server, { repository: "a", digest: image.digest, pair });
  const bytes = envelope(image.digest, { predicateType: "https://slsa.dev/provenance/v1", predicate: {}, pair }); // prettier-ignore
  putSigned(server, { repository: "a", layers: [{ mediaType: dsse, bytes }], subject: image });
  return image.digest;
}

describe("copyImage()", () => {
  test("mounts blobs within a registry, and fetches none", async () => {
    await using server = await StandInRegistry.start();
    await using registry = open();
    const digest = putSignedArtifact(server);
    const from = parseReference(`${server.host}/a:1`);
    const to = parseReference(`${server.host}/b:2`);
    const how: string[] = [];
    assert.equal(
      await copyImage(registry, { from, to }, { onPart: (part) => how.push(part.how) }),
      digest,
    );
    assert.deepEqual([...new Set(how)], ["mounted"]);
    const fetched = server.seen.filter(
      ({ method, url }) => method === "GET" && url.includes("/blobs/"),
    );
    assert.deepEqual(fetched, []);
    assert.equal(await registry.resolve(to), digest);
    assert.equal((await registry.referrers(to, digest)).length, 1);
  });

  test("sends what another registry has not, once", async () => {
    await using source = await StandInRegistry.start();
    await using target = await StandInRegistry.start({ referrersApi: false });
    await using registry = open();
    const digest = putSignedArtifact(source);
    const from = parseReference(`${source.host}/a:1`);
    const to = parseReference(`${target.host}/b:2`);
    await copyImage(registry, { from, to });
    const fetched = source.seen.filter(
      ({ method, url }) => method === "GET" && url.includes("/blobs/"),
    );
    assert.equal(new Set(fetched.map(({ url }) => url)).size, fetched.length);
    assert.equal((await registry.referrers(to, digest)).length, 1);
    await registry.resolve({ ...to, tag: `${digest.replace(":", "-")}.sig` });
    const before = source.seen.length;
    await copyImage(registry, { from, to });
    const again = source.seen.slice(before).filter(({ url }) => url.includes("/blobs/"));
    assert.deepEqual(again, [], "what is there does not come again");
  });

  test("names the image last, so that nobody sees it unsigned", async () => {
    await using source = await StandInRegistry.start();
    await using target = await StandInRegistry.start();
    await using registry = open();
    putSignedArtifact(source);
    const from = parseReference(`${source.host}/a:1`);
    const to = parseReference(`${target.host}/b:2`);
    await copyImage(registry, { from, to });
    const put = target.seen.filter(
      ({ method, url }) => method === "PUT" && url.includes("/manifests/"),
    );
    assert.equal(put.at(-1)?.url, "/v2/b/manifests/2");
    assert.equal(put.filter(({ url }) => url.endsWith("/2")).length, 1);
  });
});

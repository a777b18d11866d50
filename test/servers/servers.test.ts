// That the servers are what given.ts says, by requests that no part of ours makes.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { describe, test } from "node:test";
import { givenServers, needs, type GivenRegistry } from "./given.ts";
import { askS3, begunUploads, keysBelow, s3Text } from "./s3-client.ts";

const basic = ({ user = "", password = "" }: GivenRegistry): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;

async function status(url: string, authorization?: string): Promise<number> {
  const response = await fetch(
    url,
    authorization === undefined ? {} : { headers: { authorization } },
  );
  await response.body?.cancel();
  return response.status;
}

describe("the registry that others wrote", () => {
  test("serves everybody where no login is asked for", needs("registry"), async () => {
    assert.equal(await status(`http://${givenServers().registry?.host}/v2/`), 200);
  });

  test("wants the password by Basic", needs("registryWithPassword"), async () => {
    const registry = givenServers().registryWithPassword;
    assert(registry);
    const url = `http://${registry.host}/v2/`;
    assert.equal(await status(url), 401);
    assert.equal(await status(url, basic({ ...registry, password: "wrong" })), 401);
    assert.equal(await status(url, basic(registry)), 200);
  });

  test(
    "takes a token for what the token server gave it for",
    needs("registryWithTokens"),
    async () => {
      const registry = givenServers().registryWithTokens;
      assert(registry);
      const url = `http://${registry.host}/v2/some/thing/tags/list`;
      const refused = await fetch(url);
      const challenge = refused.headers.get("www-authenticate") ?? "";
      const said = (name: string): string =>
        new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1] ?? "";
      assert.equal(refused.status, 401);
      const query = new URLSearchParams({ service: said("service"), scope: said("scope") });
      const ask = async (authorization: string) =>
        fetch(`${said("realm")}?${query.toString()}`, { headers: { authorization } });
      assert.equal((await ask(basic({ ...registry, password: "wrong" }))).status, 401);
      const { token } = (await (await ask(basic(registry))).json()) as { readonly token: string };
      assert.equal(await status(url, `Bearer ${token}`), 404);
      assert.equal(
        await status(`http://${registry.host}/v2/an/other/tags/list`, `Bearer ${token}`),
        401,
      );
    },
  );

  test("has a certificate that only our authority signed", needs("registryWithTls"), async () => {
    await assert.rejects(fetch(`https://${givenServers().registryWithTls?.host}/v2/`));
  });

  test("lists referrers in one of its kinds", needs("registryWithReferrers"), async () => {
    const repository = `http://${givenServers().registryWithReferrers?.host}/v2/servers/test`;
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const subject = { mediaType, digest: `sha256:${"0".repeat(64)}`, size: 2 };
    const body = JSON.stringify({ schemaVersion: 2, mediaType, manifests: [], subject });
    const digest = `sha256:${createHash("sha256").update(body).digest("hex")}`;
    const headers = { "content-type": mediaType };
    const put = await fetch(`${repository}/manifests/${digest}`, { method: "PUT", headers, body });
    assert.equal(put.status, 201);
    const response = await fetch(`${repository}/referrers/${subject.digest}`);
    const { manifests } = (await response.json()) as {
      readonly manifests: readonly { readonly digest: string }[];
    };
    assert.deepEqual(
      manifests.map((manifest) => manifest.digest),
      [digest],
    );
  });
});

describe("the S3 server that others wrote", () => {
  for (const name of ["s3", "s3WithTls"] as const) {
    test(
      `${name}: keeps an object, gives a range, and checks signatures`,
      needs(name),
      async () => {
        const s3 = givenServers()[name];
        assert(s3);
        const bytes = randomBytes(100_000);
        const key = "servers.test/object";
        await s3Text(s3, { method: "PUT", key, body: bytes });
        const range = await askS3(s3, { method: "GET", key, headers: { range: "bytes=500-1499" } });
        assert.equal(range.statusCode, 206);
        assert.deepEqual(await buffer(range), bytes.subarray(500, 1500));
        const stranger = { ...s3, secretKey: "another" };
        await assert.rejects(s3Text(stranger, { method: "GET", key }), /SignatureDoesNotMatch/);
        assert.deepEqual(await keysBelow(s3, "servers.test/"), [key]);
        await s3Text(s3, { method: "DELETE", key });
        assert.deepEqual(await keysBelow(s3, "servers.test/"), []);
      },
    );
  }

  test("tells of uploads that were begun and not ended", needs("s3"), async () => {
    const { s3 } = givenServers();
    assert(s3);
    const key = "servers.test/begun";
    const begun = await s3Text(s3, { method: "POST", key, query: { uploads: "" } });
    const uploadId = /<UploadId>([^<]*)</.exec(begun)?.[1] ?? "";
    assert.deepEqual(await begunUploads(s3, key), [key]);
    await s3Text(s3, { method: "DELETE", key, query: { uploadId } });
    assert.deepEqual(await begunUploads(s3, key), []);
  });
});

test("Google's stand-in keeps an object", needs("gcs"), async () => {
  const { gcs } = givenServers();
  assert(gcs);
  const upload = `${gcs.endpoint}/upload/storage/v1/b/${gcs.bucket}/o?uploadType=media&name=servers`;
  assert.equal((await fetch(upload, { method: "POST", body: "kept" })).status, 200);
  const object = `${gcs.endpoint}/storage/v1/b/${gcs.bucket}/o/servers`;
  assert.equal(await (await fetch(`${object}?alt=media`)).text(), "kept");
  assert.equal(await status(`${object}?alt=media`), 200);
  await fetch(object, { method: "DELETE" });
  assert.equal(await status(object), 404);
});

test("Azure's stand-in refuses who has no key", needs("azure"), async () => {
  const { azure } = givenServers();
  assert(azure);
  assert.equal(await status(`${azure.endpoint}/${azure.container}?restype=container`), 403);
});

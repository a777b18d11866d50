import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { addressRules } from "../../src/network/mod.ts";
import { startAnswering, type Given } from "../servers/answering.ts";
import { FaultyFront, type Fault } from "../servers/faulty.ts";
import { givenServers, needs } from "../servers/given.ts";
import { azureKit, givenObjects } from "./objects-kit.ts";
import { bytesOf, secret } from "./s3-kit.ts";

const mebi = 1024 * 1024;
const signature = "?sv=2022-11-02&ss=b&srt=co&sp=rwdl&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D";

describe("logins at Azure's", () => {
  test("a shared access signature goes with each request, and into no message", async () => {
    await using k = await azureKit();
    const at = k.at("x", { accountKey: secret(signature) });
    const content = { kind: "bytes", bytes: Buffer.from("x") } as const;
    await k.stores.upload(at, { kind: "file", content });
    await Array.fromAsync(k.stores.list(at));
    assert.equal(k.server.asked.length, 3);
    for (const { url, headers } of k.server.asked) {
      assert.equal(url.searchParams.get("sig"), "c2VjcmV0LXNpZ25hdHVyZQ==");
      assert.equal(headers.authorization, undefined);
    }
    k.server.instead = ({ url }) => ({
      status: 403,
      headers: { "x-ms-error-code": "AuthorizationFailure" },
      body: `<Error><Code>AuthorizationFailure</Code><Message>no: ${url.search.slice(1).replaceAll("&", "&amp;")}</Message></Error>`,
    });
    await assert.rejects(k.stores.upload(at, { kind: "file", content }), (failure: Error) => {
      assert.doesNotMatch(failure.message, /c2VjcmV0/);
      assert.match(failure.message, /403 \(AuthorizationFailure: no: sv=.*sig=\*\*\*\)$/);
      return true;
    });
  });

  test("a real server takes a signature of its account", needs("azure"), async () => {
    await using k = await givenObjects("azure");
    const { azure } = givenServers();
    const location = k.at("signed");
    assert(azure && location.kind === "azure");
    const expiry = new Date(Date.now() + 600_000).toISOString().replace(/\.\d+/, "");
    const version = "2021-12-02";
    const text = `${azure.account}\nrwdlc\nb\nco\n\n${expiry}\n\n\n${version}\n\n`;
    const sig = createHmac("sha256", Buffer.from(azure.key, "base64"))
      .update(text)
      .digest("base64");
    const query = { sv: version, ss: "b", srt: "co", sp: "rwdlc", se: expiry, sig };
    const at = { ...location, accountKey: secret(String(new URLSearchParams(query))) };
    const bytes = randomBytes(17 * mebi);
    await k.stores.upload(at, { kind: "file", content: { kind: "bytes", bytes } });
    assert(bytes.equals(await bytesOf(await k.stores.download(at, await k.empty()))));
  });

  test("a real server refuses another key", needs("azure"), async () => {
    await using k = await givenObjects("azure");
    const wrong = { ...k.at("x"), accountKey: secret(Buffer.alloc(64).toString("base64")) };
    await assert.rejects(k.stores.download(wrong, await k.empty()), {
      code: "store-refused",
      message: /403/,
    });
  });

  test("a key that was replaced is read again", async () => {
    await using k = await azureKit();
    k.server.blobs.set("x", Buffer.from("x"));
    let read = 0;
    k.server.instead = () =>
      read > 1
        ? undefined
        : { status: 403, headers: { "x-ms-error-code": "AuthenticationFailed" } };
    const accountKey = async (host: string): Promise<Uint8Array> => {
      assert.match(host, /^127\.0\.0\.1:\d+$/);
      read++;
      return Buffer.from(Buffer.alloc(64, read).toString("base64"));
    };
    await k.stores.download(k.at("x", { accountKey }), await k.empty());
    assert.equal(read, 2);
    assert.notEqual(
      k.server.asked[0]?.headers.authorization,
      k.server.asked[1]?.headers.authorization,
    );
  });

  for (const word of ["no base64!", "", "a b"]) {
    test(`"${word}" is no key`, async () => {
      await using k = await azureKit();
      const at = k.at("x", { accountKey: secret(word) });
      await assert.rejects(k.stores.download(at, await k.empty()), { code: "secret-invalid" });
      assert.equal(k.server.asked.length, 0);
    });
  }

  test("without a key a workflow is nobody, and this machine's identity stays at home", async () => {
    const environment = {
      AZURE_TENANT_ID: "t",
      AZURE_CLIENT_ID: "c",
      AZURE_CLIENT_SECRET: "s",
      AZURE_AUTHORITY_HOST: "http://127.0.0.1:1",
    };
    await using k = await azureKit({}, { environment });
    k.server.blobs.set("x", Buffer.from("public"));
    const { accountKey: _none, ...at } = k.at("x");
    const got = await k.stores.download(at, await k.empty());
    assert.equal((await bytesOf(got)).toString(), "public");
    assert.equal(k.server.asked[0]?.headers.authorization, undefined);
  });

  test("a workflow's endpoint has a public address", async () => {
    await using k = await azureKit({}, { reach: addressRules({}) });
    await assert.rejects(k.stores.download(k.at("x"), await k.empty()), { code: "network-denied" });
    assert.equal(k.server.asked.length, 0);
  });

  for (const endpoint of ["ftp://x", "https://u:p@a.example", "https://a.example/?sig=1", "a b"]) {
    test(`"${endpoint}" is no endpoint, and is not shown`, async () => {
      await using k = await azureKit();
      await assert.rejects(k.stores.download(k.at("x", { endpoint }), await k.empty()), {
        code: "invalid-argument",
        message: "The endpoint of Azure's is no URL",
      });
    });
  }
});

describe("this machine's identity at Azure's", () => {
  const token = (n: number): Given => ({
    status: 200,
    body: JSON.stringify({ access_token: `token-${n}`, expires_in: "3600" }),
  });

  for (const [what, variables, expected] of [
    [
      "a client with a secret",
      { AZURE_TENANT_ID: "tenant", AZURE_CLIENT_ID: "client", AZURE_CLIENT_SECRET: "word" },
      "POST /tenant/oauth2/v2.0/token grant_type=client_credentials&client_id=client&scope=https%3A%2F%2Fstorage.azure.com%2F.default&client_secret=word",
    ],
    [
      "a client with a federated token",
      { AZURE_TENANT_ID: "tenant", AZURE_CLIENT_ID: "client", AZURE_FEDERATED_TOKEN_FILE: "" },
      "POST /tenant/oauth2/v2.0/token grant_type=client_credentials&client_id=client&scope=https%3A%2F%2Fstorage.azure.com%2F.default&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=federated",
    ],
    [
      "a service's identity",
      { IDENTITY_ENDPOINT: "URL/msi", IDENTITY_HEADER: "header" },
      "GET /msi?api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com%2F ",
    ],
    [
      "a machine's identity",
      { AZURE_POD_IDENTITY_AUTHORITY_HOST: "URL" },
      "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F ",
    ],
  ] as const) {
    test(what, async () => {
      await using server = await startAnswering(() => token(server.asked.length));
      const environment: Record<string, string> = { AZURE_AUTHORITY_HOST: server.url };
      for (const [name, value] of Object.entries(variables))
        environment[name] = value.replace("URL", server.url);
      await using k = await azureKit({}, { environment });
      if ("AZURE_FEDERATED_TOKEN_FILE" in environment) {
        environment["AZURE_FEDERATED_TOKEN_FILE"] = join(k.path, "token");
        await writeFile(join(k.path, "token"), "federated\n");
      }
      k.server.blobs.set("x", Buffer.from("x"));
      const { accountKey: _none, ...location } = k.at("x");
      const at = { ...location, ofOperator: true } as const;
      // Whoever asks at the same time, and later, gets the same token.
      await Promise.all([1, 2, 3].map(async () => k.stores.download(at, await k.empty())));
      await k.stores.download(at, await k.empty());
      const asked = server.asked.map(
        ({ method, url, body }) => `${method} ${url.pathname}${url.search} ${body.toString()}`,
      );
      assert.deepEqual(asked, [expected]);
      for (const { headers } of k.server.asked)
        assert.equal(headers.authorization, "Bearer token-1");
    });
  }

  test("a token that ends in the middle is fetched anew", async () => {
    await using server = await startAnswering(() => token(server.asked.length));
    const environment = { AZURE_POD_IDENTITY_AUTHORITY_HOST: server.url };
    await using k = await azureKit({}, { environment });
    const bytes = randomBytes(50 * mebi);
    k.server.blobs.set("x", bytes);
    // After two ranges the first one is no good any more.
    k.server.instead = ({ headers }) =>
      headers.authorization === "Bearer token-1" && k.server.asked.length > 2
        ? { status: 401, headers: { "x-ms-error-code": "InvalidAuthenticationInfo" } }
        : undefined;
    const { accountKey: _none, ...location } = k.at("x");
    const got = await k.stores.download({ ...location, ofOperator: true }, await k.empty());
    assert(bytes.equals(await bytesOf(got)));
    assert.equal(server.asked.length, 2);
  });

  test("who has none is told so", async () => {
    const environment = { AZURE_POD_IDENTITY_AUTHORITY_HOST: "http://127.0.0.1:1" };
    await using k = await azureKit({}, { environment });
    const { accountKey: _none, ...location } = k.at("x");
    const at = { ...location, ofOperator: true } as const;
    await assert.rejects(k.stores.download(at, await k.empty()), {
      code: "secret-missing",
      message: /no identity at Azure's/,
    });
  });

  test("a token goes over TLS only, but on this machine", async () => {
    await using server = await startAnswering(() => token(1));
    const environment = { AZURE_POD_IDENTITY_AUTHORITY_HOST: server.url };
    await using k = await azureKit({}, { environment });
    const { accountKey: _none, ...location } = k.at("x");
    const at = { ...location, endpoint: "http://account.blob.example", ofOperator: true } as const;
    await assert.rejects(k.stores.download(at, await k.empty()), {
      code: "invalid-argument",
      message: /over TLS only/,
    });
  });
});

describe("Azure on a bad day", () => {
  const large = randomBytes(17 * mebi);
  const file = { kind: "file", content: { kind: "bytes", bytes: large } } as const;
  const retries = { firstMs: 1, attempts: 3, mostMs: 1500 };
  const timeouts = { connectMs: 2000, headersMs: 500, idleMs: 500 };

  for (const [what, fault] of [
    ["503", { kind: "status", status: 503 }],
    ["429 with a time", { kind: "status", status: 429, headers: { "retry-after": "0" } }],
    ["500", { kind: "status", status: 500 }],
    ["a cut before the answer", { kind: "refuse" }],
    ["a cut in the answer", { kind: "cut", of: "answer", afterBytes: 100_000 }],
    ["a lost answer", { kind: "lose" }],
    ["an answer that stops", { kind: "stall", afterBytes: 50_000 }],
    ["a wrong bit", { kind: "corrupt", of: "answer", atByte: 77 }],
  ] as const satisfies readonly (readonly [string, Fault])[]) {
    test(`${what} passes, for each request of a download`, async () => {
      await using k = await azureKit({}, { retries, timeouts });
      k.server.blobs.set("x", large);
      for (let at = 0; at < 2; at++) {
        let count = 0;
        await using front = await FaultyFront.start({
          target: new URL(k.server.url).origin,
          fault: () => (count++ === at ? fault : undefined),
        });
        const endpoint = `http://${front.host}/account`;
        const got = await k.stores.download(k.at("x", { endpoint }), await k.empty());
        assert(large.equals(await bytesOf(got)), `request ${at}`);
      }
    });
  }

  for (const [what, fault] of [
    ["503", { kind: "status", status: 503 }],
    ["a cut in the request", { kind: "cut", of: "request", afterBytes: 100 }],
    ["a lost answer", { kind: "lose" }],
    ["a wrong bit", { kind: "corrupt", of: "request", atByte: 60 }],
  ] as const satisfies readonly (readonly [string, Fault])[]) {
    test(`${what} passes, for each request of an upload`, async () => {
      for (let at = 0; at < 3; at++) {
        await using k = await azureKit({}, { retries, timeouts });
        let count = 0;
        await using front = await FaultyFront.start({
          target: new URL(k.server.url).origin,
          fault: () => (count++ === at ? fault : undefined),
        });
        await k.stores.upload(k.at("x", { endpoint: `http://${front.host}/account` }), file);
        assert(k.server.blobs.get("x")?.equals(large) === true, `request ${at}`);
      }
    });
  }

  test("an upload that fails leaves no blob, and the one that was there", async () => {
    await using k = await azureKit({}, { retries });
    k.server.blobs.set("x", Buffer.from("before"));
    k.server.instead = ({ url }) =>
      url.searchParams.get("comp") === "blocklist" ? { status: 503 } : undefined;
    await assert.rejects(k.stores.upload(k.at("x"), file), { code: "store-unavailable" });
    assert.equal(k.server.blobs.get("x")?.toString(), "before");
  });

  test("a blob that changes under a download comes whole, old or new", async () => {
    await using k = await azureKit({}, { retries });
    k.server.blobs.set("x", randomBytes(40 * mebi));
    k.server.instead = () => {
      if (k.server.asked.length === 2) k.server.blobs.set("x", large);
      return undefined;
    };
    const got = await k.stores.download(k.at("x"), await k.empty());
    assert(large.equals(await bytesOf(got)));
  });

  test("more bytes than the ceiling are refused before they come", async () => {
    await using k = await azureKit({}, { limits: { bytes: mebi } });
    k.server.blobs.set("x", large);
    const to = await k.empty();
    await assert.rejects(k.stores.download(k.at("x"), to), { code: "artifact-too-large" });
    assert.deepEqual(await readdir(to), []);
    await assert.rejects(k.stores.upload(k.at("y"), file), { code: "artifact-too-large" });
    assert.equal(k.server.asked.length, 1);
  });

  test("a folder of Data Lake's is no empty file", async () => {
    await using k = await azureKit();
    k.server.blobs.set("f/a", Buffer.from("1"));
    k.server.instead = ({ url }) =>
      url.pathname.endsWith("/f")
        ? { status: 200, headers: { "x-ms-meta-hdi_isfolder": "true" } }
        : undefined;
    assert.equal((await k.stores.download(k.at("f"), await k.empty())).kind, "directory");
  });

  for (const [what, body] of [
    ["no XML", "<html>"],
    [
      "blobs that nobody asked for",
      "<EnumerationResults><Blobs><Blob><Name>other</Name><Properties><Content-Length>1</Content-Length></Properties></Blob></Blobs><NextMarker/></EnumerationResults>",
    ],
    [
      "pages without end",
      "<EnumerationResults><Blobs/><NextMarker>again</NextMarker></EnumerationResults>",
    ],
  ] as const) {
    test(`${what} for a list are refused`, async () => {
      await using k = await azureKit();
      k.server.instead = () => ({ status: 200, body });
      await assert.rejects(Array.fromAsync(k.stores.list(k.at("f/"))), { code: "store-refused" });
      assert(k.server.asked.length < 5);
    });
  }
});

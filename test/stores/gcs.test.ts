import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { addressRules } from "../../src/network/mod.ts";
import { startAnswering } from "../servers/answering.ts";
import { FaultyFront, type Fault } from "../servers/faulty.ts";
import { gcsKit } from "./objects-kit.ts";
import { bytesOf, secret } from "./s3-kit.ts";

const mebi = 1024 * 1024;
const small = { kind: "file", content: { kind: "bytes", bytes: Buffer.from("x") } } as const;

describe("logins at Google's", () => {
  test("a service account signs for a token, which is kept", async () => {
    await using k = await gcsKit();
    k.server.token = "none yet";
    await Promise.all(["a", "b", "c"].map((key) => k.stores.upload(k.at(key), small)));
    assert.equal(k.server.tokens.length, 1);
    const asked = k.server.asked.find(({ url }) => url.pathname === "/token");
    const [, claims = ""] = asked?.body.toString().split(/assertion=[^.]*\./) ?? [];
    const said: unknown = JSON.parse(
      Buffer.from(claims.split(".")[0] ?? "", "base64url").toString(),
    );
    assert(typeof said === "object" && said !== null && "scope" in said && "iss" in said);
    assert.equal(said.scope, "https://www.googleapis.com/auth/devstorage.read_write");
    assert.equal(said.iss, "step@project.iam.gserviceaccount.com");
  });

  test("a token that ends in the middle is fetched anew", async () => {
    await using k = await gcsKit();
    const bytes = randomBytes(50 * mebi);
    k.server.objects.set("x", bytes);
    k.server.token = "none yet";
    k.server.instead = () => {
      if (k.server.asked.length === 4) k.server.token = "another one";
      return undefined;
    };
    const got = await k.stores.download(k.at("x"), await k.empty());
    assert(bytes.equals(await bytesOf(got)));
    assert.equal(k.server.tokens.length, 2);
  });

  test("what a refused token is told does not show the key, nor the token", async () => {
    await using k = await gcsKit();
    k.server.token = "none yet";
    k.server.instead = ({ url, headers }) =>
      url.pathname === "/token"
        ? undefined
        : {
            status: 403,
            body: JSON.stringify({ error: { message: `${headers.authorization} may not` } }),
          };
    await assert.rejects(k.stores.upload(k.at("x"), small), {
      code: "store-refused",
      message: /403 \(Bearer \*\*\* may not\)$/,
      hint: /Storage Object Admin/,
    });
  });

  for (const [what, file, message] of [
    ["no JSON", "key", /has no type/],
    [
      "no key",
      JSON.stringify({ type: "service_account", client_email: "a@b" }),
      /has no private_key/,
    ],
    [
      "a damaged key",
      JSON.stringify({ type: "service_account", client_email: "a@b", private_key: "SECRET" }),
      /The private_key of serviceAccountKeySecret cannot be read/,
    ],
    [
      "another type",
      JSON.stringify({ type: "external_account" }),
      /"external_account", which is not supported/,
    ],
    [
      "a token server without TLS",
      JSON.stringify({ type: "service_account", token_uri: "http://tokens.example/" }),
      /token_uri of serviceAccountKeySecret is no URL of HTTPS/,
    ],
  ] as const) {
    test(`${what} is no service account`, async () => {
      await using k = await gcsKit();
      const at = k.at("x", { serviceAccount: secret(file) });
      await assert.rejects(k.stores.upload(at, small), { code: "secret-invalid", message });
      assert.equal(k.server.asked.length, 0);
    });
  }

  test("without an account a workflow is nobody, and this machine's stays at home", async () => {
    const environment = {
      GOOGLE_APPLICATION_CREDENTIALS: "/nowhere",
      GCE_METADATA_HOST: "127.0.0.1:1",
    };
    await using k = await gcsKit({}, { environment });
    k.server.objects.set("x", Buffer.from("public"));
    const { serviceAccount: _none, ...at } = k.at("x");
    assert.equal(
      (await bytesOf(await k.stores.download(at, await k.empty()))).toString(),
      "public",
    );
    assert.equal(k.server.asked[0]?.headers.authorization, undefined);
  });

  test("a workflow's endpoint has a public address", async () => {
    await using k = await gcsKit({}, { reach: addressRules({}) });
    const { serviceAccount: _none, ...at } = k.at("x");
    await assert.rejects(k.stores.upload(at, small), { code: "network-denied" });
    assert.equal(k.server.asked.length, 0);
  });
});

describe("this machine's identity at Google's", () => {
  test("the file that the environment names", async () => {
    const environment: Record<string, string> = {};
    await using k = await gcsKit({}, { environment });
    environment["GOOGLE_APPLICATION_CREDENTIALS"] = join(k.path, "key.json");
    await writeFile(join(k.path, "key.json"), k.server.key);
    k.server.token = "none yet";
    const { serviceAccount: _none, ...location } = k.at("x");
    await k.stores.upload({ ...location, ofOperator: true }, small);
    assert.equal(k.server.tokens.length, 1);
  });

  test("a user's own, by a token that lasts", async () => {
    await using server = await startAnswering(() => ({
      status: 200,
      body: JSON.stringify({ access_token: "of-user" }),
    }));
    const environment: Record<string, string> = {};
    await using k = await gcsKit({}, { environment });
    environment["GOOGLE_APPLICATION_CREDENTIALS"] = join(k.path, "user.json");
    const user = {
      type: "authorized_user",
      client_id: "id",
      client_secret: "word",
      refresh_token: "lasting",
      token_uri: server.url,
    };
    await writeFile(join(k.path, "user.json"), JSON.stringify(user));
    k.server.token = "of-user";
    const { serviceAccount: _none, ...location } = k.at("x");
    await k.stores.upload({ ...location, ofOperator: true }, small);
    assert.equal(
      server.asked[0]?.body.toString(),
      "grant_type=refresh_token&client_id=id&client_secret=word&refresh_token=lasting",
    );
  });

  test("the machine's account", async () => {
    await using server = await startAnswering(({ headers }) =>
      headers["metadata-flavor"] === "Google"
        ? { status: 200, body: JSON.stringify({ access_token: "of-machine", expires_in: 3599 }) }
        : { status: 403 },
    );
    await using k = await gcsKit(
      {},
      { environment: { GCE_METADATA_HOST: new URL(server.url).host } },
    );
    k.server.token = "of-machine";
    const { serviceAccount: _none, ...location } = k.at("x");
    await k.stores.upload({ ...location, ofOperator: true }, small);
    assert.equal(
      server.asked[0]?.url.pathname,
      "/computeMetadata/v1/instance/service-accounts/default/token",
    );
  });

  test("who has none is told so", async () => {
    await using k = await gcsKit({}, { environment: { GCE_METADATA_HOST: "127.0.0.1:1" } });
    const { serviceAccount: _none, ...location } = k.at("x");
    await assert.rejects(k.stores.upload({ ...location, ofOperator: true }, small), {
      code: "secret-missing",
      message: /no identity at Google's/,
    });
  });
});

describe("Google on a bad day", () => {
  const large = randomBytes(17 * mebi);
  const file = { kind: "file", content: { kind: "bytes", bytes: large } } as const;
  const retries = { firstMs: 1, attempts: 3, mostMs: 1500 };
  const timeouts = { connectMs: 2000, headersMs: 500, idleMs: 500 };

  for (const [what, fault] of [
    ["503", { kind: "status", status: 503 }],
    ["429 with a time", { kind: "status", status: 429, headers: { "retry-after": "0" } }],
    ["a cut before the answer", { kind: "refuse" }],
    ["a cut in the answer", { kind: "cut", of: "answer", afterBytes: 100_000 }],
    ["a lost answer", { kind: "lose" }],
    ["an answer that stops", { kind: "stall", afterBytes: 50_000 }],
    ["a wrong bit", { kind: "corrupt", of: "answer", atByte: 77 }],
  ] as const satisfies readonly (readonly [string, Fault])[]) {
    test(`${what} passes, for each request of a download`, async () => {
      await using k = await gcsKit({}, { retries, timeouts });
      k.server.objects.set("x", large);
      const { serviceAccount: _none, ...location } = k.at("x");
      for (let at = 0; at < 2; at++) {
        let count = 0;
        await using front = await FaultyFront.start({
          target: k.server.url,
          fault: () => (count++ === at ? fault : undefined),
        });
        const endpoint = `http://${front.host}`;
        const got = await k.stores.download({ ...location, endpoint }, await k.empty());
        assert(large.equals(await bytesOf(got)), `request ${at}`);
      }
    });
  }

  /** Requests of an upload in two parts, spoilt one after the other; the address of a session is the front's. */
  const spoilt = async (
    fault: Fault,
    work: (k: Awaited<ReturnType<typeof gcsKit>>, at: number) => void,
  ) => {
    for (let at = 0; at < 3; at++) {
      await using k = await gcsKit({}, { retries, timeouts });
      let count = 0;
      await using front = await FaultyFront.start({
        target: k.server.url,
        fault: () => (count++ === at ? fault : undefined),
      });
      k.server.host = front.host;
      const { serviceAccount: _none, ...location } = k.at("x");
      await k.stores.upload({ ...location, endpoint: `http://${front.host}` }, file);
      work(k, at);
    }
  };

  for (const [what, fault] of [
    ["503", { kind: "status", status: 503 }],
    ["a cut in the request", { kind: "cut", of: "request", afterBytes: 10 }],
    ["a lost answer", { kind: "lose" }],
  ] as const satisfies readonly (readonly [string, Fault])[]) {
    test(`${what} passes, for each request of an upload`, async () => {
      await spoilt(fault, (k, at) => {
        assert(k.server.objects.get("x")?.equals(large) === true, `request ${at}`);
        // The one whose name was lost nobody can give up; it ends after a week.
        assert(k.server.sessions.size <= (at === 0 ? 1 : 0));
      });
    });
  }

  test("a part of which less was kept goes on from there", async () => {
    await using k = await gcsKit({}, { retries });
    let cut = false;
    k.server.keeps = (bytes) => {
      if (cut) return bytes.length;
      cut = true;
      return 3 * mebi;
    };
    await k.stores.upload(k.at("x"), file);
    assert(k.server.objects.get("x")?.equals(large) === true);
    const ranges = k.server.asked.flatMap(({ headers }) => headers["content-range"] ?? []);
    assert.deepEqual(ranges, [
      `bytes 0-${16 * mebi - 1}/*`,
      "bytes */*",
      `bytes ${3 * mebi}-${16 * mebi - 1}/*`,
      `bytes ${16 * mebi}-${17 * mebi - 1}/${17 * mebi}`,
    ]);
  });

  test("an upload that fails is given up, and what was there stays", async () => {
    await using k = await gcsKit({}, { retries });
    k.server.objects.set("x", Buffer.from("before"));
    k.server.instead = ({ headers }) =>
      String(headers["content-range"]).endsWith(`/${17 * mebi}`) ? { status: 503 } : undefined;
    await assert.rejects(k.stores.upload(k.at("x"), file), { code: "store-unavailable" });
    assert.equal(k.server.objects.get("x")?.toString(), "before");
    assert.equal(k.server.sessions.size, 0);
  });

  test("an object whose sum is not that of what was sent is taken back", async () => {
    await using k = await gcsKit({}, { retries });
    k.server.spoils = true;
    await assert.rejects(k.stores.upload(k.at("x"), file), {
      code: "store-unavailable",
      message: /damaged on the way/,
    });
    assert.equal(k.server.objects.has("x"), false);
  });

  test("a place for an upload that is not Google's gets nothing", async () => {
    await using k = await gcsKit();
    await using other = await startAnswering(() => ({ status: 200 }));
    k.server.host = new URL(other.url).host;
    await assert.rejects(k.stores.upload(k.at("x"), file), {
      code: "store-refused",
      message: /gave it no place of its own/,
    });
    assert.equal(other.asked.length, 0);
  });

  test("an object that changes under a download comes whole, old or new", async () => {
    await using k = await gcsKit({}, { retries });
    const put = (bytes: Uint8Array) =>
      k.stores.upload(k.at("x"), { kind: "file", content: { kind: "bytes", bytes } });
    await put(randomBytes(16 * mebi - 1));
    await put(randomBytes(40 * mebi));
    let changed = false;
    k.server.instead = ({ url }) => {
      if (url.searchParams.get("generation") !== null && !changed) {
        changed = true;
        k.server.replace("x", large);
      }
      return undefined;
    };
    const got = await k.stores.download(k.at("x"), await k.empty());
    assert(large.equals(await bytesOf(got)));
  });

  test("more bytes than the ceiling are refused before they come", async () => {
    await using k = await gcsKit({}, { limits: { bytes: mebi } });
    k.server.objects.set("x", large);
    const to = await k.empty();
    await assert.rejects(k.stores.download(k.at("x"), to), { code: "artifact-too-large" });
    assert.deepEqual(await readdir(to), []);
    await assert.rejects(k.stores.upload(k.at("y"), file), { code: "artifact-too-large" });
  });

  for (const [what, body] of [
    ["objects that nobody asked for", { items: [{ name: "other", size: "1" }] }],
    ["objects without a size", { items: [{ name: "f/x" }] }],
    ["pages without end", { nextPageToken: "again" }],
  ] as const) {
    test(`${what} for a list are refused`, async () => {
      await using k = await gcsKit();
      const { serviceAccount: _none, ...location } = k.at("f/");
      k.server.instead = () => ({ status: 200, body: JSON.stringify(body) });
      await assert.rejects(Array.fromAsync(k.stores.list(location)), { code: "store-refused" });
      assert(k.server.asked.length < 5);
    });
  }
});

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type CryptoKey, type JWK } from "jose";
import { Failure } from "../../src/errors/mod.ts";
import { makeToken, openAccess, openOidc, Tokens } from "../../src/server/mod.ts";
import { call, deploy, startApi } from "../functions/api.ts";

const folder = mkdtempSync(join(tmpdir(), "tokens-"));
after(() => rmSync(folder, { recursive: true }));

function fileOf(name: string, ...entries: readonly object[]): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify({ tokens: entries }));
  return path;
}

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

describe("without tokens", () => {
  test("nothing but loopback is listened on", () => {
    for (const host of ["127.0.0.1", "::1", "localhost"]) openAccess({ host });
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "example.com", "127.0.0.1.example.com"]) {
      assert.throws(
        () => openAccess({ host }),
        (thrown) => thrown instanceof Failure && thrown.code === "invalid-argument",
      );
    }
  });
});

describe("bearer tokens", () => {
  const caller = makeToken({ name: "caller", scopes: ["default:call"] });
  const admin = makeToken({ name: "admin", scopes: ["*:admin"] });
  const old = makeToken({ name: "old", scopes: ["*:admin"], expires: "2020-01-01T00:00:00Z" });

  test("may do what their scopes say, in their namespaces alone", async () => {
    const tokens = new Tokens(fileOf("scopes.json", caller.entry, admin.entry, old.entry));
    await using api = await startApi({ access: openAccess({ host: "0.0.0.0", tokens }) });
    const none = await call(api, "/call/greet?module=f", ["x"]);
    assert.equal(none.status, 401);
    assert.match(none.headers.get("www-authenticate") ?? "", /^Bearer/);
    const status = async (token: string, path = "/call/greet?module=f"): Promise<number> =>
      (await call(api, path, ["x"], bearer(token))).status;
    assert.equal(await status(caller.token), 200);
    assert.equal(await status(admin.token), 200);
    assert.equal(await status(old.token), 401);
    assert.equal(await status("atalanta_made-up"), 401);
    assert.equal(await status(`${caller.token}x`), 401);
    const elsewhere = await fetch(`${api.url}/v1/namespaces/other/call/greet?module=f`, {
      method: "POST",
      body: '["x"]',
      headers: { ...bearer(caller.token), "content-type": "application/json" },
    });
    assert.equal(elsewhere.status, 403);
    const put = await fetch(api.at("/functions/f"), {
      method: "PUT",
      body: '{"image":"f"}',
      headers: bearer(caller.token),
    });
    assert.equal(put.status, 403);
    assert.match(((await put.json()) as { hint: string }).hint, /default:deploy/);
    // Who lives and how it is going is no secret; what is called is.
    assert.equal((await fetch(`${api.url}/healthz`)).status, 200);
    assert.equal((await fetch(`${api.url}/metrics`)).status, 401);
  });

  test("change with their file, and a wrong file changes nothing", async () => {
    const path = fileOf("changing.json", caller.entry);
    const troubles: string[] = [];
    const tokens = new Tokens(path, ({ message }) => troubles.push(message));
    assert.ok(tokens.find(caller.token));
    const later = async (): Promise<void> => new Promise((done) => setTimeout(done, 1100));
    writeFileSync(path, "nonsense");
    await later();
    assert.ok(tokens.find(caller.token));
    assert.equal(troubles.length, 1);
    fileOf("changing.json", admin.entry);
    await later();
    assert.equal(tokens.find(caller.token), undefined);
    assert.ok(tokens.find(admin.token));
  });

  for (const [what, text] of [
    ["no JSON", "{"],
    ["no list", "{}"],
    [
      "a scope that is none",
      JSON.stringify({
        tokens: [{ name: "a", sha256: "0".repeat(64), scopes: ["default:everything"] }],
      }),
    ],
    ["a digest that is none", JSON.stringify({ tokens: [{ name: "a", sha256: "0", scopes: [] }] })],
    [
      "a time that is none",
      JSON.stringify({
        tokens: [{ name: "a", sha256: "0".repeat(64), scopes: [], expires: "soon" }],
      }),
    ],
  ] as const) {
    test(`in a file with ${what} are refused at the start`, () => {
      const path = join(folder, "wrong.json");
      writeFileSync(path, text);
      assert.throws(
        () => new Tokens(path),
        (thrown) => thrown instanceof Failure && thrown.code === "invalid-argument",
      );
    });
  }
});

describe("rates", () => {
  test("are held for each token and each namespace", async () => {
    const one = makeToken({ name: "one", scopes: ["*:call"] });
    const two = makeToken({ name: "two", scopes: ["*:call"] });
    const tokens = new Tokens(fileOf("rates.json", one.entry, two.entry));
    await using api = await startApi({
      access: openAccess({ host: "127.0.0.1", tokens, limits: { perSecond: 1, burst: 3 } }),
    });
    const codes: number[] = [];
    for (let left = 5; left > 0; left--)
      codes.push((await call(api, "/call/greet?module=f", ["x"], bearer(one.token))).status);
    assert.deepEqual(codes.slice(0, 3), [200, 200, 200]);
    assert.ok(codes.slice(3).every((code) => code === 429));
    const elsewhere = await fetch(`${api.url}/v1/namespaces/other/call/greet?module=f`, {
      method: "POST",
      body: '["x"]',
      headers: { ...bearer(two.token), "content-type": "application/json" },
    });
    assert.equal(elsewhere.status, 200);
  });
});

describe("tokens of an issuer", () => {
  let issuer: Server;
  let url = "";
  let keys: JWK[] = [];
  let asked = 0;
  let mode: "well" | "slow" | "broken" | "large" = "well";
  let first: { readonly privateKey: CryptoKey; readonly publicKey: CryptoKey };

  before(async () => {
    first = await generateKeyPair("ES256");
    keys = [{ ...(await exportJWK(first.publicKey)), kid: "first", alg: "ES256" }];
    issuer = createServer((request, response) => {
      if (mode === "slow") return;
      if (mode === "broken") return void response.writeHead(500).end();
      if (mode === "large") return void response.end("x".repeat(1_000_000));
      response.setHeader("content-type", "application/json");
      if (request.url === "/keys") {
        asked++;
        response.end(JSON.stringify({ keys }));
      } else response.end(JSON.stringify({ issuer: url, jwks_uri: `${url}/keys` }));
    });
    issuer.listen(0, "127.0.0.1");
    await once(issuer, "listening");
    url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
  });
  after(() => {
    issuer.closeAllConnections();
    issuer.close();
  });

  interface Made {
    readonly issuer?: string;
    readonly audience?: string;
    readonly expires?: string | number;
    readonly scope?: unknown;
    readonly key?: CryptoKey | Uint8Array;
    readonly alg?: string;
    readonly kid?: string;
  }
  const made = ({
    issuer: by = url,
    audience = "atalanta",
    expires = "5m",
    scope = "default:call openid",
    key = first.privateKey,
    alg = "ES256",
    kid = "first",
  }: Made = {}): Promise<string> =>
    new SignJWT({ scope })
      .setProtectedHeader({ alg, kid })
      .setIssuer(by)
      .setAudience(audience)
      .setSubject("ada")
      .setExpirationTime(expires)
      .sign(key);

  test("count when everything about them is right", async () => {
    const oidc = openOidc({ issuer: url, audience: "atalanta" });
    const { principal, grants } = await oidc.verify(await made());
    assert.equal(principal.name, "oidc:ada");
    assert.deepEqual(grants, ["default:call"]);
    await using api = await startApi({ access: openAccess({ host: "0.0.0.0", oidc }) });
    assert.equal(
      (await call(api, "/call/greet?module=f", ["x"], bearer(await made()))).status,
      200,
    );
    assert.equal((await deploy(api)).status, 401);
    assert.equal((await call(api, "/call/greet?module=f", ["x"], bearer("a.b.c"))).status, 401);
  });

  test("do not when anything is wrong", async () => {
    const oidc = openOidc({ issuer: url, audience: "atalanta" });
    const other = await generateKeyPair("ES256");
    const shared = new TextEncoder().encode(JSON.stringify(keys[0]));
    const wrong: readonly [string, Promise<string> | string][] = [
      ["another issuer", made({ issuer: "http://127.0.0.1:1" })],
      ["another audience", made({ audience: "other" })],
      ["over", made({ expires: Math.floor(Date.now() / 1000) - 60 })],
      ["another key", made({ key: other.privateKey })],
      ["a key that is not known", made({ key: other.privateKey, kid: "other" })],
      ["the public key as a secret", made({ key: shared, alg: "HS256" })],
      [
        "no signature",
        new UnsecuredJWT({ scope: "*:admin" })
          .setIssuer(url)
          .setAudience("atalanta")
          .setSubject("ada")
          .setExpirationTime("5m")
          .encode(),
      ],
      [
        "no expiry",
        new SignJWT({ scope: "*:admin" })
          .setProtectedHeader({ alg: "ES256", kid: "first" })
          .setIssuer(url)
          .setAudience("atalanta")
          .setSubject("ada")
          .sign(first.privateKey),
      ],
      ["cut", (async () => (await made()).slice(0, -4))()],
    ];
    for (const [what, token] of wrong) {
      const text = await token;
      await assert.rejects(
        oidc.verify(text),
        (thrown) => thrown instanceof Failure && thrown.code === "unauthenticated",
        what,
      );
    }
  });

  test("with scopes of another form may do nothing", async () => {
    const oidc = openOidc({ issuer: url, audience: "atalanta" });
    assert.deepEqual((await oidc.verify(await made({ scope: ["*:admin", "x", 3] }))).grants, [
      "*:admin",
    ]);
    assert.deepEqual((await oidc.verify(await made({ scope: { a: 1 } }))).grants, []);
  });

  test("made-up keys do not make the server ask the issuer each time", async () => {
    const oidc = openOidc({ issuer: url, audience: "atalanta" });
    await oidc.verify(await made());
    const before = asked;
    const other = await generateKeyPair("ES256");
    for (let left = 20; left > 0; left--)
      await assert.rejects(oidc.verify(await made({ key: other.privateKey, kid: `k${left}` })));
    assert.ok(asked - before <= 1, `${asked - before} times`);
  });

  for (const bad of ["slow", "broken", "large"] as const) {
    test(`of an issuer that is ${bad} are refused, and taken when it is well again`, async () => {
      const oidc = openOidc({ issuer: url, audience: "atalanta" });
      mode = bad;
      await assert.rejects(
        oidc.verify(await made()),
        (thrown) => thrown instanceof Failure && thrown.code === "unauthenticated",
      );
      mode = "well";
      await oidc.verify(await made());
    });
  }

  test("need https", () => {
    assert.throws(() => openOidc({ issuer: "http://issuer.example.com", audience: "a" }));
  });
});

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Failure } from "../../src/errors/mod.ts";
import {
  openRegistry,
  parseReference,
  type Credential,
  type Credentials,
  type Reference,
  type Registry,
} from "../../src/oci/mod.ts";
import { StandInRegistry, type Access, type Fault } from "../servers/registry.ts";
import { failed, newPath, quick, someBytes } from "./setting.ts";

const password = 'pässword "with" + signs=';
const users = { ada: password };
const ada: Credential = { kind: "basic", username: "ada", password };

function always(credential: Credential): Credentials {
  return { find: async () => credential };
}

interface Scene extends AsyncDisposable {
  readonly server: StandInRegistry;
  readonly registry: Registry;
  readonly reference: Reference;
}

async function scene(
  access: Access,
  credentials?: Credentials,
  fault?: (url: string, count: number) => Fault | undefined,
): Promise<Scene> {
  const server = await StandInRegistry.start({
    access,
    ...(fault ? { fault: ({ url = "" }, count) => fault(url, count) } : {}),
  });
  server.putManifest("acme/step", "1", { schemaVersion: 2 });
  const registry = openRegistry({ ...quick, ...(credentials ? { credentials } : {}) });
  return {
    server,
    registry,
    reference: parseReference(`${server.host}/acme/step:1`),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Everything that a failure says, to people and to programs. */
function said(thrown: unknown): string {
  const parts: string[] = [];
  for (let at = thrown; at instanceof Error; at = at.cause) {
    parts.push(
      at.message,
      at.stack ?? "",
      JSON.stringify(at),
      at instanceof Failure ? (at.hint ?? "") : "",
    );
  }
  return parts.join("\n");
}

describe("A login", () => {
  test("gets a token for a name and a password", async () => {
    await using it = await scene({ kind: "bearer", users }, always(ada));
    await it.registry.manifest(it.reference);
    const token = it.server.seen.find(({ url }) => url.startsWith("/token"));
    const asked = new URL(token?.url ?? "", it.server.origin).searchParams;
    assert.deepEqual(
      [...asked],
      [
        ["service", "stand-in"],
        ["scope", "repository:acme/step:pull"],
        ["account", "ada"],
      ],
    );
  });

  test("gets a token for an identity token, by OAuth 2", async () => {
    await using it = await scene(
      { kind: "bearer", identityTokens: ["identity-token-1"], tokenKey: "access_token" },
      always({ kind: "identity-token", token: "identity-token-1" }),
    );
    await it.registry.manifest(it.reference);
    assert.equal(it.server.count("POST", "/token"), 1);
    assert.equal(it.server.count("GET", "/token"), 0);
  });

  test("sends a registry token as it is", async () => {
    await using it = await scene(
      { kind: "bearer" },
      always({ kind: "registry-token", token: "token-of-a-registry" }),
    );
    const scopes = ["repository:acme/step:pull"];
    it.server.tokens.set("token-of-a-registry", { scopes, untilMs: Number.POSITIVE_INFINITY });
    await it.registry.manifest(it.reference);
    assert.equal(it.server.count("", "/token"), 0);
  });

  test("gets a new token when one ends in the middle of a blob", async () => {
    const bytes = someBytes(300_000);
    await using it = await scene(
      { kind: "bearer", anonymousPull: true },
      undefined,
      (url, count) => {
        if (!url.includes("/blobs/") || count > 0) return undefined;
        // All tokens end while the first part comes.
        setImmediate(() => it.server.tokens.clear());
        return { kind: "cut", afterBytes: 200_000 };
      },
    );
    await it.registry.manifest(it.reference);
    const blob = it.server.putBlob("acme/step", bytes);
    await it.registry.blob(it.reference, blob, { path: newPath() });
    assert.equal(it.server.count("GET", "/token"), 2);
    const ranges = it.server.seen.filter(({ url }) => url.includes("/blobs/"));
    assert.deepEqual(
      ranges.map(({ status }) => status),
      [200, 401, 206],
    );
  });

  test("asks for a token again only when it ends, for each repository and action", async () => {
    await using it = await scene({ kind: "bearer", users, expiresSeconds: 1 }, always(ada));
    await it.registry.manifest(it.reference);
    await it.registry.manifest(it.reference);
    assert.equal(it.server.count("GET", "/token"), 1);
    await new Promise((resolve) => setTimeout(resolve, 600));
    await it.registry.manifest(it.reference);
    assert.equal(it.server.count("GET", "/token"), 2, "half of a short time is to spare");
    await it.registry.pushBlob(it.reference, { bytes: someBytes(10) });
    assert.equal(it.server.count("GET", "/token"), 3);
    // It was never sent when it had ended.
    assert.equal(it.server.seen.filter(({ status }) => status === 401).length, 1);
  });

  test("asks for one token when many want it at once", async () => {
    await using it = await scene({ kind: "bearer", anonymousPull: true });
    await it.registry.manifest(it.reference);
    it.server.tokens.clear();
    await Promise.all(Array.from({ length: 20 }, () => it.registry.manifest(it.reference)));
    assert.ok(it.server.count("GET", "/token") <= 3, `${it.server.count("GET", "/token")}`);
  });

  test("asks for another login when the registry does not take the known one any more", async () => {
    const passwords = ["first password", "second password"];
    let found = 0;
    const credentials: Credentials = {
      find: async () => ({ kind: "basic", username: "ada", password: passwords[found++] ?? "" }),
    };
    await using it = await scene(
      { kind: "basic", username: "ada", password: "first password" },
      credentials,
    );
    await it.registry.manifest(it.reference);
    it.server.options = {
      access: { kind: "basic", username: "ada", password: "second password" },
    };
    await it.registry.manifest(it.reference);
    assert.equal(found, 2);
  });

  test("looks a login up once, and only where one is asked for", async () => {
    const looked: string[] = [];
    const credentials: Credentials = {
      async find({ registry, repository }) {
        looked.push(`${registry}/${repository}`);
        return ada;
      },
    };
    await using open = await StandInRegistry.start();
    open.putManifest("acme/step", "1", { schemaVersion: 2 });
    await using registry = openRegistry({ ...quick, credentials });
    await registry.manifest(parseReference(`${open.host}/acme/step:1`));
    assert.deepEqual(looked, []);
    await using it = await scene({ kind: "bearer", users }, credentials);
    await it.registry.manifest(it.reference);
    await it.registry.manifest(it.reference);
    assert.deepEqual(looked, [`${it.server.host}/acme/step`]);
  });

  test("is looked up once when many need it, and once more when it ends for all of them", async () => {
    let looked = 0;
    const credentials: Credentials = {
      async find() {
        looked++;
        await new Promise((resolve) => setTimeout(resolve, 30));
        return ada;
      },
    };
    await using it = await scene({ kind: "bearer", users }, credentials);
    const many = (): Promise<unknown> =>
      Promise.all(Array.from({ length: 20 }, () => it.registry.manifest(it.reference)));
    await many();
    assert.equal(looked, 1);
    it.server.tokens.clear();
    await many();
    assert.equal(looked, 2);
  });

  for (const [what, challenge] of [
    [
      "with blanks and other parameters",
      'error="invalid_token" ,  scope="repository:acme/step:pull" , service="stand-in"',
    ],
    ["without quotes", "service=stand-in,scope=repository:acme/step:pull"],
    ["with quoted signs", 'service="stand\\-in, \\"really\\"",scope="repository:acme/step:pull"'],
    [
      "with a wider scope",
      'service="stand-in",scope="repository:acme/step:pull repository:acme/base:pull"',
    ],
    ["without a scope", 'service="stand-in"'],
    ["followed by another one", 'service="stand-in",Negotiate, Basic realm="x"'],
    ["in capitals", 'SERVICE="stand-in",Scope="repository:acme/step:pull"'],
  ] as const) {
    test(`understands a challenge ${what}`, async () => {
      await using it = await scene({ kind: "bearer", users, challenge }, always(ada));
      await it.registry.manifest(it.reference);
      assert.equal(it.server.count("GET", "/token"), 1);
    });
  }

  for (const [what, headers, message] of [
    ["none", {}, /answered 401 and offers no way to log in; expected Bearer or Basic/],
    [
      "only others",
      { "www-authenticate": 'Negotiate abc==, Digest realm="x", nonce="y"' },
      /answered 401 and offers negotiate, digest; expected Bearer or Basic/,
    ],
    [
      "a token service that is no URL",
      { "www-authenticate": 'Bearer realm="file:///etc/passwd"' },
      /names a token service that is no URL: "file:\/\/\/etc\/passwd"/,
    ],
    [
      "a token service with a password",
      { "www-authenticate": 'Bearer realm="http://a:b@127.0.0.1/"' },
      /names a token service that is no URL/,
    ],
  ] as const) {
    test(`is refused with a reason when a registry offers ${what}`, async () => {
      await using it = await scene({ kind: "bearer" }, always(ada), () => ({
        kind: "answer",
        status: 401,
        headers,
      }));
      await assert.rejects(it.registry.manifest(it.reference), failed("registry-refused", message));
    });
  }

  test("is not tried for ever", async () => {
    await using it = await scene({ kind: "bearer", anonymousPull: true }, undefined, (url) =>
      url.startsWith("/v2/")
        ? {
            kind: "answer",
            status: 401,
            headers: {
              "www-authenticate": `Bearer realm="${it.server.origin}/token",scope="repository:acme/step:pull"`,
            },
          }
        : undefined,
    );
    await assert.rejects(
      it.registry.manifest(it.reference),
      failed("registry-refused", /127\.0\.0\.1:\d+ answered 401$/, /docker login 127\.0\.0\.1:\d+/),
    );
    assert.equal(it.server.count("GET", "/v2/"), 2);
    assert.equal(it.server.count("GET", "/token"), 1);
  });

  test("that is wrong is told with its name, and no secret is in anything that is said", async () => {
    const wrong: Credential = { kind: "basic", username: "ada", password: "wrong-password-123" };
    await using it = await scene({ kind: "bearer", users }, always(wrong));
    const thrown: unknown = await it.registry
      .manifest(it.reference)
      .catch((cause: unknown) => cause);
    failed(
      "registry-refused",
      /The token service 127\.0\.0\.1:\d+ of 127\.0\.0\.1:\d+ answered 401 \(incorrect login \(secret\)\) as ada$/,
      /Is the login right\? docker login/,
    )(thrown);
    // The stand-in says the Authorization header back.
    assert.doesNotMatch(said(thrown), /wrong-password-123/);
    assert(!said(thrown).includes(Buffer.from("ada:wrong-password-123").toString("base64")));
  });

  test("hides a token that a registry says back", async () => {
    await using it = await scene({ kind: "bearer", users }, always(ada), (url) => {
      if (!url.includes("/manifests/") || it.server.tokens.size === 0) return undefined;
      const [token] = it.server.tokens.keys();
      const errors = [{ code: "DENIED", message: `no: ${token} and ${password}` }];
      return { kind: "answer", status: 403, body: JSON.stringify({ errors }) };
    });
    const thrown: unknown = await it.registry
      .manifest(it.reference)
      .catch((cause: unknown) => cause);
    failed("registry-refused", /answered 403 \(DENIED: no: \(secret\) and \(secret\)\)/)(thrown);
    const [token = "none"] = it.server.tokens.keys();
    assert(!said(thrown).includes(token));
  });

  for (const [what, body] of [
    ["without a token", "{}"],
    ["with an empty token", '{"token":""}'],
    ["with a token of several lines", '{"token":"a\\r\\nx: y"}'],
    ["that is no JSON", "<html>"],
  ] as const) {
    test(`ends when a token service answers ${what}`, async () => {
      await using it = await scene({ kind: "bearer", users }, always(ada), (url) =>
        url.startsWith("/token") ? { kind: "answer", status: 200, body } : undefined,
      );
      await assert.rejects(
        it.registry.manifest(it.reference),
        failed("registry-refused", /The token service .* answered without a token$/),
      );
    });
  }

  test("is tried again when a token service is busy", async () => {
    await using it = await scene({ kind: "bearer", users }, always(ada), (url, count) =>
      url.startsWith("/token") && count < 2 ? { kind: "answer", status: 503 } : undefined,
    );
    await it.registry.manifest(it.reference);
    assert.equal(it.server.count("GET", "/token"), 3);
  });

  test("is tried without a name where none can be found, and says why when that is refused", async () => {
    const credentials: Credentials = {
      find: async () => {
        throw new Failure("secret-missing", "docker-credential-none did not tell the login");
      },
    };
    await using open = await scene({ kind: "bearer", anonymousPull: true }, credentials);
    await open.registry.manifest(open.reference);
    await using closed = await scene({ kind: "bearer", users }, credentials);
    await assert.rejects(
      closed.registry.manifest(closed.reference),
      failed(
        "registry-refused",
        /answered 401 .* without a login/,
        /docker-credential-none did not tell/,
      ),
    );
  });

  test("stops waiting for a token when its caller does", async () => {
    await using it = await scene({ kind: "bearer", users }, always(ada), (url) =>
      url.startsWith("/token") ? { kind: "stall" } : undefined,
    );
    const stop = new AbortController();
    const reason = new Failure("aborted", "enough");
    const waiting = it.registry.manifest(it.reference, { signal: stop.signal });
    setTimeout(() => stop.abort(reason), 50);
    await assert.rejects(waiting, (thrown) => thrown === reason);
  });
});

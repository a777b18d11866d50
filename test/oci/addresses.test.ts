import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { openRegistry, parseReference, type RegistryOptions } from "../../src/oci/mod.ts";
import { StandInRegistry, type RegistryOptions as StandInOptions } from "../servers/registry.ts";
import { failed, newPath, quick, someBytes } from "./setting.ts";

const strict: RegistryOptions = { ...quick, loopback: false };

async function server(options: StandInOptions = {}): Promise<StandInRegistry> {
  const made = await StandInRegistry.start(options);
  made.putManifest("acme/step", "1", { schemaVersion: 2 });
  return made;
}

/** What one who asks for an image gets to know. */
async function pull(reference: string, options: RegistryOptions): Promise<string> {
  await using registry = openRegistry(options);
  return (await registry.manifest(parseReference(reference))).digest;
}

describe("The address of a registry", () => {
  test("of this machine is taken as it is written only where that is allowed", async () => {
    await using it = await server();
    const reference = `${it.host}/acme/step:1`;
    assert.match(await pull(reference, quick), /^sha256:/);
    await assert.rejects(
      pull(reference, strict),
      failed(
        "network-denied",
        /127\.0\.0\.1:\d+ may not be connected to: its address is loopback/,
        /name it under registries: .* or its address with --allow-address/,
      ),
    );
    assert.match(await pull(reference, { ...strict, allowedAddresses: ["127.0.0.1"] }), /^sha256:/);
    const registries = new Map([[it.host, {}]]);
    assert.match(await pull(reference, { ...strict, registries }), /^sha256:/);
  });

  test("is looked at when a name leads to it, also where this machine is allowed", async () => {
    await using it = await server();
    const resolve = async (): Promise<readonly string[]> => ["127.0.0.1"];
    const reference = `registry.example.com:${it.port}/acme/step:1`;
    await assert.rejects(
      pull(reference, { ...quick, resolve }),
      failed("network-denied", /"registry\.example\.com" leads to an address that is loopback/),
    );
    const registries = new Map([[`registry.example.com:${it.port}`, { plainHttp: true }]]);
    assert.match(await pull(reference, { ...quick, resolve, registries }), /^sha256:/);
  });

  for (const [address, what] of [
    ["10.0.0.1:5000", "private"],
    ["169.254.169.254", "a metadata service's"],
    ["[fd00:ec2::254]:80", "a metadata service's"],
    ["0.0.0.0:5000", "of this host"],
    ["[::ffff:127.0.0.1]:5000", "loopback"],
    ["localhost:5000", "loopback"],
  ] as const) {
    test(`may not be ${address}, ${what}`, async () => {
      await assert.rejects(
        pull(`${address}/acme/step`, strict),
        failed("network-denied", new RegExp(what)),
      );
    });
  }

  test("of a metadata service stays closed to a registry that is trusted", async () => {
    const resolve = async (): Promise<readonly string[]> => ["169.254.169.254"];
    const registries = new Map([["registry.example.com", { plainHttp: true }]]);
    await assert.rejects(
      pull("registry.example.com/acme/step", { ...quick, resolve, registries }),
      failed("network-denied", /leads to an address that is a metadata service's/),
    );
  });
});

describe("A redirect", () => {
  const bytes = someBytes(100_000);

  test("to another host is followed without the login, and again after a cut", async () => {
    await using store = await StandInRegistry.start({
      fault: (_, count) => (count === 0 ? { kind: "cut", afterBytes: 50_000 } : undefined),
    });
    const blob = store.putBlob("store", bytes);
    const location = `${store.origin}/v2/store/blobs/${blob.digest}?signature=very-secret`;
    await using it = await server({
      access: { kind: "bearer", anonymousPull: true },
      fault: ({ url = "", headers }) =>
        url.includes("/blobs/") && headers.authorization !== undefined
          ? { kind: "answer", status: 307, headers: { location } }
          : undefined,
    });
    await using registry = openRegistry(quick);
    const reference = parseReference(`${it.host}/acme/step:1`);
    const path = newPath();
    await registry.blob(reference, blob, { path });
    assert(readFileSync(path).equals(bytes));
    assert.equal(store.seen.length, 2);
    for (const { headers } of store.seen) assert.equal(headers.authorization, undefined);
    assert.match(store.seen[1]?.headers.range ?? "", /^bytes=/);
  });

  for (const [what, location, code, message] of [
    [
      "to this machine by a name",
      "http://store.example.com/",
      "network-denied",
      /leads to an address that is private/,
    ],
    [
      "to a metadata service",
      "http://169.254.169.254/latest/",
      "network-denied",
      /169\.254\.169\.254 may not be connected to: its address is a metadata service's/,
    ],
    ["to a file", "file:///etc/passwd", "registry-refused", /redirects to nowhere/],
    [
      "with a password",
      "http://a:b@127.0.0.1/",
      "registry-refused",
      /redirects to a URL with a password/,
    ],
    ["that does not say where", undefined, "registry-refused", /redirects to nowhere/],
    ["to itself", "?again", "registry-refused", /redirects more than 5 times/],
  ] as const) {
    test(`${what} is not followed`, async () => {
      await using it = await server({
        fault: () => ({
          kind: "answer",
          status: 302,
          headers: location === undefined ? {} : { location },
        }),
      });
      const resolve = async (): Promise<readonly string[]> => ["10.1.2.3"];
      await assert.rejects(
        pull(`${it.host}/acme/step:1`, { ...quick, resolve }),
        failed(code, message),
      );
    });
  }

  test("whose end refuses is told without what is signed in its URL", async () => {
    await using store = await StandInRegistry.start({
      fault: () => ({ kind: "answer", status: 403, body: "<Error>AccessDenied</Error>" }),
    });
    await using it = await server({
      fault: () => ({
        kind: "answer",
        status: 307,
        headers: { location: `${store.origin}/x?signature=very-secret` },
      }),
    });
    await assert.rejects(pull(`${it.host}/acme/step:1`, quick), (thrown) => {
      failed(
        "registry-refused",
        /127\.0\.0\.1:\d+, where 127\.0\.0\.1:\d+ sends us, answered 403$/,
      )(thrown);
      return !String((thrown as Error).stack).includes("very-secret");
    });
  });

  test("whose end wants a login gets none", async () => {
    await using store = await server({ access: { kind: "basic", username: "a", password: "b" } });
    await using it = await server({
      fault: () => ({
        kind: "answer",
        status: 307,
        headers: { location: `${store.origin}/v2/acme/step/manifests/1` },
      }),
    });
    let looked = 0;
    const credentials: RegistryOptions["credentials"] = {
      async find() {
        looked++;
        return { kind: "basic", username: "a", password: "b" };
      },
    };
    await assert.rejects(
      pull(`${it.host}/acme/step:1`, { ...quick, credentials }),
      failed("registry-refused", /where 127\.0\.0\.1:\d+ sends us, answered 401/),
    );
    assert.equal(looked, 0);
  });
});

describe("A token service", () => {
  test("may be at another host", async () => {
    await using service = await StandInRegistry.start({
      access: { kind: "bearer", anonymousPull: true },
    });
    await using it = await server({ access: { kind: "bearer", realm: `${service.origin}/token` } });
    await using registry = openRegistry(quick);
    const reference = parseReference(`${it.host}/acme/step:1`);
    // Its tokens are no good here, but they were asked for there.
    await assert.rejects(registry.manifest(reference), failed("registry-refused", /answered 401/));
    assert.equal(service.count("GET", "/token"), 1);
  });

  for (const [realm, why] of [
    ["http://169.254.169.254/token", /169\.254\.169\.254 may not be connected to/],
    ["http://tokens.example.com/", /"tokens\.example\.com" leads to an address that is link-local/],
  ] as const) {
    test(`may not be ${realm} when that leads inside`, async () => {
      await using it = await server({ access: { kind: "bearer", realm } });
      const resolve = async (): Promise<readonly string[]> => ["169.254.1.1"];
      await assert.rejects(
        pull(`${it.host}/acme/step:1`, { ...quick, resolve }),
        failed("network-denied", why),
      );
    });
  }
});

describe("A mirror", () => {
  test("is asked first, with the login that is for it, and the registry when it has not", async () => {
    await using mirror = await StandInRegistry.start({
      access: { kind: "basic", username: "for", password: "mirror" },
    });
    const { digest } = mirror.putManifest("hub/library/alpine", "3", { schemaVersion: 2 });
    await using origin = await server();
    const looked: string[] = [];
    const credentials: RegistryOptions["credentials"] = {
      async find({ registry, repository }) {
        looked.push(`${registry}/${repository}`);
        return { kind: "basic", username: "for", password: "mirror" };
      },
    };
    const registries = new Map([
      ["docker.io", { mirrors: [`${mirror.host}/hub`] }],
      [origin.host, { mirrors: ["127.0.0.1:1", `http://${mirror.host}`] }],
    ]);
    const options = { ...quick, credentials, registries };
    assert.equal(await pull("alpine:3", options), digest);
    assert.deepEqual(looked, [`${mirror.host}/hub/library/alpine`]);
    assert.match(await pull(`${origin.host}/acme/step:1`, options), /^sha256:/);
    assert.equal(mirror.count("GET", "/v2/acme/step/"), 2);
  });

  test("that is gone costs one request its wait, and not each", async () => {
    await using mirror = await StandInRegistry.start({ fault: () => ({ kind: "stall" }) });
    await using origin = await server();
    const registries = new Map([[origin.host, { mirrors: [mirror.host] }]]);
    const timeouts = { headersMs: 100 };
    await using registry = openRegistry({ ...quick, timeouts, registries });
    const reference = parseReference(`${origin.host}/acme/step:1`);
    await registry.resolve(reference);
    await registry.manifest(reference);
    mirror.closeConnections();
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(mirror.seen.length, 2);
  });

  test("gets nothing that is pushed", async () => {
    await using mirror = await StandInRegistry.start();
    await using origin = await server();
    const registries = new Map([[origin.host, { mirrors: [mirror.host] }]]);
    await using registry = openRegistry({ ...quick, registries });
    await registry.pushBlob(parseReference(`${origin.host}/acme/step:1`), { bytes: someBytes(10) });
    assert.equal(mirror.seen.length, 0);
  });

  test("that fails is not what is told", async () => {
    await using origin = await StandInRegistry.start();
    const registries = new Map([[origin.host, { mirrors: ["127.0.0.1:1"] }]]);
    await assert.rejects(
      pull(`${origin.host}/acme/step:1`, { ...quick, registries }),
      failed("image-not-found", new RegExp(`: ${origin.host} answered 404`)),
    );
  });

  test("that is written wrong is told at once", () => {
    for (const mirror of [
      "ftp://x.example.com",
      "host.example.com/a b",
      "user:p@x.example.com",
      "mirror",
    ]) {
      assert.throws(
        () => openRegistry({ registries: new Map([["docker.io", { mirrors: [mirror] }]]) }),
        failed("invalid-argument", /names no registry|is no mirror/),
      );
    }
  });
});

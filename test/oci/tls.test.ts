import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { openRegistry, parseReference, type RegistrySettings } from "../../src/oci/mod.ts";
import { StandInRegistry } from "../servers/registry.ts";
import { failed, quick } from "./setting.ts";

const folder = join(import.meta.dirname, "../network/tls");
const authority = readFileSync(join(folder, "authority.pem"), "utf8");
const tls = {
  key: readFileSync(join(folder, "host.key"), "utf8"),
  cert: readFileSync(join(folder, "host.pem"), "utf8"),
};

/** A registry with a certificate for 127.0.0.1 that nobody knows. */
async function server(): Promise<StandInRegistry> {
  const made = await StandInRegistry.start({ tls });
  made.putManifest("acme/step", "1", { schemaVersion: 2 });
  return made;
}

async function pull(host: string, settings: RegistrySettings, named = host): Promise<string> {
  const resolve = async (): Promise<readonly string[]> => ["127.0.0.1"];
  const registries = new Map([[named, settings]]);
  await using registry = openRegistry({ ...quick, registries, resolve });
  return (await registry.manifest(parseReference(`${host}/acme/step:1`))).digest;
}

describe("The certificate of a registry", () => {
  test("of an authority of its own is taken when that is named", async () => {
    await using it = await server();
    assert.match(await pull(it.host, { plainHttp: false, authorities: [authority] }), /^sha256:/);
  });

  test("is refused when nobody we trust vouches for it", async () => {
    await using it = await server();
    await assert.rejects(
      pull(it.host, { plainHttp: false }),
      failed(
        "registry-refused",
        /its certificate or its TLS is not accepted \((?:UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)\)/,
        /write caFile: FILE under registries: "127\.0\.0\.1:\d+":/,
      ),
    );
    assert.equal(it.seen.length, 0);
  });

  test("for another name is refused, also of an authority that is trusted", async () => {
    await using it = await server();
    const host = `registry.example.com:${it.port}`;
    await assert.rejects(
      pull(host, { authorities: [authority] }),
      failed(
        "registry-refused",
        /\(ERR_TLS_CERT_ALTNAME_INVALID\)/,
        /certificate is for another name/,
      ),
    );
  });

  test("may be any where the operator says so", async () => {
    await using it = await server();
    const host = `registry.example.com:${it.port}`;
    assert.match(await pull(host, { insecure: true }), /^sha256:/);
  });

  test("is missed where a registry speaks plain HTTP", async () => {
    await using plain = await StandInRegistry.start();
    await assert.rejects(
      pull(plain.host, { plainHttp: false }),
      failed(
        "registry-refused",
        /its certificate or its TLS is not accepted/,
        /write plainHttp: true/,
      ),
    );
  });

  test("is not asked of another host's redirects in the clear", async () => {
    await using it = await StandInRegistry.start({
      tls,
      fault: () => ({ kind: "answer", status: 307, headers: { location: "http://127.0.0.1:1/" } }),
    });
    await assert.rejects(
      pull(it.host, { plainHttp: false, authorities: [authority] }),
      failed("registry-refused", /redirects from HTTPS to plain HTTP: 127\.0\.0\.1:1$/),
    );
  });

  test("protects a login from a token service in the clear", async () => {
    await using it = await StandInRegistry.start({
      tls,
      access: { kind: "bearer", realm: "http://127.0.0.1:1/token" },
    });
    await assert.rejects(
      pull(it.host, { plainHttp: false, authorities: [authority] }),
      failed("registry-refused", /names a token service that speaks plain HTTP: 127\.0\.0\.1:1$/),
    );
  });
});

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { codes } from "../../src/errors/mod.ts";
import { dockerCredentials } from "../../src/oci/mod.ts";
import { Home, root } from "../cli/command.ts";

const page = readFileSync(join(root, "docs/registries.md"), "utf8");

function block(kind: string): string {
  const [, text = ""] = new RegExp(`\`\`\`${kind}\n([^\`]*)\`\`\``).exec(page) ?? [];
  assert.notEqual(text, "");
  return text;
}

test("the operator's file in docs/registries.md is read as it stands there", () => {
  using home = new Home();
  const folder = mkdtempSync(join(tmpdir(), "atalanta-registries-"));
  try {
    const authority = readFileSync(join(root, "test/network/tls/authority.pem"));
    writeFileSync(join(folder, "company-ca.pem"), authority);
    const configuration = join(folder, "operator.yaml");
    writeFileSync(configuration, block("yaml"));
    // Nobody is at this port, and the file was read before that is found.
    const pull = ["image", "pull", "127.0.0.1:1/acme/step:1", "--config", configuration];
    const { stderr } = home.run(pull);
    assert.match(stderr, /registry-unavailable|the connection was refused/);
    writeFileSync(configuration, block("yaml").replace("plainHttp", "plainHTTP"));
    assert.match(home.run(pull).stderr, /Unknown key "plainHTTP" in registries/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the logins in docs/registries.md are found", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atalanta-registries-"));
  try {
    mkdirSync(join(folder, ".docker"));
    const { auths } = JSON.parse(block("json")) as { readonly auths: object };
    writeFileSync(join(folder, ".docker/config.json"), JSON.stringify({ auths }));
    const credentials = dockerCredentials({ environment: {}, home: folder });
    const { signal } = new AbortController();
    const find = (registry: string): Promise<unknown> =>
      credentials.find({ registry, repository: "acme/step" }, { signal });
    assert.deepEqual(await find("ghcr.io"), {
      kind: "basic",
      username: "ada",
      password: "my-token",
    });
    assert.deepEqual(await find("quay.io"), {
      kind: "basic",
      username: "robot",
      password: "other-token",
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the codes in docs/registries.md are those of the table", () => {
  const named = [...page.matchAll(/^\| `([a-z-]+)`/gm)].map(([, code]) => code ?? "");
  assert.equal(named.length, 6);
  for (const code of named) assert(code in codes, code);
});

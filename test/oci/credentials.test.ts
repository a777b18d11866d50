import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { Failure } from "../../src/errors/mod.ts";
import {
  dockerCredentials,
  firstOf,
  pullSecretCredentials,
  type Credential,
  type Credentials,
} from "../../src/oci/mod.ts";
import { failed, newPath } from "./setting.ts";

const signal = new AbortController().signal;

function ofName(username: string): Credential {
  return { kind: "basic", username, password: "p" };
}

function auth(username: string): { readonly auth: string } {
  return { auth: Buffer.from(`${username}:p`).toString("base64") };
}

/** A user's folder with files in it. */
function home(files: Readonly<Record<string, string | object>> = {}): string {
  const folder = newPath();
  mkdirSync(folder);
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
    if (name.startsWith("bin/")) chmodSync(path, 0o755);
  }
  return folder;
}

function find(
  credentials: Credentials,
  registry: string,
  repository = "acme/step",
): Promise<Credential | undefined> {
  return credentials.find({ registry, repository }, { signal });
}

function fromConfig(
  config: string | object,
  more: Readonly<Record<string, string>> = {},
  options: { readonly helperMs?: number } = {},
): Credentials & { readonly home: string } {
  const folder = home({ ".docker/config.json": config, ...more });
  const environment = { PATH: `${join(folder, "bin")}:${process.env["PATH"]}`, FOLDER: folder };
  return { ...dockerCredentials({ environment, home: folder, ...options }), home: folder };
}

describe("docker's config.json", () => {
  for (const key of [
    "https://index.docker.io/v1/",
    "index.docker.io",
    "docker.io",
    "https://registry-1.docker.io/v2/",
  ]) {
    test(`has the hub's login under ${key}`, async () => {
      const credentials = fromConfig({ auths: { [key]: auth("ada") } });
      assert.deepEqual(await find(credentials, "docker.io"), ofName("ada"));
      assert.equal(await find(credentials, "ghcr.io"), undefined);
    });
  }

  test("has logins under hosts, with a scheme or a port or without", async () => {
    const credentials = fromConfig({
      auths: {
        "ghcr.io": auth("one"),
        "https://quay.io": auth("two"),
        "http://localhost:5000/v2/": auth("three"),
        "Registry.Example.com": auth("four"),
      },
    });
    assert.deepEqual(await find(credentials, "ghcr.io"), ofName("one"));
    assert.deepEqual(await find(credentials, "quay.io"), ofName("two"));
    assert.deepEqual(await find(credentials, "localhost:5000"), ofName("three"));
    assert.deepEqual(await find(credentials, "registry.example.com"), ofName("four"));
    assert.equal(await find(credentials, "localhost"), undefined);
    assert.equal(await find(credentials, "sub.ghcr.io"), undefined);
  });

  test("has a login for a part of a registry, of which the longest counts", async () => {
    const credentials = fromConfig({
      auths: {
        "quay.io": auth("host"),
        "quay.io/acme": auth("folder"),
        "quay.io/acme/step": auth("repository"),
        "quay.io/acme/st": auth("beginning"),
      },
    });
    const name = async (repository: string): Promise<unknown> =>
      (await find(credentials, "quay.io", repository)) ?? undefined;
    assert.deepEqual(await name("acme/step"), ofName("repository"));
    assert.deepEqual(await name("acme/step/more"), ofName("repository"));
    assert.deepEqual(await name("acme/other"), ofName("folder"));
    assert.deepEqual(await name("acme-2/step"), ofName("host"));
  });

  for (const [what, entry, expected] of [
    [
      "a password with colons",
      { auth: btoa("ada:a:b:c") },
      { kind: "basic", username: "ada", password: "a:b:c" },
    ],
    ["padding of nulls", { auth: btoa("ada:p\0\0") }, ofName("ada")],
    ["username and password", { username: "ada", password: "p" }, ofName("ada")],
    [
      "an identity token",
      { ...auth("00000000-0000-0000-0000-000000000000"), identitytoken: "t" },
      { kind: "identity-token", token: "t" },
    ],
    ["a registry token", { registrytoken: "t" }, { kind: "registry-token", token: "t" }],
    ["nothing", {}, undefined],
    ["null", null, undefined],
  ] as const) {
    test(`may have ${what}`, async () => {
      assert.deepEqual(
        await find(fromConfig({ auths: { "ghcr.io": entry } }), "ghcr.io"),
        expected,
      );
    });
  }

  test("that is damaged is told without what is in it", async () => {
    const text = '{"auths":{"ghcr.io":{"auth":"c2VjcmV0LXRoaW5n"}},';
    await assert.rejects(find(fromConfig(text), "ghcr.io"), (thrown) => {
      failed("secret-invalid", /config\.json" is no JSON object/, /docker login/)(thrown);
      return thrown instanceof Failure && !`${thrown.message}${thrown.stack}`.includes("c2Vjc");
    });
    await assert.rejects(
      find(fromConfig({ auths: { "ghcr.io": { auth: btoa("no colon") } } }), "ghcr.io"),
      failed("secret-invalid", /the login for "ghcr\.io" is not the base64 of NAME:PASSWORD/),
    );
    await assert.rejects(
      find(fromConfig(`{"auths":{}}${" ".repeat(1024 * 1024)}`), "ghcr.io"),
      failed("secret-missing", /it has 1048588 bytes; 1048576 may be/),
    );
  });
});

describe("The files of logins", () => {
  const one = (username: string): object => ({ auths: { "ghcr.io": auth(username) } });

  test("are asked in their order", async () => {
    const folder = home({
      "one.json": one("REGISTRY_AUTH_FILE"),
      "docker/config.json": one("DOCKER_CONFIG"),
      "run/containers/auth.json": one("XDG_RUNTIME_DIR"),
      ".config/containers/auth.json": one("containers"),
      ".docker/config.json": one("docker"),
    });
    const variables: Record<string, string> = {
      REGISTRY_AUTH_FILE: join(folder, "one.json"),
      DOCKER_CONFIG: join(folder, "docker"),
      XDG_RUNTIME_DIR: join(folder, "run"),
    };
    for (const expected of [
      "REGISTRY_AUTH_FILE",
      "DOCKER_CONFIG",
      "XDG_RUNTIME_DIR",
      "containers",
    ]) {
      const credentials = dockerCredentials({ environment: { ...variables }, home: folder });
      assert.deepEqual(await find(credentials, "ghcr.io"), ofName(expected));
      delete variables[expected];
    }
    const rest = home({ ".docker/config.json": one("docker") });
    assert.deepEqual(
      await find(dockerCredentials({ environment: {}, home: rest }), "ghcr.io"),
      ofName("docker"),
    );
    const elsewhere = { DOCKER_CONFIG: join(rest, "none") };
    assert.equal(
      await find(dockerCredentials({ environment: elsewhere, home: rest }), "ghcr.io"),
      undefined,
    );
  });

  test("are passed over when they have no login for a registry", async () => {
    const folder = home({
      "run/containers/auth.json": { auths: { "quay.io": auth("other") } },
      ".docker/config.json": one("docker"),
    });
    const environment = { XDG_RUNTIME_DIR: join(folder, "run") };
    const credentials = dockerCredentials({ environment, home: folder });
    assert.deepEqual(await find(credentials, "ghcr.io"), ofName("docker"));
  });

  test("are read again, so that a new login counts", async () => {
    const folder = home();
    const credentials = dockerCredentials({ environment: {}, home: folder });
    assert.equal(await find(credentials, "ghcr.io"), undefined);
    mkdirSync(join(folder, ".docker"));
    writeFileSync(join(folder, ".docker/config.json"), JSON.stringify(one("ada")));
    assert.deepEqual(await find(credentials, "ghcr.io"), ofName("ada"));
  });

  test("must be there when a variable names one", async () => {
    const environment = { REGISTRY_AUTH_FILE: "/nowhere/auth.json" };
    await assert.rejects(
      find(dockerCredentials({ environment, home: home() }), "ghcr.io"),
      failed(
        "secret-missing",
        /Cannot read "\/nowhere\/auth\.json", which REGISTRY_AUTH_FILE names: ENOENT/,
      ),
    );
  });
});

describe("A credential helper", () => {
  const script = (body: string): string => `#!/bin/sh\n${body}\n`;
  const answer = `read server; echo "$1 $server" >> "$FOLDER/asked"; echo '{"ServerURL":"x","Username":"ada","Secret":"p"}'`;

  test("is asked for the registries that are its own, and the store for all others", async () => {
    const credentials = fromConfig(
      { credHelpers: { "ghcr.io": "one" }, credsStore: "all", auths: { "quay.io": {} } },
      {
        "bin/docker-credential-one": script(answer),
        "bin/docker-credential-all": script(answer.replace('"ada"', '"<token>"')),
      },
    );
    assert.deepEqual(await find(credentials, "ghcr.io"), ofName("ada"));
    assert.deepEqual(await find(credentials, "quay.io"), { kind: "identity-token", token: "p" });
    assert.deepEqual(await find(credentials, "docker.io"), { kind: "identity-token", token: "p" });
    assert.equal(
      readFileSync(join(credentials.home, "asked"), "utf8"),
      "get ghcr.io\nget quay.io\nget https://index.docker.io/v1/\n",
    );
  });

  test("that knows no login leaves it to the file", async () => {
    const credentials = fromConfig(
      { credsStore: "all", auths: { "ghcr.io": auth("file") } },
      {
        "bin/docker-credential-all": script(
          "cat > /dev/null; echo 'credentials not found in native keychain'; exit 1",
        ),
      },
    );
    assert.deepEqual(await find(credentials, "ghcr.io"), ofName("file"));
    assert.equal(await find(credentials, "quay.io"), undefined);
  });

  for (const [what, body, message] of [
    ["fails", "echo 'the keychain is locked'; exit 3", /it ended with 3: the keychain is locked/],
    ["answers with something else", "echo secret-thing", /its answer is no JSON$/],
    ["answers without a secret", 'echo \'{"Username":"a"}\'', /no Username and Secret/],
    ["does not end", "sleep 3", /it took longer than 0\.3 s/],
    [
      "leaves a process behind that holds its output",
      "sleep 3 & sleep 3",
      /took longer than 0\.3 s/,
    ],
    ["says too much", "yes", /its answer has more than 65536 bytes/],
  ] as const) {
    test(`that ${what} is told`, async () => {
      const credentials = fromConfig(
        { credsStore: "bad" },
        { "bin/docker-credential-bad": script(body) },
        { helperMs: 300 },
      );
      await assert.rejects(find(credentials, "ghcr.io"), (thrown) => {
        failed(
          "secret-missing",
          /docker-credential-bad did not tell the login for ghcr\.io/,
        )(thrown);
        assert(thrown instanceof Failure && !thrown.message.includes("secret-thing"));
        return message.test(thrown.message);
      });
    });
  }

  test("that is not there is told, with what to do", async () => {
    await assert.rejects(
      find(fromConfig({ credsStore: "none-here" }), "ghcr.io"),
      failed("secret-missing", /there is no such program/, /Install it, or take it out/),
    );
  });

  test("cannot be any program", async () => {
    const credentials = fromConfig({ credsStore: "../../bin/x;touch y" });
    await assert.rejects(
      find(credentials, "ghcr.io"),
      failed("secret-missing", /its name has other/),
    );
  });

  test("is stopped when its caller does not want it any more", async () => {
    const credentials = fromConfig(
      { credsStore: "slow" },
      { "bin/docker-credential-slow": script('sleep 0.3; touch "$FOLDER/done"') },
    );
    const stop = new AbortController();
    const reason = new Failure("aborted", "enough");
    const where = { registry: "ghcr.io", repository: "acme/step" };
    const waiting = credentials.find(where, { signal: stop.signal });
    setTimeout(() => stop.abort(reason), 50);
    await assert.rejects(waiting, (thrown) => thrown === reason);
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert(!existsSync(join(credentials.home, "done")));
  });
});

describe("A pull secret of Kubernetes", () => {
  test("is read in both of its forms", async () => {
    const auths = { "ghcr.io": auth("ada"), "https://index.docker.io/v1/": auth("hub") };
    for (const secret of [
      { key: ".dockerconfigjson", text: JSON.stringify({ auths }) },
      { key: ".dockercfg", text: JSON.stringify(auths) },
    ] as const) {
      const credentials = pullSecretCredentials([secret]);
      assert.deepEqual(await find(credentials, "ghcr.io"), ofName("ada"));
      assert.deepEqual(await find(credentials, "docker.io"), ofName("hub"));
      assert.equal(await find(credentials, "quay.io"), undefined);
    }
  });

  test("may have stars in its hosts, and the exact one goes before", async () => {
    const auths = {
      "*.example.com": auth("star"),
      "eu.example.com": auth("exact"),
      "*.example.com:5000": auth("port"),
      "*.example.com/acme": auth("path"),
      "r*.example.org": auth("part"),
    };
    const text = JSON.stringify({ auths });
    const credentials = pullSecretCredentials([{ key: ".dockerconfigjson", text }]);
    assert.deepEqual(await find(credentials, "us.example.com", "x"), ofName("star"));
    assert.deepEqual(await find(credentials, "eu.example.com", "x"), ofName("exact"));
    assert.deepEqual(await find(credentials, "us.example.com:5000", "x"), ofName("port"));
    assert.deepEqual(await find(credentials, "us.example.com", "acme/x"), ofName("path"));
    assert.deepEqual(await find(credentials, "registry.example.org", "x"), ofName("part"));
    for (const other of ["example.com", "a.b.example.com", "us.example.com:80", "x.example.org"])
      assert.equal(await find(credentials, other, "x"), undefined);
  });

  test("runs no program that it names", async () => {
    const text = JSON.stringify({
      credsStore: "none-here",
      credHelpers: { "ghcr.io": "none-here" },
    });
    const credentials = pullSecretCredentials([{ key: ".dockerconfigjson", text }]);
    assert.equal(await find(credentials, "ghcr.io"), undefined);
  });

  test("that is damaged is told without what is in it", () => {
    assert.throws(
      () => pullSecretCredentials([{ key: ".dockercfg", text: "c2VjcmV0" }]),
      failed("secret-invalid", /^The pull secret's \.dockercfg is no JSON object$/),
    );
  });

  test("goes before the user's own logins where it is asked first", async () => {
    const text = JSON.stringify({ auths: { "ghcr.io": auth("secret") } });
    const credentials = firstOf([
      pullSecretCredentials([{ key: ".dockerconfigjson", text }]),
      fromConfig({ auths: { "ghcr.io": auth("file"), "quay.io": auth("file") } }),
    ]);
    assert.deepEqual(await find(credentials, "ghcr.io"), ofName("secret"));
    assert.deepEqual(await find(credentials, "quay.io"), ofName("file"));
  });
});

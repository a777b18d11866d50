// Starts every server that is installed, as given.ts describes them.
import { createHmac } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { GivenRegistry, GivenS3, GivenServers } from "./given.ts";
import type { Installed, ServerName } from "./install.ts";
import { Program } from "./program.ts";
import { s3Text } from "./s3-client.ts";
import { issuer, service, TokenServer } from "./tokens.ts";

const user = "tester";
const password = "letterbox";
/** The password above, as bcrypt. */
const passwords = `${user}:$2a$05$eA5kfO377iYRsKoAF9VT8eVF2LeXF5Q4s8HxRGp3prr20.g6Y2ySe\n`;
const tls = resolve(import.meta.dirname, "../network/tls");
const authority = join(tls, "authority.pem");
const s3Keys = { accessKey: "atalanta-tests", secretKey: "not-a-secret-of-anyone" };
/** Azurite's account, which everybody knows. */
const azureAccount = {
  account: "devstoreaccount1",
  key: "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
};

export interface Started extends AsyncDisposable {
  readonly given: GivenServers;
  readonly programs: ReadonlyMap<string, Program>;
}

type RegistryKind = "open" | "password" | "tokens" | "tls";

async function registry(
  program: string,
  kind: RegistryKind,
  tokens?: TokenServer,
): Promise<Program> {
  const auth: Partial<Record<RegistryKind, object>> = {
    password: { htpasswd: { realm: "tests", path: "passwords" } },
    tokens: {
      token: {
        realm: tokens?.realm,
        service,
        issuer,
        jwks: "keys.json",
        signingalgorithms: ["ES256"],
      },
    },
  };
  const certificate = { certificate: join(tls, "host.pem"), key: join(tls, "host.key") };
  return Program.start({
    program,
    args: (port, folder) => {
      writeFileSync(join(folder, "passwords"), passwords);
      writeFileSync(join(folder, "keys.json"), tokens?.keys ?? "{}");
      // JSON is YAML.
      const configuration = JSON.stringify({
        version: "0.1",
        log: { level: "warn", accesslog: { disabled: true } },
        storage: { filesystem: { rootdirectory: join(folder, "data") }, delete: { enabled: true } },
        http: {
          addr: `127.0.0.1:${port}`,
          secret: "of the tests",
          ...(kind === "tls" ? { tls: certificate } : {}),
        },
        ...(auth[kind] ? { auth: auth[kind] } : {}),
      });
      writeFileSync(join(folder, "registry.yml"), configuration);
      return ["serve", "registry.yml"];
    },
    health: (port) => `${kind === "tls" ? "https" : "http"}://127.0.0.1:${port}/v2/`,
  });
}

async function s3(program: string, secure: boolean): Promise<Program> {
  const certificate = ["--cert", join(tls, "host.pem"), "--key", join(tls, "host.key")];
  return Program.start({
    program,
    args: (port, folder) => {
      for (const name of ["data", "metadata"]) mkdirSync(join(folder, name));
      return [
        "--port",
        `127.0.0.1:${port}`,
        "--keep-alive",
        "--quiet",
        "--health",
        "/health",
        ...(secure ? certificate : []),
        "posix",
        "--sidecar",
        join(folder, "metadata"),
        join(folder, "data"),
      ];
    },
    environment: { ROOT_ACCESS_KEY: s3Keys.accessKey, ROOT_SECRET_KEY: s3Keys.secretKey },
    health: (port) => `${secure ? "https" : "http"}://127.0.0.1:${port}/health`,
  });
}

async function gcs(program: string): Promise<Program> {
  return Program.start({
    program,
    args: (port, folder) => [
      "-scheme",
      "http",
      "-host",
      "127.0.0.1",
      "-port",
      String(port),
      "-log-level",
      "warn",
      "-public-host",
      `127.0.0.1:${port}`,
      "-external-url",
      `http://127.0.0.1:${port}`,
      "-backend",
      "filesystem",
      "-filesystem-root",
      join(folder, "data"),
    ],
    health: (port) => `http://127.0.0.1:${port}/storage/v1/b?project=tests`,
  });
}

async function azure(script: string): Promise<Program> {
  return Program.start({
    program: process.execPath,
    args: (port, folder) => [
      "--no-warnings",
      script,
      "--silent",
      "--disableTelemetry",
      "--skipApiVersionCheck",
      "--blobPort",
      String(port),
      "--location",
      folder,
    ],
    health: (port) => `http://127.0.0.1:${port}/`,
  });
}

/** Azure's own signature of one request: https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key. */
async function makeContainer(endpoint: string): Promise<void> {
  const { account, key } = azureAccount;
  const date = new Date().toUTCString();
  const signed = [
    "PUT",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    `x-ms-date:${date}`,
    "x-ms-version:2024-11-04",
    // The account stands twice where it is a part of the path as well.
    `/${account}/${account}/atalanta`,
    "restype:container",
  ].join("\n");
  const signature = createHmac("sha256", Buffer.from(key, "base64"))
    .update(signed)
    .digest("base64");
  const made = await fetch(`${endpoint}/atalanta?restype=container`, {
    method: "PUT",
    headers: {
      "x-ms-date": date,
      "x-ms-version": "2024-11-04",
      authorization: `SharedKey ${account}:${signature}`,
    },
  });
  if (!made.ok) throw new Error(await made.text());
}

/** All that are installed. They go, with all that they hold, when it is disposed of. */
export async function start(installed: ReadonlyMap<ServerName, Installed>): Promise<Started> {
  await using started = new AsyncDisposableStack();
  const programs = new Map<string, Program>();
  const given: { -readonly [Name in keyof GivenServers]: GivenServers[Name] } = {};
  const whenInstalled = async (
    name: ServerName,
    begin: (program: string) => Promise<void>,
  ): Promise<void> => {
    const one = installed.get(name);
    if (one && "program" in one) await begin(one.program);
  };
  const add = (name: string, program: Program): Program => {
    programs.set(name, started.use(program));
    return program;
  };
  await whenInstalled("registry", async (program) => {
    const tokens = started.use(await TokenServer.start({ user, password }));
    const one = async (kind: RegistryKind): Promise<GivenRegistry> => {
      const { port } = add(`registry ${kind}`, await registry(program, kind, tokens));
      return { host: `127.0.0.1:${port}`, insecure: kind !== "tls" };
    };
    given.registry = await one("open");
    given.registryWithPassword = { ...(await one("password")), user, password };
    given.registryWithTokens = { ...(await one("tokens")), user, password };
    given.registryWithTls = { ...(await one("tls")), authority };
  });
  await whenInstalled("referrers", async (program) => {
    const { port } = add(
      "registry with referrers",
      await Program.start({
        program,
        args: (port, folder) => [`127.0.0.1:${port}`, folder],
        health: (port) => `http://127.0.0.1:${port}/v2/`,
      }),
    );
    given.registryWithReferrers = { host: `127.0.0.1:${port}`, insecure: true };
  });
  await whenInstalled("s3", async (program) => {
    const one = async (secure: boolean): Promise<GivenS3> => {
      const { port } = add(secure ? "s3 tls" : "s3", await s3(program, secure));
      const endpoint = `${secure ? "https" : "http"}://127.0.0.1:${port}`;
      const one = { endpoint, region: "us-east-1", bucket: "atalanta", ...s3Keys };
      await s3Text(one, { method: "PUT" });
      return one;
    };
    given.s3 = await one(false);
    given.s3WithTls = { ...(await one(true)), authority };
  });
  await whenInstalled("gcs", async (program) => {
    const { port } = add("gcs", await gcs(program));
    const endpoint = `http://127.0.0.1:${port}`;
    const bucket = "atalanta";
    const made = await fetch(`${endpoint}/storage/v1/b?project=tests`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: bucket }),
    });
    if (!made.ok) throw new Error(await made.text());
    given.gcs = { endpoint, bucket };
  });
  await whenInstalled("azure", async (program) => {
    const { port } = add("azure", await azure(program));
    const endpoint = `http://127.0.0.1:${port}/${azureAccount.account}`;
    given.azure = { endpoint, ...azureAccount, container: "atalanta" };
    await makeContainer(endpoint);
  });
  const moved = started.move();
  return { given, programs, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

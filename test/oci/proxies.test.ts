import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, request, type IncomingMessage } from "node:http";
import { connect, createServer as createTcpServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { openRegistry, parseReference, type RegistryOptions } from "../../src/oci/mod.ts";
import { StandInRegistry } from "../servers/registry.ts";
import { failed, quick } from "./setting.ts";

const folder = join(import.meta.dirname, "../network/tls");
const authority = readFileSync(join(folder, "authority.pem"), "utf8");
const tls = {
  key: readFileSync(join(folder, "host.key"), "utf8"),
  cert: readFileSync(join(folder, "host.pem"), "utf8"),
};

interface Proxy extends AsyncDisposable {
  readonly url: string;
  /** What it was asked for: `GET http://…`, `CONNECT host:port`. */
  readonly asked: string[];
  readonly logins: (string | undefined)[];
}

/** A proxy that brings everything to one port of this machine. */
async function startProxy(port: number, refuse = false): Promise<Proxy> {
  const asked: string[] = [];
  const logins: (string | undefined)[] = [];
  const tunnels = new Set<{ destroy(): void }>();
  const note = ({ method, url, headers }: IncomingMessage): void => {
    asked.push(`${method} ${url}`);
    logins.push(headers["proxy-authorization"]);
  };
  const server = createServer((incoming, outgoing) => {
    note(incoming);
    const { pathname, search } = new URL(incoming.url ?? "");
    const options = {
      port,
      path: `${pathname}${search}`,
      method: incoming.method,
      headers: incoming.headers,
    };
    const onward = request({ host: "127.0.0.1", ...options }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(onward);
  });
  server.on("connect", (incoming, client, head) => {
    note(incoming);
    if (refuse) {
      client.end("HTTP/1.1 403 Forbidden\r\n\r\n");
      return;
    }
    tunnels.add(client);
    const onward = connect(port, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.write(head);
      onward.pipe(client).pipe(onward);
    });
    client.on("error", () => onward.destroy());
    onward.on("error", () => client.destroy());
    tunnels.add(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    logins,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      for (const tunnel of tunnels) tunnel.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A registry by a name that leads nowhere: only a proxy finds it. */
async function pull(
  host: string,
  environment: Readonly<Record<string, string>>,
  options: RegistryOptions = {},
): Promise<string> {
  const resolve = async (): Promise<readonly string[]> => {
    throw Object.assign(new Error("no such host"), { code: "ENOTFOUND" });
  };
  await using registry = openRegistry({ ...quick, resolve, environment, ...options });
  return (await registry.manifest(parseReference(`${host}/acme/step:1`))).digest;
}

async function plainServer(): Promise<StandInRegistry> {
  const made = await StandInRegistry.start();
  made.putManifest("acme/step", "1", { schemaVersion: 2 });
  return made;
}

const plain: RegistryOptions = {
  registries: new Map([["registry.example.com", { plainHttp: true }]]),
};

describe("A proxy", () => {
  test("of HTTP_PROXY gets requests in the clear, and its login", async () => {
    await using it = await plainServer();
    await using proxy = await startProxy(it.port);
    const url = proxy.url.replace("//", "//ada:pass%20word@");
    for (const environment of [
      { HTTP_PROXY: url },
      { http_proxy: url },
      { http_proxy: url, HTTP_PROXY: "x" },
    ]) {
      assert.match(await pull("registry.example.com", environment, plain), /^sha256:/);
    }
    assert.equal(proxy.asked[0], "GET http://registry.example.com/v2/acme/step/manifests/1");
    assert.equal(proxy.logins[0], `Basic ${btoa("ada:pass word")}`);
    for (const { headers } of it.seen) assert.equal(headers.host, "registry.example.com");
  });

  test("of HTTPS_PROXY is tunnelled through, and the registry's certificate is checked", async () => {
    await using it = await StandInRegistry.start({ tls });
    it.putManifest("acme/step", "1", { schemaVersion: 2 });
    await using proxy = await startProxy(it.port);
    const environment = { HTTPS_PROXY: proxy.url, HTTP_PROXY: "http://127.0.0.1:1" };
    // The certificate is for a.example.
    const host = `a.example:${it.port}`;
    const registries = new Map([[host, { authorities: [authority] }]]);
    assert.match(await pull(host, environment, { registries }), /^sha256:/);
    assert.deepEqual(proxy.asked, [`CONNECT ${host}`]);
    await assert.rejects(
      pull(`b.example:${it.port}`, environment, {
        registries: new Map([[`b.example:${it.port}`, { authorities: [authority] }]]),
      }),
      failed("registry-refused", /ERR_TLS_CERT_ALTNAME_INVALID/),
    );
  });

  for (const [exceptions, uses] of [
    ["example.com", false],
    [".example.com", false],
    ["*.example.com", false],
    ["registry.example.com", false],
    ["other.com, registry.example.com:80", false],
    ["*", false],
    ["registry.example.com:8080", true],
    ["gistry.example.com", true],
    ["other.com", true],
  ] as const) {
    test(`is ${uses ? "" : "not "}used for registry.example.com with NO_PROXY=${exceptions}`, async () => {
      await using it = await plainServer();
      await using proxy = await startProxy(it.port);
      const environment = { HTTP_PROXY: proxy.url, NO_PROXY: exceptions };
      const result = pull("registry.example.com", environment, plain);
      if (uses) assert.match(await result, /^sha256:/);
      else
        await assert.rejects(
          result,
          failed("registry-unavailable", /there is no host of this name/),
        );
      assert.equal(proxy.asked.length, uses ? 1 : 0);
    });
  }

  for (const exceptions of ["10.0.0.0/8", "10.1.2.3", "10.1.2.3:5000", "fd00::/8,10.1.0.0/16"]) {
    test(`is not used for 10.1.2.3:5000 with NO_PROXY=${exceptions}`, async () => {
      await using proxy = await startProxy(1);
      const environment = { HTTP_PROXY: proxy.url, NO_PROXY: exceptions };
      const registries = new Map([["10.1.2.3:5000", { plainHttp: true }]]);
      const options = { registries, timeouts: { connectMs: 50 }, retries: { attempts: 1 } };
      await assert.rejects(pull("10.1.2.3:5000", environment, options));
      assert.equal(proxy.asked.length, 0);
    });
  }

  test("is not used for this machine", async () => {
    await using it = await plainServer();
    const environment = { HTTP_PROXY: "http://127.0.0.1:1", HTTPS_PROXY: "http://127.0.0.1:1" };
    assert.match(await pull(it.host, environment), /^sha256:/);
  });

  test("is not asked for addresses that may not be connected to", async () => {
    await using proxy = await startProxy(1);
    const environment = { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url };
    await assert.rejects(
      pull("169.254.169.254", environment),
      failed("network-denied", /its address is a metadata service's/),
    );
    assert.equal(proxy.asked.length, 0);
  });

  test("is not asked for names that are known to lead there", async () => {
    await using proxy = await startProxy(1);
    const environment = { HTTPS_PROXY: proxy.url };
    const resolve = async (): Promise<readonly string[]> => ["169.254.169.254"];
    await assert.rejects(
      pull("metadata.example.com", environment, { resolve }),
      failed(
        "network-denied",
        /"metadata\.example\.com" leads to an address that is a metadata service's/,
      ),
    );
    assert.equal(proxy.asked.length, 0);
  });

  test("that refuses is told without its password", async () => {
    await using proxy = await startProxy(1, true);
    const environment = { HTTPS_PROXY: proxy.url.replace("//", "//ada:very-secret@") };
    await assert.rejects(pull("registry.example.com", environment), (thrown) => {
      failed(
        "registry-unavailable",
        /registry\.example\.com, by the proxy 127\.0\.0\.1:\d+: it answered 403 Forbidden$/,
      )(thrown);
      return !String((thrown as Error).stack).includes("very-secret");
    });
  });

  for (const [proxy, message] of [
    ["socks5://ada:very-secret@127.0.0.1:1080", /HTTPS_PROXY names a proxy by socks5:\/\/$/],
    ["http://ada:very-secret@", /HTTPS_PROXY is no URL$/],
  ] as const) {
    test(`that cannot be used is told: ${proxy}`, async () => {
      await assert.rejects(
        pull("registry.example.com", { HTTPS_PROXY: proxy }),
        failed("invalid-argument", message, /Write a proxy such as/),
      );
    });
  }

  test("that leads to a host which says nothing is not waited for for ever", async () => {
    const silent = createTcpServer();
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    await using proxy = await startProxy((silent.address() as AddressInfo).port);
    try {
      await assert.rejects(
        pull(
          "registry.example.com",
          { HTTPS_PROXY: proxy.url },
          { timeouts: { connectMs: 300, headersMs: 300 }, retries: { attempts: 1 } },
        ),
        failed("registry-unavailable", /registry\.example\.com took longer than 300 ms to/),
      );
    } finally {
      silent.close();
    }
  });

  test("that is not there is told", async () => {
    await assert.rejects(
      pull("registry.example.com", { HTTPS_PROXY: "127.0.0.1:1" }),
      failed(
        "registry-unavailable",
        /registry\.example\.com, by the proxy 127\.0\.0\.1:1: the connection was refused$/,
      ),
    );
  });
});

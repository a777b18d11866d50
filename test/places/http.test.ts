import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { after, before, describe, test } from "node:test";
import { root } from "../cli/command.ts";
import { leaf, User } from "./setting.ts";
import { WebServer } from "./web-server.ts";

let web: WebServer;
before(async () => {
  web = await WebServer.start();
});
after(() => web[Symbol.asyncDispose]());

const both = {
  usernameSecret: { name: "store", key: "access" },
  passwordSecret: { name: "store", key: "secret" },
};
const expected = `Basic ${Buffer.from("user:a long password").toString("base64")}`;

function config(user: User, more: object = {}): string {
  const login = { endpoint: web.host, accessKey: "user", secretKey: "a long password" };
  return user.config(login, more);
}

/** Reads one artifact and prints it. */
async function read(user: User, place: object, more: object = {}) {
  const file = user.workflow({
    entrypoint: "main",
    templates: [
      leaf("main", ["echo", "ran ", ";", "cat", "/in"], {
        inputs: { artifacts: [{ name: "in", path: "/in", ...place, ...more }] },
      }),
    ],
  });
  const ran = await user.run(
    "run",
    file,
    "--config",
    config(user),
    "--allow-address",
    "127.0.0.1",
    "--generate-name",
    "run-",
  );
  const { stdout: log } = await user.run("logs", "@latest");
  return { ...ran, log };
}

const url = (path: string): string => `http://${web.host}${path}`;

describe("http", () => {
  test("is asked with the headers and the login that the artifact says", async () => {
    using user = new User();
    web.paths.set("/doc?page=1", (_asked, response) => response.end("a page"));
    const headers = [
      { name: "Accept", value: "text/plain" },
      { name: "X-Run", value: "{{workflow.name}}" },
    ];
    const { status, log, stderr } = await read(user, {
      http: { url: url("/doc?page=1"), headers, auth: { basicAuth: both } },
    });
    assert.equal(status, 0, stderr);
    assert.match(log, /ran a page/);
    const [asked] = web.asked("/doc?page=1");
    assert.equal(asked?.headers.authorization, expected);
    assert.equal(asked.headers.accept, "text/plain");
    assert.match(String(asked.headers["x-run"]), /^run-/);
    assert(
      !JSON.stringify(await user.run("get", "@latest", "-o", "json")).includes("a long password"),
    );
  });

  test("leads on, and the login does not go along to another host", async () => {
    using user = new User();
    await using other = await WebServer.start();
    web.paths.set("/moved", (_asked, response) =>
      response.writeHead(302, { location: `http://${other.host}/here` }).end(),
    );
    other.paths.set("/here", (_asked, response) => response.end("moved"));
    const { status, log, stderr } = await read(user, {
      http: { url: url("/moved"), auth: { basicAuth: both } },
    });
    assert.equal(status, 0, stderr);
    assert.match(log, /ran moved/);
    assert.equal(other.seen[0]?.headers.authorization, undefined);
    web.paths.set("/inside", (_asked, response) =>
      response.writeHead(302, { location: `http://[::1]:${other.host.split(":")[1]}/here` }).end(),
    );
    const inside = await read(user, { http: { url: url("/inside") } });
    assert.equal(inside.status, 1, "only 127.0.0.1 is allowed");
    assert.equal(other.seen.length, 1);
    web.paths.set("/round", (_asked, response) =>
      response.writeHead(302, { location: "/round" }).end(),
    );
    assert.match(
      (await read(user, { http: { url: url("/round") } })).stderr,
      /leads on more than 10 times/,
    );
  });

  test("goes on where a cut was, and waits when the server is busy", async () => {
    using user = new User();
    const whole = Buffer.alloc(200_000, "0123456789");
    web.paths.set("/cut", ({ headers }, response) => {
      const count = web.asked("/cut").length;
      if (count === 1) {
        response.writeHead(503, { "retry-after": "0" }).end();
        return;
      }
      const from = Number(/bytes=(\d+)-/.exec(headers.range ?? "")?.[1] ?? 0);
      response.writeHead(from === 0 ? 200 : 206, {
        etag: '"one"',
        "content-length": String(whole.length - from),
        ...(from === 0
          ? {}
          : { "content-range": `bytes ${from}-${whole.length - 1}/${whole.length}` }),
      });
      if (count === 2) {
        response.write(whole.subarray(0, 120_000));
        // What is on its way when a connection is cut may be lost.
        setTimeout(() => response.destroy(), 500);
      } else response.end(whole.subarray(from));
    });
    const { status, log, stderr } = await read(user, { http: { url: url("/cut") } });
    assert.equal(status, 0, stderr);
    assert.equal(log.length - log.indexOf("ran ") - 4, whole.length + (log.endsWith("\n") ? 1 : 0));
    const last = web.asked("/cut").at(-1);
    assert.equal(last?.headers["if-range"], '"one"');
    assert.match(String(last.headers.range), /^bytes=[1-9]/);
  });

  test("says what the server answered; what is not there may be optional", async () => {
    using user = new User();
    web.paths.set("/secret", (_asked, response) =>
      response.writeHead(403, { "content-type": "text/plain" }).end("not\u001b[2Jyou"),
    );
    const refused = await read(user, { http: { url: url("/secret") } });
    assert.equal(refused.status, 1);
    assert.match(
      refused.stderr,
      /Error\[store-refused\]: Cannot download "http:\/\/127[^"]*\/secret": 127[^ ]* answered 403 \(not \[2Jyou\)/,
    );
    const gone = await read(user, { http: { url: url("/nonesuch") } });
    assert.match(gone.stderr, /Error\[artifact-missing\]/);
    const optional = await read(user, { http: { url: url("/nonesuch") } }, { optional: true });
    assert.match(optional.stderr, /\/in/, "the step ran, and found nothing at the path");
  });

  test("gives a token for the client's own credentials, and another one when that has ended", async () => {
    using user = new User();
    let tokens = 0;
    web.paths.set("/token", ({ body, headers }, response) => {
      if (headers.authorization !== undefined) {
        response.writeHead(401).end();
        return;
      }
      const form = new URLSearchParams(body.toString());
      assert.equal(form.get("scope"), "read");
      assert.equal(form.get("audience"), "test");
      const known =
        form.get("client_id") === "user" && form.get("client_secret") === "a long password";
      tokens++;
      response
        .writeHead(known ? 200 : 401)
        .end(JSON.stringify({ access_token: `token-${tokens}`, expires_in: 3600 }));
    });
    web.paths.set("/guarded", ({ headers }, response) => {
      const good = headers.authorization === "Bearer token-2";
      response.writeHead(good ? 200 : 401).end(good ? "guarded" : "");
    });
    const auth = {
      oauth2: {
        clientIDSecret: { name: "store", key: "access" },
        clientSecretSecret: { name: "store", key: "secret" },
        tokenURLSecret: { name: "token", key: "url" },
        scopes: ["read"],
        endpointParams: [{ key: "audience", value: "test" }],
      },
    };
    const file = user.workflow({
      entrypoint: "main",
      templates: [
        leaf("main", ["cat", "/in"], {
          inputs: {
            artifacts: [{ name: "in", path: "/in", http: { url: url("/guarded"), auth } }],
          },
        }),
      ],
    });
    user.home.environment["TOKEN_URL"] = url("/token");
    const hosts = [`http://${web.host}`];
    user.home.environment["ID"] = "user";
    user.home.environment["WORD"] = "a long password";
    const own = user.file(
      "own.yaml",
      JSON.stringify({
        secrets: {
          store: { access: { fromEnv: "ID", hosts }, secret: { fromEnv: "WORD", hosts } },
          token: { url: { fromEnv: "TOKEN_URL", hosts } },
        },
      }),
    );
    const ran = await user.run("run", file, "--config", own, "--allow-address", "127.0.0.1");
    assert.equal(ran.status, 0, ran.stderr);
    assert.match((await user.run("logs", "flow")).stdout, /guarded/);
    assert.equal(tokens, 2);
  });

  test("takes what a step made by PUT, also where the server leads on, and knows its length", async () => {
    using user = new User();
    web.paths.set("/up", (_asked, response) =>
      response.writeHead(307, { location: "/there" }).end(),
    );
    web.paths.set("/there", (_asked, response) => response.writeHead(201).end());
    web.paths.set("/packed", (_asked, response) => {
      response.writeHead(web.asked("/packed").length === 1 ? 500 : 201).end();
    });
    const file = user.workflow({
      entrypoint: "main",
      artifactGC: { strategy: "OnWorkflowCompletion" },
      templates: [
        leaf("main", ["write", "/tmp/out", "made"], {
          outputs: {
            artifacts: [
              { name: "plain", path: "/tmp/out", archive: { none: {} }, http: { url: url("/up") } },
              { name: "packed", path: "/tmp/out", http: { url: url("/packed") } },
            ],
          },
        }),
      ],
    });
    const ran = await user.run(
      "run",
      file,
      "--config",
      config(user),
      "--allow-address",
      "127.0.0.1",
    );
    assert.equal(ran.status, 0, ran.stderr);
    assert.equal(web.asked("/there")[0]?.body.toString(), "made");
    assert.equal(web.asked("/packed").length, 2);
    assert.notEqual(web.asked("/packed")[1]?.headers["content-length"], undefined);
    assert.equal(web.seen.filter(({ method }) => method === "DELETE").length, 0);
  });
});

describe("https", () => {
  test("trusts the operator's authorities, and shows the certificate that the artifact names", async () => {
    using user = new User();
    const tls = join(root, "test/network/tls");
    const text = (name: string): string => readFileSync(join(tls, name), "utf8");
    const server = createServer(
      {
        key: text("host.key"),
        cert: text("host.pem"),
        ca: text("authority.pem"),
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => {
        const known = "getPeerCertificate" in request.socket;
        const shown = known ? (request.socket as TLSSocket).getPeerCertificate() : {};
        response.writeHead("subject" in shown ? 200 : 403).end("for whom I know");
      },
    );
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    try {
      const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      const config = user.file(
        "tls.yaml",
        JSON.stringify({
          permissions: { http: { caFile: join(tls, "authority.pem") } },
          secrets: {
            own: {
              certificate: { fromFile: join(tls, "host.pem"), hosts: [host] },
              key: { fromFile: join(tls, "host.key"), hosts: [host] },
            },
          },
        }),
      );
      const file = (auth: object): string =>
        user.workflow({
          entrypoint: "main",
          templates: [
            leaf("main", ["cat", "/in"], {
              inputs: {
                artifacts: [
                  { name: "in", path: "/in", http: { url: `https://${host}/`, ...auth } },
                ],
              },
            }),
          ],
        });
      const clientCert = {
        clientCertSecret: { name: "own", key: "certificate" },
        clientKeySecret: { name: "own", key: "key" },
      };
      const args = ["--allow-address", "127.0.0.1", "--generate-name", "run-"];
      const known = await user.run(
        "run",
        file({ auth: { clientCert } }),
        "--config",
        config,
        ...args,
      );
      assert.equal(known.status, 0, known.stderr);
      assert.match((await user.run("logs", "@latest")).stdout, /for whom I know/);
      const unknown = await user.run("run", file({}), "--config", config, ...args);
      assert.match(unknown.stderr, /answered 403/);
      const untrusted = await user.run("run", file({}), ...args);
      assert.equal(untrusted.status, 1);
      assert.match(untrusted.stderr, /store-refused.*certificate/);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});

describe("artifactory", () => {
  test("is a repository with a login, and gives back what went there", async () => {
    using user = new User();
    const kept = new Map<string, Buffer>();
    const repository = {
      artifactRepository: {
        artifactory: {
          repoURL: url("/artifactory/generic"),
          keyFormat: "{{workflow.name}}",
          ...both,
        },
      },
    };
    for (const name of ["flow/made.tgz", "flow/plain.txt"]) {
      web.paths.set(`/artifactory/generic/${name}`, ({ method, body, headers }, response) => {
        if (headers.authorization !== expected) response.writeHead(401).end();
        else if (method === "PUT") {
          kept.set(name, body);
          response.writeHead(201).end();
        } else response.end(kept.get(name));
      });
    }
    const file = user.workflow({
      entrypoint: "main",
      templates: [
        {
          name: "main",
          steps: [[{ name: "make", template: "make" }], [{ name: "use", template: "use" }]],
        },
        leaf("make", ["write", "/tmp/plain.txt", "made"], {
          outputs: {
            artifacts: [
              { name: "made", path: "/tmp/plain.txt" },
              { name: "plain", path: "/tmp/plain.txt", archive: { none: {} } },
            ],
          },
        }),
        leaf("use", ["cat", "/in"], {
          inputs: {
            artifacts: [
              {
                name: "in",
                path: "/in",
                artifactory: { url: url("/artifactory/generic/flow/made.tgz"), ...both },
              },
            ],
          },
        }),
      ],
    });
    const ran = await user.run("run", file, "--config", config(user, repository));
    assert.equal(ran.status, 0, ran.stderr);
    assert.equal(kept.get("flow/plain.txt")?.toString(), "made");
    assert.match((await user.run("logs", "flow", "use")).stdout, /made/);
  });
});

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir } from "node:fs/promises";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, test } from "node:test";
import type { HttpLocation, StoresOptions } from "../../src/stores/mod.ts";
import { WebServer } from "../places/web-server.ts";
import { bytesOf, folder, secret, stores, textFile } from "./s3-kit.ts";

const whole = randomBytes(600_000);
const opaque = { kind: "file", content: { kind: "bytes", bytes: whole } } as const;

async function kit(options: Partial<StoresOptions> = {}) {
  const web = await WebServer.start();
  const place = await folder();
  const opened = stores(place.path, options);
  return {
    web,
    stores: opened,
    at: (path: string, more: Partial<HttpLocation> = {}): HttpLocation => ({
      kind: "http",
      url: `http://${web.host}${path}`,
      ...more,
    }),
    empty: () => mkdtemp(join(place.path, "to-")),
    [Symbol.asyncDispose]: async () => {
      await opened[Symbol.asyncDispose]();
      await web[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}

const etag = '"one"';

describe("HTTP on a bad day, downloads", () => {
  for (const status of [408, 425, 429, 500, 502, 503, 504]) {
    test(`${status} passes, twice`, async () => {
      await using k = await kit();
      k.web.paths.set("/x", (_asked, response) => {
        if (k.web.seen.length < 3) response.writeHead(status, { "retry-after": "0" }).end();
        else response.end(whole);
      });
      const got = await k.stores.download(k.at("/x"), await k.empty());
      assert(whole.equals(await bytesOf(got)));
      assert.equal(k.web.seen.length, 3);
    });
  }

  for (const [status, code] of [
    [400, "store-refused"],
    [401, "store-refused"],
    [403, "store-refused"],
    [404, "artifact-missing"],
    [410, "artifact-missing"],
  ] as const) {
    test(`${status} is not tried again`, async () => {
      await using k = await kit();
      k.web.paths.set("/x", (_asked, response) => response.writeHead(status).end());
      const to = await k.empty();
      await assert.rejects(k.stores.download(k.at("/x?sig=hidden"), to), (thrown: Error) => {
        assert.doesNotMatch(thrown.message, /hidden/);
        return true;
      });
      await assert.rejects(k.stores.download(k.at("/x"), to), { code });
      assert.equal(k.web.asked("/x").length, 1);
      assert.deepEqual(await readdir(to), []);
    });
  }

  test("it is asked five times and not more, and nothing is left", async () => {
    await using k = await kit();
    k.web.paths.set("/x", (_asked, response) => response.writeHead(503).end());
    const to = await k.empty();
    await assert.rejects(k.stores.download(k.at("/x"), to), { code: "store-unavailable" });
    assert.equal(k.web.seen.length, 5);
    assert.deepEqual(await readdir(to), []);
  });

  test("a Retry-After that is longer than anybody waits is told at once", async () => {
    await using k = await kit();
    k.web.paths.set("/x", (_asked, response) =>
      response.writeHead(429, { "retry-after": "3600" }).end(),
    );
    await assert.rejects(k.stores.download(k.at("/x"), await k.empty()), {
      code: "store-unavailable",
    });
    assert.equal(k.web.seen.length, 1);
  });

  test("a body that ends before its length begins anew where the server knows no ranges", async () => {
    await using k = await kit();
    k.web.paths.set("/x", (_asked, response) => {
      response.writeHead(200, { "content-length": String(whole.length) });
      if (k.web.seen.length === 1)
        response.write(whole.subarray(0, 300_000), () => response.destroy());
      else response.end(whole);
    });
    const got = await k.stores.download(k.at("/x"), await k.empty());
    assert(whole.equals(await bytesOf(got)));
    assert.equal(k.web.seen[1]?.headers.range, undefined);
  });

  test("a body in chunks that is cut is no whole one", async () => {
    await using k = await kit({ retries: { attempts: 2, firstMs: 5 } });
    k.web.paths.set("/x", (_asked, response) => {
      response.writeHead(200);
      response.write(whole, () => response.destroy());
    });
    await assert.rejects(k.stores.download(k.at("/x"), await k.empty()), {
      code: "store-unavailable",
    });
  });

  /** Gives the first part and cuts; then answers as the test says. */
  async function resumed(
    answer: (from: number) => {
      readonly status: number;
      readonly headers: object;
      readonly body: Buffer;
    },
  ) {
    await using k = await kit();
    k.web.paths.set("/x", ({ headers }, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
      if (k.web.seen.length === 1) {
        response.writeHead(200, { etag, "content-length": String(whole.length) });
        response.write(whole.subarray(0, 300_000));
        // What is on its way when a connection is cut may be lost.
        setTimeout(() => response.destroy(), 200);
        return;
      }
      if (from === 0) {
        response.end(whole);
        return;
      }
      const { status, headers: more, body } = answer(from);
      response.writeHead(status, { ...more, "content-length": String(body.length) }).end(body);
    });
    const got = await k.stores.download(k.at("/x"), await k.empty());
    return { bytes: await bytesOf(got), ranges: k.web.seen.map(({ headers }) => headers.range) };
  }

  test("a server may give less than the rest: then it is asked for what is missing", async () => {
    const { bytes, ranges } = await resumed((from) => {
      const to = Math.min(from + 100_000, whole.length);
      return {
        status: 206,
        headers: { etag, "content-range": `bytes ${from}-${to - 1}/${whole.length}` },
        body: whole.subarray(from, to),
      };
    });
    assert(whole.equals(bytes));
    assert(ranges.length >= 4, ranges.join());
  });

  test("the rest of another file is not put behind the first part of this one", async () => {
    const { bytes } = await resumed((from) => ({
      status: 206,
      headers: {
        etag: '"two"',
        "content-range": `bytes ${from}-${whole.length - 1}/${whole.length}`,
      },
      body: Buffer.alloc(whole.length - from),
    }));
    assert(whole.equals(bytes));
  });

  test("where the rest is refused it begins anew", async () => {
    const { bytes } = await resumed(() => ({
      status: 416,
      headers: { "content-range": "bytes */100" },
      body: Buffer.alloc(0),
    }));
    assert(whole.equals(bytes));
  });

  test("a body that stops coming is given up and asked for again", async () => {
    await using k = await kit({ timeouts: { idleMs: 200 } });
    k.web.paths.set("/x", (_asked, response) => {
      if (k.web.seen.length === 1) {
        response.writeHead(200, { "content-length": String(whole.length) });
        response.write(whole.subarray(0, 1000));
      } else response.end(whole);
    });
    const got = await k.stores.download(k.at("/x"), await k.empty());
    assert(whole.equals(await bytesOf(got)));
  });

  test("one that has more bytes than may be is not brought, with a length and without", async () => {
    await using k = await kit({ limits: { bytes: 100_000 } });
    k.web.paths.set("/length", (_asked, response) => response.end(whole));
    k.web.paths.set("/chunks", (_asked, response) => {
      response.write(whole);
      response.end();
    });
    for (const path of ["/length", "/chunks"]) {
      const to = await k.empty();
      await assert.rejects(k.stores.download(k.at(path), to), { code: "artifact-too-large" });
      assert.deepEqual(await readdir(to), []);
    }
    assert.equal(k.web.seen.length, 2);
  });

  test("somebody who speaks no HTTP is said to", async () => {
    const server = createServer((socket: Socket) => void socket.end("SSH-2.0-nothing\r\n"));
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    await using k = await kit({ retries: { attempts: 1 } });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x`;
    await assert.rejects(k.stores.download({ kind: "http", url }, await k.empty()), {
      code: "store-unavailable",
      message: /does not speak HTTP/,
    });
    server.close();
  });

  test("it stops at once when it is told to", async () => {
    await using k = await kit();
    k.web.paths.set("/x", (_asked, response) => void response.writeHead(200).write("a"));
    const stopping = new AbortController();
    const to = await k.empty();
    const going = k.stores.download(k.at("/x"), to, { signal: stopping.signal });
    await sleep(100);
    const began = performance.now();
    stopping.abort(new Error("enough"));
    await assert.rejects(going, /enough/);
    assert(performance.now() - began < 1000);
    assert.deepEqual(await readdir(to), []);
  });
});

describe("HTTP leads on", () => {
  test("what is secret among the headers does not go to another host", async () => {
    await using k = await kit();
    await using other = await WebServer.start();
    k.web.paths.set("/x", (_asked, response) =>
      response.writeHead(302, { location: `http://${other.host}/y` }).end(),
    );
    other.paths.set("/y", (_asked, response) => response.end("y"));
    await k.stores.download(
      k.at("/x", {
        headers: [
          ["Accept", "text/plain"],
          ["PRIVATE-TOKEN", "secret"],
          ["Cookie", "secret"],
          ["Authorization", "secret"],
        ],
      }),
      await k.empty(),
    );
    assert.equal(k.web.seen[0]?.headers["private-token"], "secret");
    assert.equal(other.seen[0]?.headers.accept, "text/plain");
    assert.doesNotMatch(JSON.stringify(other.seen[0]?.headers), /secret/);
  });

  test("addresses that may not be connected to are not by a detour either", async () => {
    await using k = await kit();
    for (const [path, location] of [
      ["/metadata", "http://169.254.169.254/latest/meta-data/"],
      ["/private", "http://10.0.0.1/"],
      ["/six", "http://[::ffff:10.0.0.1]/"],
      ["/number", "http://0xA000001/"],
    ] as const) {
      k.web.paths.set(path, (_asked, response) => response.writeHead(302, { location }).end());
      await assert.rejects(k.stores.download(k.at(path), await k.empty()), {
        code: "network-denied",
      });
      assert.equal(k.web.asked(path).length, 1);
    }
    for (const [path, location] of [
      ["/file", "file:///etc/passwd"],
      ["/none", "http://"],
    ] as const) {
      k.web.paths.set(path, (_asked, response) => response.writeHead(302, { location }).end());
      await assert.rejects(k.stores.download(k.at(path), await k.empty()), {
        code: "store-refused",
        message: /is not followed/,
      });
    }
  });
});

describe("HTTP with a login", () => {
  const auth = (token: string): NonNullable<HttpLocation["auth"]> => ({
    kind: "oauth2",
    clientId: secret("client"),
    clientSecret: secret("long secret\n"),
    tokenUrl: secret(`${token}\n`),
  });

  test("a token serves all downloads until it ends, and is fetched once for many at once", async () => {
    await using k = await kit();
    let good = 0;
    k.web.paths.set("/token", ({ headers }, response) => {
      const [id, word] = Buffer.from(String(headers.authorization).slice(6), "base64")
        .toString()
        .split(":");
      assert.deepEqual([id, decodeURIComponent(word ?? "")], ["client", "long secret"]);
      good++;
      response.end(JSON.stringify({ access_token: `t${good}`, expires_in: 3600 }));
    });
    k.web.paths.set("/x", ({ headers }, response) =>
      response.writeHead(headers.authorization === `Bearer t${good}` ? 200 : 401).end("x"),
    );
    const bring = async () =>
      k.stores.download(k.at("/x", { auth: auth(`http://${k.web.host}/token`) }), await k.empty());
    await Promise.all(Array.from({ length: 20 }, bring));
    await bring();
    assert.equal(k.web.asked("/token").length, 1);
    // The server forgets it.
    good++;
    await bring();
    assert.equal(k.web.asked("/token").length, 2);
  });

  test("a token that ends between the parts of a download is fetched anew", async () => {
    await using k = await kit();
    let good = 0;
    k.web.paths.set("/token", (_asked, response) => {
      good++;
      response.end(JSON.stringify({ access_token: `t${good}`, expires_in: 3600 }));
    });
    k.web.paths.set("/x", ({ headers }, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
      if (headers.authorization !== `Bearer t${good}`) response.writeHead(401).end();
      else if (from === 0) {
        response.writeHead(200, { etag, "content-length": String(whole.length) });
        response.write(whole.subarray(0, 300_000));
        setTimeout(() => {
          good = 100;
          response.destroy();
        }, 200);
      } else {
        const range = `bytes ${from}-${whole.length - 1}/${whole.length}`;
        response.writeHead(206, { etag, "content-range": range }).end(whole.subarray(from));
      }
    });
    const location = k.at("/x", { auth: auth(`http://${k.web.host}/token`) });
    const got = await k.stores.download(location, await k.empty());
    assert(whole.equals(await bytesOf(got)));
    assert.equal(k.web.asked("/token").length, 2);
  });

  test("who stops waiting for a token does not stop the others", async () => {
    await using k = await kit();
    k.web.paths.set("/token", (_asked, response) => {
      setTimeout(() => response.end(JSON.stringify({ access_token: "t" })), 300);
    });
    k.web.paths.set("/x", (_asked, response) => response.end("x"));
    const location = k.at("/x", { auth: auth(`http://${k.web.host}/token`) });
    const stopping = new AbortController();
    const first = k.stores.download(location, await k.empty(), { signal: stopping.signal });
    const second = k.stores.download(location, await k.empty());
    await sleep(50);
    stopping.abort(new Error("enough"));
    await assert.rejects(first, /enough/);
    assert.equal((await bytesOf(await second)).toString(), "x");
    assert.equal(k.web.asked("/token").length, 1);
  });

  test("a password is one without the newline of its file, and is not told when a server repeats it", async () => {
    await using k = await kit();
    k.web.paths.set("/x", ({ headers }, response) => {
      const basic = String(headers.authorization);
      const told = Buffer.from(basic.slice(6), "base64").toString();
      response.writeHead(403, { "content-type": "text/plain" }).end(`${basic} is ${told}`);
    });
    const location = k.at("/x", {
      auth: { kind: "basic", user: secret("me\n"), password: secret("pass:word\n") },
    });
    await assert.rejects(k.stores.download(location, await k.empty()), (thrown: Error) => {
      assert.match(thrown.message, /answered 403 \(\*\*\* is me:\*\*\*\)/);
      return true;
    });
    assert.equal(
      k.web.seen[0]?.headers.authorization,
      `Basic ${Buffer.from("me:pass:word").toString("base64")}`,
    );
  });

  test("a certificate or a header that cannot be one is said to be that", async () => {
    await using k = await kit();
    const certificate = {
      kind: "certificate",
      certificate: secret("none"),
      key: secret("none"),
    } as const;
    await assert.rejects(
      k.stores.download(
        { kind: "http", url: "https://127.0.0.1:1/", auth: certificate },
        await k.empty(),
      ),
      { code: "secret-invalid" },
    );
    await assert.rejects(
      k.stores.download(k.at("/x", { headers: [["X", "a\r\nHost: b"]] }), await k.empty()),
      { code: "invalid-argument" },
    );
  });
});

describe("HTTP on a bad day, uploads", () => {
  test("it goes again after a cut and after 503, whole", async () => {
    await using k = await kit();
    k.web.paths.set("/x", (_asked, response) => {
      if (k.web.seen.length === 1) response.destroy();
      else response.writeHead(k.web.seen.length === 2 ? 503 : 201).end();
    });
    const sent = await k.stores.upload(k.at("/x"), opaque);
    assert.deepEqual(sent, { bytes: whole.length, files: 1 });
    for (const { body, method } of k.web.seen) {
      assert.equal(method, "PUT");
      assert(whole.equals(body));
    }
    assert.equal(k.web.seen.length, 3);
  });

  test("it is refused where the server refuses it, a folder always, and so are lists and deletes", async () => {
    await using k = await kit();
    k.web.paths.set("/x", (_asked, response) => response.writeHead(405).end());
    await assert.rejects(k.stores.upload(k.at("/x"), opaque), { code: "store-refused" });
    assert.equal(k.web.seen.length, 1);
    const entries = [textFile("a", "a")];
    for (const refused of [
      k.stores.upload(k.at("/x"), { kind: "directory", entries }),
      k.stores.delete(k.at("/x")),
      Array.fromAsync(k.stores.list(k.at("/x"))),
    ]) {
      await assert.rejects(refused, { code: "invalid-argument" });
    }
  });

  test("bytes of unknown number go with their length", async () => {
    await using k = await kit();
    k.web.paths.set("/x", (_asked, response) => response.writeHead(201).end());
    const bytes = async function* () {
      yield whole.subarray(0, 10);
      yield whole.subarray(10);
    };
    await k.stores.upload(k.at("/x"), { kind: "stream", bytes });
    assert.equal(k.web.seen[0]?.headers["content-length"], String(whole.length));
    assert(whole.equals(k.web.seen[0].body));
  });
});

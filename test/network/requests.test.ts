import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { failureOf, fetchText, Host, ok, open } from "./host.ts";

describe("what a guest sends is one request to one host", () => {
  test("it arrives as it was made, with Host and Content-Length of ours", async () => {
    await using host = await Host.start(() => ok("x"));
    using passage = await open();
    const url = `http://a.example:${host.port}/p?q=1#fragment`;
    await fetchText(passage, url, {
      method: "POST",
      headers: [
        ["X-One", " a\tb "],
        ["x-one", "c\xe9"],
        ["Content-Length", "4"],
      ],
      body: "bo\r\n",
    });
    assert.deepEqual(host.requests[0]?.split("\r\n"), [
      "POST /p?q=1 HTTP/1.1",
      `Host: a.example:${host.port}`,
      "X-One: a\tb",
      "x-one: c\xe9",
      "Content-Length: 4",
      "Connection: keep-alive",
      "",
      "bo",
      "",
    ]);
    await fetchText(passage, `http://a.example:${host.port}`);
    assert.deepEqual(host.requests[1]?.split("\r\n"), [
      "GET / HTTP/1.1",
      `Host: a.example:${host.port}`,
      "Connection: keep-alive",
      "",
      "",
    ]);
  });

  const refused: readonly (readonly [string, string])[] = [
    ["x", "a\r\nHost: evil.example"],
    ["x", "a\nb: c"],
    ["x", "a\rb"],
    ["x", "a\0b"],
    ["x", "a\x7f"],
    ["x\r\ny", "a"],
    ["x y", "a"],
    ["x:", "a"],
    ["", "a"],
    ["é", "a"],
    ["host", "evil.example"],
    ["Host", "a.example"],
    ["HOST ", "evil.example"],
    ["Transfer-Encoding", "chunked"],
    ["transfer-encoding", "identity"],
    ["Content-Length", "5"],
    ["Content-Length", "0"],
    ["content-length", "4, 4"],
    ["content-length", "+4"],
    ["Connection", "close"],
    ["Connection", "x-one"],
    ["Keep-Alive", "1"],
    ["Upgrade", "websocket"],
    ["HTTP2-Settings", "x"],
    ["TE", "trailers"],
    ["Trailer", "x"],
    ["Expect", "100-continue"],
    ["Proxy-Authorization", "Basic x"],
    ["Proxy-Anything", "x"],
    ["Via", "1.1 x"],
  ];
  test("headers that would make two of it, or another host's, are refused before anything is sent", async () => {
    await using host = await Host.start(() => ok("x"));
    using passage = await open();
    for (const header of refused) {
      const sent = { method: "POST", headers: [header], body: "body" };
      const failure = await failureOf(fetchText(passage, `http://a.example:${host.port}/`, sent));
      assert.equal(failure.code, "network-invalid", JSON.stringify(header));
      assert.ok(!failure.message.includes("evil"), "the value is not shown");
    }
    assert.equal(host.connections, 0);
  });

  test("a request that has no body has none: a server could take it for a further request", async () => {
    using passage = await open();
    for (const method of ["GET", "HEAD"]) {
      const sent = { method, body: "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n" };
      const failure = await failureOf(fetchText(passage, "http://a.example/", sent));
      assert.equal(failure.code, "network-invalid");
    }
  });

  test("headers have ceilings of number and size", async () => {
    await using host = await Host.start(() => ok("x"));
    const url = `http://a.example:${host.port}/`;
    using passage = await open();
    const many = (count: number): [string, string][] =>
      Array.from({ length: count }, (_, index) => [`x-${index}`, "a"]);
    assert.equal((await fetchText(passage, url, { headers: many(100) })).status, 200);
    const failure = await failureOf(fetchText(passage, url, { headers: many(101) }));
    assert.equal(failure.code, "network-invalid");
    const large = (size: number): [string, string][] => [["x", "a".repeat(size - 5)]];
    assert.equal((await fetchText(passage, url, { headers: large(32_768) })).status, 200);
    const larger = await failureOf(fetchText(passage, url, { headers: large(32_769) }));
    assert.equal(larger.code, "network-invalid");
  });
});

describe("what a host answers", () => {
  test("comes without what was about the connection, and names are in lower case", async () => {
    await using host = await Host.start(
      () =>
        "HTTP/1.1 200 OK\r\nX-A: b\r\nX-A: c\xe9\r\nConnection: x-a\r\nKeep-Alive: 1\r\nTrailer: x\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-T: t\r\n\r\n",
    );
    using passage = await open();
    const url = `http://a.example:${host.port}/`;
    const { headers, body } = await fetchText(passage, url);
    assert.deepEqual([...headers], [["x-a", "c\xe9"]]);
    assert.equal(body, "hello");
  });

  test("may have many informational responses before it", async () => {
    await using host = await Host.start(
      () =>
        `HTTP/1.1 103 Early\r\nX: y\r\n\r\n${"HTTP/1.1 100 Continue\r\n\r\n".repeat(50)}${ok("x")}`,
    );
    using passage = await open();
    assert.equal((await fetchText(passage, `http://a.example:${host.port}/`)).body, "x");
  });

  const broken: readonly (readonly [string, string | null])[] = [
    ["nothing", null],
    ["no HTTP", "220 smtp ready\r\n\r\n"],
    ["no version", "HTTP 200 OK\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"],
    [
      "a length and chunks",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
    ["a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"],
    ["bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"],
    ["a folded header", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 5\r\n\r\nhello"],
    ["a blank before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello"],
    ["a zero byte in a header", "HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 5\r\n\r\nhello"],
    [
      "a chunk that is no number",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    ],
    [
      "another protocol",
      "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
    ],
    ["headers without end", `HTTP/1.1 200 OK\r\nA: ${"b".repeat(70_000)}\r\n\r\n`],
    ["headers without number", `HTTP/1.1 200 OK\r\n${"A: b\r\n".repeat(20_000)}\r\n`],
  ];
  for (const [what, response] of broken) {
    test(`is a failure of the network when it is broken: ${what}`, async () => {
      await using host = await Host.start(() => response);
      using passage = await open();
      const url = `http://a.example:${host.port}/`;
      const failure = await failureOf(fetchText(passage, url, { timeoutMs: 2000 }));
      assert.equal(failure.code, "network-failed", failure.message);
      assert.ok(failure.retryable);
      assert.ok(!failure.message.includes("127.0.0.1"), "no address in it");
    });
  }

  test("is a failure when it is cut off in the middle, after what came", async () => {
    await using host = await Host.start((request) =>
      request.includes("chunks")
        ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo"
        : "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
    );
    using passage = await open();
    for (const path of ["/", "/chunks"]) {
      const { body } = await passage.http(
        {
          method: "GET",
          url: `http://a.example:${host.port}${path}`,
          headers: [],
          body: new Uint8Array(0),
          redirects: 0,
          timeoutMs: 300,
        },
        { signal: new AbortController().signal },
      );
      assert.equal(
        Buffer.from((await body.next()).value as Uint8Array)
          .toString("latin1")
          .slice(0, 5),
        "hello",
      );
      const failure = await failureOf(
        (async () => {
          while (!(await body.next()).done);
        })(),
      );
      assert.equal(failure.code, "network-timeout");
    }
  });

  test("is not waited for longer than the time, before it and within it", async () => {
    await using host = await Host.start((request) =>
      request.includes("/begin") ? undefined : "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n",
    );
    using passage = await open();
    for (const path of ["/begin", "/within"]) {
      const start = performance.now();
      const failure = await failureOf(
        fetchText(passage, `http://a.example:${host.port}${path}`, { timeoutMs: 50 }),
      );
      assert.equal(failure.code, "network-timeout");
      assert.match(failure.message, /did not answer within 50 ms$/);
      assert.ok(performance.now() - start < 500);
    }
  });

  test("does not come when the connection is refused", async () => {
    const host = await Host.start(() => ok("x"));
    const { port } = host;
    await host[Symbol.asyncDispose]();
    using passage = await open();
    const failure = await failureOf(fetchText(passage, `http://a.example:${port}/`));
    assert.equal(failure.message, `http://a.example:${port}/ failed: the connection was refused`);
  });

  test("is not wanted any more when the guest has ended: the connection is closed at once", async () => {
    await using host = await Host.start(() => undefined);
    using passage = await open();
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 30);
    const start = performance.now();
    const sent = { signal: stop.signal, timeoutMs: 20_000 };
    const failure = await failureOf(fetchText(passage, `http://a.example:${host.port}/`, sent));
    assert.equal(failure.code, "aborted");
    assert.ok(performance.now() - start < 500);
  });
});

describe("nothing larger than a piece lies in memory", () => {
  test("a guest that reads slowly holds the host up: 64 MB are not read ahead", async () => {
    const piece = Buffer.alloc(65_536, "x");
    let written = 0;
    const { createServer } = await import("node:http");
    const server = createServer((_request, response) => {
      const go = (): void => {
        while (written < 64 * 1024 * 1024) {
          written += piece.length;
          if (!response.write(piece)) return void response.once("drain", go);
        }
        response.end();
      };
      go();
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    using passage = await open();
    const { body } = await passage.http(
      {
        method: "GET",
        url: `http://a.example:${port}/`,
        headers: [],
        body: new Uint8Array(0),
        redirects: 0,
      },
      { signal: new AbortController().signal },
    );
    const first = await body.next();
    assert.ok(!first.done && first.value.length <= 65_536);
    await sleep(200);
    assert.ok(written < 16 * 1024 * 1024, `${written} bytes were taken`);
    let read = first.value.length;
    let largest = 0;
    for (let next = await body.next(); !next.done; next = await body.next()) {
      read += next.value.length;
      largest = Math.max(largest, next.value.length);
    }
    assert.equal(read, 64 * 1024 * 1024);
    assert.ok(largest <= 65_536);
    await new Promise((done) => server.close(done));
  });
});

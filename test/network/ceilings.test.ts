import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { GateResponse, Passage } from "../../src/network/mod.ts";
import { failureOf, fetchText, Host, ok, open } from "./host.ts";

const head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";

function begin(passage: Passage, url: string): Promise<GateResponse> {
  return passage.http(
    { method: "GET", url, headers: [], body: new Uint8Array(0), redirects: 0, timeoutMs: 5000 },
    { signal: new AbortController().signal },
  );
}

describe("ceilings of one step", () => {
  test("so many requests, refused ones and redirects among them, and not one more", async () => {
    await using host = await Host.start((request) =>
      request.startsWith("GET /next")
        ? "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
        : ok("x"),
    );
    const url = `http://a.example:${host.port}/`;
    using passage = await open({
      limits: { httpRequests: 4 },
      step: [`http://a.example:${host.port}`],
    });
    await fetchText(passage, url);
    assert.equal((await failureOf(fetchText(passage, "http://b.example/"))).code, "network-denied");
    await fetchText(passage, `${url}next`, { redirects: 1 });
    const failure = await failureOf(fetchText(passage, url));
    assert.equal(failure.code, "limit-http-requests");
    assert.match(failure.message, /made 5 HTTP requests, the last to .*; the ceiling is 4$/);
    assert.equal(host.requests.length, 3);
  });

  test("so many bytes of heads and bodies both ways, and not one more", async () => {
    await using host = await Host.start(() => `${head}hello`);
    const url = `http://a.example:${host.port}/`;
    // "POST / HTTP/1.1" without line end, "content-length: 5" with one, the two bodies.
    const exact = 17 + 3 + 19 + 5;
    const sent = { method: "POST", body: "abc" };
    using enough = await open({ limits: { httpBytes: exact + 10 } });
    await fetchText(enough, url, sent);
    const [usage] = enough.usage;
    const used = (usage?.sentBytes ?? 0) + (usage?.receivedBytes ?? 0);
    using just = await open({ limits: { httpBytes: used } });
    assert.equal((await fetchText(just, url, sent)).body, "hello");
    using less = await open({ limits: { httpBytes: used - 1 } });
    const failure = await failureOf(fetchText(less, url, sent));
    assert.equal(failure.code, "limit-http-bytes");
    using none = await open({ limits: { httpBytes: (usage?.sentBytes ?? 0) - 1 } });
    const before = host.requests.length;
    assert.equal((await failureOf(fetchText(none, url, sent))).code, "limit-http-bytes");
    assert.equal(host.requests.length, before, "what is too much is not sent");
  });

  test("bytes are counted as they come, so a response without end comes to one", async () => {
    await using host = await Host.start(async () => {
      return `HTTP/1.1 200 OK\r\n\r\n${"x".repeat(3_000_000)}`;
    });
    using passage = await open({ limits: { httpBytes: 1_000_000 } });
    const failure = await failureOf(fetchText(passage, `http://a.example:${host.port}/`));
    assert.equal(failure.code, "limit-http-bytes");
    const [usage] = passage.usage;
    assert.ok((usage?.receivedBytes ?? 0) < 1_000_000 + 65_536 + 1000);
  });

  test("heads before the response are few, for nobody counts them", async () => {
    const head = (count: number): string =>
      `HTTP/1.1 103 Early Hints\r\nLink: ${"x".repeat(8000)}\r\n\r\n`.repeat(count);
    await using host = await Host.start((request) =>
      request.includes("/few") ? head(10) + ok("x") : head(1000) + ok("x"),
    );
    using passage = await open();
    const url = `http://a.example:${host.port}`;
    assert.equal((await fetchText(passage, `${url}/few`)).body, "x");
    const failure = await failureOf(fetchText(passage, `${url}/many`));
    assert.equal(failure.code, "network-failed");
    assert.match(failure.message, /more than 10 heads before its response/);
  });

  test("16 responses open at once; one that is closed or read makes room", async () => {
    await using host = await Host.start(() => ok("hello"));
    const url = `http://a.example:${host.port}/`;
    using passage = await open();
    const responses = await Promise.all(Array.from({ length: 16 }, () => begin(passage, url)));
    const failure = await failureOf(begin(passage, url));
    assert.equal(failure.code, "network-busy");
    await responses[0]?.body.return?.();
    // Closing it again makes no further room.
    await responses[0]?.body.return?.();
    const next = await begin(passage, url);
    assert.equal((await failureOf(begin(passage, url))).code, "network-busy");
    await next.body.next();
    assert.ok((await next.body.next()).done);
    const last = await begin(passage, url);
    for (const { body } of [...responses, last]) await body.return?.();
  });

  test("a response that is left unread is let go", async () => {
    await using host = await Host.start(() => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
    const url = `http://a.example:${host.port}/`;
    using passage = await open({ unreadMs: 40, openAtOnce: 1 });
    const left = await begin(passage, url);
    // The only slot of all comes free, without the guest doing anything.
    const second = await begin(passage, url);
    const failure = await failureOf(left.body.next());
    assert.equal(failure.code, "network-timeout");
    assert.match(failure.message, /left the response of .* unread$/);
    await second.body.return?.();
  });
});

describe("ceilings of all steps together", () => {
  test("a request waits for its turn, no longer than its time", async () => {
    await using host = await Host.start(() => ok("hello"));
    const url = `http://a.example:${host.port}/`;
    using passage = await open({ openAtOnce: 2 });
    const first = await begin(passage, url);
    const second = await begin(passage, url);
    const late = await failureOf(fetchText(passage, url, { timeoutMs: 50 }));
    assert.equal(late.code, "network-timeout");
    const third = fetchText(passage, url);
    await sleep(30);
    assert.equal(host.requests.length, 2);
    await first.body.return?.();
    assert.equal((await third).body, "hello");
    assert.equal((await fetchText(passage, url)).body, "hello");
    await second.body.return?.();
  });
});

describe("what a step used", () => {
  test("is counted by host, and hosts beyond the hundredth together", async () => {
    await using host = await Host.start(() => `${head}hello`);
    using passage = await open();
    for (let index = 0; index < 103; index++) {
      await fetchText(passage, `http://a${index}.example:${host.port}/`);
    }
    const { usage } = passage;
    assert.equal(usage.length, 101);
    const { requests, receivedBytes, sentBytes } = usage[0] ?? assert.fail();
    assert.deepEqual({ requests, receivedBytes }, { requests: 1, receivedBytes: 5 + 19 });
    assert.ok(sentBytes > 10 && sentBytes < 40);
    assert.deepEqual(usage[100], {
      host: "(others)",
      requests: 3,
      sentBytes: sentBytes * 3,
      receivedBytes: receivedBytes * 3,
    });
  });

  test("and its first failures are kept in words", async () => {
    using passage = await open({ step: [] });
    for (let index = 0; index < 5; index++) {
      await failureOf(fetchText(passage, `http://a${index}.example/`));
    }
    assert.equal(passage.refusals.length, 3);
    assert.match(
      passage.refusals[0] ?? "",
      /^GET http:\/\/a0\.example\/ is not in the step's list\. Add /,
    );
  });
});

describe("connections belong to one step", () => {
  test("it uses one again; another step never gets it", async () => {
    await using host = await Host.start(() => ok("x"));
    const url = `http://a.example:${host.port}/`;
    using first = await open();
    await fetchText(first, url);
    await fetchText(first, url);
    assert.equal(host.connections, 1);
    using second = await open();
    await fetchText(second, url);
    assert.equal(host.connections, 2);
  });

  test("one that the host has closed meanwhile is no failure of a request that may go again", async () => {
    let answered = 0;
    // Every second request finds its connection closed.
    await using host = await Host.start(() => (answered++ % 2 === 0 ? ok("x") : null));
    const url = `http://a.example:${host.port}/`;
    using passage = await open();
    for (let round = 0; round < 5; round++) assert.equal((await fetchText(passage, url)).body, "x");
    assert.equal(host.requests.length, 9);
    const posted = await failureOf(fetchText(passage, url, { method: "POST" }));
    assert.equal(posted.message, `${url} failed: the connection was cut off`);
    // On a new connection nothing goes twice.
    await using broken = await Host.start(() => null);
    const other = await failureOf(fetchText(passage, `http://a.example:${broken.port}/`));
    assert.equal(other.code, "network-failed");
    assert.equal(broken.requests.length, 1);
  });

  test("and end with it", async () => {
    const host = await Host.start(() => ok("x"));
    {
      using passage = await open();
      await fetchText(passage, `http://a.example:${host.port}/`);
    }
    // Closing waits for all connections.
    await host[Symbol.asyncDispose]();
  });
});

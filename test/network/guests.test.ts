import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import type { Result } from "../../src/engine/mod.ts";
import { defaultLimits, type Limits } from "../../src/limits/mod.ts";
import type { Passage } from "../../src/network/mod.ts";
import { createRunners, type Trust } from "../../src/runner/mod.ts";
import { Host, ok, open } from "./host.ts";

const guests = resolve(import.meta.dirname, "../guests/http");
const runners = createRunners({ threads: 2 });
after(() => runners[Symbol.asyncDispose]());

interface Running {
  readonly trust?: Trust;
  readonly passage?: Passage;
  readonly environment?: ReadonlyMap<string, string>;
  readonly limits?: Partial<Limits>;
  readonly signal?: AbortSignal;
}

async function run(
  guest: string,
  command: readonly string[],
  running: Running = {},
): Promise<Result> {
  const { passage, environment = new Map(), signal } = running;
  const limits = { ...defaultLimits, timeMs: 60_000, ...running.limits };
  const engine = runners.engine({ trust: running.trust ?? "thread", owner: "tester" });
  const module = await engine.load({ path: join(guests, guest) }, { limits });
  return engine.run(
    module,
    {
      arguments: [guest, ...command],
      environment: new Map([...environment, ...(passage?.environment ?? [])]),
      mounts: [{ path: "/tmp", readOnly: false, content: { kind: "directory", entries: [] } }],
      collect: ["/tmp/memory"],
      limits,
    },
    { ...(passage ? { http: passage.http } : {}), ...(signal ? { signal } : {}) },
  );
}

const printed = (result: Result): string =>
  Buffer.from(result.stdout).toString() + (result.kind === "exited" ? "" : JSON.stringify(result));

for (const trust of ["thread", "process"] as const) battery(trust);

function battery(trust: Trust): void {
  describe(`a guest's requests go through the gate, class ${trust}`, () => {
    test("pointers, lengths and handles at every edge are errors of the guest's and nothing else", async () => {
      await using host = await Host.start(() => ok("hello", "X-A: b\r\n"));
      using passage = await open();
      const result = await run("edges.wasm", [`http://a.example:${host.port}/`], {
        trust,
        passage,
      });
      assert.equal(printed(result), readFileSync(join(guests, "edges.txt"), "utf8"));
      assert.equal(host.requests.length, 2);
    });

    test("a guest in Rust speaks HTTP without any crate", async () => {
      await using host = await Host.start((request) =>
        request.startsWith("GET /moved")
          ? "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
          : ok(request.split("\r\n")[2] ?? "", "Content-Type: text/plain\r\n"),
      );
      using passage = await open();
      const url = `http://a.example:${host.port}/moved`;
      const result = await run("../rust/http.wasm", [url], { trust, passage });
      assert.equal(printed(result), "200 content-type: text/plain\naccept: text/plain");
      const refused = await run("../rust/http.wasm", ["http://10.0.0.1/"], { trust, passage });
      assert.match(
        printed(refused),
        /^error 2: network-denied: "10\.0\.0\.1" leads to an address that is private/,
      );
    });

    test("100 MB come through a buffer of any size", async () => {
      const piece = Buffer.alloc(100_000, "x");
      const { createServer: createHttp } = await import("node:http");
      const server = createHttp((_request, response) => {
        let left = 1000;
        const go = (): void => {
          while (left > 0) {
            left--;
            if (!response.write(piece)) return void response.once("drain", go);
          }
          response.end();
        };
        go();
      });
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      const address = server.address();
      const url = `http://a.example:${typeof address === "object" ? address?.port : 0}/`;
      using passage = await open();
      const result = await run("http.wasm", ["GET", url, "-q", "1", "-b", "10007"], {
        trust,
        passage,
      });
      assert.equal(printed(result), "200\n100000000 bytes");
      assert.ok(result.usage.memoryBytes < 1_000_000);
      await new Promise((done) => server.close(done));
    });

    test("10 MB go up in one body, and one byte more than the ceiling ends the guest", async () => {
      await using host = await Host.start((request) => ok(String(request.length)));
      const url = `http://a.example:${host.port}/`;
      const size = 10_000_000;
      using passage = await open();
      const result = await run("http.wasm", ["POST", url, "-z", String(size)], { trust, passage });
      assert.match(printed(result), /^200\n100000\d\d$/);
      using limited = await open();
      const command = ["POST", url, "-z", String(size)];
      const stopped = await run("http.wasm", command, {
        passage: limited,
        limits: { httpBytes: size - 1 },
      });
      assert.equal(stopped.kind === "stopped" && stopped.failure.code, "limit-http-bytes");
      assert.equal(host.requests.length, 1);
    });

    test("a body of 64 MiB goes up, and one byte more is an error", async () => {
      const { createServer: createHttp } = await import("node:http");
      const server = createHttp((request, response) => {
        let size = 0;
        request.on("data", (piece: Buffer) => (size += piece.length));
        request.on("end", () => response.end(String(size)));
      });
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      const address = server.address();
      const url = `http://a.example:${typeof address === "object" ? address?.port : 0}/`;
      const most = 64 * 1024 * 1024;
      using passage = await open();
      const whole = await run("http.wasm", ["POST", url, "-z", String(most)], { trust, passage });
      assert.equal(printed(whole), `200\n${most}`);
      const more = await run("http.wasm", ["POST", url, "-z", String(most + 1)], {
        trust,
        passage,
      });
      assert.match(printed(more), /^send: errno 35: a body has 67108865 bytes; 67108864 may be/);
      await new Promise((done) => server.close(done));
    });

    test("the gate's ceilings end it with their code", async () => {
      await using host = await Host.start(() => ok("hello"));
      const url = `http://a.example:${host.port}/`;
      using requests = await open({ limits: { httpRequests: 5 } });
      assert.equal(
        printed(await run("http.wasm", ["GET", url, "-n", "5"], { trust, passage: requests })),
        "200\nhello",
      );
      const one = await run("http.wasm", ["GET", url], { trust, passage: requests });
      assert.equal(one.kind === "stopped" && one.failure.code, "limit-http-requests");
      using bytes = await open({ limits: { httpBytes: 500 } });
      const many = await run("http.wasm", ["GET", url, "-n", "50"], { trust, passage: bytes });
      assert.equal(many.kind === "stopped" && many.failure.code, "limit-http-bytes");
    });

    test("a guest that tries hosts all day is ended at the ceiling of requests", async () => {
      using passage = await open({ step: [], limits: { httpRequests: 3 } });
      for (let round = 0; round < 3; round++) {
        const denied = await run("http.wasm", ["GET", "http://10.0.0.1/"], { trust, passage });
        assert.match(printed(denied), /^send: errno 2: network-denied: /);
      }
      const ended = await run("http.wasm", ["GET", "http://10.0.0.1/"], { trust, passage });
      assert.equal(ended.kind === "stopped" && ended.failure.code, "limit-http-requests");
    });

    test("it may hold 16 responses open and gets an error for one more", async () => {
      await using host = await Host.start(() => ok("hello"));
      const url = `http://a.example:${host.port}/`;
      using passage = await open();
      assert.equal(
        printed(await run("http.wasm", ["GET", url, "-k", "15"], { trust, passage })),
        "200\nhello",
      );
      const more = await run("http.wasm", ["GET", url, "-k", "16"], { trust, passage });
      assert.match(printed(more), /^after 16: send: errno 33: network-busy: /);
      // What the ended guests held is free again.
      assert.equal(
        printed(await run("http.wasm", ["GET", url, "-k", "15"], { trust, passage })),
        "200\nhello",
      );
    });

    test("one that never closes a response gets an error at the 65th", async () => {
      await using host = await Host.start(() => ok("hello"));
      const url = `http://a.example:${host.port}/`;
      using passage = await open();
      const enough = await run("http.wasm", ["GET", url, "-c", "0", "-n", "64"], {
        trust,
        passage,
      });
      assert.equal(printed(enough), "200\nhello");
      const more = await run("http.wasm", ["GET", url, "-c", "0", "-n", "65"], { trust, passage });
      assert.match(printed(more), /^after 64: send: errno 33: 64 responses are open/);
      const closed = await run("http.wasm", ["GET", url, "-n", "200"], { trust, passage });
      assert.equal(printed(closed), "200\nhello");
    });

    test("one that waits for a host is stopped within 50 ms of the word, and its connection is closed", async () => {
      let closed = (): void => undefined;
      const gone = new Promise<void>((done) => (closed = done));
      const server = createServer((socket) => {
        socket.on("error", () => undefined);
        socket.on("data", () => undefined);
        socket.on("close", () => closed());
      });
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      const address = server.address();
      const url = `http://a.example:${typeof address === "object" ? address?.port : 0}/`;
      using passage = await open();
      const stop = new AbortController();
      const running = run("http.wasm", ["GET", url], { trust, passage, signal: stop.signal });
      await new Promise((done) => server.once("connection", done));
      const start = performance.now();
      stop.abort();
      const result = await running;
      assert.ok(performance.now() - start < 50);
      assert.equal(result.kind === "stopped" && result.failure.code, "aborted");
      await gone;
      assert.ok(performance.now() - start < 500);
      await new Promise((done) => server.close(done));
    });
  });
}

describe("waiting for a host costs no thread", () => {
  test("1,000 guests wait for a slow host on 2 threads, and one more runs meanwhile", async () => {
    let waiting = 0;
    let release = (): void => undefined;
    const released = new Promise<void>((done) => (release = done));
    await using host = await Host.start(async (request) => {
      if (request.startsWith("GET /now")) return ok("now");
      waiting++;
      if (waiting === 1000) setTimeout(() => release(), 100);
      await released;
      return ok("late");
    });
    const url = `http://a.example:${host.port}`;
    const passages = await Promise.all(Array.from({ length: 1000 }, () => open()));
    const all = passages.map((passage) =>
      run("http.wasm", ["GET", `${url}/slow`, "-t", "50000"], { passage }),
    );
    using passage = await open();
    const other = await run("http.wasm", ["GET", `${url}/now`], { passage });
    assert.equal(printed(other), "200\nnow");
    for (const result of await Promise.all(all)) assert.equal(printed(result), "200\nlate");
    assert.equal(waiting, 1000);
    for (const each of passages) each[Symbol.dispose]();
  });
});

describe("a secret never enters the guest", () => {
  test("its whole memory, its output and its result have the placeholder alone", async () => {
    const value = "the real value of the secret";
    await using host = await Host.start((request) =>
      ok(request, `X-Echo: ${/Bearer (.*)\r\n/.exec(request)?.[1]}\r\n`),
    );
    const url = `http://a.example:${host.port}/`;
    using passage = await open({
      secrets: new Map([
        ["s/k", { value: async () => Buffer.from(value), hosts: ["http://a.example:*"] }],
      ]),
      wanted: [{ variable: "TOKEN", name: "s", key: "k" }],
    });
    const command = [
      "POST",
      url,
      "-H",
      "authorization: Bearer $TOKEN",
      "-i",
      "1",
      "-m",
      "/tmp/memory",
    ];
    const result = await run("http.wasm", command, { passage });
    const token = passage.environment.get("TOKEN") ?? assert.fail();
    assert.ok(host.requests[0]?.includes(`Bearer ${value}\r\n`));
    assert.ok(printed(result).includes(`x-echo: ${token}\n`), printed(result));
    const [memory] = result.collected;
    assert.ok(memory?.kind === "file");
    const { content } = memory;
    const bytes =
      content.kind === "bytes" ? Buffer.from(content.bytes) : readFileSync(content.path);
    assert.ok(bytes.length > 100_000 && bytes.includes(token), "it is the guest's memory");
    assert.ok(!bytes.includes(value));
    assert.ok(
      !JSON.stringify({ ...result, stdout: printed(result), collected: [] }).includes(value),
    );
  });
});

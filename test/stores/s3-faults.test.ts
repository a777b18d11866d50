import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, test } from "node:test";
import type { Fault } from "../servers/s3.ts";
import { bytesOf, contents, kit, secret, textFile } from "./s3-kit.ts";

const mebi = 1024 * 1024;

const error = (status: number, code: string): Fault["does"] => ({ kind: "error", status, code });

describe("S3 on a bad day, downloads", () => {
  for (const [what, does] of [
    ["503 SlowDown", error(503, "SlowDown")],
    ["500 InternalError", error(500, "InternalError")],
    ["429", error(429, "TooManyRequests")],
    ["400 RequestTimeout", error(400, "RequestTimeout")],
    ["a cut before the answer", { kind: "cut" }],
    ["a cut in the body", { kind: "cut", afterBytes: 300_000 }],
    ["a wrong bit", { kind: "corrupt" }],
  ] as const) {
    test(`${what} passes, twice`, async () => {
      await using k = await kit();
      const bytes = randomBytes(mebi);
      await k.server.put("artifacts", "x", bytes);
      k.server.faults.push(
        { operation: "GET", times: 1, does },
        { operation: "GET", times: 1, does },
      );
      const got = await k.stores.download(k.at("x"), await k.empty());
      assert(bytes.equals(await bytesOf(got)));
      assert.equal(k.server.seen.length, 3);
    });
  }

  test("a request is made five times and not more", async () => {
    await using k = await kit();
    await k.server.put("artifacts", "x", Buffer.from("x"));
    k.server.faults.push({ operation: "GET", times: 100, does: error(503, "SlowDown") });
    const folder = await k.empty();
    await assert.rejects(k.stores.download(k.at("x"), folder), {
      code: "store-unavailable",
      message: /503 \(SlowDown: It is SlowDown\.\)/,
    });
    assert.equal(k.server.seen.length, 5);
    assert.deepEqual(await readdir(folder), []);
  });

  test("403 is not tried again", async () => {
    await using k = await kit();
    k.server.faults.push({ operation: "GET", times: 100, does: error(403, "AccessDenied") });
    await assert.rejects(k.stores.download(k.at("x"), await k.empty()), {
      code: "store-refused",
      message: /403 \(AccessDenied/,
      hint: /a right to it/,
    });
    assert.equal(k.server.seen.length, 1);
  });

  test("as long as Retry-After says is waited, and not longer than half a minute", async () => {
    await using k = await kit();
    await k.server.put("artifacts", "x", Buffer.from("x"));
    const slow = (retryAfter: string) =>
      ({ operation: "GET", does: { kind: "error", status: 429, retryAfter } }) as const;
    k.server.faults.push(slow("1"));
    const begin = performance.now();
    await k.stores.download(k.at("x"), await k.empty());
    assert(performance.now() - begin >= 1000);
    k.server.faults.push(slow("3600"));
    await assert.rejects(k.stores.download(k.at("x"), await k.empty()), {
      code: "store-unavailable",
    });
  });

  test("a range that was cut is taken up where it was", async () => {
    await using k = await kit();
    const bytes = randomBytes(40 * mebi);
    await k.server.put("artifacts", "x", bytes);
    const cut = { kind: "cut", afterBytes: 5 * mebi } as const;
    k.server.faults.push({ operation: "GET", after: 1, times: 2, does: cut });
    const told: number[] = [];
    const got = await k.stores.download(k.at("x"), await k.empty(), {
      onProgress: (bytes) => void told.push(bytes),
    });
    assert(bytes.equals(await bytesOf(got)));
    assert.equal(told.at(-1), bytes.length);
    const from = k.server.seen.map(({ headers }) =>
      Number(/=(\d+)-/.exec(headers.range ?? "")?.[1]),
    );
    assert.equal(from.length, 5);
    assert(
      from.slice(3).every((at) => at % (16 * mebi) > 4 * mebi && at % (16 * mebi) <= 5 * mebi),
      String(from),
    );
    assert.deepEqual(
      new Set(k.server.seen.slice(1).map(({ headers }) => headers["if-match"])).size,
      1,
    );
  });

  test("an object that is replaced meanwhile comes whole, and new", async () => {
    await using k = await kit();
    await k.server.put("artifacts", "x", randomBytes(40 * mebi));
    const newer = randomBytes(35 * mebi);
    const run = (): Promise<void> => k.server.put("artifacts", "x", newer);
    k.server.faults.push({ operation: "GET", after: 1, does: { kind: "run", run } });
    const told: number[] = [];
    const onProgress = (bytes: number): void => void told.push(bytes);
    const got = await k.stores.download(k.at("x"), await k.empty(), { onProgress });
    assert(newer.equals(await bytesOf(got)));
    assert.equal(told.at(-1), newer.length);
  });

  test("an object that is replaced again and again is told", async () => {
    await using k = await kit();
    const replace = (): Promise<void> => k.server.put("artifacts", "x", randomBytes(35 * mebi));
    await replace();
    const run = { kind: "run", run: replace } as const;
    k.server.faults.push({ operation: "GET", times: 100, does: run });
    await assert.rejects(k.stores.download(k.at("x"), await k.empty()), {
      message: /PreconditionFailed/,
    });
  });

  for (const size of [mebi, 20 * mebi]) {
    test(`an object of ${size / mebi} MiB of which a bit is wrong each time, another one, is told`, async () => {
      await using k = await kit();
      await k.server.put("artifacts", "x", randomBytes(size));
      k.server.faults.push({ operation: "GET", times: 1000, does: { kind: "corrupt" } });
      const folder = await k.empty();
      await assert.rejects(k.stores.download(k.at("x"), folder), {
        code: "store-unavailable",
        message: /damaged on the way/,
      });
      assert.deepEqual(await readdir(folder), []);
    });
  }

  test("a wrong bit in one of many ranges is noticed", async () => {
    await using k = await kit();
    const bytes = randomBytes(40 * mebi);
    await k.server.put("artifacts", "x", bytes);
    k.server.faults.push({ operation: "GET", after: 2, does: { kind: "corrupt" } });
    assert(bytes.equals(await bytesOf(await k.stores.download(k.at("x"), await k.empty()))));
  });

  test("a body that stops coming is cut off and asked for again", async () => {
    await using k = await kit({}, { timeouts: { idleMs: 150 } });
    const bytes = randomBytes(2 * mebi);
    await k.server.put("artifacts", "x", bytes);
    k.server.faults.push({ operation: "GET", does: { kind: "stall", afterBytes: mebi } });
    assert(bytes.equals(await bytesOf(await k.stores.download(k.at("x"), await k.empty()))));
    assert.equal(k.server.seen.length, 2);
    k.server.faults.push({ operation: "GET", times: 100, does: { kind: "stall", afterBytes: 10 } });
    await assert.rejects(k.stores.download(k.at("x"), await k.empty()), {
      code: "store-unavailable",
      message: /took longer than 150 ms for the next piece/,
    });
  });

  test("a server that takes a connection and says nothing is left", async () => {
    await using k = await kit(
      {},
      { timeouts: { headersMs: 100 }, retries: { firstMs: 1, attempts: 2 } },
    );
    const run = (): Promise<void> => new Promise(() => undefined);
    k.server.faults.push({ operation: "GET", times: 10, does: { kind: "run", run } });
    await assert.rejects(k.stores.download(k.at("x"), await k.empty()), {
      message: /took longer than 100 ms to answer/,
    });
  });

  test("nobody there is told after a few attempts", async () => {
    await using k = await kit();
    const { endpoint } = k.at("x");
    await k.server[Symbol.asyncDispose]();
    await assert.rejects(k.stores.download(k.at("x"), await k.empty()), {
      code: "store-unavailable",
      message: `Cannot download "x" in bucket "artifacts" at ${endpoint}: ${endpoint}: the connection was refused`,
    });
  });

  test("whoever stops waiting is heard at once", async () => {
    await using k = await kit();
    await k.server.put("artifacts", "x", randomBytes(20 * mebi));
    k.server.faults.push({ operation: "GET", times: 9, does: { kind: "stall", afterBytes: mebi } });
    const stopping = new AbortController();
    const folder = await k.empty();
    const running = k.stores.download(k.at("x"), folder, {
      signal: stopping.signal,
      onProgress: () => stopping.abort(new Error("enough")),
    });
    await assert.rejects(running, { message: "enough" });
    assert.deepEqual(await readdir(folder), []);
  });

  test("one file of a folder that cannot be had leaves nothing of the others", async () => {
    await using k = await kit();
    for (const name of ["a", "b", "c"])
      await k.server.put("artifacts", `t/${name}`, Buffer.from(name));
    k.server.faults.push({ operation: "GET", key: "t/b", does: error(403, "AccessDenied") });
    const folder = await k.empty();
    await assert.rejects(k.stores.download(k.at("t"), folder), { code: "store-refused" });
    assert.deepEqual(await readdir(folder), []);
    const got = await k.stores.download(k.at("t"), folder);
    assert(got.kind === "directory");
    assert.deepEqual(await contents(got.entries), { a: "a", b: "b", c: "c" });
  });
});

describe("S3 on a bad day, uploads", () => {
  const large = { kind: "bytes", bytes: randomBytes(40 * mebi) } as const;

  for (const [what, fault] of [
    ["503 for a part", { operation: "part", times: 2, does: error(503, "SlowDown") }],
    ["a cut in a part", { operation: "part", times: 2, does: { kind: "cut", afterBytes: mebi } }],
    ["a cut after a part", { operation: "part", times: 2, does: { kind: "cut-after" } }],
    ["503 at the beginning", { operation: "create", times: 2, does: error(503, "SlowDown") }],
    ["500 at the end", { operation: "complete", times: 2, does: error(500, "InternalError") }],
    [
      "200 with an error in it at the end",
      { operation: "complete", times: 1, does: { kind: "late-error", code: "InternalError" } },
    ],
    ["a cut after the end", { operation: "complete", times: 1, does: { kind: "cut-after" } }],
  ] as const) {
    test(`${what} passes`, async () => {
      await using k = await kit();
      k.server.faults.push(structuredClone(fault));
      const told: number[] = [];
      const onProgress = (bytes: number): void => void told.push(bytes);
      await k.stores.upload(k.at("x"), { kind: "file", content: large }, { onProgress });
      assert(large.bytes.equals((await k.server.get("artifacts", "x")) ?? Buffer.alloc(0)));
      assert.equal(told.at(-1), large.bytes.length);
      assert.equal(k.server.uploads.size, 0);
    });
  }

  test("a store that takes its time at the end is waited for", async () => {
    await using k = await kit({}, { timeouts: { headersMs: 100 } });
    const run = (): Promise<void> => sleep(700);
    k.server.faults.push({ operation: "complete", does: { kind: "run", run } });
    await k.stores.upload(k.at("x"), { kind: "file", content: large });
    assert.equal(k.server.operations().filter((name) => name === "complete").length, 1);
  });

  test("another one's object is not taken for an upload that was lost", async () => {
    await using k = await kit();
    await k.server.put("artifacts", "x", large.bytes);
    const run = async (): Promise<void> => k.server.uploads.clear();
    k.server.faults.push(
      { operation: "complete", does: error(503, "SlowDown") },
      { operation: "complete", does: { kind: "run", run } },
    );
    await assert.rejects(k.stores.upload(k.at("x"), { kind: "file", content: large }), {
      message: /NoSuchUpload/,
    });
  });

  for (const [what, fault] of [
    ["a part is refused", { operation: "part", after: 1, does: error(403, "AccessDenied") }],
    ["the end is refused", { operation: "complete", does: error(400, "InvalidPart") }],
    ["parts fail for good", { operation: "part", times: 99, does: error(503, "SlowDown") }],
  ] as const) {
    test(`nothing is left when ${what}, and others' uploads are left alone`, async () => {
      await using k = await kit();
      const other = { bucket: "artifacts", key: "x", headers: {}, parts: new Map() };
      k.server.uploads.set("other", other);
      k.server.faults.push(structuredClone(fault));
      await assert.rejects(k.stores.upload(k.at("x"), { kind: "file", content: large }), {
        message: /^Cannot upload "x" in bucket "artifacts" at /,
      });
      assert.deepEqual([...k.server.uploads.keys()], ["other"]);
      assert.equal(await k.server.get("artifacts", "x"), undefined);
    });
  }

  test("tidying up is tried again", async () => {
    await using k = await kit();
    k.server.faults.push(
      { operation: "part", times: 99, does: error(403, "AccessDenied") },
      { operation: "abort", times: 2, does: error(503, "SlowDown") },
    );
    await assert.rejects(k.stores.upload(k.at("x"), { kind: "file", content: large }), {
      code: "store-refused",
    });
    assert.equal(k.server.uploads.size, 0);
  });

  test("nothing is left when whoever waits stops", async () => {
    await using k = await kit();
    const stopping = new AbortController();
    await assert.rejects(
      k.stores.upload(
        k.at("x"),
        { kind: "file", content: large },
        {
          signal: stopping.signal,
          onProgress: (bytes) => {
            if (bytes > 20 * mebi) stopping.abort(new Error("enough"));
          },
        },
      ),
      { message: "enough" },
    );
    assert.equal(k.server.uploads.size, 0);
    assert.equal(await k.server.get("artifacts", "x"), undefined);
  });

  test("nothing is left of a stream that fails, here or there", async () => {
    await using k = await kit();
    const bytes = async function* (): AsyncGenerator<Uint8Array> {
      yield large.bytes;
      throw new Error("no more");
    };
    await assert.rejects(k.stores.upload(k.at("x"), { kind: "stream", bytes }), {
      message: "no more",
    });
    assert.equal(k.server.uploads.size, 0);
    assert.equal(await k.server.get("artifacts", "x"), undefined);
    assert.deepEqual(await readdir(join(k.path, "parts")), []);
  });

  test("a file of this machine that is shorter than it was is told", async () => {
    await using k = await kit();
    const content = { kind: "slice", path: import.meta.filename, offset: 0, size: mebi } as const;
    await assert.rejects(k.stores.upload(k.at("x"), { kind: "file", content }), {
      code: "storage",
      message: /became shorter/,
    });
  });

  test("a folder with an object that is refused is told with what the store said", async () => {
    await using k = await kit();
    k.server.faults.push({ operation: "PUT", key: "t/b", does: error(400, "QuotaExceeded") });
    const entries = ["a", "b", "c"].map((path) => textFile(path, path));
    await assert.rejects(k.stores.upload(k.at("t"), { kind: "directory", entries }), {
      message: /QuotaExceeded/,
      hint: "The store is full.",
    });
  });

  test("an object that may not be deleted is told", async () => {
    await using k = await kit();
    for (const name of ["a", "b.locked"])
      await k.server.put("artifacts", `t/${name}`, Buffer.from("x"));
    await assert.rejects(k.stores.delete(k.at("t/")), {
      message: /did not delete 1 of 2 objects, "t\/b\.locked" with AccessDenied/,
    });
  });

  test("more objects than one request takes are deleted", async () => {
    await using k = await kit();
    for (let index = 0; index < 1001; index++) {
      await k.server.put("artifacts", `t/${index}`, Buffer.from("x"));
    }
    await k.stores.delete(k.at("t/"));
    assert.equal(k.server.bucket("artifacts").size, 0);
    assert.equal(k.server.operations().filter((name) => name === "batch-delete").length, 2);
  });
});

describe("S3 on a bad day, credentials and clocks", () => {
  test("a clock that is an hour off does not matter", async () => {
    await using k = await kit({ clock: () => new Date(Date.now() + 3_600_000) });
    await k.server.put("artifacts", "x", Buffer.from("x"));
    await k.stores.download(k.at("x"), await k.empty());
    assert.deepEqual(
      k.server.seen.map(({ status }) => status),
      [403, 206],
    );
  });

  test("a session token that ends in the middle is read again", async () => {
    await using k = await kit();
    let number = 1;
    const session = (token: string): void =>
      void k.server.sessions.set("ASIA", { secretKey: "secret-of-session", token });
    session("token-1");
    const at = k.at("x", {
      credentials: {
        kind: "keys",
        accessKey: secret("ASIA"),
        secretKey: secret("secret-of-session"),
        sessionToken: async () => Buffer.from(`token-${number}`),
      },
    });
    const run = async (): Promise<void> => {
      k.server.expired.add("token-1");
      session("token-2");
      number = 2;
    };
    k.server.faults.push({ operation: "part", after: 1, does: { kind: "run", run } });
    const bytes = randomBytes(40 * mebi);
    await k.stores.upload(at, { kind: "file", content: { kind: "bytes", bytes } });
    assert(bytes.equals((await k.server.get("artifacts", "x")) ?? Buffer.alloc(0)));
    k.server.expired.add("token-2");
    await assert.rejects(k.stores.download(at, await k.empty()), {
      message: /ExpiredToken/,
      hint: "The session token is too old: give a new one.",
    });
  });
});

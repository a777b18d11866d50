import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { call, deploy, startApi, type TestApi } from "../functions/api.ts";

let api: TestApi;
before(async () => {
  api = await startApi({ requestBytes: 1000 });
  assert.equal((await deploy(api)).status, 201);
});
after(() => api[Symbol.asyncDispose]());

/** What a problem document says. */
async function problem(response: Response): Promise<Record<string, unknown>> {
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  const said = (await response.json()) as Record<string, unknown>;
  assert.equal(said["status"], response.status);
  assert.equal(typeof said["detail"], "string");
  return said;
}

describe("a call over HTTP", () => {
  test("answers JSON as JSON, bytes as bytes, nothing as 204, and pieces as lines", async () => {
    const json = await call(api, "/functions/f/call/greet", ["Ada"]);
    assert.equal(json.headers.get("content-type"), "application/json");
    assert.equal(await json.json(), "Hello, Ada!");
    assert.match(
      json.headers.get("server-timing") ?? "",
      /^queue;dur=[\d.]+, load;dur=[\d.]+, run;dur=[\d.]+$/,
    );
    const bytes = await fetch(api.at("/functions/f/call/upper"), {
      method: "POST",
      headers: { "content-type": "text/plain", "atalanta-arguments": '[null,{"first":2}]' },
      body: "hello",
    });
    assert.equal(bytes.headers.get("content-type"), "application/octet-stream");
    assert.equal(await bytes.text(), "HEllo");
    assert.equal((await call(api, "/functions/f/call/nothing")).status, 204);
    const lines = await call(api, "/functions/f/call/count", [3]);
    assert.equal(lines.headers.get("content-type"), "application/jsonl");
    assert.equal(await lines.text(), '{"n":1}\n{"n":2}\n{"n":3}\n');
  });

  test("by an image needs no deployment", async () => {
    const response = await call(api, "/call/greet?module=f", ["Ada"]);
    assert.equal(await response.json(), "Hello, Ada!");
  });

  test("that throws is 422 with what was thrown", async () => {
    const said = await problem(await call(api, "/functions/f/call/fail", ["no"]));
    assert.deepEqual(
      [said["status"], said["code"], said["name"], said["detail"], said["data"]],
      [422, "function-threw", "Refused", "no", { why: "asked to" }],
    );
    const trap = await problem(await call(api, "/functions/f/call/trap"));
    assert.equal(trap["name"], "Trap");
    assert.ok(Array.isArray(trap["stack"]) && trap["stack"].includes("main"));
  });

  for (const [what, path, body, code, status] of [
    ["arguments that are no JSON", "/functions/f/call/greet", "[", "invalid-argument", 400],
    ["arguments that are no array", "/functions/f/call/greet", '"Ada"', "invalid-argument", 400],
    ["too few arguments", "/functions/f/call/add", "[1]", "invalid-argument", 400],
    ["too many arguments", "/functions/f/call/add", "[1,2,3]", "invalid-argument", 400],
    ["a function that is not there", "/functions/f/call/nope", "[]", "function-unknown", 404],
    ["a name that is none", "/functions/f/call/a%20b", "[]", "function-unknown", 404],
    [
      "a deployment that is not there",
      "/functions/nope/call/greet",
      "[]",
      "deployment-unknown",
      404,
    ],
    ["an image without a name", "/call/greet", "[]", "invalid-argument", 400],
    ["a result that is no JSON", "/functions/f/call/nonsense", "[]", "function-result", 422],
    ["a path that is none", "/functions/f/calls/greet", "[]", "not-found", 404],
    [
      "a body that is too large",
      "/functions/f/call/greet",
      `["${"x".repeat(1000)}"]`,
      "request-too-large",
      413,
    ],
  ] as const) {
    test(`with ${what} is ${status} ${code}`, async () => {
      const response = await fetch(api.at(path), {
        method: "POST",
        body,
        headers: { "content-type": "application/json" },
      });
      const said = await problem(response);
      assert.deepEqual([said["code"], said["status"]], [code, status]);
    });
  }

  test("with a body as large as may be is taken, and one without a length is counted, too", async () => {
    const most = `["${"x".repeat(996)}"]`;
    assert.equal(
      (
        await fetch(api.at("/functions/f/call/greet"), {
          method: "POST",
          body: most,
          headers: { "content-type": "application/json" },
        })
      ).status,
      200,
    );
    const pieces = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(400));
      },
    });
    const response = await fetch(api.at("/functions/f/call/greet"), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: pieces,
      duplex: "half",
    });
    assert.equal((await problem(response))["code"], "request-too-large");
  });

  test("ends at the time that its caller gives", async () => {
    const begun = performance.now();
    const said = await problem(
      await call(api, "/functions/f/call/spin", [], { "request-timeout": "0.3" }),
    );
    assert.deepEqual([said["code"], said["status"]], ["deadline", 504]);
    assert.ok(performance.now() - begun < 5000);
    for (const wrong of ["0", "-1", "soon", "86401", "1e3"]) {
      const refused = await problem(
        await call(api, "/functions/f/call/greet", ["x"], { "request-timeout": wrong }),
      );
      assert.equal(refused["code"], "invalid-argument", wrong);
    }
  });

  test("whose caller leaves is stopped", async () => {
    const before = api.attempts.length;
    const stop = new AbortController();
    const gone = fetch(api.at("/functions/f/call/sleep"), {
      method: "POST",
      body: "[60000]",
      headers: { "content-type": "application/json" },
      signal: stop.signal,
    });
    await sleep(200);
    stop.abort();
    await assert.rejects(gone, { name: "AbortError" });
    for (let left = 100; api.attempts.length === before; left--) {
      assert.ok(left > 0, "it runs on");
      await sleep(20);
    }
    assert.equal(api.attempts.at(-1)?.end, "aborted");
  });

  test("comes and goes in pieces, and breaks off when its function throws on the way", async () => {
    const echoed = await fetch(api.at("/functions/f/call/pipe"), {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: (async function* () {
        for (let at = 0; at < 64; at++) yield new Uint8Array(65_536).fill(at);
      })(),
      duplex: "half",
    } as unknown as RequestInit);
    let size = 0;
    for await (const piece of echoed.body ?? []) size += piece.length;
    assert.equal(size, 64 * 65_536);
  });

  test("tells a guest its id, its key and its trace", async () => {
    const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const headers = { "idempotency-key": '"once"', traceparent: trace };
    const key = await call(
      api,
      "/functions/f/call/environment",
      ["ATALANTA_IDEMPOTENCY_KEY"],
      headers,
    );
    assert.equal(await key.json(), "once");
    const seen = await call(api, "/functions/f/call/environment", ["TRACEPARENT"], {
      traceparent: trace,
    });
    assert.match(
      String(await seen.json()),
      /^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/,
    );
    const id = await call(api, "/functions/f/call/environment", ["ATALANTA_CALL_ID"]);
    assert.equal(await id.json(), id.headers.get("atalanta-call"));
  });
});

describe("a call with a key", () => {
  test("is answered once, however often it comes and at the same time", async () => {
    const headers = { "idempotency-key": "many" };
    const all = await Promise.all(
      Array.from({ length: 20 }, async () =>
        (await call(api, "/functions/f/call/unique", [50, "w"], headers)).json(),
      ),
    );
    assert.equal(new Set(all).size, 1);
    const again = await call(api, "/functions/f/call/unique", [50, "w"], headers);
    assert.equal(again.headers.get("idempotent-replayed"), "true");
    assert.equal(await again.json(), all[0]);
    const other = await problem(
      await call(api, "/functions/f/call/unique", [50, "other"], headers),
    );
    assert.deepEqual([other["code"], other["status"]], ["idempotency-mismatch", 422]);
  });

  test("keeps what was thrown, too", async () => {
    const headers = { "idempotency-key": "thrown" };
    const one = await problem(await call(api, "/functions/f/call/fail", ["x"], headers));
    const two = await problem(await call(api, "/functions/f/call/fail", ["x"], headers));
    assert.deepEqual(one, two);
    const runs = api.attempts.filter(
      (attempt) => attempt.function === "fail" && attempt.attempt === 1,
    );
    assert.equal(runs.length, 2, "one of this test, one of the test before");
  });

  test("that is no key is refused", async () => {
    for (const wrong of ['""', `"${"x".repeat(256)}"`]) {
      const said = await problem(
        await call(api, "/functions/f/call/greet", ["x"], { "idempotency-key": wrong }),
      );
      assert.equal(said["code"], "invalid-argument");
    }
  });

  test("is answered by the next process when this one ends before it has begun to answer", async () => {
    const folder = mkdtempSync(join(tmpdir(), "calls-"));
    const file = join(folder, "calls.db");
    const deployments = join(folder, "deployments.db");
    try {
      const headers = { "idempotency-key": "across" };
      let first: unknown;
      {
        await using one = await startApi({ file, deployments });
        await deploy(one);
        first = await (await call(one, "/functions/f/call/unique", [1, "w"], headers)).json();
        const begun = await call(one, "/functions/f/call/unique", [400, "later"], {
          prefer: "respond-async",
          "idempotency-key": "later",
        });
        assert.equal(begun.status, 202);
      }
      await using two = await startApi({ file, deployments });
      const again = await (await call(two, "/functions/f/call/unique", [1, "w"], headers)).json();
      assert.equal(again, first);
      const later = await (
        await call(two, "/functions/f/call/unique", [400, "later"], { "idempotency-key": "later" })
      ).json();
      assert.match(String(later), /^later /);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("a call that nobody waits for", () => {
  test("has an id, a state, a result, what it printed, and an end", async () => {
    const begun = await call(api, "/functions/f/call/sleep", [300], { prefer: "respond-async" });
    assert.equal(begun.status, 202);
    const location = new URL(begun.headers.get("location") ?? "", api.url).href;
    const early = await fetch(`${location}/result`);
    assert.equal(early.status, 202);
    assert.equal(((await (await fetch(location)).json()) as { state: string }).state, "running");
    const result = await fetch(`${location}/result?wait=10`);
    assert.equal(await result.json(), 300);
    const state = (await (await fetch(location)).json()) as Record<string, unknown>;
    assert.deepEqual([state["state"], state["end"]], ["ended", "returned"]);
    const failing = await call(api, "/functions/f/call/fail", ["x"], { prefer: "respond-async" });
    const other = new URL(failing.headers.get("location") ?? "", api.url).href;
    assert.equal((await problem(await fetch(`${other}/result?wait=10`)))["name"], "Refused");
    assert.match(await (await fetch(`${other}/logs`)).text(), /^about to fail\n/);
  });

  test("can be cancelled", async () => {
    const begun = await call(api, "/functions/f/call/sleep", [60_000], { prefer: "respond-async" });
    const location = new URL(begun.headers.get("location") ?? "", api.url).href;
    assert.equal((await fetch(location, { method: "DELETE" })).status, 202);
    const said = await problem(await fetch(`${location}/result?wait=10`));
    assert.equal(said["code"], "aborted");
  });

  test("is not there for another namespace", async () => {
    const begun = await call(api, "/functions/f/call/greet", ["x"], { prefer: "respond-async" });
    const location = (begun.headers.get("location") ?? "").replace("/default/", "/other/");
    assert.equal((await problem(await fetch(`${api.url}${location}`)))["code"], "call-unknown");
  });
});

describe("deployments", () => {
  test("are made, shown, listed, changed by who has seen them, and removed", async () => {
    const made = await deploy(api, "one", { limits: { memory: "64Mi" } });
    assert.equal(made.status, 201);
    const tag = made.headers.get("etag") ?? "";
    assert.match(tag, /^".+"$/);
    const unchanged = await fetch(api.at("/functions/one"), { headers: { "if-none-match": tag } });
    assert.equal(unchanged.status, 304);
    const put = (headers: Record<string, string>, limits: object): Promise<Response> =>
      fetch(api.at("/functions/one"), {
        method: "PUT",
        headers,
        body: JSON.stringify({ image: "f", limits }),
      });
    assert.equal((await problem(await put({ "if-match": '"other"' }, {})))["code"], "conflict");
    assert.equal((await problem(await put({ "if-none-match": "*" }, {})))["code"], "conflict");
    assert.equal((await put({ "if-match": tag }, { memory: "32Mi" })).status, 200);
    const { items } = (await (await fetch(api.at("/functions"))).json()) as {
      items: { name: string; functions: string[] }[];
    };
    assert.deepEqual(
      items.map(({ name }) => name),
      ["f", "one"],
    );
    assert.ok(items[0]?.functions.includes("greet"));
    const types = await (await fetch(api.at("/functions/one/types"))).text();
    assert.match(types, /export declare function greet\(name: string\): Promise<string>;/);
    assert.equal((await fetch(api.at("/functions/one"), { method: "DELETE" })).status, 204);
    assert.equal((await fetch(api.at("/functions/one"))).status, 404);
  });

  test("hold their limits", async () => {
    await deploy(api, "small", {
      limits: { memory: "2Mi", time: "300ms" },
      retry: { attempts: 1 },
    });
    const full = await problem(await call(api, "/functions/small/call/grow"));
    assert.equal(full["name"], "Trap");
    const late = await problem(await call(api, "/functions/small/call/spin"));
    assert.deepEqual([late["code"], late["status"]], ["limit-time", 504]);
  });

  for (const [what, record] of [
    ["no image", { image: undefined }],
    ["a key that is none", { imagee: "f" }],
    ["a limit that is none", { limits: { memry: "1Mi" } }],
    ["a limit that cannot be", { limits: { memory: "1Ti" } }],
    ["a trust class that is none", { trust: "wall" }],
    ["a variable that is none", { environment: { "a b": "c" } }],
    ["attempts beyond reason", { retry: { attempts: 21 } }],
    ["a permission that is none", { permissions: { disk: {} } }],
  ] as const) {
    test(`with ${what} are refused`, async () => {
      const said = await problem(await deploy(api, "wrong", record));
      assert.equal(said["code"], "invalid-argument", JSON.stringify(said));
    });
  }

  test("need a name that is one", async () => {
    assert.equal((await problem(await deploy(api, "Not_A_Name")))["code"], "invalid-argument");
  });
});

describe("functions that call functions", () => {
  const relay = async (own: TestApi, name: string, url: string, given = "[]"): Promise<Response> =>
    fetch(own.at(`/functions/${name}/call/relay`), {
      method: "POST",
      headers: {
        "content-type": "application/octet-stream",
        "atalanta-arguments": JSON.stringify([url, null]),
      },
      body: given,
    });
  const host = "http://functions.atalanta";

  test("reach those that they may, and no others", async () => {
    await deploy(api, "other");
    await deploy(api, "caller", { permissions: { call: { functions: ["f"] } } });
    const answered = await relay(api, "caller", `${host}/f/greet`, '["Ada"]');
    assert.equal(await answered.text(), '"Hello, Ada!"');
    const thrown = await problem(await relay(api, "caller", `${host}/f/fail`, '["no"]'));
    assert.deepEqual([thrown["name"], thrown["data"]], ["CallFailed", 422]);
    for (const [url, why] of [
      [`${host}/other/greet`, /permissions\.call/],
      [`${host}/default/f/greet`, /no call/],
      [`${host}/f`, /no call/],
      ["http://example.com/", /only calls of functions/],
    ] as const) {
      const refused = await problem(await relay(api, "caller", url));
      assert.match(String(refused["detail"]), why, url);
    }
    const without = await problem(await relay(api, "f", `${host}/f/greet`));
    assert.match(String(without["detail"]), /no host is allowed/);
  });

  test("in a circle, or too deep, are cut", async () => {
    await deploy(api, "a", { permissions: { call: { functions: ["a", "b"] } } });
    const circle = await problem(await relay(api, "a", `${host}/a/relay`, "[]"));
    assert.match(String(circle["detail"]), /call-depth.*calls itself/);
  });
});

describe("the server", () => {
  test("says that it lives, is ready, and what it counts", async () => {
    assert.equal((await fetch(`${api.url}/healthz`)).status, 200);
    assert.equal((await fetch(`${api.url}/readyz`)).status, 200);
    const text = await (await fetch(`${api.url}/metrics`)).text();
    assert.match(
      text,
      /atalanta_function_attempts_total\{target="default\/f",function="greet",end="returned"\} \d+/,
    );
    // Anybody could make up images.
    assert.doesNotMatch(text, /target="f"/);
  });

  test("says which methods a path has, and ends what is no HTTP", async () => {
    const response = await fetch(api.at("/functions/f/call/greet"), { method: "PUT", body: "x" });
    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), "POST");
    const socket = connectSocket(Number(new URL(api.url).port), "127.0.0.1");
    socket.write("nonsense\r\n\r\n");
    const said = await new Promise<string>((resolve) =>
      socket.once("data", (bytes) => resolve(bytes.toString())),
    );
    assert.match(said, /^HTTP\/1\.1 400 /);
  });

  test("takes so many calls of a namespace at once and no more", async () => {
    await using own = await startApi({ mostOfOwner: 3 });
    await deploy(own);
    const running = Array.from({ length: 3 }, () => call(own, "/functions/f/call/sleep", [600]));
    await sleep(200);
    const refused = await call(own, "/functions/f/call/greet", ["x"]);
    assert.equal(refused.headers.get("retry-after"), "1");
    const said = await problem(refused);
    assert.deepEqual([said["code"], said["status"], said["retryable"]], ["queue-full", 429, true]);
    // Another namespace has its own.
    const other = await fetch(`${own.url}/v1/namespaces/other/call/greet?module=f`, {
      method: "POST",
      body: '["y"]',
      headers: { "content-type": "application/json" },
    });
    assert.equal(other.status, 200);
    for (const response of await Promise.all(running)) assert.equal(response.status, 200);
    assert.equal((await call(own, "/functions/f/call/greet", ["x"])).status, 200);
  });

  test("runs as many calls of a deployment at once as it says", async () => {
    await deploy(api, "narrow", { concurrency: 1 });
    const begun = performance.now();
    await Promise.all([1, 2, 3].map(() => call(api, "/functions/narrow/call/sleep", [150])));
    assert.ok(performance.now() - begun >= 450);
  });
});

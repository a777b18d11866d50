import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { failureOf, fetchText, Host, ok, open } from "./host.ts";

function to(location: string, status = 302): string {
  return `HTTP/1.1 ${status} Found\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`;
}
const line = (request: string | undefined): string => request?.split("\r\n", 1)[0] ?? "";
const has = (request: string | undefined, header: string): boolean =>
  new RegExp(`\r\n${header}: `, "i").test(request ?? "");

describe("redirects", () => {
  test("are handed to the guest when it wants none followed", async () => {
    await using host = await Host.start(() => to("http://169.254.169.254/"));
    using passage = await open();
    const { status, headers } = await fetchText(passage, `http://a.example:${host.port}/`);
    assert.equal(status, 302);
    assert.equal(headers.get("location"), "http://169.254.169.254/");
    assert.equal(host.requests.length, 1);
  });

  test("are followed as often as it says, at most ten times, and each counts", async () => {
    await using host = await Host.start((request) => {
      const left = Number(/^GET \/(\d+)/.exec(request)?.[1]);
      return left === 0 ? ok("there") : to(`/${left - 1}`);
    });
    const url = (count: number): string => `http://a.example:${host.port}/${count}`;
    using passage = await open();
    assert.equal((await fetchText(passage, url(3), { redirects: 3 })).body, "there");
    const failure = await failureOf(fetchText(passage, url(4), { redirects: 3 }));
    assert.equal(failure.code, "network-failed");
    assert.match(failure.message, /redirects more than 3 times$/);
    assert.equal((await fetchText(passage, url(10), { redirects: 1000 })).body, "there");
    const more = await failureOf(fetchText(passage, url(11), { redirects: 1000 }));
    assert.match(more.message, /redirects more than 10 times$/);
    assert.equal(passage.usage[0]?.requests, host.requests.length);
  });

  const refused: readonly (readonly [string, RegExp, string])[] = [
    ["http://169.254.169.254/latest/meta-data/", /a metadata service's/, "network-denied"],
    ["http://2852039166/", /a metadata service's/, "network-denied"],
    ["http://[::ffff:a9fe:a9fe]/", /a metadata service's/, "network-denied"],
    ["http://10.0.0.1/", /private/, "network-denied"],
    ["//10.0.0.1/", /private/, "network-denied"],
    ["http://other.example/", /the step's list/, "network-denied"],
    ["//other.example/", /the step's list/, "network-denied"],
    ["\\\\other.example/", /the step's list/, "network-denied"],
    ["https://a.example/", /the step's list/, "network-denied"],
    ["http://user:word@a.example/", /user name/, "network-invalid"],
    ["file:///etc/passwd", /http/, "network-invalid"],
    ["javascript:alert(1)", /http/, "network-invalid"],
    ["http://", /URL/, "network-invalid"],
  ];
  test("lead nowhere that the lists and the addresses do not allow", async () => {
    let location = "";
    await using host = await Host.start(() => to(location));
    const step = [
      `http://a.example:${host.port}`,
      "http://169.254.169.254",
      "http://[::ffff:a9fe:a9fe]",
      "http://10.0.0.1",
    ];
    for (const [target, message, code] of refused) {
      location = target;
      using passage = await open({ step });
      const url = `http://a.example:${host.port}/`;
      const failure = await failureOf(fetchText(passage, url, { redirects: 5 }));
      assert.equal(failure.code, code, `${target}: ${failure.message}`);
      assert.match(failure.message, message, target);
    }
    assert.equal(host.requests.length, refused.length);
  });

  test("do not leave the part of a host that is allowed", async () => {
    let location = "";
    await using host = await Host.start((request) =>
      request.startsWith("GET /v1/a") ? to(location) : ok("there"),
    );
    using passage = await open({ step: [`GET http://a.example:${host.port}/v1/`] });
    const url = `http://a.example:${host.port}/v1/a`;
    for (const target of [
      "/admin",
      "../admin",
      "/v1/../admin",
      "/v1/%2e%2e/admin",
      "/v1/..%2fadmin",
      "//a.example/v1/",
    ]) {
      location = target;
      assert.equal(
        (await failureOf(fetchText(passage, url, { redirects: 1 }))).code,
        "network-denied",
        target,
      );
    }
    location = "b";
    assert.equal((await fetchText(passage, url, { redirects: 1 })).body, "there");
  });

  test("ask for the addresses of every host on the way anew", async () => {
    let calls = 0;
    await using host = await Host.start(() => to("/again"));
    using passage = await open({
      resolve: async () => (calls++ === 0 ? ["127.0.0.1"] : ["10.0.0.1"]),
    });
    const failure = await failureOf(
      fetchText(passage, `http://a.example:${host.port}/`, { redirects: 5 }),
    );
    assert.match(failure.message, /leads to an address that is private/);
    assert.equal(host.requests.length, 1);
  });

  const changes: readonly (readonly [number, string, string, boolean])[] = [
    [301, "POST", "GET", false],
    [302, "POST", "GET", false],
    [302, "PUT", "PUT", true],
    [303, "PUT", "GET", false],
    [303, "POST", "GET", false],
    [307, "POST", "POST", true],
    [308, "PUT", "PUT", true],
  ];
  test("change the method and drop the body as browsers do it", async () => {
    let status = 0;
    await using host = await Host.start((request) =>
      /^\w+ \/a /.test(request) ? to("/b", status) : ok("x"),
    );
    using passage = await open();
    for (const [given, method, then, body] of changes) {
      status = given;
      await fetchText(passage, `http://a.example:${host.port}/a`, {
        method,
        body: "the body",
        headers: [
          ["Content-Type", "text/plain"],
          ["x-a", "b"],
        ],
        redirects: 1,
      });
      const last = host.requests.at(-1);
      assert.equal(line(last), `${then} /b HTTP/1.1`, `${given} ${method}`);
      assert.equal(last?.endsWith("the body"), body);
      assert.equal(has(last, "content-type"), body);
      assert.ok(has(last, "x-a"));
    }
  });

  test("do not take credentials along to another origin, and do so within one", async () => {
    let location = "";
    await using host = await Host.start((request) =>
      request.includes(" /a ") ? to(location) : ok("x"),
    );
    using passage = await open();
    const headers = [
      ["Authorization", "Basic eA=="],
      ["Cookie", "a=b"],
      ["X-A", "b"],
    ] as const;
    const url = `http://a.example:${host.port}/a`;
    location = "/b";
    await fetchText(passage, url, { headers, redirects: 1 });
    assert.ok(has(host.requests.at(-1), "authorization") && has(host.requests.at(-1), "cookie"));
    location = `http://b.example:${host.port}/b`;
    await fetchText(passage, url, { headers, redirects: 1 });
    const last = host.requests.at(-1);
    assert.ok(!has(last, "authorization") && !has(last, "cookie") && has(last, "x-a"));
    assert.match(last ?? "", /\r\nHost: b\.example:/);
  });

  test("without a place to go, or with another status, are plain responses", async () => {
    let answer = "";
    await using host = await Host.start(() => answer);
    using passage = await open();
    const url = `http://a.example:${host.port}/`;
    for (const [status, header] of [
      [302, ""],
      [304, "Location: /x\r\n"],
      [300, "Location: /x\r\n"],
      [200, "Location: /x\r\n"],
    ] as const) {
      answer = `HTTP/1.1 ${status} X\r\n${header}Content-Length: 0\r\n\r\n`;
      assert.equal((await fetchText(passage, url, { redirects: 5 })).status, status);
    }
  });
});

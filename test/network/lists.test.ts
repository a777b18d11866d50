import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { AskedHost } from "../../src/network/mod.ts";
import { failureOf, fetchText, Host, ok, open } from "./host.ts";

let host: Host;
before(async () => {
  host = await Host.start((request) => ok(request.split("\r\n", 1)[0] ?? ""));
});
after(() => host[Symbol.asyncDispose]());

/** `PORT` stands for the host's. */
const withPort = (text: string): string => text.replaceAll("PORT", String(host.port));

async function asks(
  entry: AskedHost,
  request: string,
  side: "step" | "operator" = "step",
): Promise<string> {
  const [method = "", url = ""] = request.split(" ");
  const list = [
    typeof entry === "string"
      ? withPort(entry)
      : { ...entry, ...(entry.port === "PORT" ? { port: host.port } : {}) },
  ];
  using passage = await open(side === "step" ? { step: list } : { operator: list });
  try {
    return (await fetchText(passage, withPort(url), { method })).body;
  } catch (thrown) {
    return (await failureOf(Promise.reject(thrown))).code;
  }
}

const entries: readonly (readonly [AskedHost, readonly string[], readonly string[]])[] = [
  [
    "http://api.example.com:PORT",
    ["GET http://api.example.com:PORT/", "POST http://API.Example.COM:PORT/a/b?c=d"],
    [
      "GET http://example.com:PORT/",
      "GET http://x.api.example.com:PORT/",
      "GET http://api.example.com.evil.com:PORT/",
      "GET http://api.example.comevil:PORT/",
      "GET http://evilapi.example.com:PORT/",
      "GET http://api.example.com/",
      "GET https://api.example.com:PORT/",
      "GET http://127.0.0.1:PORT/",
    ],
  ],
  [
    "http://*.example.com:PORT",
    ["GET http://a.example.com:PORT/", "GET http://a.b.example.com:PORT/"],
    [
      "GET http://example.com:PORT/",
      "GET http://aexample.com:PORT/",
      "GET http://a.example.com.evil.com:PORT/",
    ],
  ],
  ["http://*:*", ["GET http://a.example:PORT/"], ["GET https://a.example:PORT/"]],
  ["api.example.com:PORT", [], ["GET http://api.example.com:PORT/"]],
  [
    "GET,HEAD http://a.example:PORT/v1",
    [
      "GET http://a.example:PORT/v1",
      "GET http://a.example:PORT/v1/",
      "GET http://a.example:PORT/v1/x?y=/../",
      "GET http://a.example:PORT/v2/../v1/x",
      "GET http://a.example:PORT/v1/%41",
    ],
    [
      "POST http://a.example:PORT/v1",
      "GET http://a.example:PORT/",
      "GET http://a.example:PORT/v10",
      "GET http://a.example:PORT/V1",
      "GET http://a.example:PORT/v1/../x",
      "GET http://a.example:PORT/v1/%2e%2e/x",
      "GET http://a.example:PORT/v1/.%2E/x",
      "GET http://a.example:PORT/v1/..%2fx",
      "GET http://a.example:PORT/v1/..%5cx",
      "GET http://a.example:PORT/v1/%252e%252e/x",
      "GET http://a.example:PORT/v1/%252e%252e%252fx",
      "GET http://a.example:PORT/v1/%25252e%25252e%25252fx",
      "GET http://a.example:PORT/v1/..;/x",
      "GET http://a.example:PORT/v1/..;a=b/x",
      "GET http://a.example:PORT/v1/%2e%2e;/x",
      "GET http://a.example:PORT/v1//x",
      "GET http://a.example:PORT//v1/x",
      "GET http://a.example:PORT/v1/x%00y",
      "GET http://a.example:PORT/%76%31/x",
      "GET http://a.example:PORT/v1/%ff%2e%2e/x",
    ],
  ],
  [
    "http://a.example:PORT/v1/",
    ["GET http://a.example:PORT/v1/x"],
    ["GET http://a.example:PORT/v1"],
  ],
  [
    { host: "a.example", scheme: "http", port: "PORT", methods: ["POST"], pathPrefix: "/x%20y" },
    ["POST http://a.example:PORT/x%20y/z"],
    ["GET http://a.example:PORT/x%20y/z", "POST http://a.example:PORT/x"],
  ],
  [
    "http://bücher.example:PORT",
    [
      "GET http://bücher.example:PORT/",
      "GET http://xn--bcher-kva.example:PORT/",
      "GET http://BÜCHER。example:PORT/",
    ],
    ["GET http://bucher.example:PORT/"],
  ],
  [
    "http://127.0.0.1:PORT",
    [
      "GET http://127.0.0.1:PORT/",
      "GET http://0x7f.1:PORT/",
      "GET http://2130706433:PORT/",
      "GET http://0177.0.0.1:PORT/",
      "GET http://127.0.0.1.:PORT/",
      "GET http://１２７.0.0.1:PORT/",
    ],
    [
      "GET http://127.0.0.2:PORT/",
      "GET http://localhost:PORT/",
      "GET http://[::ffff:127.0.0.1]:PORT/",
    ],
  ],
];

describe("both lists decide, in the same way", () => {
  for (const side of ["step", "operator"] as const) {
    for (const [entry, allowed, denied] of entries) {
      test(`${side}: ${typeof entry === "string" ? entry : JSON.stringify(entry)}`, async () => {
        for (const request of allowed)
          assert.match(await asks(entry, request, side), /HTTP\/1\.1$/, request);
        for (const request of denied)
          assert.equal(await asks(entry, request, side), "network-denied", request);
      });
    }
  }

  test("an empty list allows nothing", async () => {
    using none = await open({ step: [] });
    const url = `http://a.example:${host.port}/`;
    assert.equal((await failureOf(fetchText(none, url))).code, "network-denied");
  });

  test("the failure names the sides that refuse, the nearest entry, and what to add", async () => {
    const url = withPort("http://a.example:PORT/secret?token=x");
    const entry = withPort("http://a.example:PORT");
    using both = await open({ step: [], operator: [] });
    const first = await failureOf(fetchText(both, url));
    assert.equal(
      first.message,
      withPort(
        "GET http://a.example:PORT/secret is not in the step's list and the operator's list",
      ),
    );
    assert.equal(
      first.hint,
      `Add "${entry}" to permissions.http.allowedHosts of the step. The operator may add "${entry}" to permissions.http.allowedHosts of the file for --config, or give --allow-host ${entry}.`,
    );
    using near = await open({ operator: [withPort("POST http://a.example:PORT/v1/")] });
    const second = await failureOf(fetchText(near, url));
    assert.match(
      second.message,
      /is not in the operator's list; the nearest entry is "POST http:\/\/a\.example:\d+\/v1\/"$/,
    );
    assert.ok(!`${first.message}${second.message}${near.refusals.join()}`.includes("token"));
  });
});

describe("a host of another family", () => {
  test("is reached by its address in brackets, in whatever spelling", async (context) => {
    const { createServer } = await import("node:http");
    const server = createServer((request, response) => response.end(request.headers.host));
    const listening = new Promise<boolean>((done) => {
      server.on("error", () => done(false));
      server.listen(0, "::1", () => done(true));
    });
    if (!(await listening)) return context.skip("there is no IPv6 here");
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    using passage = await open({ operator: [`http://[::1]:${port}`], addresses: [] });
    for (const name of ["[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]"]) {
      const { body } = await fetchText(passage, `http://${name}:${port}/`);
      assert.equal(body, `[::1]:${port}`);
    }
    await new Promise((done) => server.close(done));
  });
});

describe("whatever a URL is made of", () => {
  const parts = [
    "good.example",
    "evil.example",
    "http",
    "https",
    ":",
    "/",
    "//",
    "\\",
    "@",
    "#",
    "?",
    "%",
    "%40",
    "%2f",
    "%5c",
    "%00",
    ".",
    "..",
    " ",
    "\t",
    "\r\n",
    "\0",
    "[",
    "]",
    "::1",
    "127.1",
    "0x7f000001",
    "PORT",
    "。",
    "／",
    "＠",
    "\u00ad",
    "\u200d",
    "ß",
    "İ",
    "xn--",
    "user",
    "&",
    ";",
    "=",
    "*",
  ];

  test("no name but the allowed one is asked for, and no other host is spoken to", async () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
    let state = seed;
    const chance = (below: number): number => {
      // A linear congruential generator is enough to take parts.
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const asked = new Set<string>();
    using passage = await open({
      step: [withPort("http://good.example:PORT/")],
      limits: { httpRequests: 100_000 },
      resolve: async (name) => {
        asked.add(name);
        return ["127.0.0.1"];
      },
    });
    const before = host.requests.length;
    let passed = 0;
    for (let round = 0; round < 3000; round++) {
      const middle = Array.from({ length: chance(6) }, () => parts[chance(parts.length)]).join("");
      const forms = [
        `http://good.example:PORT${middle}`,
        `http://${middle}good.example:PORT/`,
        `http://good.example${middle}:PORT/`,
        `http:${middle}`,
        middle,
      ];
      const url = withPort(forms[chance(forms.length)] ?? "");
      try {
        await fetchText(passage, url);
        passed++;
      } catch (thrown) {
        const { code } = await failureOf(Promise.reject(thrown));
        assert.match(code, /^network-(?:denied|invalid)$/, `${JSON.stringify(url)}, SEED=${seed}`);
      }
    }
    assert.ok(passed > 50, `only ${passed} were allowed, SEED=${seed}`);
    assert.deepEqual([...asked], ["good.example"], `SEED=${seed}`);
    for (const request of host.requests.slice(before)) {
      assert.match(
        request,
        /^GET \/[!-~]* HTTP\/1\.1\r\nHost: good\.example:\d+\r\nConnection: keep-alive\r\n\r\n$/,
      );
    }
  });
});

describe("a URL that programs read in different ways is refused", () => {
  const urls = [
    "http://good.example@evil.example:PORT/",
    "http://good.example:80@evil.example:PORT/",
    "http://@evil.example:PORT/",
    "http://evil.example:PORT\\@good.example/",
    "http://evil.example:PORT\\.good.example/",
    "http:\\\\evil.example:PORT/",
    "http:/evil.example:PORT/",
    "http:evil.example:PORT/",
    "http:///evil.example:PORT/",
    "//evil.example:PORT/",
    " http://good.example:PORT/",
    "http://good.exa\tmple:PORT/",
    "http://good.example:PORT/a b",
    "http://good.example:PORT/\r\nHost: evil",
    "http://good.example.:PORT/",
    "http://good..example:PORT/",
    "http://[::1%25lo]:PORT/",
    "http://[::1]evil:PORT/",
    "http://evil.example:PORT:80/",
    "http://evil.example:0/",
    "http://evil.example:99999/",
    "http://256.1.1.1:PORT/",
    "http://1.2.3.4.5:PORT/",
    "http://good.example%2fevil.example:PORT/",
    "http://good.example%00.evil.example:PORT/",
    "http://good.example%23.evil.example:PORT/",
    `http://${"a".repeat(64)}.example:PORT/`,
    `http://good.example:PORT/${"a".repeat(17_000)}`,
    "ftp://good.example/",
    "file:///etc/passwd",
    "data:,x",
    "javascript:x",
    "unix:/var/run/docker.sock",
    "",
    "\u0000",
    "http://",
  ];
  for (const url of urls) {
    test(JSON.stringify(url.slice(0, 60)), async () => {
      const before = host.requests.length;
      using passage = await open();
      const failure = await failureOf(fetchText(passage, withPort(url)));
      assert.equal(failure.code, "network-invalid", failure.message);
      assert.equal(host.requests.length, before);
    });
  }

  test("and so is a method that is a tunnel, an echo, or none", async () => {
    using passage = await open();
    for (const method of ["CONNECT", "TRACE", "TRACK", "get", "", "GET /x HTTP/1.1\r\nA:", "GÉT"]) {
      const url = withPort("http://a.example:PORT/");
      const failure = await failureOf(fetchText(passage, url, { method }));
      assert.equal(failure.code, "network-invalid", method);
    }
  });
});

test("a list with something that is no entry is refused as a whole", async () => {
  const wrong: readonly AskedHost[] = [
    "",
    "*.",
    "**.example.com",
    "a.*.example.com",
    "*.127.0.0.1",
    "a.example/?x",
    "a.example/#x",
    "a.example:0",
    "a.example:65536",
    "a.example:x",
    "get a.example",
    "a.example b.example",
    "user@a.example",
    "ws://a.example",
    "a.example.",
    "a.example//v1",
    "a.example/%2e%2e/",
    "10.0.0.0/8",
    { host: "a.example/v1" },
    { host: "a.example:80" },
    { host: "a.example", pathPrefix: "v1" },
    { host: "a.example", methods: ["get"] },
    { host: "a.example", scheme: "gopher" },
    "x".repeat(3000),
  ];
  for (const entry of wrong) {
    const failure = await failureOf(open({ step: [entry] }));
    assert.equal(failure.code, "invalid-argument", JSON.stringify(entry));
  }
  const many = Array.from({ length: 1001 }, (_, index) => `a${index}.example`);
  assert.equal((await failureOf(open({ step: many }))).code, "invalid-argument");
  using most = await open({ step: many.slice(1) });
  assert.ok(most);
});

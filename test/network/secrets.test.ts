import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { AskedHost, Passage, Secret } from "../../src/network/mod.ts";
import { failureOf, fetchText, Host, ok, open, type Asked } from "./host.ts";

const value = 'the-real/value+1 é"<&>';
/** As it stands in a header or a body: its bytes, one in each character. */
const latin1 = Buffer.from(value).toString("latin1");

interface Given {
  readonly hosts?: readonly AskedHost[];
  readonly in?: Secret["in"];
  readonly value?: string;
}

async function openWith(
  given: Given = {},
  asked: Asked = {},
): Promise<Passage & { readonly token: string }> {
  const secret: Secret = {
    value: async () => Buffer.from(given.value ?? value),
    hosts: given.hosts ?? ["http://a.example:*"],
    ...(given.in ? { in: given.in } : {}),
  };
  const passage = await open({
    secrets: new Map([["service/token", secret]]),
    wanted: [{ variable: "TOKEN", name: "service", key: "token" }],
    ...asked,
  });
  const token = passage.environment.get("TOKEN") ?? assert.fail();
  return Object.assign(passage, { token });
}

/** Answers with the request itself. */
const echo = (request: string): string => ok(request);
const headersOf = (request: string | undefined): string => request?.split("\r\n\r\n")[0] ?? "";

describe("a placeholder", () => {
  test("is a word that nobody can guess, new for each invocation, and all that the guest has", async () => {
    const tokens = new Set<string>();
    for (let round = 0; round < 20; round++) {
      using passage = await openWith();
      assert.match(passage.token, /^ATALANTA_SECRET_[0-9a-f]{32}$/);
      assert.deepEqual([...passage.environment], [["TOKEN", passage.token]]);
      tokens.add(passage.token);
    }
    assert.equal(tokens.size, 20);
  });

  test("becomes the value in a header for its host, wherever it stands in it", async () => {
    await using host = await Host.start(echo);
    using passage = await openWith();
    const { token } = passage;
    const headers = [
      ["Authorization", `Bearer ${token}`],
      ["X-Key", `${token}, ${token}`],
    ] as const;
    const { body } = await fetchText(passage, `http://a.example:${host.port}/`, { headers });
    const came = headersOf(host.requests[0]);
    assert.ok(came.includes(`\r\nAuthorization: Bearer ${latin1}\r\n`), came);
    assert.ok(came.includes(`\r\nX-Key: ${latin1}, ${latin1}\r\n`));
    assert.ok(!came.includes(token));
    assert.ok(!body.includes(latin1) && body.includes(`Authorization: Bearer ${token}\r\n`));
  });

  test("does not become more than the largest body, however long the value is", async () => {
    await using host = await Host.start(echo);
    using passage = await openWith({ in: ["body"], value: "v".repeat(16 * 1024) });
    const body = passage.token.repeat(5000);
    const url = `http://a.example:${host.port}/`;
    const failure = await failureOf(fetchText(passage, url, { method: "POST", body }));
    assert.equal(failure.code, "network-invalid");
    assert.match(failure.message, /5000 times/);
    assert.equal(host.requests.length, 0);
  });

  test("of another invocation is nothing but a word", async () => {
    await using host = await Host.start(echo);
    using first = await openWith();
    using second = await openWith();
    const headers = [["X-Key", first.token]] as const;
    await fetchText(second, `http://a.example:${host.port}/`, { headers });
    assert.ok(headersOf(host.requests[0]).includes(`X-Key: ${first.token}`));
  });

  test("becomes the value in a Basic authorization, whose length and user it keeps", async () => {
    await using host = await Host.start(echo);
    using passage = await openWith();
    const basic = (text: string): string => Buffer.from(text, "latin1").toString("base64");
    for (const [user, scheme] of [
      ["me", "Basic"],
      ["", "basic"],
      ["user", "BASIC "],
    ] as const) {
      const given = basic(`${user}:${passage.token}`);
      const headers = [["authorization", `${scheme} ${given}`]] as const;
      const { body } = await fetchText(passage, `http://a.example:${host.port}/`, { headers });
      const real = basic(`${user}:${latin1}`);
      assert.ok(headersOf(host.requests.at(-1)).includes(`\r\nauthorization: Basic ${real}\r\n`));
      assert.ok(
        !body.includes(real) && body.includes(given),
        "the answer shows what the guest sent",
      );
    }
  });

  test("in Basic credentials of hundreds of users is still found in what comes back", async () => {
    await using host = await Host.start(echo);
    using passage = await openWith();
    const start = performance.now();
    let body = "";
    for (let user = 0; user < 300; user++) {
      const given = Buffer.from(`${"u".repeat(user)}:${passage.token}`).toString("base64");
      const headers = [["Authorization", `Basic ${given}`]] as const;
      ({ body } = await fetchText(passage, `http://a.example:${host.port}/`, { headers }));
      assert.ok(body.includes(given));
    }
    assert.ok(performance.now() - start < 10_000);
  });

  test("becomes the value in a body only where that is allowed, and Content-Length follows", async () => {
    await using host = await Host.start(echo);
    const url = `http://a.example:${host.port}/`;
    using both = await openWith({ in: ["header", "body"] });
    const body = `\0\xff${both.token}&${both.token}`;
    const answer = await fetchText(both, url, {
      method: "POST",
      body,
      headers: [["content-length", String(body.length)]],
    });
    const came = `\0\xff${latin1}&${latin1}`;
    assert.ok(host.requests[0]?.endsWith(`\r\n\r\n${came}`));
    assert.match(host.requests[0] ?? "", new RegExp(`\r\nContent-Length: ${came.length}\r\n`));
    assert.ok(answer.body.endsWith(body));
    using header = await openWith();
    const refused = await failureOf(fetchText(header, url, { method: "POST", body: header.token }));
    assert.equal(refused.code, "network-denied");
    assert.match(refused.message, /"service\/token" may not go into a body$/);
    using only = await openWith({ in: ["body"] });
    const headers = [["x", only.token]] as const;
    assert.match((await failureOf(fetchText(only, url, { headers }))).message, /into a header$/);
  });

  test("goes to no other host, scheme, port, method or path than the secret names, though both lists allow them", async () => {
    await using host = await Host.start(echo);
    const hosts = [
      { host: "a.example", scheme: "http", port: host.port, methods: ["POST"], pathPrefix: "/v1" },
    ];
    using passage = await openWith({ hosts });
    const headers = [["Authorization", `Bearer ${passage.token}`]] as const;
    const basic = [
      ["Authorization", `Basic ${Buffer.from(`x:${passage.token}`).toString("base64")}`],
    ] as const;
    const place = (name: string, path: string): string => `http://${name}:${host.port}${path}`;
    await fetchText(passage, place("a.example", "/v1/x"), { method: "POST", headers });
    const wrong = [
      ["POST", place("evil.example", "/v1/x")],
      ["POST", place("x.a.example", "/v1/x")],
      ["POST", place("a.example.evil.example", "/v1/x")],
      ["POST", place("a.example", "/v2/x")],
      ["POST", place("a.example", "/v1/../v2")],
      ["POST", place("a.example", "/v1/..%2fv2")],
      ["PUT", place("a.example", "/v1/x")],
      ["POST", `https://a.example:${host.port}/v1/x`],
      ["POST", "http://a.example/v1/x"],
    ] as const;
    for (const [method, url] of wrong) {
      for (const sent of [headers, basic]) {
        const failure = await failureOf(fetchText(passage, url, { method, headers: sent }));
        assert.equal(failure.code, "network-denied", url);
        assert.match(failure.message, /The secret "service\/token" may not go to /);
      }
    }
    assert.equal(host.requests.length, 1);
  });

  test("in a URL is refused, wherever in it", async () => {
    using passage = await openWith({ hosts: ["http://*:*"] });
    const { token } = passage;
    for (const url of [
      `http://a.example/?key=${token}`,
      `http://a.example/${token}`,
      `http://${token}.example/`,
      `http://a.example/#${token}`,
      `http://${token}@a.example/`,
    ]) {
      const failure = await failureOf(fetchText(passage, url));
      assert.equal(failure.code, "network-denied", url);
    }
  });

  test("does not make a list of hosts wider", async () => {
    await using host = await Host.start(echo);
    using passage = await openWith({}, { step: [] });
    const headers = [["x", passage.token]] as const;
    const failure = await failureOf(
      fetchText(passage, `http://a.example:${host.port}/`, { headers }),
    );
    assert.match(failure.message, /is not in the step's list/);
  });
});

describe("on a redirect a secret", () => {
  test("is put in for its own host again, and stays away from another one", async () => {
    await using host = await Host.start((request) => {
      const to = /\/to\/(\w+\.example)/.exec(request)?.[1];
      return to === undefined
        ? ok(request)
        : `HTTP/1.1 307 X\r\nLocation: http://${to}:${host.port}/end\r\nContent-Length: 0\r\n\r\n`;
    });
    using passage = await openWith({ in: ["header", "body"] });
    const sent = {
      method: "POST",
      headers: [
        ["X-Key", passage.token],
        ["X-Other", "y"],
        ["Authorization", `Bearer ${passage.token}`],
      ] as const,
      redirects: 3,
    };
    const url = (to: string): string => `http://a.example:${host.port}/to/${to}`;
    await fetchText(passage, url("a.example"), sent);
    assert.equal(headersOf(host.requests.at(-1)).split(latin1).length, 3);
    await fetchText(passage, url("b.example"), sent);
    const came = host.requests.at(-1) ?? "";
    assert.ok(came.includes("Host: b.example") && came.includes("X-Other: y"));
    assert.ok(!came.includes("X-Key") && !came.includes(latin1) && !came.includes(passage.token));
    const { headers: _headers, ...rest } = sent;
    const body = await failureOf(
      fetchText(passage, url("b.example"), { ...rest, body: passage.token }),
    );
    assert.match(body.message, /may not go to http:\/\/b\.example/);
  });

  test("that the host sends back in the new place is not put into a URL", async () => {
    await using host = await Host.start((request) => {
      const key = /X-Key: (.*)\r\n/.exec(request)?.[1] ?? "";
      return `HTTP/1.1 302 X\r\nLocation: http://b.example:${host.port}/${encodeURIComponent(Buffer.from(key, "latin1").toString())}\r\nContent-Length: 0\r\n\r\n`;
    });
    using passage = await openWith();
    const headers = [["X-Key", passage.token]] as const;
    const sent = { headers, redirects: 3 };
    const failure = await failureOf(fetchText(passage, `http://a.example:${host.port}/`, sent));
    assert.match(failure.message, /The secret "service\/token" is in a URL/);
    assert.equal(host.requests.length, 1);
  });
});

describe("what comes back has the placeholder where the value was", () => {
  test("across any two pieces, and nothing else is changed or held back", async () => {
    const text = `<<${latin1}>>the-real/value+1${latin1}${latin1}the-rea`;
    let at = 0;
    await using host = await Host.start(() => {
      const pieces = [text.slice(0, at), text.slice(at)].filter((piece) => piece !== "");
      const chunks = pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`);
      return `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks.join("")}0\r\n\r\n`;
    });
    using passage = await openWith();
    const { token } = passage;
    const expected = `<<${token}>>the-real/value+1${token}${token}the-rea`;
    for (at = 0; at <= text.length; at++) {
      const { body } = await fetchText(passage, `http://a.example:${host.port}/`);
      assert.equal(body, expected, `cut at ${at}`);
    }
  });

  test("a piece that cannot be the beginning of a secret is there at once", async () => {
    let more = (_text: string): void => undefined;
    const { createServer } = await import("node:http");
    const server = createServer((_request, response) => {
      response.write("event one\n");
      more = (text) => response.end(text);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const address = server.address();
    const url = `http://a.example:${typeof address === "object" ? address?.port : 0}/`;
    using passage = await openWith();
    const { body } = await passage.http(
      { method: "GET", url, headers: [], body: new Uint8Array(0), redirects: 0 },
      { signal: new AbortController().signal },
    );
    const first = await body.next();
    assert.equal(first.done ? "" : Buffer.from(first.value).toString(), "event one\n");
    more("end");
    let rest = "";
    for (let next = await body.next(); !next.done; next = await body.next())
      rest += Buffer.from(next.value).toString();
    assert.equal(rest, "end");
    await new Promise((done) => server.close(done));
  });

  test("in the spellings that servers use, in headers and bodies", async () => {
    const bytes = Buffer.from(value);
    const spelled = [
      latin1,
      encodeURIComponent(value),
      encodeURIComponent(value).toLowerCase(),
      Buffer.from(JSON.stringify(value).slice(1, -1)).toString("latin1"),
      bytes.toString("hex"),
      bytes.toString("hex").toUpperCase(),
    ];
    for (const before of ["", "a", "ab", "abc"]) {
      for (const encoding of ["base64", "base64url"] as const) {
        // What is not decided by the secret alone is cut off: the first characters and the last ones.
        spelled.push(
          Buffer.concat([Buffer.from(before), bytes, Buffer.from("xyz")]).toString(encoding),
        );
      }
    }
    let answer = "";
    await using host = await Host.start(() => ok(`[${answer}]`, `X-Echo: [${answer}]\r\n`));
    using passage = await openWith();
    for (const text of spelled) {
      answer = text;
      const { headers, body } = await fetchText(passage, `http://a.example:${host.port}/`);
      for (const seen of [body, headers.get("x-echo") ?? ""]) {
        assert.ok(seen.includes(passage.token), `${text} came as ${seen}`);
        const decoded = Buffer.from(seen.slice(1, -1).replaceAll(passage.token, ""), "base64");
        assert.ok(!decoded.includes("the-real"), seen);
      }
    }
  });

  test("when one secret begins like another, the longer one is taken out whole", async () => {
    const secrets = new Map<string, Secret>(
      [
        ["short", "password"],
        ["long", "password-and-more"],
      ].map(([key, text]) => [
        `s/${key}`,
        { value: async () => Buffer.from(text ?? ""), hosts: ["http://a.example:*"] },
      ]),
    );
    const wanted = ["short", "long"].map((key) => ({
      variable: key.toUpperCase(),
      name: "s",
      key,
    }));
    const text = "password-and-more|password|password-and-mope";
    let at = 0;
    await using host = await Host.start(() => {
      const chunks = [text.slice(0, at), text.slice(at)].map(
        (piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`,
      );
      return `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks.join("")}0\r\n\r\n`;
    });
    using passage = await open({ secrets, wanted });
    const short = passage.environment.get("SHORT");
    const long = passage.environment.get("LONG");
    for (at = 1; at < text.length; at++) {
      const { body } = await fetchText(passage, `http://a.example:${host.port}/`);
      assert.equal(body, `${long}|${short}|${short}-and-mope`, `cut at ${at}`);
    }
  });

  test("from a host of a secret nothing comes compressed, and its length is not told", async () => {
    let encoding = "gzip";
    await using host = await Host.start((request) =>
      ok(request, `Content-Encoding: ${encoding}\r\n`),
    );
    using passage = await openWith();
    const headers = [["Accept-Encoding", "gzip, br"]] as const;
    const failure = await failureOf(
      fetchText(passage, `http://a.example:${host.port}/`, { headers }),
    );
    assert.match(failure.message, /answers compressed/);
    assert.match(host.requests[0] ?? "", /\r\nAccept-Encoding: identity\r\n/);
    assert.ok(!host.requests[0]?.includes("br"));
    // Another host may, and a step without secrets too.
    const other = await fetchText(passage, `http://b.example:${host.port}/`, { headers });
    assert.equal(other.headers.get("content-encoding"), "gzip");
    encoding = "identity";
    const plain = await fetchText(passage, `http://a.example:${host.port}/`, { headers });
    assert.ok(!plain.headers.has("content-length"));
  });
});

describe("a secret's value", () => {
  test("has a length within bounds, and the failure does not show it", async () => {
    for (const text of ["", "short12", "x".repeat(16_385)]) {
      const failure = await failureOf(openWith({ value: text }));
      assert.equal(failure.code, "secret-invalid");
      assert.ok(text === "" || !JSON.stringify(failure).includes(text));
    }
    for (const text of ["12345678", "x".repeat(16_384)]) {
      using passage = await openWith({ value: text });
      assert.ok(passage);
    }
  });

  test("for a header is one line; a file's last line end is not part of it", async () => {
    await using host = await Host.start(echo);
    using passage = await openWith({ value: "one line of text\r\n" });
    const headers = [["x", passage.token]] as const;
    await fetchText(passage, `http://a.example:${host.port}/`, { headers });
    assert.ok(headersOf(host.requests[0]).includes("\r\nx: one line of text\r\n"));
    for (const text of ["verse one\nverse two", "null\0and void", "return\rhere and there"]) {
      const failure = await failureOf(openWith({ value: text }));
      assert.equal(failure.code, "secret-invalid");
      assert.ok(!failure.message.includes(text.slice(0, 4)));
    }
    using body = await openWith({ value: "line one\nline two", in: ["body"] });
    assert.ok(body);
  });

  test("is not there when the operator has not given it, unless the step can do without", async () => {
    const wanted = [{ variable: "A", name: "no", key: "such" }];
    assert.equal((await failureOf(open({ wanted }))).code, "secret-missing");
    using passage = await open({ wanted: [{ ...(wanted[0] ?? assert.fail()), optional: true }] });
    assert.equal(passage.environment.size, 0);
  });

  test("is read only for a step that asks for it", async () => {
    let reads = 0;
    const secret: Secret = {
      value: async () => {
        reads++;
        return Buffer.from("long enough");
      },
      hosts: ["a.example"],
    };
    const secrets = new Map([["service/token", secret]]);
    using none = await open({ secrets });
    assert.equal(reads, 0);
    assert.equal(none.environment.size, 0);
  });
});

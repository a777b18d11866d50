import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { createHttpSteps, type NodeResult } from "../../src/argo/mod.ts";

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

describe("http templates", () => {
  const seen: Seen[] = [];
  let answer: (request: IncomingMessage, response: ServerResponse) => void = (_request, response) =>
    void response.end();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      seen.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
      answer(request, response);
    });
  });
  let origin = "";
  before(async () => {
    await new Promise<void>((done) => void server.listen(0, "127.0.0.1", done));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  const steps = createHttpSteps({
    allowedAddresses: ["127.0.0.0/8"],
    secret: async (step, name, key) => {
      if (name === "none") throw new Error('secrets "none" not found');
      return Buffer.from(`${step.workflow.namespace}/${name}/${key}`);
    },
  });
  const run = (http: object, signal = new AbortController().signal): Promise<NodeResult> =>
    steps.execute(
      {
        workflow: { namespace: "team", name: "wf", uid: "u" },
        nodeId: "n",
        template: { name: "t", http },
      },
      { signal },
    );

  test("give the body as the result, and succeed with 2xx", async () => {
    answer = (_request, response) => void response.writeHead(201).end("made");
    assert.deepEqual(await run({ url: `${origin}/a?b=c` }), {
      phase: "Succeeded",
      outputs: { result: "made" },
    });
    assert.equal(seen.at(-1)?.method, "GET");
    assert.equal(seen.at(-1)?.url, "/a?b=c");
    answer = (_request, response) => void response.writeHead(404).end("no");
    assert.deepEqual(await run({ url: origin }), {
      phase: "Failed",
      message: "received non-2xx response code: 404",
      outputs: { result: "no" },
    });
  });

  test("send their method, body, headers and secrets, and another host's name", async () => {
    answer = (_request, response) => void response.end();
    const headers = [
      { name: "X-Plain", value: "a" },
      { name: "Authorization", valueFrom: { secretKeyRef: { name: "token", key: "value" } } },
      { name: "Host", value: "other.example.com" },
    ];
    await run({ url: origin, method: "PUT", headers, body: "text" });
    const last = seen.at(-1);
    assert.equal(last?.method, "PUT");
    assert.equal(last.body, "text");
    assert.equal(last.headers["x-plain"], "a");
    assert.equal(last.headers.authorization, "team/token/value");
    assert.equal(last.headers.host, "other.example.com");
    await run({
      url: origin,
      method: "POST",
      bodyFrom: { bytes: Buffer.from("bytes").toString("base64") },
    });
    assert.equal(seen.at(-1)?.body, "bytes");
    const missing = await run({
      url: origin,
      headers: [{ name: "A", valueFrom: { secretKeyRef: { name: "none", key: "x" } } }],
    });
    assert.equal(missing.phase, "Failed");
    assert.match(missing.message ?? "", /"none" not found/);
  });

  test("succeed by their condition over request and response", async () => {
    answer = (_request, response) =>
      void response.writeHead(503, { "Content-Type": "text/plain" }).end("retry later");
    const condition = (text: string): Promise<NodeResult> =>
      run({ url: origin, method: "POST", body: "x", successCondition: text });
    assert.equal((await condition("response.statusCode == 503")).phase, "Succeeded");
    assert.equal(
      (await condition('response.body contains "later" && request.method == "POST"')).phase,
      "Succeeded",
    );
    assert.equal(
      (await condition('response.headers["Content-Type"][0] == "text/plain"')).phase,
      "Succeeded",
    );
    const wrong = await condition("response.statusCode == 200");
    assert.deepEqual(
      [wrong.phase, wrong.message],
      ["Failed", "successCondition 'response.statusCode == 200' evaluated false"],
    );
    assert.equal((await condition("response.statusCode")).phase, "Failed");
    assert.equal((await condition("nothing like it(")).phase, "Failed");
  });

  test("end at their time, when they are called off, and when the connection is refused or cut", async () => {
    answer = () => undefined;
    const late = await run({ url: origin, timeoutSeconds: 1 });
    assert.deepEqual([late.phase, late.message], ["Failed", "The request took longer than 1 s"]);
    const stop = new AbortController();
    const running = run({ url: origin }, stop.signal);
    setTimeout(() => stop.abort(), 50);
    assert.equal((await running).phase, "Error");
    answer = (request) => void request.socket.destroy();
    assert.match((await run({ url: origin })).message ?? "", /the connection was cut off/);
    answer = (request, response) => {
      response.writeHead(200, { "content-length": "100" }).write("half");
      setTimeout(() => request.socket.destroy(), 20);
    };
    assert.match((await run({ url: origin })).message ?? "", /broke off/);
    assert.match((await run({ url: "http://127.0.0.1:1/" })).message ?? "", /refused/);
    assert.match((await run({ url: "file:///etc/passwd" })).message ?? "", /no http or https URL/);
  });

  test("follow redirects, ten of them, and keep what is secret from other hosts", async () => {
    answer = (request, response) => {
      if (request.url === "/end") response.end("there");
      else response.writeHead(302, { location: "/end" }).end();
    };
    const result = await run({ url: origin, method: "POST", body: "x" });
    assert.equal(result.outputs?.result, "there");
    assert.deepEqual([seen.at(-1)?.method, seen.at(-1)?.body], ["GET", ""]);
    const port = new URL(origin).port;
    answer = (request, response) => {
      if (request.headers.host?.startsWith("localhost")) response.end();
      else response.writeHead(307, { location: `http://localhost:${port}/` }).end();
    };
    await run({
      url: origin,
      headers: [
        { name: "Authorization", value: "secret" },
        { name: "X-A", value: "b" },
      ],
    });
    assert.equal(seen.at(-1)?.headers.authorization, undefined);
    assert.equal(seen.at(-1)?.headers["x-a"], "b");
    answer = (_request, response) => void response.writeHead(302, { location: "/again" }).end();
    assert.match((await run({ url: origin })).message ?? "", /10 redirects/);
    answer = (_request, response) =>
      void response.writeHead(302, { location: "http://169.254.169.254/latest" }).end();
    assert.match((await run({ url: origin })).message ?? "", /169\.254\.169\.254.*address is/);
  });

  test("take no endless response", async () => {
    answer = (_request, response) => {
      const write = (): void => {
        while (response.write(Buffer.alloc(65_536)) && !response.destroyed);
      };
      response.on("drain", write);
      write();
    };
    assert.match((await run({ url: origin })).message ?? "", /more than 8388608 bytes/);
  });
});

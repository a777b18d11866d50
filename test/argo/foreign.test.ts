import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createForeignSteps, type NodeResult } from "../../src/argo/mod.ts";

type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void;

describe("plugins of others", () => {
  const seen: {
    readonly url: string;
    readonly authorization: string | undefined;
    readonly body: string;
  }[] = [];
  let answer: Answer = () => undefined;
  let count = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      seen.push({
        url: request.url ?? "",
        authorization: request.headers.authorization,
        body: Buffer.concat(chunks).toString(),
      });
      answer(request, response, (count += 1));
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

  const template = { name: "t", plugin: { kfp: { a: "b" } } };
  const run = (reply: Answer, signal = new AbortController().signal): Promise<NodeResult> => {
    answer = reply;
    count = 0;
    const tokenFile = join(mkdtempSync(join(tmpdir(), "atalanta-foreign-")), "token");
    writeFileSync(tokenFile, "t0ken\n");
    const steps = createForeignSteps([{ key: "kfp", url: new URL(origin), tokenFile }], {
      firstWaitMs: 10,
    });
    assert(steps.accepts(template));
    assert(!steps.accepts({ plugin: { other: {} } }));
    return steps.execute(
      { workflow: { namespace: "team", name: "wf", uid: "u" }, nodeId: "n", template },
      { signal },
    );
  };
  const json =
    (value: unknown): Answer =>
    (_request, response) =>
      void response.end(JSON.stringify(value));

  test("are asked with the workflow, the template and their token", async () => {
    const outputs = { result: "x", parameters: [{ name: "p", value: "1" }] };
    const result = await run(json({ node: { phase: "Succeeded", message: "done", outputs } }));
    assert.deepEqual(result, { phase: "Succeeded", message: "done", outputs });
    assert.equal(seen.at(-1)?.url, "/api/v1/template.execute");
    assert.equal(seen.at(-1)?.authorization, "Bearer t0ken");
    assert.deepEqual(JSON.parse(seen.at(-1)?.body ?? ""), {
      workflow: { metadata: { name: "wf", namespace: "team", uid: "u" } },
      template,
    });
  });

  test("are asked again when they say so, with the same words", async () => {
    const result = await run(
      (_request, response, time) =>
        void response.end(
          JSON.stringify(
            time < 3
              ? { node: { phase: "Running" }, requeue: "100ms" }
              : { node: { phase: "Failed", message: "after all" } },
          ),
        ),
    );
    assert.deepEqual([result.phase, result.message, count], ["Failed", "after all", 3]);
    assert.equal(seen.at(-1)?.body, seen.at(-3)?.body);
  });

  test("fail a step that is not theirs, and answers that cannot be", async () => {
    for (const reply of [
      json({}),
      json({ node: null }),
      (_request: IncomingMessage, response: ServerResponse) => void response.writeHead(404).end(),
    ]) {
      assert.equal((await run(reply)).message, "no plugin executed the template");
    }
    assert.match(
      (await run((_request, response) => void response.writeHead(400).end("bad"))).message ?? "",
      /^400: bad$/,
    );
    assert.equal(count, 1);
    assert.match(
      (await run((_request, response) => void response.end("{"))).message ?? "",
      /no JSON/,
    );
    assert.match((await run(json({ node: { phase: "Done" } }))).message ?? "", /phase "Done"/);
  });

  test("are tried five times while they are not there, and whoever calls off is not kept waiting", async () => {
    const busy = await run((_request, response) => void response.writeHead(503).end("starting"));
    assert.deepEqual([busy.phase, busy.message, count], ["Failed", "503: starting", 5]);
    const late = await run((request, response, time) => {
      if (time < 3) request.socket.destroy();
      else response.end(JSON.stringify({ node: { phase: "Succeeded" } }));
    });
    assert.deepEqual([late.phase, count], ["Succeeded", 3]);
    const stop = new AbortController();
    const running = run(() => undefined, stop.signal);
    setTimeout(() => stop.abort(), 50);
    assert.equal((await running).phase, "Failed");
  });
});

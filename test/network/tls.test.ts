import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { createServer as createPlain } from "node:net";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { after, before, describe, test } from "node:test";
import { failureOf, fetchText, Host, ok, open } from "./host.ts";

const read = (name: string): string => readFileSync(join(import.meta.dirname, "tls", name), "utf8");
const authorities = [...rootCertificates, read("authority.pem")];
const names: (string | false | null | undefined)[] = [];
let server: Server;
let port = 0;

before(async () => {
  server = createServer({ key: read("host.key"), cert: read("host.pem") }, (request, response) => {
    response.end(`${request.headers.host}`);
  });
  server.on("secureConnection", (socket) => names.push(socket.servername));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  port = typeof address === "object" ? (address?.port ?? 0) : 0;
});
after(() => new Promise((done) => server.close(done)));

describe("TLS", () => {
  test("a host is known by its name, which it is also asked for, whatever address was connected to", async () => {
    using passage = await open({ authorities });
    const { body } = await fetchText(passage, `https://a.example:${port}/`);
    assert.equal(body, `a.example:${port}`);
    assert.equal(names.at(-1), "a.example");
    assert.equal(
      (await fetchText(passage, `https://127.0.0.1:${port}/`)).body,
      `127.0.0.1:${port}`,
    );
  });

  test("a certificate of an unknown authority is refused, and the failure says where to name it", async () => {
    using passage = await open();
    const failure = await failureOf(fetchText(passage, `https://a.example:${port}/`));
    assert.equal(failure.code, "network-failed");
    assert.match(
      failure.message,
      /certificate or its TLS is not accepted \(UNABLE_TO_VERIFY_LEAF_SIGNATURE\)$/,
    );
    assert.match(failure.hint ?? "", /caFile/);
  });

  test("a certificate of another name is refused", async () => {
    using passage = await open({ authorities });
    const failure = await failureOf(fetchText(passage, `https://b.example:${port}/`));
    assert.match(failure.message, /ERR_TLS_CERT_ALTNAME_INVALID/);
  });

  test("a host that speaks no TLS, or another one, is a failure of the network", async () => {
    await using plain = await Host.start(() => ok("x"));
    using passage = await open({ authorities });
    const spoken = await failureOf(
      fetchText(passage, `https://a.example:${plain.port}/`, { timeoutMs: 1000 }),
    );
    assert.match(spoken.code, /^network-(?:failed|timeout)$/);
    const noise = createPlain((socket) => {
      socket.on("error", () => undefined);
      socket.resume();
      socket.end("HTTP/1.1 400 Bad\r\n\r\n");
    });
    await new Promise<void>((done) => noise.listen(0, "127.0.0.1", done));
    const address = noise.address();
    const failure = await failureOf(
      fetchText(passage, `https://a.example:${typeof address === "object" ? address?.port : 0}/`),
    );
    assert.equal(failure.code, "network-failed");
    await new Promise((done) => noise.close(done));
  });

  test("plain HTTP to a port that speaks TLS fails, and sends no secret on", async () => {
    using passage = await open({ authorities });
    const failure = await failureOf(
      fetchText(passage, `http://a.example:${port}/`, { timeoutMs: 1000 }),
    );
    assert.match(failure.code, /^network-(?:failed|timeout)$/);
  });
});

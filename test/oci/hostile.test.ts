import assert from "node:assert/strict";
import { createServer, type Server, type Socket } from "node:net";
import { describe, test } from "node:test";
import { openRegistry, parseReference, type Credentials } from "../../src/oci/mod.ts";
import { StandInRegistry } from "../servers/registry.ts";
import { failed, newPath, quick, someBytes } from "./setting.ts";

/** A server that answers every connection with the same bytes, however it is asked. */
async function raw(answer: (socket: Socket) => void): Promise<AsyncDisposable & { host: string }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("data", () => answer(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    host: `127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function pull(host: string): Promise<string> {
  await using registry = openRegistry({ ...quick, retries: { attempts: 1 } });
  return (await registry.manifest(parseReference(`${host}/acme/step:1`))).digest;
}

const ok = "HTTP/1.1 200 OK\r\n";

describe("A hostile registry", () => {
  for (const [what, head, message] of [
    [
      "headers without an end",
      `${ok}X: ${"x".repeat(100_000)}`,
      /its headers have more than 65536 bytes/,
    ],
    [
      "two lengths",
      `${ok}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`,
      /does not speak HTTP\/1\.1/,
    ],
    ["a length that is none", `${ok}Content-Length: -1\r\n\r\n`, /does not speak HTTP\/1\.1/],
    [
      "another protocol",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
      /it changed the protocol/,
    ],
    [
      "line ends in a header",
      "HTTP/1.1 200 OK\r\nX: a\r\r\nY: b\r\n\r\n",
      /does not speak HTTP\/1\.1/,
    ],
  ] as const) {
    test(`that sends ${what} is told, and costs nothing`, async () => {
      await using it = await raw((socket) => socket.write(head));
      await assert.rejects(pull(it.host), failed("registry-unavailable", message));
    });
  }

  test("that sends heads without an end before its answer holds nobody for ever", async () => {
    await using it = await raw((socket) => {
      const timer = setInterval(() => socket.write("HTTP/1.1 103 Early Hints\r\n\r\n"), 5);
      socket.on("close", () => clearInterval(timer));
    });
    await assert.rejects(
      pull(it.host),
      failed("registry-unavailable", /took longer than 400 ms to answer/),
    );
  });

  test("whose headers are built to be slow to read is read at once", async () => {
    const challenges = [
      `Bearer ${'a="'.repeat(10_000)}`,
      `Bearer realm="${"\\\\".repeat(15_000)}`,
      `Basic ${"a".repeat(30_000)} b`,
      "a ".repeat(15_000),
      `Bearer${" ".repeat(30_000)}x`,
      `${",".repeat(30_000)}Negotiate`,
    ];
    for (const challenge of challenges) {
      await using it = await raw((socket) => {
        const head = `HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: ${challenge}\r\n\r\n`;
        socket.write(head);
      });
      const begun = performance.now();
      await assert.rejects(pull(it.host), failed("registry-refused", /./));
      assert(performance.now() - begun < 300, challenge.slice(0, 20));
    }
  });

  test("whose list of tags goes on for ever is left", async () => {
    const body = JSON.stringify({ tags: Array.from({ length: 5000 }, (_, index) => `v${index}`) });
    const link = `Link: </v2/acme/step/tags/list?again>; rel="next", ${"<".repeat(20_000)}`;
    await using it = await raw((socket) => {
      const send = (): boolean =>
        socket.write(`${ok}Content-Length: ${body.length}\r\n${link}\r\n\r\n${body}`);
      send();
      socket.on("data", send);
    });
    await using registry = openRegistry(quick);
    await assert.rejects(
      registry.tags(parseReference(`${it.host}/acme/step`)),
      failed("image-invalid", /lists more than 100000 entries/),
    );
  });

  test("that goes on with a list at another host is left", async () => {
    await using it = await raw((socket) => {
      const link = 'Link: <http://127.0.0.1:1/v2/x>; rel="next"';
      socket.write(`${ok}Content-Length: 11\r\n${link}\r\n\r\n{"tags":[]}`);
    });
    await using registry = openRegistry(quick);
    await assert.rejects(
      registry.tags(parseReference(`${it.host}/acme/step`)),
      failed("registry-refused", /goes on with a list at 127\.0\.0\.1:1/),
    );
  });

  test("that sends an upload elsewhere does not send the login there", async () => {
    await using other = await StandInRegistry.start({
      fault: () => ({ kind: "answer", status: 403 }),
    });
    await using it = await StandInRegistry.start({
      access: { kind: "bearer", users: { ada: "long enough" } },
      fault: ({ method, headers }) =>
        method === "POST" && headers.authorization !== undefined
          ? { kind: "answer", status: 202, headers: { location: `${other.origin}/upload?state=x` } }
          : undefined,
    });
    const credentials: Credentials = {
      find: async () => ({ kind: "basic", username: "ada", password: "long enough" }),
    };
    await using registry = openRegistry({ ...quick, credentials });
    await assert.rejects(
      registry.pushBlob(parseReference(`${it.host}/acme/step:1`), { bytes: someBytes(10) }),
      failed(
        "registry-refused",
        new RegExp(`${other.host}, where ${it.host} sends us, answered 403`),
      ),
    );
    assert.deepEqual(
      other.seen.map(({ method, headers }) => [method, headers.authorization]),
      [
        ["PUT", undefined],
        ["DELETE", undefined],
      ],
    );
  });

  test("cannot make a blob's bytes be written anywhere else", async () => {
    await using it = await raw((socket) => {
      socket.write(
        `${ok}Content-Length: 5\r\nContent-Disposition: attachment; filename=/tmp/x\r\n\r\nhello`,
      );
    });
    await using registry = openRegistry(quick);
    await assert.rejects(
      registry.blob(
        parseReference(`${it.host}/acme/step:1`),
        { digest: `sha256:${"0".repeat(64)}`, size: 5 },
        { path: newPath() },
      ),
      failed("image-invalid", /sent bytes with the digest sha256:2cf24d/),
    );
  });
});

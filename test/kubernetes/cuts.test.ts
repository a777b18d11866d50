import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { clusterFrom, type Cluster, type Kind, type KubeObject } from "../../src/kubernetes/mod.ts";

const configMaps: Kind = { group: "", version: "v1", plural: "configmaps", namespaced: true };
const folder = mkdtempSync(join(tmpdir(), "atalanta-cuts-"));
after(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function clusterAt(url: string): Promise<Cluster> {
  files += 1;
  const kubeconfig = join(folder, `${files}.yaml`);
  const one = {
    name: "x",
    cluster: { server: url },
    context: { cluster: "x", user: "x" },
    user: {},
  };
  const { name, cluster, context, user } = one;
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      "current-context": name,
      clusters: [{ name, cluster }],
      contexts: [{ name, context }],
      users: [{ name, user }],
    }),
  );
  return clusterFrom({ kubeconfig, environment: {} });
}

function object(name: string, version: number, text = ""): KubeObject {
  return {
    metadata: { name, namespace: "n", resourceVersion: String(version), annotations: { text } },
  };
}

interface Event {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: KubeObject;
}

const first: readonly KubeObject[] = [object("a", 8), object("b", 9, "größer 🎉")];
const events: readonly Event[] = [
  { type: "ADDED", object: object("c", 11, "ü".repeat(10)) },
  { type: "MODIFIED", object: object("a", 12, "🎉") },
  { type: "BOOKMARK", object: { metadata: { resourceVersion: "13" } } },
  { type: "DELETED", object: object("b", 14) },
  { type: "ADDED", object: object("d", 15, "x") },
];
const told = ["+a8", "+b9", "+c11", "~a12", "-b9", "+d15"];

function versionOf({ object: { metadata } }: Event): number {
  return Number(metadata.resourceVersion);
}

function bodyOf(all: readonly Event[]): Buffer {
  return Buffer.from(all.map((event) => `${JSON.stringify(event)}\n`).join(""));
}

function chunked(body: Buffer, ends = false): Buffer {
  const head =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
  const chunk = body.length === 0 ? "" : `${body.length.toString(16)}\r\n`;
  return Buffer.concat([
    Buffer.from(head + chunk),
    body,
    Buffer.from(body.length === 0 ? "" : "\r\n"),
    Buffer.from(ends ? "0\r\n\r\n" : ""),
  ]);
}

function listOf(items: readonly KubeObject[], version: number): Buffer {
  const body = Buffer.from(
    JSON.stringify({
      kind: "ConfigMapList",
      metadata: { resourceVersion: String(version) },
      items,
    }),
  );
  const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** Answers each connection's one request with bytes, and cuts the connection off then unless it is to stay. */
class RawServer implements AsyncDisposable {
  readonly server: Server;
  readonly #sockets = new Set<Socket>();
  requests: string[] = [];

  constructor(answer: (path: string) => { readonly bytes: Buffer; readonly stays?: boolean }) {
    this.server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => undefined);
      let seen = "";
      socket.on("data", (data) => {
        seen += data.toString();
        if (!seen.includes("\r\n\r\n")) return;
        const path = seen.split(" ")[1] ?? "";
        seen = "";
        this.requests.push(path);
        const { bytes, stays = false } = answer(path);
        socket.write(bytes, () => {
          if (!stays) socket.destroy();
        });
      });
    });
  }

  async listen(): Promise<string> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((done) => this.server.close(done));
  }
}

/** What a follower tells of a server, until it has told the last of it. */
async function follow(
  answer: ConstructorParameters<typeof RawServer>[0],
  last = "+d15",
): Promise<{ readonly changes: readonly string[]; readonly requests: number }> {
  await using server = new RawServer(answer);
  await using cluster = await clusterAt(await server.listen());
  const changes: string[] = [];
  const done = Promise.withResolvers<void>();
  const short = ({ metadata: { name, resourceVersion } }: KubeObject): string =>
    `${name}${resourceVersion}`;
  await using following = cluster.follow(configMaps, {
    namespace: "n",
    onChange: (now, before) => {
      changes.push(now ? `${before ? "~" : "+"}${short(now)}` : before ? `-${short(before)}` : "?");
      if (changes.at(-1) === last) done.resolve();
    },
    onTrouble: () => undefined,
  });
  following.ready.catch(() => undefined);
  const late = setTimeout(
    () => done.reject(new Error(`stuck at ${changes.join()}: ${server.requests.join(" ")}`)),
    30_000,
  );
  await done.promise;
  clearTimeout(late);
  // What is told twice would come now.
  await sleep(20);
  return { changes, requests: server.requests.length };
}

async function each(
  count: number,
  atOnce: number,
  work: (at: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let at = next; at < count; at = next) {
        next += 1;
        await work(at);
      }
    }),
  );
}

const isWatch = (path: string): boolean => path.includes("watch=true");
const from = (path: string): number =>
  Number(new URL(path, "http://x").searchParams.get("resourceVersion"));

describe("a list that is followed", { concurrency: false }, () => {
  test("is true in the end, and each change is told once, wherever its watch is cut off", async () => {
    const whole = chunked(bodyOf(events));
    await each(whole.length + 1, 48, async (at) => {
      let watches = 0;
      const { changes, requests } = await follow((path) => {
        if (!isWatch(path)) return { bytes: listOf(first, 10), stays: true };
        watches += 1;
        if (watches === 1) return { bytes: whole.subarray(0, at) };
        return {
          bytes: chunked(bodyOf(events.filter((event) => versionOf(event) > from(path)))),
          stays: true,
        };
      });
      assert.deepEqual(changes, told, `cut after ${at} bytes`);
      assert(requests <= 4, `${requests} requests for a cut after ${at} bytes`);
    });
  });

  test("is true in the end wherever its list is cut off", async () => {
    const whole = listOf(first, 10);
    await each(whole.length, 48, async (at) => {
      let lists = 0;
      const { changes } = await follow((path) => {
        if (isWatch(path))
          return {
            bytes: chunked(bodyOf(events.filter((event) => versionOf(event) > from(path)))),
            stays: true,
          };
        lists += 1;
        return lists === 1 ? { bytes: whole.subarray(0, at) } : { bytes: whole, stays: true };
      });
      assert.deepEqual(changes, told, `cut after ${at} bytes`);
    });
  });

  test("begins anew where the server has forgotten what it is asked for, in its answer or in the stream, also cut off in that", async () => {
    const gone = {
      kind: "Status",
      code: 410,
      reason: "Expired",
      message: "too old resource version",
    };
    const stream = chunked(
      Buffer.from(`${JSON.stringify({ type: "ERROR", object: gone })}\n`),
      true,
    );
    const body = JSON.stringify(gone);
    const answer = Buffer.from(
      `HTTP/1.1 410 Gone\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    for (const refusal of [stream, answer]) {
      await each(refusal.length + 1, 48, async (at) => {
        let watches = 0;
        let lists = 0;
        const { changes } = await follow((path) => {
          if (!isWatch(path)) {
            lists += 1;
            const now = [object("a", 12, "🎉"), object("c", 11), object("d", 15)];
            return { bytes: lists === 1 ? listOf(first, 10) : listOf(now, 20), stays: true };
          }
          watches += 1;
          if (watches === 1) return { bytes: refusal.subarray(0, at) };
          // A server that has forgotten says so again.
          if (from(path) < 20) return { bytes: refusal };
          return { bytes: chunked(Buffer.alloc(0)), stays: true };
        }, "-b9");
        assert.deepEqual([...changes].toSorted(), [...told].toSorted(), `cut after ${at} bytes`);
      });
    }
  });

  test("survives answers that are no answers", async () => {
    const ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    const bad = [
      "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
      `${ok}transfer-encoding: chunked\r\n\r\nzz\r\nhello`,
      `${ok}content-length: 2\r\n\r\n[]`,
      `${ok}content-length: 4\r\n\r\nnull`,
      `${ok}transfer-encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n`,
      "garbage\r\n\r\n",
      "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
      "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    ];
    await each(bad.length * 2, 8, async (at) => {
      const text = bad[Math.floor(at / 2)] ?? "";
      let asked = 0;
      const { changes } = await follow((path) => {
        if (isWatch(path) === (at % 2 === 0)) {
          asked += 1;
          if (asked === 1) return { bytes: Buffer.from(text) };
        }
        if (!isWatch(path)) return { bytes: listOf(first, 10), stays: true };
        return {
          bytes: chunked(bodyOf(events.filter((event) => versionOf(event) > from(path)))),
          stays: true,
        };
      });
      assert.deepEqual(changes, told, text);
    });
  });
});

describe("a server that has too much to do", () => {
  async function storm(
    headers: Readonly<Record<string, string>>,
    work: (cluster: Cluster, over: () => void, asked: () => number) => Promise<void>,
  ): Promise<void> {
    let busy = true;
    let requests = 0;
    const server = createHttpServer((_request, response) => {
      requests += 1;
      if (busy) response.writeHead(429, headers).end();
      else response.writeHead(200).end(JSON.stringify(object("a", 1)));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      await using cluster = await clusterAt(url);
      await work(
        cluster,
        () => (busy = false),
        () => requests,
      );
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  test("is asked again after the time that it names, and not sooner", async () => {
    await storm({ "retry-after": "1" }, async (cluster, over, asked) => {
      const asking = cluster.get(configMaps, "a", { namespace: "n" });
      await sleep(700);
      assert.equal(asked(), 1);
      over();
      assert.equal((await asking).metadata.name, "a");
      assert.equal(asked(), 2);
    });
  });

  test("is not asked more and more while it turns everybody away, and each question is answered in the end or fails", async () => {
    await storm({}, async (cluster, over, asked) => {
      const asking = Array.from({ length: 50 }, () =>
        cluster.get(configMaps, "a", { namespace: "n" }).then(
          () => "answered",
          (thrown: unknown) => String(thrown),
        ),
      );
      await sleep(1000);
      const during = asked();
      assert(during >= 50 && during <= 50 * 6, `${during} requests of 50 questions in a second`);
      over();
      for (const end of await Promise.all(asking)) assert.match(end, /answered|429/);
    });
  });
});

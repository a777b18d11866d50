import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { describe, test } from "node:test";
import { Failure } from "../../src/errors/mod.ts";
import { openRegistry, parseReference, type RegistryOptions } from "../../src/oci/mod.ts";
import { StandInRegistry, type Fault } from "../servers/registry.ts";
import { failed, newPath, quick, someBytes } from "./setting.ts";

const bytes = someBytes(2_000_000);

/** A registry on a bad day. */
async function bad(
  fault: (count: number, url: string) => Fault | undefined,
): Promise<StandInRegistry> {
  const made = await StandInRegistry.start({ fault: ({ url = "" }, count) => fault(count, url) });
  made.putManifest("acme/step", "1", { schemaVersion: 2 });
  made.putBlob("acme/step", bytes);
  return made;
}

async function manifest(
  it: { readonly host: string },
  options = quick,
  signal?: AbortSignal,
): Promise<string> {
  await using registry = openRegistry(options);
  const reference = parseReference(`${it.host}/acme/step:1`);
  return (await registry.manifest(reference, { signal })).digest;
}

async function blob(
  it: StandInRegistry,
  options: RegistryOptions = quick,
  more: { readonly size?: number; readonly signal?: AbortSignal } = {},
): Promise<Buffer> {
  await using registry = openRegistry(options);
  const path = newPath();
  const { digest } = it.putBlob("acme/other", bytes);
  const wanted = { digest, size: more.size ?? bytes.length };
  try {
    await registry.blob(parseReference(`${it.host}/acme/step:1`), wanted, { path }, more);
  } catch (thrown) {
    assert(!existsSync(path), "nothing is left");
    throw thrown;
  }
  return readFileSync(path);
}

function answer(status: number, body = "", headers: Record<string, string> = {}): Fault {
  return { kind: "answer", status, body, headers };
}

describe("A registry that answers", () => {
  for (const [status, body, code, message, hint] of [
    [
      404,
      '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"1"}}]}',
      "image-not-found",
      /^Cannot get the manifest of "127\.0\.0\.1:\d+\/acme\/step:1": 127\.0\.0\.1:\d+ answered 404 \(MANIFEST_UNKNOWN: manifest unknown\)$/,
      /Is its name written right\?/,
    ],
    [
      403,
      '{"errors":[{"code":"DENIED"}]}',
      "registry-refused",
      /answered 403 \(DENIED\)$/,
      /no right to read there/,
    ],
    [400, "<html><body>Bad", "registry-refused", /answered 400$/, /plainHttp: false/],
    [
      400,
      '{"errors":[{"code":"NAME_INVALID"}]}',
      "registry-refused",
      /answered 400 \(NAME_INVALID\)$/,
      /^$/,
    ],
    [
      405,
      '{"message":"not\\u001b[31m here\\nat all"}',
      "registry-refused",
      /answered 405 \(not \[31m here at all\)$/,
      /^$/,
    ],
    [501, "", "registry-refused", /answered 501$/, /^$/],
  ] as const) {
    test(`${status} is not asked again: ${code}, ${body.slice(0, 40)}`, async () => {
      await using it = await bad(() => answer(status, body));
      await assert.rejects(manifest(it), failed(code, message, hint));
      assert.equal(it.seen.length, 1);
    });
  }

  for (const status of [408, 429, 500, 502, 503, 504]) {
    test(`${status} is asked again, and not for ever`, async () => {
      await using soon = await bad((count) => (count < 2 ? answer(status) : undefined));
      assert.match(await manifest(soon), /^sha256:/);
      await using never = await bad(() =>
        answer(status, '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'),
      );
      await assert.rejects(
        manifest(never),
        failed(
          "registry-unavailable",
          new RegExp(`answered ${status} \\(TOOMANYREQUESTS: slow down\\)$`),
        ),
      );
      assert.equal(never.seen.length, 3);
    });
  }

  test("with Retry-After is left alone for that time", async () => {
    await using it = await bad((count) =>
      count === 0 ? answer(429, "", { "retry-after": "1" }) : undefined,
    );
    const begun = performance.now();
    await manifest(it);
    assert(performance.now() - begun > 990);
  });

  test("with a Retry-After that is too long is told at once", async () => {
    for (const value of ["3600", new Date(Date.now() + 3_600_000).toUTCString()]) {
      await using it = await bad(() => answer(429, "", { "retry-after": value }));
      await assert.rejects(
        manifest(it),
        failed(
          "registry-unavailable",
          /answered 429$/,
          /Come back later, or log in with docker login/,
        ),
      );
      assert.equal(it.seen.length, 1);
    }
  });

  for (const [what, fault, message] of [
    [
      "a page of HTML",
      answer(200, "<!doctype html><title>Sign in to the network</title>", {
        "content-type": "text/html",
      }),
      /sent a page of HTML instead of a manifest: <!doctype html><title>Sign in/,
    ],
    [
      "something else",
      answer(200, "no manifest", { "content-type": "text/plain" }),
      /sent 11 bytes of "text\/plain" that are no JSON object instead of a manifest: no manifest/,
    ],
    [
      "docker's first schema",
      answer(200, '{"schemaVersion":1,"name":"x"}', {
        "content-type": "application/vnd.docker.distribution.manifest.v1+prettyjws",
      }),
      /sent a manifest of docker's schema 1 \(application\/vnd\.docker\.distribution\.manifest\.v1\+prettyjws\)/,
    ],
    [
      "too much",
      answer(200, "x".repeat(4 * 1024 * 1024 + 1)),
      /sends more than 4194304 bytes; 4194304 may be/,
    ],
    [
      "a length of too much",
      answer(200, "", { "content-length": "4194305" }),
      /sends 4194305 bytes; 4194304 may be/,
    ],
  ] as const) {
    test(`with ${what} instead of a manifest is refused`, async () => {
      await using it = await bad(() => fault);
      await assert.rejects(manifest(it), failed("image-invalid", message));
    });
  }

  test("with another manifest than a digest says is refused", async () => {
    await using it = await bad(() => answer(200, '{"schemaVersion":2}'));
    await using registry = openRegistry(quick);
    const reference = parseReference(`${it.host}/acme/step@sha256:${"0".repeat(64)}`);
    await assert.rejects(
      registry.manifest(reference),
      failed(
        "image-invalid",
        /sent a manifest with the digest sha256:[0-9a-f]{64} instead of sha256:0{64}/,
      ),
    );
  });

  test("without a digest in its headers is asked for the manifest", async () => {
    await using it = await StandInRegistry.start({ silent: true });
    const { digest } = it.putManifest("acme/step", "1", { schemaVersion: 2 });
    await using registry = openRegistry(quick);
    assert.equal(await registry.resolve(parseReference(`${it.host}/acme/step:1`)), digest);
  });

  test("says the type of a manifest in the manifest where its header says nothing", async () => {
    const mediaType = "application/vnd.oci.image.index.v1+json";
    await using it = await bad(() =>
      answer(200, JSON.stringify({ schemaVersion: 2, mediaType }), {
        "content-type": "application/json",
      }),
    );
    await using registry = openRegistry(quick);
    const got = await registry.manifest(parseReference(`${it.host}/acme/step:1`));
    assert.equal(got.mediaType, mediaType);
  });
});

describe("A connection", () => {
  test("that is cut is made again, and not for ever", async () => {
    await using soon = await bad((count) => (count < 2 ? { kind: "cut" } : undefined));
    assert.match(await manifest(soon), /^sha256:/);
    await using never = await bad(() => ({ kind: "cut" }));
    await assert.rejects(
      manifest(never),
      failed("registry-unavailable", /127\.0\.0\.1:\d+: the connection was cut off$/),
    );
  });

  test("that is refused is told", async () => {
    const port = await freePort();
    await assert.rejects(
      manifest({ host: `127.0.0.1:${port}` }),
      failed(
        "registry-unavailable",
        new RegExp(`127\\.0\\.0\\.1:${port}: the connection was refused$`),
      ),
    );
  });

  test("to a name that does not exist is not tried again", async () => {
    let asked = 0;
    const resolve = async (): Promise<readonly string[]> => {
      asked++;
      throw Object.assign(new Error("getaddrinfo ENOTFOUND"), { code: "ENOTFOUND" });
    };
    await assert.rejects(
      manifest({ host: "registry.example.com" }, { ...quick, resolve }),
      failed(
        "registry-unavailable",
        /registry\.example\.com: there is no host of this name/,
        /Is its name written right/,
      ),
    );
    assert.equal(asked, 1);
  });

  test("on which nothing is answered ends", async () => {
    await using it = await bad(() => ({ kind: "stall" }));
    await assert.rejects(
      manifest(it, { ...quick, timeouts: { headersMs: 100 } }),
      failed("registry-unavailable", /127\.0\.0\.1:\d+ took longer than 100 ms to answer$/),
    );
  });

  test("that is not made in its time ends", async () => {
    // A server that takes no TLS, and says nothing.
    const silent = createServer();
    const port = await listening(silent);
    const registries = new Map([[`127.0.0.1:${port}`, { plainHttp: false }]]);
    try {
      await assert.rejects(
        manifest(
          { host: `127.0.0.1:${port}` },
          { ...quick, registries, timeouts: { connectMs: 100 } },
        ),
        failed("registry-unavailable", /took longer than 100 ms to connect$/),
      );
    } finally {
      silent.close();
    }
  });

  test("to a host that does not speak HTTP is told", async () => {
    const other = createServer((socket) => socket.end("220 mail.example.com ESMTP\r\n"));
    const port = await listening(other);
    try {
      await assert.rejects(
        manifest({ host: `127.0.0.1:${port}` }),
        failed("registry-unavailable", /it does not speak HTTP\/1\.1/),
      );
    } finally {
      other.close();
    }
  });

  test("is kept for the next request", async () => {
    await using it = await bad(() => undefined);
    await using registry = openRegistry(quick);
    const reference = parseReference(`${it.host}/acme/step:1`);
    const connections = new Set<number | undefined>();
    it.onRequest = ({ socket }) => connections.add(socket.remotePort);
    await registry.resolve(reference);
    await registry.manifest(reference);
    await registry.manifest(reference);
    assert.equal(connections.size, 1);
  });

  test("that the registry closed meanwhile costs nothing", async () => {
    await using it = await bad(() => undefined);
    await using registry = openRegistry({ ...quick, retries: { attempts: 1 } });
    const reference = parseReference(`${it.host}/acme/step:1`);
    await registry.manifest(reference);
    it.closeConnections();
    await registry.manifest(reference);
  });
});

describe("A blob", () => {
  test("that is cut again and again is fetched as long as there is progress", async () => {
    await using it = await bad((_, url) =>
      url.includes("/blobs/") ? { kind: "cut", afterBytes: 400_000 } : undefined,
    );
    assert((await blob(it)).equals(bytes));
    assert(it.seen.length >= 5, String(it.seen.length));
  });

  test("that is cut without progress is given up", async () => {
    await using it = await bad(() => ({ kind: "cut", afterBytes: 1000 }));
    await assert.rejects(
      blob(it),
      failed(
        "registry-unavailable",
        /^Cannot get the blob sha256:\w+ of "127\.0\.0\.1:\d+\/acme\/step:1": 127\.0\.0\.1:\d+: the connection was cut off$/,
      ),
    );
    assert.equal(it.seen.length, 3);
  });

  test("is fetched from the beginning where a registry has no parts of blobs", async () => {
    await using it = await StandInRegistry.start({
      ranges: false,
      fault: (_, count) => (count === 0 ? { kind: "cut", afterBytes: 900_000 } : undefined),
    });
    it.putBlob("acme/step", bytes);
    assert((await blob(it)).equals(bytes));
    assert.deepEqual(
      it.seen.map(({ status }) => status),
      [200, 200],
    );
  });

  test("is fetched from the beginning when it is another one after a cut", async () => {
    await using it = await bad((count, url) =>
      url.includes("/blobs/") && count === 0 ? { kind: "cut", afterBytes: 900_000 } : undefined,
    );
    // A cache before the registry that has damaged bytes, and takes them back.
    it.onRequest = ({ headers }) => {
      if (headers.range === undefined) return;
      it.options = { fault: () => undefined };
    };
    assert((await blob(it)).equals(bytes));
  });

  for (const [what, status, headers] of [
    ["says that there is no such part", 416, {}],
    ["sends another part", 206, { "content-range": "bytes 0-999/2000000" }],
    ["sends a part of something else", 206, { "content-range": "bytes 900000-1999998/1999999" }],
    ["does not say which part it sends", 206, {}],
  ] as const) {
    test(`is fetched from the beginning when a registry ${what}`, async () => {
      let requests = 0;
      await using it = await bad((_, url) => {
        if (!url.includes("/blobs/")) return undefined;
        requests++;
        if (requests === 1) return { kind: "cut", afterBytes: 900_000 };
        return requests === 2 ? answer(status, "x".repeat(1000), headers) : undefined;
      });
      assert((await blob(it)).equals(bytes));
      assert.deepEqual(
        it.seen.map((one) => one.headers.range === undefined),
        [true, false, true],
      );
    });
  }

  test("of which parts are refused is not fetched from its beginning for ever", async () => {
    await using it = await bad((count, url) => {
      if (!url.includes("/blobs/")) return undefined;
      return count % 2 === 0 ? { kind: "cut", afterBytes: 900_000 } : answer(416);
    });
    await assert.rejects(blob(it), failed("registry-unavailable", /cut off|answered 416/));
    assert(it.seen.length < 10, String(it.seen.length));
  });

  test("put together from damaged pieces is fetched once more from the beginning", async () => {
    let requests = 0;
    await using it = await bad((_, url) => {
      if (!url.includes("/blobs/")) return undefined;
      requests++;
      if (requests === 1) return { kind: "cut", afterBytes: 900_000 };
      return requests === 2 ? { kind: "corrupt" } : undefined;
    });
    assert((await blob(it)).equals(bytes));
    assert.deepEqual(
      it.seen.map(({ status }) => status),
      [200, 206, 200],
    );
  });

  test("with other bytes than its digest says is refused", async () => {
    await using it = await bad(() => ({ kind: "corrupt" }));
    await assert.rejects(
      blob(it),
      failed("image-invalid", /sent bytes with the digest sha256:\w+ instead of sha256:\w+$/),
    );
    assert.equal(it.seen.length, 1);
  });

  test("with another length than its manifest says is refused before it is read", async () => {
    await using it = await bad(() => undefined);
    await assert.rejects(
      blob(it, quick, { size: 1_999_999 }),
      failed("image-invalid", /has 2000000 bytes for a blob whose manifest says 1999999/),
    );
  });

  test("without a length and with more than its manifest says is refused while it is read", async () => {
    await using it = await bad(() => ({ kind: "endless" }));
    await assert.rejects(
      blob(it),
      failed("image-invalid", /sends more than the 2000000 bytes that the manifest says/),
    );
  });

  test("that stops coming is asked for again, from there", async () => {
    await using it = await bad((count, url) =>
      url.includes("/blobs/") && count === 0 ? { kind: "stall", afterBytes: 500_000 } : undefined,
    );
    assert((await blob(it)).equals(bytes));
    await using never = await bad(() => ({ kind: "stall", afterBytes: 500 }));
    await assert.rejects(
      blob(never),
      failed("registry-unavailable", /took longer than 300 ms for the next piece$/),
    );
  });

  test("that comes drop by drop is given up", async () => {
    await using it = await bad(() => ({ kind: "drip", everyMs: 20 }));
    await assert.rejects(
      blob(it),
      failed("registry-unavailable", /took longer than 300 ms for the next piece$/),
    );
  });

  test("without any bytes is a file without any", async () => {
    await using it = await bad(() => undefined);
    const empty = it.putBlob("acme/step", Buffer.alloc(0));
    await using registry = openRegistry(quick);
    const path = newPath();
    await registry.blob(parseReference(`${it.host}/acme/step:1`), empty, { path });
    assert.equal(readFileSync(path).length, 0);
  });

  test("with a digest or a size that is none is not asked for", async () => {
    await using registry = openRegistry(quick);
    const reference = parseReference("127.0.0.1:1/acme/step:1");
    for (const wrong of [
      { digest: "sha256:../../x", size: 1 },
      { digest: `sha256:${"0".repeat(64)}`, size: -1 },
      { digest: `sha256:${"0".repeat(64)}`, size: 1.5 },
    ]) {
      await assert.rejects(
        registry.blob(reference, wrong, { path: newPath() }),
        failed("image-invalid", /its digest or its size \(.*\) is none/),
      );
    }
  });

  test("does not touch a file that is there", async () => {
    await using it = await bad(() => undefined);
    await using registry = openRegistry(quick);
    const reference = parseReference(`${it.host}/acme/step:1`);
    const { digest } = it.putBlob("acme/step", bytes);
    const path = import.meta.filename;
    const before = readFileSync(path);
    await assert.rejects(
      registry.blob(reference, { digest, size: bytes.length }, { path }),
      failed("storage", /Cannot write .*EEXIST/),
    );
    assert(readFileSync(path).equals(before));
  });

  test("tells how far it is", async () => {
    await using it = await bad(() => undefined);
    await using registry = openRegistry(quick);
    const told: number[] = [];
    const { digest } = it.putBlob("acme/step", bytes);
    await registry.blob(
      parseReference(`${it.host}/acme/step:1`),
      { digest, size: bytes.length },
      { path: newPath() },
      { onProgress: (sofar) => told.push(sofar) },
    );
    assert.equal(told.at(-1), bytes.length);
    assert.deepEqual(
      told.toSorted((one, other) => one - other),
      told,
    );
  });
});

describe("Whoever waits for a registry can stop", () => {
  for (const [what, fault] of [
    ["for an answer", { kind: "stall" }],
    ["for a body", { kind: "stall", afterBytes: 10 }],
    ["for another attempt", answer(503, "", { "retry-after": "1" })],
  ] as const) {
    test(`waiting ${what}`, async () => {
      await using it = await bad(() => fault);
      const patient = { ...quick, timeouts: { headersMs: 5000, idleMs: 5000 } };
      for (const work of [
        manifest,
        (...args: [StandInRegistry, RegistryOptions, AbortSignal]) =>
          blob(args[0], args[1], { signal: args[2] }),
      ]) {
        const stop = new AbortController();
        const reason = new Failure("aborted", "enough");
        setTimeout(() => stop.abort(reason), 50);
        const begun = performance.now();
        await assert.rejects(work(it, patient, stop.signal), (thrown) => thrown === reason);
        assert(performance.now() - begun < 900);
      }
    });
  }

  test("by closing the client", async () => {
    await using it = await bad(() => ({ kind: "stall" }));
    const registry = openRegistry({ ...quick, timeouts: { headersMs: 5000 } });
    const waiting = registry.manifest(parseReference(`${it.host}/acme/step:1`));
    setTimeout(() => void registry[Symbol.asyncDispose](), 50);
    await assert.rejects(waiting, failed("aborted", /The registry client was closed/));
  });

  test("before it begins", async () => {
    await using it = await bad(() => undefined);
    const reason = new Failure("aborted", "enough");
    await assert.rejects(
      manifest(it, quick, AbortSignal.abort(reason)),
      (thrown) => thrown === reason,
    );
    assert.equal(it.seen.length, 0);
  });
});

function listening(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

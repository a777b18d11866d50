import assert from "node:assert/strict";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { after, describe, test, type TestContext } from "node:test";
import { defaultLimits } from "../../src/limits/mod.ts";
import { addressRules, loopbackAddresses } from "../../src/network/mod.ts";
import { openImages, openRegistry, type Registry } from "../../src/oci/mod.ts";
import { openStores, type S3Location, type Secret, type Stores } from "../../src/stores/mod.ts";
import { pushModule } from "./artifact.ts";
import type { FaultyFront } from "./faulty.ts";
import { givenServers, needs, type GivenS3 } from "./given.ts";
import { faultMatrix, randomOf, type MatrixOptions, type Operation } from "./matrix.ts";
import { StandInRegistry } from "./registry.ts";
import { askS3, begunUploads } from "./s3-client.ts";
import { startS3 } from "./s3.ts";

const seed = Number(process.env["ATALANTA_SEED"] ?? Date.now() % 1_000_000);
const base = mkdtempSync(join(tmpdir(), "atalanta-faults-"));
after(() => rmSync(base, { recursive: true, force: true }));

// What is lost is noticed soon, and tried again at once.
const retries = { firstMs: 1, attempts: 3, mostMs: 1500 };
const timeouts = { connectMs: 2000, headersMs: 400, idleMs: 400 };
/** A real server takes its time to put an object of parts together; when the order comes twice at once, versitygw's object is away for a moment. */
const patient = { ...timeouts, headersMs: 2000 };
const chance = randomOf(seed);
const random = (size: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: size }, () => chance() * 256));

function registryClient(login?: Login): Registry {
  const credentials = login && { find: async () => ({ kind: "basic", ...login }) as const };
  return openRegistry({
    loopback: true,
    retries,
    timeouts,
    ...(credentials ? { credentials } : {}),
  });
}

/** A module of 300 KB: an empty one with a section that nobody reads. */
function module(): Buffer {
  const content = Buffer.concat([Buffer.from([1, 0x78]), random(300_000)]);
  const size = [0x80 | (content.length & 127), 0x80 | ((content.length >> 7) & 127)];
  return Buffer.concat([
    Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 0, ...size, content.length >> 14]),
    content,
  ]);
}

const registryCodes = [
  "registry-unavailable",
  "registry-refused",
  "image-not-found",
  "image-invalid",
] as const;
let places = 0;

interface Login {
  readonly username: string;
  readonly password: string;
}

async function pulls(host: string, login?: Login): Promise<Operation> {
  const bytes = module();
  await using registry = registryClient(login);
  await pushModule(registry, `${host}/faults/pull:1`, bytes);
  let folder = "";
  return {
    target: `http://${host}`,
    bytes: bytes.length,
    codes: registryCodes,
    run: async (front: FaultyFront) => {
      folder = join(base, String(places++));
      await using images = await openImages({
        folder,
        registry: () => registryClient(login),
        limits: defaultLimits,
      });
      using image = await images.get(`${front.host}/faults/pull:1`);
      assert(bytes.equals(readFileSync(image.module.path)), "other bytes");
    },
    left: async () => globSync("partial/**/*", { cwd: folder }),
  };
}

function pushes(host: string, login?: Login): Operation {
  const target = `http://${host}`;
  return {
    target,
    bytes: 300_000,
    codes: registryCodes,
    run: async (front: FaultyFront) => {
      const bytes = module();
      const name = `faults/push${places++}`;
      await using registry = registryClient(login);
      await pushModule(registry, `${front.host}/${name}:1`, bytes);
      const accept = "application/vnd.oci.image.manifest.v1+json";
      const put = await fetch(`${target}/v2/${name}/manifests/1`, { headers: { accept } });
      const { layers } = (await put.json()) as {
        readonly layers: readonly { readonly digest: string }[];
      };
      const [layer] = layers;
      const blob = await fetch(`${target}/v2/${name}/blobs/${layer?.digest}`);
      assert(bytes.equals(Buffer.from(await blob.arrayBuffer())), "other bytes");
    },
    left: async () => [],
  };
}

const storeCodes = ["store-unavailable", "store-refused", "artifact-missing"] as const;
const text =
  (value: string): Secret =>
  async () =>
    Buffer.from(value);

function location(s3: GivenS3, host: string, key: string): S3Location {
  return {
    kind: "s3",
    endpoint: host,
    insecure: true,
    bucket: s3.bucket,
    key,
    credentials: { kind: "keys", accessKey: text(s3.accessKey), secretKey: text(s3.secretKey) },
  };
}

const staging = join(base, "staging");

function storesClient(waits = timeouts): Stores {
  const here = addressRules({ allowedAddresses: loopbackAddresses });
  const options = { reach: here, operatorReach: here, stagingFolder: staging };
  return openStores({ ...options, retries, timeouts: waits });
}

/** A folder of three files and one file that goes in two parts. */
async function gets(s3: GivenS3, sizes: readonly number[]): Promise<Operation> {
  const prefix = `faults/get${places++}`;
  const files = sizes.map((size) => random(size));
  for (const [at, body] of files.entries()) {
    const answer = await askS3(s3, { method: "PUT", key: `${prefix}/${at}`, body });
    assert.equal(answer.resume().statusCode, 200);
  }
  let folder = "";
  return {
    target: s3.endpoint,
    bytes: Math.max(...sizes),
    codes: storeCodes,
    run: async (front) => {
      folder = await mkdtemp(join(base, "get-"));
      await using stores = storesClient();
      const got = await stores.download(location(s3, front.host, prefix), folder);
      assert(got.kind === "directory");
      assert.equal(got.entries.length, files.length, "other files");
      for (const entry of got.entries) {
        assert(entry.kind === "file" && entry.content.kind === "slice");
        const { path, offset, size } = entry.content;
        const bytes = (await readFile(path)).subarray(offset, offset + size);
        assert(files[Number(entry.path)]?.equals(bytes), `other bytes in ${entry.path}`);
      }
      rmSync(folder, { recursive: true });
    },
    left: async () => [...globSync("**/*", { cwd: folder }), ...globSync("**/*", { cwd: staging })],
  };
}

function puts(
  s3: GivenS3,
  bytes: Buffer,
  begun: (key: string) => Promise<number>,
  waits = timeouts,
): Operation {
  let key = "";
  return {
    target: s3.endpoint,
    bytes: bytes.length,
    codes: storeCodes,
    run: async (front) => {
      key = `faults/put${places++}`;
      await using stores = storesClient(waits);
      const upload = stores.upload(location(s3, front.host, key), {
        kind: "file",
        content: { kind: "bytes", bytes },
      });
      const [{ status }] = await Promise.allSettled([upload]);
      // It is there whole or not at all, also when its answer was lost.
      const answer = await askS3(s3, { method: "GET", key });
      const there = await buffer(answer);
      if (answer.statusCode !== 404 || status === "fulfilled") {
        const said = `${answer.statusCode} with ${there.length} bytes`;
        assert(bytes.equals(there), `other bytes: ${said}: ${there.toString("latin1", 0, 300)}`);
      }
      await upload;
    },
    left: async (passed) => {
      const unreachable = passed.filter(({ fault }) => fault !== undefined).length > 1;
      // Nobody can end an upload of which he never learned, or when nothing gets through any more.
      const unknown = passed.some(
        ({ fault, url }) => fault !== undefined && url.includes("?uploads"),
      );
      if (unreachable || unknown) return [];
      const left = await begun(key);
      return left === 0 ? [] : [`${left} begun uploads`];
    },
  };
}

/** S3 has no checksum for a range of an object, so that a wrong byte in one is TCP's and TLS's to find. */
const ofRanges = (run: string): boolean => /^(?:a bit|blocks|a block)/.test(run);

/** Each body of an upload goes on the connection that was kept, so that a server that closes all of them wears its attempts out. */
const ofUploads = (run: string): boolean => run === "closed when idle, always";

async function check(
  t: TestContext,
  operation: Operation,
  options: Omit<MatrixOptions, "seed"> = {},
): Promise<void> {
  const start = performance.now();
  const runs = await faultMatrix(operation, { seed, ...options });
  const took = ((performance.now() - start) / 1000).toFixed(1);
  t.diagnostic(`${runs} runs in ${took} s, ATALANTA_SEED=${seed}`);
}

// They wait more than they work.
describe(
  "each fault at one request and at all of them, before a stand-in",
  { concurrency: 4 },
  () => {
    test("a pull gives the right bytes or says what is wrong", async (t) => {
      await using server = await StandInRegistry.start();
      await check(t, await pulls(server.host));
    });
    test("a push does as well", async (t) => {
      await using server = await StandInRegistry.start();
      await check(t, pushes(server.host));
    });
    test("an artifact from S3 does as well", async (t) => {
      await using server = await startS3();
      await check(t, await gets(standIn(server), [1000, 300_000, 0]));
    });
    test("an artifact to S3 does as well, in one piece and in two", async (t) => {
      await using server = await startS3();
      const begun = async (key: string): Promise<number> =>
        [...server.uploads.values()].filter((upload) => upload.key === key).length;
      await check(t, puts(standIn(server), random(100_000), begun), { except: ofUploads });
      await check(t, puts(standIn(server), random(17 * 1024 ** 2), begun), {
        most: 6,
        except: ofUploads,
      });
    });
  },
);

function standIn(server: Awaited<ReturnType<typeof startS3>>): GivenS3 {
  server.bucket("faults");
  return {
    endpoint: `http://${server.endpoint}`,
    region: server.region,
    bucket: "faults",
    accessKey: server.accessKey,
    secretKey: server.secretKey,
  };
}

describe("each fault at each request, before servers that others wrote", () => {
  for (const name of ["registry", "registryWithReferrers"] as const) {
    test(`a pull from the ${name}`, needs(name), async (t) => {
      await check(t, await pulls(givenServers()[name]?.host ?? ""), { whole: true });
    });
    test(`a push to the ${name}`, needs(name), async (t) => {
      await check(t, pushes(givenServers()[name]?.host ?? ""), { whole: true });
    });
  }
  for (const name of ["registryWithPassword", "registryWithTokens"] as const) {
    test(`a pull from the ${name}, with a login`, needs(name), async (t) => {
      const { host = "", user = "", password = "" } = givenServers()[name] ?? {};
      // Without its login, a request is answered as when its token has ended; but a login that is new and refused (request 1) is wrong.
      const passes = (run: string): boolean => /^the login is gone, at request [^1]/.test(run);
      await check(t, await pulls(host, { username: user, password }), { whole: true, passes });
    });
  }
  test("artifacts from S3 and to it", needs("s3"), async (t) => {
    const { s3 } = givenServers();
    assert(s3);
    const begun = async (key: string): Promise<number> => (await begunUploads(s3, key)).length;
    await check(t, await gets(s3, [1000, 300_000, 0]), { whole: true });
    await check(t, await gets(s3, [20 * 1024 ** 2]), { whole: true, except: ofRanges });
    await check(t, puts(s3, random(100_000), begun, patient), { whole: true, except: ofUploads });
    await check(t, puts(s3, random(17 * 1024 ** 2), begun, patient), {
      whole: true,
      except: ofUploads,
    });
  });
});

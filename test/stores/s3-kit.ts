// What the tests of S3 share: a server (the one that the environment names, or a stand-in), locations in it, and folders.
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addressRules, loopbackAddresses } from "../../src/network/mod.ts";
import {
  openStores,
  type Downloaded,
  type S3Location,
  type Secret,
  type Stores,
  type StoresOptions,
} from "../../src/stores/mod.ts";
import type { TreeEntry } from "../../src/wasi/mod.ts";
import { givenServers } from "../servers/given.ts";
import { startS3, type S3Server, type S3ServerOptions } from "../servers/s3.ts";

export const secret =
  (text: string): Secret =>
  async () =>
    Buffer.from(text);

export async function folder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "atalanta-stores-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export function stores(staging: string, options: Partial<StoresOptions> = {}): Stores {
  const here = addressRules({
    allowedAddresses: loopbackAddresses,
    // Not every system knows what is below localhost (RFC 6761).
    resolve: async () => ["127.0.0.1"],
  });
  return openStores({
    reach: here,
    operatorReach: here,
    stagingFolder: join(staging, "parts"),
    retries: { firstMs: 5 },
    ...options,
  });
}

export interface Places extends AsyncDisposable {
  readonly stores: Stores;
  /** For everything that is written. */
  readonly path: string;
  readonly at: (key: string, more?: Partial<S3Location>) => S3Location;
  /** A new empty folder. */
  readonly empty: () => Promise<string>;
  /** What a list of that key gives. */
  readonly keys: (key: string) => Promise<readonly string[]>;
}

export interface Kit extends Places {
  readonly server: S3Server;
}

function places(
  opened: Stores,
  { path, at }: { readonly path: string; readonly at: Places["at"] },
): Omit<Places, typeof Symbol.asyncDispose> {
  return {
    stores: opened,
    path,
    at,
    empty: () => mkdtemp(join(path, "to-")),
    keys: async (key) => (await Array.fromAsync(opened.list(at(key)))).map(({ key }) => key),
  };
}

/** A stand-in with a bucket. */
export async function kit(
  server: S3ServerOptions = {},
  options: Partial<StoresOptions> = {},
): Promise<Kit> {
  const running = await startS3(server);
  const place = await folder();
  running.bucket("artifacts");
  const opened = stores(place.path, options);
  const at: Places["at"] = (key, more = {}) => ({
    kind: "s3",
    endpoint: running.endpoint,
    ...(server.tls ? {} : { insecure: true }),
    bucket: "artifacts",
    key,
    credentials: {
      kind: "keys",
      accessKey: secret(running.accessKey),
      secretKey: secret(`${running.secretKey}\n`),
    },
    ...more,
  });
  return {
    ...places(opened, { path: place.path, at }),
    server: running,
    [Symbol.asyncDispose]: async () => {
      await opened[Symbol.asyncDispose]();
      await running[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}

/** A server that others wrote, below a prefix of this test's own: keys that come back have it taken off. */
export async function givenKit(): Promise<Places> {
  const { s3 } = givenServers();
  if (!s3) throw new Error("no s3 here");
  const url = new URL(s3.endpoint);
  const place = await folder();
  const opened = stores(place.path);
  const at: Places["at"] = (key, more = {}) => ({
    kind: "s3",
    endpoint: url.host,
    insecure: url.protocol === "http:",
    bucket: s3.bucket,
    region: s3.region,
    key: `${prefix}${key}`,
    credentials: {
      kind: "keys",
      accessKey: secret(s3.accessKey),
      secretKey: secret(s3.secretKey),
    },
    ...more,
  });
  const prefix = `${randomUUID()}/`;
  const given = places(opened, { path: place.path, at });
  return {
    ...given,
    keys: async (key) => (await given.keys(key)).map((found) => found.slice(prefix.length)),
    [Symbol.asyncDispose]: async () => {
      await opened.delete(at(""));
      await opened[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}

/** A file of a tree. */
export function textFile(path: string, text: string): Extract<TreeEntry, { kind: "file" }> {
  return { kind: "file", path, mode: 0o644, content: { kind: "bytes", bytes: Buffer.from(text) } };
}

export async function bytesOf(got: Downloaded): Promise<Buffer> {
  if (got.kind !== "file") throw new Error("it is a folder");
  return readFile(got.content.path);
}

/** What a folder holds: texts of files by their paths, and folders with a slash at the end. */
export async function contents(
  entries: readonly TreeEntry[],
): Promise<Readonly<Record<string, string>>> {
  const shown = entries.map(async (entry): Promise<readonly [string, string]> => {
    if (entry.kind !== "file") return [`${entry.path}/`, ""];
    const { content } = entry;
    return [
      entry.path,
      content.kind === "slice"
        ? await readFile(content.path, "utf8")
        : Buffer.from(content.bytes).toString(),
    ];
  });
  return Object.fromEntries(await Promise.all(shown));
}

export interface Answering extends AsyncDisposable {
  readonly url: string;
  readonly asked: string[];
}

/** A server by a function that answers: with a text, a status, or both. */
export async function answering(
  answer: (
    request: IncomingMessage,
    body: string,
  ) => string | number | { readonly status: number; readonly text: string },
): Promise<Answering> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      asked.push(`${request.method} ${request.url}`);
      const given = answer(request, body);
      const { status, text = "" } =
        typeof given === "object"
          ? given
          : typeof given === "number"
            ? { status: given }
            : { status: 200, text: given };
      response.writeHead(status).end(text);
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

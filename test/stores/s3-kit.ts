// What the tests of S3 share: a server (the one that the environment names, or a stand-in), locations in it, and folders.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addressRules, loopbackAddresses } from "../../src/network/mod.ts";
import {
  openStores,
  type S3Location,
  type Secret,
  type Stores,
  type StoresOptions,
} from "../../src/stores/mod.ts";
import type { TreeEntry } from "../../src/wasi/mod.ts";
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
  const here = addressRules({ allowedAddresses: loopbackAddresses });
  return openStores({
    reach: here,
    operatorReach: here,
    stagingFolder: join(staging, "parts"),
    retries: { firstMs: 5 },
    ...options,
  });
}

export interface Kit extends AsyncDisposable {
  readonly server: S3Server;
  readonly stores: Stores;
  /** For everything that is written. */
  readonly path: string;
  readonly at: (key: string, more?: Partial<S3Location>) => S3Location;
  /** A new empty folder. */
  readonly empty: () => Promise<string>;
}

export async function kit(
  server: S3ServerOptions = {},
  options: Partial<StoresOptions> = {},
): Promise<Kit> {
  const running = await startS3(server);
  const place = await folder();
  running.bucket("artifacts");
  const opened = stores(place.path, options);
  return {
    server: running,
    stores: opened,
    path: place.path,
    at: (key, more = {}) => ({
      kind: "s3",
      endpoint: running.endpoint,
      insecure: true,
      bucket: "artifacts",
      key,
      credentials: {
        kind: "keys",
        accessKey: secret(running.accessKey),
        secretKey: secret(`${running.secretKey}\n`),
      },
      ...more,
    }),
    empty: () => mkdtemp(join(place.path, "to-")),
    [Symbol.asyncDispose]: async () => {
      await opened[Symbol.asyncDispose]();
      await running[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
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

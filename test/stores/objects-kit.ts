// What the tests of Azure's and Google's stores share.
import { randomUUID } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import type { AzureLocation, GcsLocation, Stores, StoresOptions } from "../../src/stores/mod.ts";
import { startAzure, type AzureServer } from "../servers/azure.ts";
import { startGcs, type GcsServer } from "../servers/gcs.ts";
import { givenServers } from "../servers/given.ts";
import { folder, secret, stores } from "./s3-kit.ts";

export interface ObjectsKit extends AsyncDisposable {
  readonly stores: Stores;
  readonly path: string;
  readonly at: (key: string) => AzureLocation | GcsLocation;
  /** A new empty folder. */
  readonly empty: () => Promise<string>;
}

export interface KitOf<Server, Kind> extends ObjectsKit {
  readonly server: Server;
  readonly at: (key: string, more?: Partial<Kind>) => Kind & (AzureLocation | GcsLocation);
}

async function common(options: Partial<StoresOptions>) {
  const place = await folder();
  const opened = stores(place.path, options);
  return {
    stores: opened,
    path: place.path,
    empty: () => mkdtemp(join(place.path, "to-")),
    dispose: async () => {
      await opened[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}

/** 64 bytes, as Azure's are. */
export const accountKey: string = Buffer.alloc(64, 7).toString("base64");

export async function azureKit(
  server: Parameters<typeof startAzure>[0] = {},
  options: Partial<StoresOptions> = {},
): Promise<KitOf<AzureServer, AzureLocation>> {
  const running = await startAzure(server);
  const shared = await common(options);
  return {
    ...shared,
    server: running,
    at: (blob, more = {}) => ({
      kind: "azure",
      endpoint: running.url,
      container: "artifacts",
      blob,
      accountKey: secret(`${accountKey}\n`),
      ...more,
    }),
    [Symbol.asyncDispose]: async () => {
      await shared.dispose();
      await running[Symbol.asyncDispose]();
    },
  };
}

export async function gcsKit(
  server: Parameters<typeof startGcs>[0] = {},
  options: Partial<StoresOptions> = {},
): Promise<KitOf<GcsServer, GcsLocation>> {
  const running = await startGcs(server);
  const shared = await common(options);
  return {
    ...shared,
    server: running,
    at: (key, more = {}) => ({
      kind: "gcs",
      endpoint: running.url,
      bucket: "artifacts",
      key,
      serviceAccount: secret(running.key),
      ...more,
    }),
    [Symbol.asyncDispose]: async () => {
      await shared.dispose();
      await running[Symbol.asyncDispose]();
    },
  };
}

/** Servers that others wrote, below a prefix of this test's own. */
export async function givenObjects(kind: "azure" | "gcs"): Promise<ObjectsKit> {
  const { azure, gcs } = givenServers();
  const prefix = `${randomUUID()}/`;
  const shared = await common({});
  const at: ObjectsKit["at"] = (key) => {
    if (kind === "azure" && azure) {
      const { endpoint, container } = azure;
      const blob = `${prefix}${key}`;
      return { kind, endpoint, container, blob, accountKey: secret(azure.key) };
    }
    if (kind === "gcs" && gcs) return { kind, ...gcs, key: `${prefix}${key}` };
    throw new Error(`no ${kind} here`);
  };
  return {
    ...shared,
    at,
    [Symbol.asyncDispose]: async () => {
      await shared.stores.delete(at(""));
      await shared.dispose();
    },
  };
}

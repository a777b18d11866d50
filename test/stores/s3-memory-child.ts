// Sends a file and brings it back, and says how much memory that took: for s3-memory.test.ts, which gives the location and the size as JSON.
import { mkdir, open, stat } from "node:fs/promises";
import { join } from "node:path";
import type { S3Location } from "../../src/stores/mod.ts";
import { secret, stores } from "./s3-kit.ts";

const given = JSON.parse(process.argv[2] ?? "") as {
  readonly location: Omit<S3Location, "credentials">;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly folder: string;
  readonly size: number;
};
const { folder, size, accessKey, secretKey } = given;
const credentials = {
  kind: "keys",
  accessKey: secret(accessKey),
  secretKey: secret(secretKey),
} as const;
await using all = stores(folder);

async function roundTrip(key: string, size: number): Promise<void> {
  const path = join(folder, key);
  await using file = await open(path, "wx+");
  await file.truncate(size);
  const location = { ...given.location, key: `${given.location.key}${key}`, credentials };
  const content = { kind: "slice", path, offset: 0, size } as const;
  await all.upload(location, { kind: "file", content });
  const stream = async function* (): AsyncGenerator<Uint8Array> {
    for await (const piece of file.createReadStream({ start: 0, autoClose: false }))
      yield piece as Buffer;
  };
  await all.upload(location, { kind: "stream", bytes: stream });
  const to = join(folder, `${key}-back`);
  await mkdir(to);
  const got = await all.download(location, to);
  if (got.kind !== "file" || (await stat(got.content.path)).size !== size) throw new Error("lost");
  await all.delete(location);
}

// What is loaded and kept once is not of the artifact.
await roundTrip("warm", 1024 * 1024);
const idle = process.memoryUsage.rss();
let most = 0;
const watch = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 10);
await roundTrip("large", size);
clearInterval(watch);
process.stdout.write(JSON.stringify({ idle, most }));

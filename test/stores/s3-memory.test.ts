import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { givenServers, needs } from "../servers/given.ts";
import { folder, kit } from "./s3-kit.ts";

const mebi = 1024 * 1024;

/** Another process sends and brings an object of that size; gives what it took over what it takes when it does nothing, in MiB. */
async function taken(
  size: number,
  where: { readonly endpoint: string; readonly bucket: string; readonly prefix: string },
  keys: { readonly accessKey: string; readonly secretKey: string },
): Promise<number> {
  await using place = await folder();
  const { endpoint, bucket, prefix: key } = where;
  const location = { kind: "s3", endpoint, insecure: true, bucket, key };
  const given = JSON.stringify({ location, ...keys, folder: place.path, size });
  const child = join(import.meta.dirname, "s3-memory-child.ts");
  const { stdout } = await promisify(execFile)(process.execPath, ["--no-warnings", child, given]);
  const { idle, most } = JSON.parse(stdout) as { idle: number; most: number };
  return Math.round((most - idle) / mebi);
}

describe("S3, memory", () => {
  test("a file of 192 MiB goes and comes in little memory", async (t) => {
    await using k = await kit();
    const { endpoint, accessKey, secretKey } = k.server;
    const where = { endpoint, bucket: "artifacts", prefix: "" };
    const mebis = await taken(192 * mebi, where, { accessKey, secretKey });
    t.diagnostic(`${mebis} MiB over idle`);
    assert(mebis < 128, `${mebis} MiB`);
  });

  test("a file of 1 GiB as well, with a server that others wrote", needs("s3"), async (t) => {
    const { s3 } = givenServers();
    assert(s3);
    const where = { endpoint: new URL(s3.endpoint).host, bucket: s3.bucket, prefix: "memory-" };
    const mebis = await taken(1024 * mebi, where, s3);
    t.diagnostic(`${mebis} MiB over idle`);
    assert(mebis < 128, `${mebis} MiB`);
  });
});

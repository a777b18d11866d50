import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { root } from "../cli/command.ts";
import { startS3, type S3Server } from "../servers/s3.ts";
import { bucket, User } from "./setting.ts";

const mebibyte = 1024 * 1024;
/** `ATALANTA_BIG=1` passes 2 GiB; it needs three times that on the disk. */
const fileBytes = (process.env["ATALANTA_BIG"] === "1" ? 2048 : 192) * mebibyte;
/** What a large artifact may add to the process, the garbage of both ways included. */
const growthBytes = 96 * mebibyte;
const bulk = join(root, "test/guests/bulk/bulk.wasm");

let s3: S3Server;
before(async () => {
  s3 = await startS3();
  s3.bucket("data");
});
after(() => s3[Symbol.asyncDispose]());

/** Bytes of a folder; what has two names counts once. */
function du(folder: string): number {
  const { stdout } = spawnSync("du", ["-sk", folder], { encoding: "utf8" });
  return Number(stdout.split("\t")[0]) * 1024;
}

/** Runs it, and tells how much memory and how much of the disk it took at its highest. */
async function watched(
  user: User,
  args: readonly string[],
): Promise<{ readonly memory: number; readonly disk: number }> {
  const started = user.home.start(args);
  let memory = 0;
  let disk = 0;
  const look = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${started.process.pid}/status`, "utf8");
      memory = Math.max(memory, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024);
    } catch {
      // It has just ended.
    }
    disk = Math.max(disk, du(user.home.folder));
  }, 150);
  const status = await started.ended;
  clearInterval(look);
  assert.equal(status, 0, started.stdout + started.stderr);
  return { memory, disk };
}

test("a large artifact takes no memory on either way, and lies on the disk once", async (context) => {
  using user = new User();
  const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
  const file = (bytes: number, archive: object): string =>
    user.workflow({
      entrypoint: "main",
      templates: [
        {
          name: "main",
          steps: [[{ name: "make", template: "make" }], [{ name: "read", template: "read" }]],
        },
        {
          name: "make",
          wasm: {
            module: bulk,
            args: ["write", "/tmp/data", String(bytes)],
            limits: { files: "6Gi", time: "10m" },
          },
          outputs: {
            artifacts: [{ name: "data", path: "/tmp/data", archive, s3: { key: "large/data" } }],
          },
        },
        {
          name: "read",
          inputs: { artifacts: [{ name: "data", path: "/in/data", s3: { key: "large/data" } }] },
          wasm: { module: bulk, args: ["read", "/in"], limits: { files: "6Gi", time: "10m" } },
        },
      ],
    });
  const args = ["--config", config, "--generate-name", "large-"];
  const small = await watched(user, ["run", file(1000, { none: {} }), ...args]);
  const large = await watched(user, ["run", file(fileBytes, { none: {} }), ...args]);
  assert.equal(s3.bucket("data").get("large/data")?.size ?? 0, fileBytes);
  context.diagnostic(
    `${Math.round(large.memory / mebibyte)} MiB for ${fileBytes / mebibyte} MiB, ${Math.round(small.memory / mebibyte)} MiB for nothing`,
  );
  const grown = large.memory - small.memory;
  assert(grown < growthBytes, `it took ${Math.round(grown / mebibyte)} MiB more`);
  const left = du(user.home.folder) - small.disk;
  assert(left < 1.1 * fileBytes, `${Math.round(left / mebibyte)} MiB are left on the disk`);
  const extra = large.disk - small.disk;
  // What was made lies there, and the same once more while it is brought back.
  assert(extra < 2.2 * fileBytes, `it took ${Math.round(extra / mebibyte)} MiB of the disk`);
});

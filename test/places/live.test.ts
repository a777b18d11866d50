import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { root } from "../cli/command.ts";
import { startS3, type S3Server } from "../servers/s3.ts";
import { bucket, leaf, User } from "./setting.ts";

let s3: S3Server;
before(async () => {
  s3 = await startS3();
  s3.bucket("data");
});
after(() => s3[Symbol.asyncDispose]());

test("a terminal shows what is on its way, while it is", async (context) => {
  using user = new User();
  const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
  const file = user.workflow({
    entrypoint: "main",
    templates: [
      leaf("main", ["write", "/tmp/out", "made"], {
        outputs: {
          artifacts: [{ name: "out", path: "/tmp/out", archive: { none: {} }, s3: { key: "out" } }],
        },
      }),
    ],
  });
  const gate = Promise.withResolvers<void>();
  s3.faults.push({ operation: "PUT", key: "out", does: { kind: "run", run: () => gate.promise } });
  const words = [process.execPath, join(root, "src/cli/main.ts"), "run", file, "--config", config];
  const command = `stty columns 100 rows 24; exec ${words.map((word) => `'${word}'`).join(" ")}`;
  const child = spawn("script", ["-qec", command, "/dev/null"], {
    cwd: root,
    env: { TERM: "xterm-256color", ...user.home.env() },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let screen = "";
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    screen += text;
    if (screen.includes("↑ out")) gate.resolve();
  });
  // Nobody shows it: then the step ends all the same, and the test says so.
  const late = setTimeout(() => gate.resolve(), 20_000);
  const status = await ended.catch(() => undefined);
  clearTimeout(late);
  gate.resolve();
  if (status === undefined) return context.skip("util-linux's script is not here");
  assert.equal(status, 0, screen);
  assert.match(screen, /↑ out \d+ B/);
  const last = screen.slice(screen.lastIndexOf("\u001b[J"));
  assert(!last.includes("↑"), "it is over");
});

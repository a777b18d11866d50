import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { packTar, packZip } from "../../src/archives/mod.ts";
import { jsonLines } from "../cli/command.ts";
import { startS3, type S3Server } from "../servers/s3.ts";
import { bucket, leaf, User, type Shown } from "./setting.ts";

let s3: S3Server;
before(async () => {
  s3 = await startS3();
  s3.bucket("data");
});
beforeEach(() => s3.faults.splice(0));
after(() => s3[Symbol.asyncDispose]());

function repository(user: User, more: object = {}): string {
  return user.config(s3, { artifactRepository: { s3: bucket(s3), ...more } });
}

/** A run of one step; its log and what the command printed. */
async function step(
  user: User,
  args: readonly string[],
  template: object,
): Promise<{
  readonly status: number | null;
  readonly log: string;
  readonly stderr: string;
  readonly shown: Shown;
}> {
  const config = repository(user);
  const file = user.workflow({ entrypoint: "main", templates: [leaf("main", args, template)] });
  const ran = await user.run("run", file, "--config", config, "--generate-name", "run-");
  const { stdout } = await user.run("logs", "@latest");
  const shown: Shown = JSON.parse((await user.run("get", "@latest", "-o", "json")).stdout);
  return { status: ran.status, log: stdout, stderr: ran.stderr, shown };
}

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(pieces));
}

describe("what comes from a store", () => {
  const content = {
    kind: "directory",
    entries: [
      { kind: "file", path: "a", mode: 0o644, content: { kind: "bytes", bytes: Buffer.from("A") } },
      { kind: "file", path: "b", mode: 0o644, content: { kind: "bytes", bytes: Buffer.from("B") } },
    ],
  } as const;

  test("is unpacked as Argo would: a tarball by itself, zip when it is said, nothing with none", async () => {
    using user = new User();
    const packed = await bytesOf(packTar(content, { name: "x" }));
    await s3.put("data", "packed.tgz", packed);
    await s3.put("data", "packed.zip", await bytesOf(packZip(content, { name: "x" })));
    await s3.put("data", "plain.gz", gzipSync("no tarball"));
    const input = (name: string, key: string, more: object = {}): object => ({
      name,
      path: `/in/${name}`,
      s3: { key },
      ...more,
    });
    const { status, log, stderr } = await step(
      user,
      ["cat", "/in/tar/a", ";", "cat", "/in/zip/b", ";", "list", "/in"],
      {
        inputs: {
          artifacts: [
            input("tar", "packed.tgz"),
            input("zip", "packed.zip", { archive: { zip: {} } }),
            input("none", "packed.tgz", { archive: { none: {} } }),
            input("gz", "plain.gz"),
          ],
        },
      },
    );
    assert.equal(status, 0, stderr);
    assert.match(log, /: AB/);
  });

  test("may be missing only when it is optional", async () => {
    using user = new User();
    const missing = (more: object): object => ({
      inputs: { artifacts: [{ name: "doc", path: "/doc", s3: { key: "nonesuch" }, ...more }] },
    });
    const without = await step(user, ["echo", "ran"], missing({ optional: true }));
    assert.equal(without.status, 0, without.stderr);
    assert.match(without.log, /ran/);
    const needed = await step(user, ["echo", "ran"], missing({}));
    assert.equal(needed.status, 1);
    assert.match(needed.stderr, /Error\[artifact-missing\]/);
    assert.equal(needed.log, "");
  });

  test("is looked for below the key with subPath, and gets the bits that mode says", async () => {
    using user = new User();
    await s3.put("data", "folder/sub/x", Buffer.from("below"));
    const { status, log, stderr, shown } = await step(user, ["cat", "/in/x"], {
      inputs: {
        artifacts: [
          {
            name: "in",
            path: "/in",
            s3: { key: "folder" },
            subPath: "sub",
            mode: 0o700,
            recurseMode: true,
          },
        ],
      },
      outputs: { artifacts: [{ name: "in", path: "/in" }] },
    });
    assert.equal(status, 0, stderr);
    assert.match(log, /below/);
    assert.equal(shown.status.phase, "Succeeded");
    const sent = [...s3.bucket("data").keys()].find((key) => key.endsWith("/in.tgz"));
    const tar = gunzipSync((await s3.get("data", sent ?? "")) ?? "").toString("latin1");
    assert(/in\/x\0*0000700\0/.test(tar), "the bits of what is in the folder");
  });

  test("may be an argument of the workflow or of a step, and a user's file comes before it", async () => {
    using user = new User();
    await s3.put("data", "argument", Buffer.from("stored"));
    await s3.put("data", "other", Buffer.from("other"));
    const config = repository(user);
    const file = user.workflow({
      entrypoint: "main",
      arguments: { artifacts: [{ name: "doc", s3: { key: "argument" } }] },
      templates: [
        {
          name: "main",
          inputs: { artifacts: [{ name: "doc" }] },
          steps: [
            [
              {
                name: "a",
                template: "leaf",
                arguments: { artifacts: [{ name: "in", from: "{{inputs.artifacts.doc}}" }] },
              },
              {
                name: "b",
                template: "leaf",
                arguments: {
                  artifacts: [{ name: "in", s3: { key: "{{=sprig.lower('OTHER')}}" } }],
                },
              },
            ],
          ],
        },
        leaf("leaf", ["cat", "/in"], { inputs: { artifacts: [{ name: "in", path: "/in" }] } }),
      ],
    });
    const args = ["--config", config, "--generate-name", "run-"];
    const ran = await user.run("run", file, ...args);
    assert.equal(ran.status, 0, ran.stderr);
    const { stdout } = await user.run("logs", "@latest");
    assert.match(stdout, /a: stored/);
    assert.match(stdout, /b: other/);
    const own = await user.run("run", file, ...args, "-a", `doc=${user.file("own.txt", "my own")}`);
    assert.equal(own.status, 0, own.stderr);
    assert.match((await user.run("logs", "@latest")).stdout, /a: my own/);
  });

  test("in a file that the store says is damaged is brought again", async () => {
    using user = new User();
    await s3.put("data", "flaky", Buffer.from("whole"));
    s3.faults.push(
      { operation: "GET", key: "flaky", does: { kind: "error", status: 503 } },
      { operation: "GET", key: "flaky", does: { kind: "cut", afterBytes: 2 } },
    );
    const { status, log, stderr } = await step(user, ["cat", "/in"], {
      inputs: { artifacts: [{ name: "in", path: "/in", s3: { key: "flaky" } }] },
    });
    assert.equal(status, 0, stderr);
    assert.match(log, /whole/);
  });

  test("comes once for steps that ask for it at the same time", async () => {
    using user = new User();
    await s3.put("data", "shared", Buffer.from("for all"));
    const gate = Promise.withResolvers<void>();
    s3.faults.push({
      operation: "GET",
      key: "shared",
      does: { kind: "run", run: () => gate.promise },
    });
    const before = s3.seen.length;
    const config = repository(user);
    const file = user.workflow({
      entrypoint: "main",
      templates: [
        { name: "main", steps: [[{ name: "a", template: "leaf", withSequence: { count: 8 } }]] },
        leaf("leaf", ["cat", "/in"], {
          inputs: { artifacts: [{ name: "in", path: "/in", s3: { key: "shared" } }] },
        }),
      ],
    });
    const started = user.home.start(["run", file, "--config", config, "--json"]);
    await started.prints(/"transfer"(?:[^]*"Running"){8}|(?:[^]*"Running"){9}/);
    await new Promise((resolve) => setTimeout(resolve, 300));
    gate.resolve();
    assert.equal(await started.ended, 0, started.stdout + started.stderr);
    const asked = s3.seen
      .slice(before)
      .filter(({ key, operation }) => key === "shared" && operation === "GET");
    assert.equal(asked.length, 1);
  });
});

describe("what goes to a store", () => {
  const template = (key: string, more: object = {}): object => ({
    outputs: {
      artifacts: [{ name: "out", path: "/tmp/out", archive: { none: {} }, s3: { key }, ...more }],
    },
  });

  test("is sent again when the store is in trouble, and the program has run once", async () => {
    using user = new User();
    s3.faults.push(
      {
        operation: "PUT",
        key: "out/busy",
        times: 2,
        does: { kind: "error", status: 503, code: "SlowDown" },
      },
      { operation: "PUT", key: "out/busy", does: { kind: "cut" } },
    );
    const { status, log, stderr } = await step(
      user,
      ["line", "ran", ";", "write", "/tmp/out", "made"],
      template("out/busy"),
    );
    assert.equal(status, 0, stderr);
    assert.equal(log.match(/ran/g)?.length, 1);
    assert.equal((await s3.get("data", "out/busy"))?.toString(), "made");
  });

  test("and is refused there makes the step an error that says so; what was made is here", async () => {
    using user = new User();
    s3.faults.push({
      operation: "PUT",
      key: "out/refused",
      times: 100,
      does: { kind: "error", status: 403, code: "AccessDenied" },
    });
    const { status, stderr, shown } = await step(
      user,
      ["write", "/tmp/out", "made"],
      template("out/refused"),
    );
    assert.equal(status, 1);
    assert.match(stderr, /Error\[store-refused\]: .*out\/refused/);
    const [node] = Object.values(shown.status.nodes);
    assert.equal(node?.phase, "Error");
    const [artifact] = node.outputs?.artifacts ?? [];
    assert.equal(artifact?.["name"], "out");
    assert.equal(artifact?.["s3"], undefined, "it is not there");
    s3.faults.splice(0);
    const again = await user.run("retry", "@latest", "--config", repository(user));
    assert.equal(again.status, 0, again.stderr);
    assert.equal((await s3.get("data", "out/refused"))?.toString(), "made");
  });

  test("of a step that failed goes there, too, with its log", async () => {
    using user = new User();
    const file = user.workflow({
      entrypoint: "main",
      archiveLogs: true,
      templates: [
        leaf(
          "main",
          ["line", "said", ";", "write", "/tmp/out", "made", ";", "exit", "3"],
          template("out/failed"),
        ),
      ],
    });
    const ran = await user.run("run", file, "--config", repository(user));
    assert.equal(ran.status, 1);
    assert.equal((await s3.get("data", "out/failed"))?.toString(), "made");
    const log = [...s3.bucket("data").keys()].find((key) => key.endsWith("/main.log"));
    assert.equal((await s3.get("data", log ?? ""))?.toString(), "said\n");
  });

  test("goes to the template's own archive location, packed as it says", async () => {
    using user = new User();
    const config = user.config(s3);
    const file = user.workflow({
      entrypoint: "main",
      templates: [
        leaf("main", ["write", "/tmp/out", "made"], {
          archiveLocation: { s3: { ...bucket(s3), key: "own/{{workflow.name}}" } },
          outputs: {
            artifacts: [
              { name: "tar", path: "/tmp/out", archive: { tar: { compressionLevel: 0 } } },
              { name: "zip", path: "/tmp/out", archive: { zip: {} } },
              { name: "none", path: "/tmp/out", archive: { none: {} } },
            ],
          },
        }),
      ],
    });
    const ran = await user.run(
      "run",
      file,
      "--config",
      config,
      "--allow-address",
      "127.0.0.1",
      "--json",
    );
    assert.equal(ran.status, 0, ran.stderr);
    const keys = [...s3.bucket("data").keys()].filter((key) => key.startsWith("own/")).toSorted();
    assert.deepEqual(keys, ["own/flow/out", "own/flow/tar.tgz", "own/flow/zip.zip"]);
    assert(
      ((await s3.get("data", "own/flow/tar.tgz"))?.length ?? 0) > 1500,
      "nothing is compressed",
    );
    const transfers = jsonLines(ran.stdout).filter(({ type }) => type === "transfer");
    assert.deepEqual(
      transfers
        .filter(({ done }) => done)
        .map(({ artifact, way }) => `${String(way)} ${String(artifact)}`),
      ["to tar", "to zip", "to none"],
    );
  });
});

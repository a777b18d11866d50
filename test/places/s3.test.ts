import assert from "node:assert/strict";
import { rmSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { after, before, describe, test } from "node:test";
import { startS3, type S3Server } from "../servers/s3.ts";
import { bucket, leaf, User, type Shown } from "./setting.ts";

let s3: S3Server;
before(async () => {
  s3 = await startS3();
  s3.bucket("data");
});
after(() => s3[Symbol.asyncDispose]());

async function shown(user: User, name = "flow"): Promise<Shown> {
  return JSON.parse((await user.run("get", name, "-o", "json")).stdout);
}

describe("a workflow that names its places", () => {
  test("reads objects and writes what it makes, with the operator's secrets", async () => {
    using user = new User();
    await s3.put("data", "in/doc.txt", Buffer.from("hello"));
    const file = user.workflow({
      entrypoint: "main",
      templates: [
        leaf("main", ["cat", "/in/doc", ";", "write", "/tmp/out", "made"], {
          inputs: {
            artifacts: [{ name: "doc", path: "/in/doc", s3: { ...bucket(s3), key: "in/doc.txt" } }],
          },
          outputs: {
            artifacts: [
              {
                name: "plain",
                path: "/tmp/out",
                archive: { none: {} },
                s3: { ...bucket(s3), key: "out/{{workflow.name}}/plain.txt" },
              },
              { name: "packed", path: "/tmp/out", s3: { ...bucket(s3), key: "out/packed.tgz" } },
            ],
          },
        }),
      ],
    });
    const config = user.config(s3);
    const ran = await user.run("run", file, "--config", config, "--allow-address", "127.0.0.1");
    assert.equal(ran.status, 0, ran.stdout + ran.stderr);
    assert.equal((await s3.get("data", "out/flow/plain.txt"))?.toString(), "made");
    const packed = await s3.get("data", "out/packed.tgz");
    assert(packed && gunzipSync(packed).subarray(0, 3).toString() === "out");
    const { status } = await shown(user);
    const [node] = Object.values(status.nodes);
    assert.equal(node?.outputs?.artifacts?.length, 2);
    assert.deepEqual(node.outputs.artifacts[0]?.["s3"], {
      ...bucket(s3),
      key: "out/flow/plain.txt",
    });
    const everything = JSON.stringify(status) + ran.stdout + ran.stderr;
    assert(!everything.includes(s3.secretKey) && !everything.includes(s3.accessKey));
    assert.equal((await user.run("logs", "flow")).stdout.trim(), "flow: hello");
  });
});

describe("the operator's artifact repository", () => {
  test("gets what says nothing of its place, and gives what says a key; logs go there", async () => {
    using user = new User();
    await s3.put("data", "words/a.txt", Buffer.from("a"));
    await s3.put("data", "words/b.txt", Buffer.from("b"));
    const repository = {
      artifactRepository: {
        archiveLogs: true,
        s3: { ...bucket(s3), keyFormat: "runs/{{workflow.name}}/{{pod.name}}" },
      },
    };
    const file = user.workflow({
      entrypoint: "main",
      templates: [
        {
          name: "main",
          steps: [
            [{ name: "make", template: "make" }],
            [
              {
                name: "use",
                template: "use",
                arguments: {
                  artifacts: [{ name: "doc", from: "{{steps.make.outputs.artifacts.doc}}" }],
                },
              },
            ],
          ],
        },
        leaf(
          "make",
          ["cat", "/words/b.txt", ";", "mkdir", "/tmp/doc", ";", "write", "/tmp/doc/x", "made"],
          {
            inputs: { artifacts: [{ name: "words", path: "/words", s3: { key: "words" } }] },
            outputs: { artifacts: [{ name: "doc", path: "/tmp/doc" }] },
          },
        ),
        leaf("use", ["cat", "/in/x"], {
          inputs: { artifacts: [{ name: "doc", path: "/in" }] },
        }),
      ],
    });
    const config = user.config(s3, repository);
    // The operator's own endpoint may be private.
    const ran = await user.run("run", file, "--config", config);
    assert.equal(ran.status, 0, ran.stdout + ran.stderr);
    const keys = [...s3.bucket("data").keys()].filter((key) => key.startsWith("runs/flow/"));
    assert.equal(keys.filter((key) => key.endsWith("/doc.tgz")).length, 1, keys.join());
    assert.equal(keys.filter((key) => key.endsWith("/main.log")).length, 2, keys.join());
    const logs = await user.run("logs", "flow");
    assert.match(logs.stdout, /make: b\n/);
    assert.match(logs.stdout, /use: made\n/);
    const { status } = await shown(user);
    const make = Object.values(status.nodes).find(({ displayName }) => displayName === "make");
    assert.deepEqual(
      make?.outputs?.artifacts?.map(({ name }) => name),
      ["doc", "main-logs"],
    );
  });

  test("brings back for get, cp, logs and retry what is not on this machine any more", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { archiveLogs: true, s3: bucket(s3) } });
    const file = user.workflow({
      entrypoint: "main",
      templates: [
        {
          name: "main",
          steps: [
            [{ name: "make", template: "make" }],
            [
              {
                name: "use",
                template: "use",
                arguments: {
                  artifacts: [{ name: "doc", from: "{{steps.make.outputs.artifacts.doc}}" }],
                },
              },
            ],
          ],
          outputs: { artifacts: [{ name: "doc", from: "{{steps.make.outputs.artifacts.doc}}" }] },
        },
        leaf(
          "make",
          [
            "line",
            "told",
            ";",
            "mkdir",
            "/tmp/doc",
            ";",
            "write",
            "/tmp/doc/x",
            "made",
            ";",
            "write",
            "/tmp/doc/y",
            "too",
          ],
          {
            outputs: { artifacts: [{ name: "doc", path: "/tmp/doc" }] },
          },
        ),
        leaf("use", ["cat", "/in/x", ";", "cat", "/in/z"], {
          inputs: { artifacts: [{ name: "doc", path: "/in" }] },
        }),
      ],
    });
    const ran = await user.run("run", file, "--config", config);
    assert.equal(ran.status, 1, ran.stdout + ran.stderr);
    rmSync(join(user.home.folder, ".local/share/atalanta/artifacts"), { recursive: true });
    const out = join(user.folder, "out");
    const cp = await user.run("cp", "flow", out, "--config", config);
    assert.equal(cp.status, 0, cp.stderr);
    const [, path = ""] = /wrote (.*\/doc)\n/.exec(cp.stderr) ?? [];
    assert.equal(readFileSync(join(path, "x"), "utf8"), "made");
    assert.equal(readFileSync(join(path, "y"), "utf8"), "too");
    rmSync(join(user.home.folder, ".local/share/atalanta/artifacts"), { recursive: true });
    const logs = await user.run("logs", "flow", "--config", config);
    assert.match(logs.stdout, /make: told\n/);
    rmSync(join(user.home.folder, ".local/share/atalanta/artifacts"), { recursive: true });
    const again = await user.run("retry", "flow", "--config", config);
    assert.equal(again.status, 1);
    assert.match(again.stdout + again.stderr, /\/in\/z/);
    assert.match((await user.run("logs", "flow", "use")).stdout, /use: made/);
    const to = join(user.folder, "out2");
    const make = ["cp", "flow", to, "--node-id", "make", "--artifact-name"];
    assert.equal((await user.run(...make, "doc")).status, 0, "what retry has brought is here");
    const without = await user.run(...make, "main-logs");
    assert.equal(without.status, 2, "its secrets are the operator's");
    assert.match(without.stderr, /error\[secret-missing\]: The secret "store\/access"/);
  });

  test("has what another process needs to go on with a run whose own one died", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
    const file = user.workflow({
      entrypoint: "main",
      templates: [
        {
          name: "main",
          steps: [
            [{ name: "make", template: "make" }],
            [{ name: "wait", template: "wait" }],
            [
              {
                name: "use",
                template: "use",
                arguments: {
                  artifacts: [{ name: "doc", from: "{{steps.make.outputs.artifacts.doc}}" }],
                },
              },
            ],
          ],
        },
        { name: "wait", suspend: {} },
        leaf("make", ["write", "/tmp/doc", "made"], {
          outputs: { artifacts: [{ name: "doc", path: "/tmp/doc" }] },
        }),
        leaf("use", ["cat", "/in"], { inputs: { artifacts: [{ name: "doc", path: "/in" }] } }),
      ],
    });
    const started = user.home.start(["run", file, "--config", config]);
    await started.prints(/waits for resume/);
    started.process.kill("SIGKILL");
    await started.ended;
    rmSync(join(user.home.folder, ".local/share/atalanta/artifacts"), { recursive: true });
    const resumed = await user.run("resume", "flow", "--config", config);
    assert.equal(resumed.status, 0, resumed.stdout + resumed.stderr);
    assert.match((await user.run("logs", "flow")).stdout, /use: made/);
  });

  test("does not pass off as a step's output what somebody else wrote to its key", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
    const file = user.workflow({
      entrypoint: "main",
      templates: [
        leaf("main", ["write", "/tmp/doc", "made"], {
          outputs: {
            artifacts: [
              { name: "doc", path: "/tmp/doc", archive: { none: {} }, s3: { key: "fixed" } },
            ],
          },
        }),
      ],
    });
    assert.equal((await user.run("run", file, "--config", config)).status, 0);
    await s3.put("data", "fixed", Buffer.from("other"));
    rmSync(join(user.home.folder, ".local/share/atalanta/artifacts"), { recursive: true });
    const copied = await user.run("cp", "flow", join(user.folder, "out"), "--config", config);
    assert.equal(copied.status, 2);
    assert.match(copied.stderr, /artifact-missing.*"fixed" in the store is not what the step sent/);
  });
});

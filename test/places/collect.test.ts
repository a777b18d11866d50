import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startS3, type S3Server } from "../servers/s3.ts";
import { bucket, leaf, User, type Shown } from "./setting.ts";

let s3: S3Server;
before(async () => {
  s3 = await startS3();
  s3.bucket("data");
});
after(() => s3[Symbol.asyncDispose]());

const none = { archive: { none: {} } };

/** A run that writes an object for each strategy, and one for the workflow's own. */
function workflow(user: User, name: string, strategy?: string): string {
  const output = (artifact: string, more: object): object => ({
    name: artifact,
    path: `/tmp/${artifact}`,
    ...none,
    s3: { key: `${name}/${artifact}` },
    ...more,
  });
  return user.workflow(
    {
      entrypoint: "main",
      ...(strategy === undefined ? {} : { artifactGC: { strategy } }),
      templates: [
        leaf(
          "main",
          [
            "write",
            "/tmp/completion",
            "a",
            ";",
            "write",
            "/tmp/deletion",
            "b",
            ";",
            "write",
            "/tmp/never",
            "c",
            ";",
            "write",
            "/tmp/usual",
            "d",
          ],
          {
            outputs: {
              artifacts: [
                output("completion", { artifactGC: { strategy: "OnWorkflowCompletion" } }),
                output("deletion", { artifactGC: { strategy: "OnWorkflowDeletion" } }),
                output("never", { artifactGC: { strategy: "Never" } }),
                output("usual", {}),
              ],
            },
          },
        ),
      ],
    },
    { name },
  );
}

function keys(name: string): string {
  const below = [...s3.bucket("data").keys()].filter((key) => key.startsWith(`${name}/`));
  return below
    .map((key) => key.slice(name.length + 1))
    .toSorted()
    .join(" ");
}

describe("artifactGC", () => {
  test("lets go of each artifact at its time; that of the artifact counts before that of the workflow", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
    const ran = await user.run("run", workflow(user, "kept"), "--config", config);
    assert.equal(ran.status, 0, ran.stdout + ran.stderr);
    assert.equal(keys("kept"), "deletion never usual");
    const { status }: Shown = JSON.parse((await user.run("get", "kept", "-o", "json")).stdout);
    const artifacts = Object.values(status.nodes)[0]?.outputs?.artifacts ?? [];
    assert.deepEqual(
      artifacts.map(({ name, deleted, artifactGC }) => [name, deleted, artifactGC]),
      [
        ["completion", true, { strategy: "OnWorkflowCompletion" }],
        ["deletion", undefined, { strategy: "OnWorkflowDeletion" }],
        ["never", undefined, undefined],
        ["usual", undefined, undefined],
      ],
    );
    const deleted = await user.run("delete", "kept", "--config", config);
    assert.equal(deleted.status, 0, deleted.stderr);
    assert.match(deleted.stdout, /1 artifact of kept deleted in stores\nworkflow kept deleted\n/);
    assert.equal(keys("kept"), "never usual");
  });

  test("of the workflow holds for artifacts that say nothing", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
    await user.run("run", workflow(user, "all", "OnWorkflowCompletion"), "--config", config);
    assert.equal(keys("all"), "deletion never");
  });

  test("keeps the run when something could not be deleted, and deletes the rest the next time", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
    await user.run("run", workflow(user, "again", "OnWorkflowDeletion"), "--config", config);
    assert.equal(keys("again"), "deletion never usual");
    s3.faults.push({
      operation: "DELETE",
      key: "again/usual",
      does: { kind: "error", status: 403, code: "AccessDenied" },
    });
    const first = await user.run("delete", "again", "--config", config);
    assert.equal(first.status, 1);
    assert.match(first.stderr, /error\[store-refused\]: .*again\/usual/);
    assert.match(first.stderr, /again is kept: 1 artifact could not be deleted/);
    assert.equal(keys("again"), "never usual");
    const asked = s3.seen.length;
    const second = await user.run("delete", "again", "--config", config);
    assert.equal(second.status, 0, second.stderr);
    assert.equal(keys("again"), "never");
    assert.deepEqual(
      s3.seen.slice(asked).map(({ operation, key }) => `${operation} ${key}`),
      ["DELETE again/usual"],
    );
  });

  test("asks for the secrets, and --force forgets a run all the same", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
    await user.run("run", workflow(user, "forced", "OnWorkflowDeletion"), "--config", config);
    const without = await user.run("delete", "forced");
    assert.equal(without.status, 1);
    assert.match(without.stderr, /error\[secret-missing\]/);
    const forced = await user.run("delete", "forced", "--force");
    assert.equal(forced.status, 0);
    assert.equal(keys("forced"), "deletion never usual");
    assert.equal((await user.run("get", "forced")).status, 2);
  });

  test("deletes of a folder what was written, and nothing that others wrote beside it", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
    await s3.put("data", "folder/out/other", Buffer.from("of somebody else"));
    const file = user.workflow(
      {
        entrypoint: "main",
        artifactGC: { strategy: "OnWorkflowCompletion" },
        templates: [
          leaf(
            "main",
            ["mkdir", "/tmp/out", ";", "write", "/tmp/out/a", "a", ";", "write", "/tmp/out/b", "b"],
            {
              outputs: {
                artifacts: [{ name: "out", path: "/tmp/out", ...none, s3: { key: "folder/out" } }],
              },
            },
          ),
        ],
      },
      { name: "folder" },
    );
    const ran = await user.run("run", file, "--config", config);
    assert.equal(ran.status, 0, ran.stderr);
    assert(s3.operations().includes("PUT"));
    assert.equal(keys("folder"), "out/other");
  });

  test("brings a folder back whose list of files is not here any more, and then deletes it", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
    const file = user.workflow(
      {
        entrypoint: "main",
        artifactGC: { strategy: "OnWorkflowDeletion" },
        templates: [
          leaf("main", ["mkdir", "/tmp/out", ";", "write", "/tmp/out/a", "a"], {
            outputs: {
              artifacts: [{ name: "out", path: "/tmp/out", ...none, s3: { key: "lost/out" } }],
            },
          }),
        ],
      },
      { name: "lost" },
    );
    await user.run("run", file, "--config", config);
    rmSync(join(user.home.folder, ".local/share/atalanta/artifacts"), { recursive: true });
    const deleted = await user.run("delete", "lost", "--config", config);
    assert.equal(deleted.status, 0, deleted.stderr);
    assert.equal(keys("lost"), "");
  });

  test("does not delete what another run made and this one only remembers", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } });
    const file = (name: string, strategy: string): string =>
      user.workflow(
        {
          entrypoint: "main",
          artifactGC: { strategy },
          templates: [
            leaf("main", ["write", "/tmp/out", "a"], {
              memoize: { key: "k", cache: { configMap: { name: "c" } } },
              outputs: {
                artifacts: [
                  {
                    name: "out",
                    path: "/tmp/out",
                    ...none,
                    s3: { key: "memory/{{workflow.name}}" },
                  },
                ],
              },
            }),
          ],
        },
        { name },
      );
    await user.run("run", file("first", "Never"), "--config", config);
    const second = await user.run(
      "run",
      file("second", "OnWorkflowCompletion"),
      "--config",
      config,
    );
    assert.equal(second.status, 0);
    assert.equal(keys("memory"), "first");
  });
});

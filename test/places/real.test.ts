import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { givenServers, needs } from "../servers/given.ts";
import { bucket, leaf, User } from "./setting.ts";

test(
  "a run through an S3 server that others wrote, and back from there, and nothing is left",
  needs("s3"),
  async () => {
    const { s3: given } = givenServers();
    assert(given);
    const s3 = { ...given, endpoint: new URL(given.endpoint).host };
    using user = new User();
    const name = `flow-${randomUUID()}`;
    const config = user.config(s3, {
      artifactRepository: {
        archiveLogs: true,
        s3: { ...bucket(s3, s3.bucket), region: s3.region, keyFormat: `${name}/{{pod.name}}` },
      },
    });
    const file = user.workflow(
      {
        entrypoint: "main",
        artifactGC: { strategy: "OnWorkflowDeletion" },
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
                    artifacts: [{ name: "in", from: "{{steps.make.outputs.artifacts.out}}" }],
                  },
                },
                { name: "look", template: "look" },
              ],
            ],
          },
          leaf(
            "make",
            [
              "mkdir",
              "/tmp/out",
              ";",
              "write",
              "/tmp/out/a",
              "A",
              ";",
              "write",
              "/tmp/out/b",
              "B",
              ";",
              "write",
              "/tmp/text",
              "plain",
            ],
            {
              outputs: {
                artifacts: [
                  { name: "out", path: "/tmp/out" },
                  {
                    name: "folder",
                    path: "/tmp/out",
                    archive: { none: {} },
                    s3: { key: `${name}/folder` },
                  },
                  {
                    name: "text",
                    path: "/tmp/text",
                    archive: { none: {} },
                    s3: { key: `${name}/text` },
                  },
                ],
              },
            },
          ),
          leaf("use", ["cat", "/in/a", ";", "cat", "/in/b"], {
            inputs: { artifacts: [{ name: "in", path: "/in" }] },
          }),
          leaf("look", ["cat", "/in/b", ";", "cat", "/text"], {
            inputs: {
              artifacts: [
                { name: "in", path: "/in", s3: { key: `${name}/folder` } },
                { name: "text", path: "/text", s3: { key: `${name}/text` } },
              ],
            },
          }),
        ],
      },
      { name },
    );
    const ran = await user.run("run", file, "--config", config);
    assert.equal(ran.status, 0, ran.stdout + ran.stderr);
    rmSync(join(user.home.folder, ".local/share/atalanta/artifacts"), { recursive: true });
    const logs = await user.run("logs", name, "--config", config);
    assert.match(logs.stdout, /use: AB\n/);
    assert.match(logs.stdout, /look: Bplain\n/);
    const copied = await user.run("cp", name, join(user.folder, "out"), "--config", config);
    assert.equal(copied.status, 0, copied.stderr);
    const deleted = await user.run("delete", name, "--config", config);
    assert.equal(deleted.status, 0, deleted.stderr);
    assert.match(deleted.stdout, /5 artifacts of .* deleted in stores/);
    const again = await user.run("run", file, "--config", config, "--entrypoint", "look");
    assert.equal(again.status, 1, "it is gone");
    assert.match(again.stderr, /artifact-missing/);
  },
);

test("a run through Azure's blobs as others made them", needs("azure"), async () => {
  const { azure } = givenServers();
  assert(azure);
  using user = new User();
  const name = `flow-${randomUUID()}`;
  const endpoint = azure.endpoint;
  const host = new URL(endpoint).host;
  user.home.environment["KEY"] = azure.key;
  const place = {
    endpoint,
    container: azure.container,
    accountKeySecret: { name: "azure", key: "key" },
  };
  const config = user.file(
    "azure.yaml",
    JSON.stringify({
      secrets: { azure: { key: { fromEnv: "KEY", hosts: [`http://${host}`] } } },
      artifactRepository: { azure: { ...place, blobNameFormat: `${name}/{{pod.name}}` } },
    }),
  );
  const file = user.workflow(
    {
      entrypoint: "main",
      artifactGC: { strategy: "OnWorkflowDeletion" },
      templates: [
        {
          name: "main",
          steps: [[{ name: "make", template: "make" }], [{ name: "look", template: "look" }]],
        },
        leaf(
          "make",
          [
            "mkdir",
            "/tmp/out",
            ";",
            "write",
            "/tmp/out/a",
            "A",
            ";",
            "write",
            "/tmp/text",
            "plain",
          ],
          {
            outputs: {
              artifacts: [
                { name: "out", path: "/tmp/out" },
                {
                  name: "folder",
                  path: "/tmp/out",
                  archive: { none: {} },
                  azure: { blob: `${name}/folder` },
                },
                {
                  name: "text",
                  path: "/tmp/text",
                  archive: { none: {} },
                  azure: { blob: `${name}/text` },
                },
              ],
            },
          },
        ),
        leaf("look", ["cat", "/in/a", ";", "cat", "/text"], {
          inputs: {
            artifacts: [
              { name: "in", path: "/in", azure: { blob: `${name}/folder` } },
              { name: "text", path: "/text", azure: { blob: `${name}/text` } },
            ],
          },
        }),
      ],
    },
    { name },
  );
  const ran = await user.run("run", file, "--config", config);
  assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  assert.match((await user.run("logs", name)).stdout, /look: Aplain\n/);
  rmSync(join(user.home.folder, ".local/share/atalanta/artifacts"), { recursive: true });
  const copied = await user.run("cp", name, join(user.folder, "out"), "--config", config);
  assert.equal(copied.status, 0, copied.stderr);
  const deleted = await user.run("delete", name, "--config", config);
  assert.equal(deleted.status, 0, deleted.stderr);
  assert.match(deleted.stdout, /3 artifacts of .* deleted in stores/);
});

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startS3, type S3Server } from "../servers/s3.ts";
import { bucket, leaf, User } from "./setting.ts";

let s3: S3Server;
before(async () => {
  s3 = await startS3();
  await s3.put("data", "doc", Buffer.from("hello"));
});
after(() => s3[Symbol.asyncDispose]());

function reading(user: User, place: object): string {
  return user.workflow({
    entrypoint: "main",
    templates: [
      leaf("main", ["cat", "/doc"], {
        inputs: { artifacts: [{ name: "doc", path: "/doc", s3: { key: "doc", ...place } }] },
      }),
    ],
  });
}

describe("secrets of stores", () => {
  test("that the operator has not given are told with their place before anything has begun", async () => {
    using user = new User();
    const file = reading(user, bucket(s3));
    const ran = await user.run("run", file, "--allow-address", "127.0.0.1");
    assert.equal(ran.status, 2);
    assert.match(
      ran.stderr,
      /workflow-0\.yaml:1:\d+: error\[secret-missing\]: The artifact "doc": The secret "store\/access" of a store at http:\/\/127\.0\.0\.1:\d+ is not among the operator's/,
    );
    assert.match(
      ran.stderr,
      /hint: Name where it lies and "http:\/\/127.*secrets\.store\.access\./,
    );
    assert.equal((await user.run("list", "-o", "name")).stdout, "");
  });

  test("that are not for the store's host are refused, and lint knows it when it has the configuration", async () => {
    using user = new User();
    const file = reading(user, bucket(s3));
    const config = user.config(s3, {}, [
      `https://${s3.endpoint}`,
      `http://${s3.endpoint}/only/this`,
    ]);
    for (const command of ["run", "lint"]) {
      const ended = await user.run(command, file, "--config", config);
      assert.equal(ended.status, 2, command);
      assert.match(
        ended.stderr,
        /error\[store-refused\]: The artifact "doc": The secret "store\/access" is not for the store at http:\/\/127/,
      );
      assert.match(ended.stderr, /hint: Add "http:\/\/127[^"]*" to secrets\.store\.access\.hosts/);
    }
    assert.equal((await user.run("lint", file)).status, 0, "nobody has said which there are");
  });

  test("whose variable is not set end the command before anything has begun", async () => {
    using user = new User();
    const file = reading(user, bucket(s3));
    const config = user.config(s3);
    delete user.home.environment["TEST_SECRET"];
    const ran = await user.run("run", file, "--config", config, "--allow-address", "127.0.0.1");
    assert.equal(ran.status, 2);
    assert.match(
      ran.stderr,
      /error\[secret-missing\]: secrets\.store\.secret: the variable TEST_SECRET is not set/,
    );
    assert.equal((await user.run("list", "-o", "name")).stdout, "");
  });

  test("of the operator's own repository are checked when his file is read", async () => {
    using user = new User();
    const config = user.config(s3, { artifactRepository: { s3: bucket(s3) } }, [
      "minio.example.com",
    ]);
    const ran = await user.run("run", reading(user, {}), "--config", config);
    assert.equal(ran.status, 2);
    assert.match(
      ran.stderr,
      /config-0\.yaml:1:\d+: error\[invalid-argument\]: artifactRepository: The secret "store\/access" is not for the store/,
    );
  });

  test("go nowhere by a document that is filled in as it runs", async () => {
    using user = new User();
    const config = user.config(s3);
    const file = user.workflow({
      entrypoint: "main",
      arguments: {
        parameters: [{ name: "host", value: s3.endpoint.replace("127.0.0.1", "localhost") }],
      },
      templates: [
        leaf("main", ["cat", "/doc"], {
          inputs: {
            artifacts: [
              {
                name: "doc",
                path: "/doc",
                s3: { ...bucket(s3), endpoint: "{{workflow.parameters.host}}", key: "doc" },
              },
            ],
          },
        }),
      ],
    });
    const before = s3.seen.length;
    const ran = await user.run("run", file, "--config", config, "--allow-address", "127.0.0.1");
    assert.equal(ran.status, 1);
    assert.match(ran.stderr, /store-refused.*is not for the store at http:\/\/localhost/);
    assert.equal(s3.seen.length, before);
  });
});

describe("what a workflow names itself", () => {
  test("may not be at a private address unless the operator allows it", async () => {
    using user = new User();
    const config = user.config(s3);
    const file = reading(user, bucket(s3));
    const ran = await user.run("run", file, "--config", config);
    assert.equal(ran.status, 1);
    assert.match(ran.stderr, /\[(store-refused|network-denied)\].*127\.0\.0\.1/);
    assert.match(ran.stderr, /--allow-address|allowedAddresses/);
  });

  test("does not get this machine's identity, also at the operator's endpoint in another bucket", async () => {
    using user = new User();
    user.home.environment["AWS_ACCESS_KEY_ID"] = s3.accessKey;
    user.home.environment["AWS_SECRET_ACCESS_KEY"] = s3.secretKey;
    await s3.put("private", "doc", Buffer.from("of the operator"));
    const {
      accessKeySecret: _access,
      secretKeySecret: _secret,
      ...place
    } = bucket(s3) as Record<string, unknown>;
    const config = user.config(s3, { artifactRepository: { s3: { ...place, useSDKCreds: true } } });
    const own = await user.run("run", reading(user, {}), "--config", config);
    assert.equal(own.status, 0, own.stderr);
    const asked = await user.run(
      "run",
      reading(user, { ...place, bucket: "private", useSDKCreds: true }),
      "--config",
      config,
    );
    assert.equal(asked.status, 1);
    assert.match(
      asked.stderr,
      /\[store-refused\]: A workflow asks for this machine's own identity/,
    );
    const silent = await user.run(
      "run",
      reading(user, { ...place, bucket: "private" }),
      "--config",
      config,
    );
    assert.equal(silent.status, 1, "nobody may read it");
    assert.match(silent.stderr, /store-refused/);
  });
});

describe("artifactRepositoryRef", () => {
  const making = (user: User, reference: object, beside: readonly object[] = []): string =>
    user.workflow(
      {
        entrypoint: "main",
        artifactRepositoryRef: reference,
        templates: [
          leaf("main", ["write", "/tmp/out", "made"], {
            outputs: { artifacts: [{ name: "out", path: "/tmp/out", archive: { none: {} } }] },
          }),
        ],
      },
      { name: "flow", beside },
    );
  const configMap = (name: string, data: object): object => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name },
    data,
  });

  test("names one of the operator's", async () => {
    using user = new User();
    const config = user.config(s3, {
      artifactRepositories: {
        "artifact-repositories": {
          usual: { s3: { ...bucket(s3), keyFormat: "usual/{{workflow.name}}" } },
        },
        mine: {
          one: { s3: { ...bucket(s3), keyFormat: "one/{{workflow.name}}" } },
          two: { s3: { ...bucket(s3), keyFormat: "two/{{workflow.name}}" } },
        },
      },
    });
    for (const [reference, key] of [
      [{ configMap: "mine", key: "two" }, "two/flow/out"],
      [{}, "usual/flow"],
    ] as const) {
      const ran = await user.run("run", making(user, reference), "--config", config);
      assert.equal(ran.status, 0, ran.stderr);
      assert(
        [...s3.bucket("data").keys()].some((name) => name.startsWith(key)),
        key,
      );
    }
    const unclear = await user.run("run", making(user, { configMap: "mine" }), "--config", config);
    assert.equal(unclear.status, 2);
    assert.match(
      unclear.stderr,
      /artifactRepositoryRef "mine" has no key[^]*Say which one: one, two\./,
    );
    const unknown = await user.run("run", making(user, { configMap: "yours" }), "--config", config);
    assert.equal(unknown.status, 2);
    assert.match(unknown.stderr, /There is no artifact repository "yours"/);
  });

  test("names a ConfigMap of the workflow's own files, whose word is a stranger's", async () => {
    using user = new User();
    const config = user.config(s3);
    const text = JSON.stringify({ s3: { ...bucket(s3), keyFormat: "mapped/{{workflow.name}}" } });
    const file = making(user, { configMap: "own", key: "k" }, [configMap("own", { k: text })]);
    const refused = await user.run("run", file, "--config", config);
    assert.equal(refused.status, 1, "its address is private");
    assert.match(refused.stderr, /127\.0\.0\.1/);
    const allowed = await user.run("run", file, "--config", config, "--allow-address", "127.0.0.1");
    assert.equal(allowed.status, 0, allowed.stderr);
    assert(
      [...s3.bucket("data").keys()].includes("mapped/flow/out") ||
        [...s3.bucket("data").keys()].some((key) => key.startsWith("mapped/flow-")),
    );
    const without = await user.run("run", file, "--allow-address", "127.0.0.1");
    assert.equal(without.status, 2);
    assert.match(without.stderr, /secret-missing/);
  });

  test("changes nothing where nobody has a repository: the artifacts stay here", async () => {
    using user = new User();
    const ran = await user.run("run", making(user, { configMap: "elsewhere" }));
    assert.equal(ran.status, 0, ran.stderr);
    assert.match(ran.stdout, /note: There is no artifact repository "elsewhere" here/);
  });
});

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Template } from "../../src/argo/mod.ts";
import { recordOf } from "../../src/kubernetes/mod.ts";
import { answering } from "../stores/s3-kit.ts";
import { startSteps, workflowOf, type Setting } from "./setting.ts";

describe("a step of Argo's as a module in a sandbox", () => {
  let setting: Setting;
  before(async () => {
    setting = await startSteps();
  });
  after(() => setting[Symbol.asyncDispose]());

  type Json = Readonly<Record<string, unknown>>;
  const wasm = (
    args: readonly string[],
    more: Json & { readonly plugin?: Json } = {},
  ): Template => {
    const { plugin = {}, ...rest } = more;
    return { name: "main", plugin: { wasm: { image: setting.image, args, ...plugin } }, ...rest };
  };

  test("gives its result, exit code, parameters with all that the template says of them, and its log as an artifact", async () => {
    const result = await setting.run(
      wasm(["line", "hello", ";", "write", "/tmp/count", "3\n"], {
        outputs: {
          parameters: [
            { name: "count", globalName: "all", valueFrom: { path: "/tmp/count" } },
            { name: "none", valueFrom: { path: "/tmp/none", default: "x" } },
          ],
        },
      }),
    );
    assert.deepEqual(result, {
      phase: "Succeeded",
      outputs: {
        exitCode: "0",
        result: "hello",
        parameters: [
          { name: "count", globalName: "all", valueFrom: { path: "/tmp/count" }, value: "3" },
          { name: "none", valueFrom: { path: "/tmp/none", default: "x" }, value: "x" },
        ],
        artifacts: [{ name: "main-logs", s3: { key: "team/blue/wf/wf-123/main.log" } }],
      },
    });
    assert.equal(await read("team/blue/wf/wf-123/main.log"), "hello\n");
  });

  const read = async (key: string): Promise<string> => {
    const bytes = await setting.s3.get("artifacts", key);
    assert(bytes, `${key} among ${[...setting.s3.bucket("artifacts").keys()].join()}`);
    return bytes.toString();
  };

  test("hands a file to the next step through the repository, by its key alone", async () => {
    const first = await setting.run(
      wasm(["write", "/tmp/out", "some bytes"], {
        outputs: {
          artifacts: [
            { name: "out", path: "/tmp/out" },
            { name: "plain", path: "/tmp/out", archive: { none: {} } },
          ],
        },
      }),
      { nodeId: "wf-1" },
    );
    assert.deepEqual(first.outputs?.artifacts, [
      { name: "out", path: "/tmp/out", s3: { key: "team/blue/wf/wf-1/out.tgz" } },
      {
        name: "plain",
        path: "/tmp/out",
        archive: { none: {} },
        s3: { key: "team/blue/wf/wf-1/out" },
      },
    ]);
    const second = await setting.run(
      wasm(["cat", "/tmp/in"], {
        inputs: {
          artifacts: [{ name: "in", path: "/tmp/in", s3: { key: "team/blue/wf/wf-1/out.tgz" } }],
        },
      }),
      { nodeId: "wf-2" },
    );
    assert.equal(second.phase, "Succeeded", second.message ?? "");
    assert.equal(second.outputs?.result, "some bytes");
  });

  test("fails with the exit code, the functions of a trap, and what was written to stderr last", async () => {
    const exited = await setting.run(wasm(["error", "no such page", ";", "exit", "3"]));
    assert.equal(exited.phase, "Failed");
    assert.equal(exited.outputs?.exitCode, "3");
    assert.match(exited.message ?? "", /exit code 3.*stderr: no such page/);
    const trapped = await setting.run(wasm(["trap"]));
    assert.equal(trapped.phase, "Failed");
    assert.match(trapped.message ?? "", /Trap: unreachable.* in .*main/);
    const long = await setting.run(
      wasm(["sleep", "5000"], { plugin: { limits: { time: "200ms" } } }),
    );
    assert.equal(long.phase, "Failed");
    assert.match(long.message ?? "", /200ms/);
    const late = await setting.run(wasm(["sleep", "5000"], { activeDeadlineSeconds: "1" }));
    assert.equal(late.phase, "Failed");
  });

  test("takes the form of the earlier prototype", async () => {
    const result = await setting.run({
      name: "main",
      plugin: {
        wasm: {
          module: { oci: setting.image },
          args: ["line", "5"],
          permissions: { http: { allowed_hosts: ["example.com"] } },
        },
      },
    });
    assert.equal(result.phase, "Succeeded", result.message ?? "");
    assert.equal(result.outputs?.result, "5");
  });

  test("says of a template what is wrong with it, and of a tag that nobody filled in which one", async () => {
    const wrong = await setting.run({
      name: "main",
      plugin: { wasm: { image: setting.image, comand: ["x"], limits: { memory: "much" } } },
    });
    assert.equal(wrong.phase, "Error");
    assert.match(
      wrong.message ?? "",
      /Unknown key "comand" in "?wasm"? \(and 1 more mistakes\).*Did you mean "command"/,
    );
    const tag = await setting.run(wasm(["line", "{{pod.name}}"]));
    assert.equal(tag.phase, "Error");
    assert.match(tag.message ?? "", /filled in "\{\{pod\.name\}\}".*node\.name/);
    const own = await setting.run(wasm(["line", "{{ mustache }}"]));
    assert.equal(own.outputs?.result, "{{ mustache }}");
    const module = await setting.run({ name: "main", plugin: { wasm: { module: "./x.wasm" } } });
    assert.match(module.message ?? "", /image push/);
    const missing = await setting.run({
      name: "main",
      plugin: { wasm: { image: `${setting.registry.host}/no/such:1` } },
    });
    assert.equal(missing.phase, "Error");
    assert.match(missing.message ?? "", /no\/such/);
  });

  test("gives a loop's items results that are JSON, and single steps theirs as they are", async () => {
    const { workflows } = setting.namespace("team");
    const before = workflows.get("wf");
    assert(before);
    const named = (name: string): void => {
      workflows.set("wf", workflowOf("team", setting.s3, { status: { nodes: { n: { name } } } }));
    };
    const resultOf = async (
      name: string,
      text: string,
      node?: string,
    ): Promise<string | undefined> => {
      named(name);
      const result = await setting.run(
        wasm(["line", text], node === undefined ? {} : { plugin: { node } }),
        { nodeId: "n" },
      );
      return result.outputs?.result;
    };
    // What was known of the workflow has none of these nodes.
    try {
      assert.equal(await resultOf("wf[0].print(0:a)", "hi", "wf[0].print(0:a)"), '"hi"');
      assert.equal(await resultOf("wf[0].print(0:a)", "7", "wf[0].print(0:a)"), "7");
      assert.equal(await resultOf("wf[0].print", "hi", "wf[0].print"), "hi");
      assert.equal(await resultOf("x", "hi", 'wf[0].print(1:{"a":"(b)"})(2)'), '"hi"');
      assert.equal(await resultOf("x", "hi", "wf[0].print(0)"), "hi");
    } finally {
      workflows.set("wf", before);
    }
  });

  test("waits for the workflow to be written down when it needs to know more of it, and asks once for many", async () => {
    const { workflows } = setting.namespace("other");
    const begun = workflows.get("wf");
    assert(begun);
    const { status: _status, ...early } = begun;
    workflows.set("wf", early);
    const asked = setting.asked.length;
    const running = Promise.all(
      Array.from({ length: 50 }, (_, id) =>
        setting.run(wasm(["line", "x y"]), { namespace: "other", nodeId: `wf-${id}` }),
      ),
    );
    await sleep(300);
    workflows.set("wf", {
      ...begun,
      spec: {
        entrypoint: "main",
        templates: [{ name: "main", steps: [[{ name: "a", template: "main", withItems: [1] }]] }],
      },
      status: { ...(begun["status"] as object), nodes: {} },
    });
    for (const { phase, message, outputs } of await running) {
      assert.equal(phase, "Succeeded", message ?? "");
      assert.equal(outputs?.result, '"x y"');
      assert.equal(outputs.artifacts?.length, 1);
    }
    workflows.set("wf", begun);
    // A workflow of a thousand steps is large, and a controller takes its time to write it down.
    const reads = setting.asked.slice(asked).filter((what) => what === "workflow other/wf").length;
    assert(reads < 25, `${reads} reads of the workflow for 50 steps`);
  });

  test("takes what the engine adds to a workflow for what it added to one that wished for the same, for a while", async () => {
    const { workflows, secrets } = setting.namespace("third");
    secrets.set("s3-login", {
      data: { user: setting.s3.accessKey, password: setting.s3.secretKey },
    });
    secrets.set("token", { data: { value: "x" } });
    const whole = (uid: string, more: object = {}): Record<string, unknown> => {
      const made = workflowOf("third", setting.s3);
      const status = made["status"] as Record<string, unknown>;
      const ref = status["artifactRepositoryRef"] as { artifactRepository: { s3: object } };
      return {
        ...made,
        // Argo writes one into each, whether anybody traces or not.
        metadata: {
          name: "wf",
          namespace: "third",
          uid,
          annotations: { "workflows.argoproj.io/trace-id": `0${uid}` },
        },
        // The controller has a default for this.
        spec: { ...(made["spec"] as object), serviceAccountName: "given", ...more },
        status: {
          ...status,
          artifactRepositoryRef: {
            artifactRepository: {
              archiveLogs: true,
              s3: { ...ref.artifactRepository.s3, keyFormat: "{{workflow.uid}}/{{pod.name}}" },
            },
          },
        },
      };
    };
    const early = (uid: string, more: object = {}): Record<string, unknown> => {
      const { status: _status, ...rest } = whole(uid);
      return { ...rest, spec: { entrypoint: "main", templates: [{ name: "main" }], ...more } };
    };
    const run = (uid: string): ReturnType<Setting["run"]> =>
      setting.run(
        wasm(["line", '"x"'], {
          plugin: {
            env: [{ name: "T", valueFrom: { secretKeyRef: { name: "token", key: "value" } } }],
          },
        }),
        { namespace: "third", uid },
      );
    const accounts = (): string[] =>
      setting.asked.flatMap((what) => /secret third\/token as (.*)/.exec(what)?.[1] ?? []);

    workflows.set("wf", early("one"));
    const first = run("one");
    await sleep(100);
    assert.deepEqual(accounts(), [], "nothing is read before it is known as whom");
    workflows.set("wf", whole("one"));
    assert.deepEqual((await first).outputs?.artifacts, [
      { name: "main-logs", s3: { key: "one/wf-123/main.log" } },
    ]);

    // This one never begins, and wishes for the same.
    workflows.set("wf", early("two"));
    const second = await run("two");
    assert.equal(second.phase, "Succeeded", second.message ?? "");
    const [log] = second.outputs?.artifacts ?? [];
    const { bucket, key } = recordOf(log?.["s3"]);
    assert.deepEqual([bucket, key], ["artifacts", "two/wf-123/main.log"]);
    assert.deepEqual([...new Set(accounts())], ["given"]);

    // And this one has wishes of its own.
    workflows.set("wf", early("three", { serviceAccountName: "own" }));
    const third = run("three");
    await sleep(100);
    workflows.set("wf", whole("three", { serviceAccountName: "own" }));
    assert.equal((await third).phase, "Succeeded");
    assert.deepEqual([...new Set(accounts())], ["given", "own"]);
  });

  test("reads secrets as the workflow's service account, and keeps those with hosts out of the guest", async () => {
    const { secrets, configMaps, workflows } = setting.namespace("team");
    secrets.set("token", { data: { value: "t0p-secret" } });
    secrets.set("guarded", {
      data: { value: "not-for-guests" },
      annotations: { "atalanta.dev/hosts": "api.example.com" },
    });
    configMaps.set("settings", { colour: "green" });
    const from = (key: string, name: string, more: object = {}): object => ({
      [key]: { name, key: key === "secretKeyRef" ? "value" : "colour", ...more },
    });
    const env = [
      { name: "TOKEN", valueFrom: from("secretKeyRef", "token") },
      { name: "GUARDED", valueFrom: from("secretKeyRef", "guarded") },
      { name: "COLOUR", valueFrom: from("configMapKeyRef", "settings") },
      { name: "NONE", valueFrom: from("secretKeyRef", "none", { optional: true }) },
    ];
    const show = [
      "env",
      "TOKEN",
      ";",
      "echo",
      " ",
      ";",
      "env",
      "GUARDED",
      ";",
      "echo",
      " ",
      ";",
      "env",
      "COLOUR",
      ";",
      "env",
      "NONE",
    ];
    const result = await setting.run(wasm(show, { plugin: { env }, serviceAccountName: "blue" }));
    assert.match(
      result.outputs?.result ?? result.message ?? "",
      /^t0p-secret ATALANTA_SECRET_[0-9a-f]+ green$/,
    );
    assert(setting.asked.includes("secret team/token as blue"));
    const missing = await setting.run(
      wasm(show, { plugin: { env: [{ name: "X", valueFrom: from("secretKeyRef", "none") }] } }),
    );
    assert.match(
      missing.message ?? "",
      /The secret "none" of the namespace team has no key "value".*kubectl get secret none -n team/,
    );
    assert(workflows.has("wf"));
  });

  test("goes to a store without keys by the role of its service account, each by its own and never by the agent's", async () => {
    const asked: URLSearchParams[] = [];
    await using sts = await answering((_request, body) => {
      const fields = new URLSearchParams(body);
      asked.push(fields);
      const key = `ASIA${asked.length}`;
      const { sessions } = roles.s3;
      sessions.set(key, { secretKey: `${key}-secret`, token: `${key}-token` });
      return `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>${key}</AccessKeyId><SecretAccessKey>${key}-secret</SecretAccessKey><SessionToken>${key}-token</SessionToken><Expiration>${new Date(Date.now() + 3_600_000).toISOString()}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`;
    });
    await using roles = await startSteps({
      environment: {
        AWS_ENDPOINT_URL_STS: sts.url,
        AWS_ACCESS_KEY_ID: "AKIATESTKEY",
        AWS_SECRET_ACCESS_KEY: "a-secret-key-of-the-test",
      },
    });
    const place = (key: string): Json => ({
      s3: {
        endpoint: roles.s3.endpoint,
        insecure: true,
        bucket: "artifacts",
        useSDKCreds: true,
        key,
      },
    });
    const write = (key: string): Template => ({
      name: "main",
      plugin: { wasm: { image: roles.image, args: ["write", "/out", key] } },
      outputs: {
        artifacts: [{ name: "out", path: "/out", archive: { none: {} }, ...place(key) }],
      },
    });
    for (const name of ["team", "other"]) {
      roles
        .namespace(name)
        .serviceAccounts.set("default", { "eks.amazonaws.com/role-arn": `arn:aws:iam::1:${name}` });
    }
    for (const [namespace, key] of [
      ["team", "a"],
      ["other", "b"],
      ["team", "c"],
    ] as const) {
      const result = await roles.run(write(key), { namespace });
      assert.equal(result.phase, "Succeeded", result.message ?? "");
    }
    assert.deepEqual(
      asked.map((fields) => [fields.get("RoleArn"), fields.get("WebIdentityToken")]),
      [
        ["arn:aws:iam::1:team", "token-of-team-default-for-sts.amazonaws.com"],
        ["arn:aws:iam::1:other", "token-of-other-default-for-sts.amazonaws.com"],
      ],
    );
    const by = (wanted: string): unknown =>
      roles.s3.seen.find(({ key, operation }) => key === wanted && operation === "PUT")?.headers[
        "x-amz-security-token"
      ];
    assert.deepEqual([by("a"), by("b"), by("c")], ["ASIA1-token", "ASIA2-token", "ASIA1-token"]);
    const template = { ...write("d"), serviceAccountName: "nobody" };
    const refused = await roles.run(template);
    assert.equal(refused.phase, "Error");
    assert.match(refused.message ?? "", /team\/nobody has no role at Amazon's.*role-arn/);
    assert.equal(asked.length, 2);
  });

  test("pulls private images with the secrets of the workflow, and hands them to nobody else", async () => {
    setting.registry.options = { access: { kind: "basic", username: "ada", password: "pw" } };
    try {
      const { secrets, workflows } = setting.namespace("team");
      const before = workflows.get("wf");
      assert(before);
      const auths = { [setting.registry.host]: { auth: Buffer.from("ada:pw").toString("base64") } };
      secrets.set("pull", { data: { ".dockerconfigjson": JSON.stringify({ auths }) } });
      const metadata = {
        name: "wf",
        namespace: "team",
        uid: "uid-private",
        labels: { team: "red" },
      };
      workflows.set("wf", { ...before, metadata, spec: { imagePullSecrets: [{ name: "pull" }] } });
      const always = { imagePullPolicy: "Always" };
      const template = wasm(["line", "1"], { plugin: always, serviceAccountName: "puller" });
      const step = { nodeId: "wf-9" };
      const refused = await setting.run(wasm(["line", "1"], { plugin: always }), {
        ...step,
        namespace: "other",
      });
      assert.equal(refused.phase, "Error");
      const pulled = await setting.run(template, { uid: "uid-private" });
      assert.equal(pulled.phase, "Succeeded", pulled.message ?? "");
      workflows.set("wf", before);
    } finally {
      setting.registry.options = {};
    }
  });

  test("is stopped by its signal, and leaves nothing on the disk", async () => {
    const stop = new AbortController();
    const running = setting.run(wasm(["sleep", "60000"]), { signal: stop.signal });
    await sleep(300);
    stop.abort();
    assert.equal((await running).phase, "Error");
    for (let left = 100; left > 0; left--) {
      // One is always kept ready, and has nothing in it.
      const rooms = await readdir(join(setting.folder, "rooms"), { recursive: true });
      if (rooms.filter((name) => !name.includes("/")).length <= 1 && rooms.length <= 8) return;
      await sleep(100);
    }
    assert.fail("rooms are left");
  });
});

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseAllDocuments, parse } from "yaml";
import { createPluginServer, type Template } from "../../src/argo/mod.ts";
import { startSteps, type Setting } from "./setting.ts";

const token = "a-token-of-Argo";

describe("the executor plugin", () => {
  let setting: Setting;
  let server: Awaited<ReturnType<typeof createPluginServer>>;
  const stack = new AsyncDisposableStack();
  before(async () => {
    setting = stack.use(await startSteps());
    // The first step waits for a process.
    await setting.run(template(["line", "0"]));
    server = stack.use(
      await createPluginServer({
        executors: [setting.steps],
        port: 0,
        answerAfterMs: 300,
        token: async () => token,
      }),
    );
  });
  after(() => stack.disposeAsync());

  const template = (args: readonly string[], more: object = {}): Template => ({
    name: "main",
    plugin: { wasm: { image: setting.image, args, ...more } },
  });
  const post = (
    body: unknown,
    headers: Record<string, string> = {},
    path = "/api/v1/template.execute",
  ): Promise<Response> =>
    fetch(`http://127.0.0.1:${server.port}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}`, ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  const ask = (asked: object): Promise<Response> =>
    post({
      workflow: { metadata: { name: "wf", namespace: "team", uid: "uid-team" } },
      template: asked,
    });
  type Reply = {
    node?: { phase: string; message?: string; outputs?: { result?: string } };
    requeue?: string;
  };
  const reply = async (asked: object): Promise<Reply> => (await (await ask(asked)).json()) as Reply;

  test("answers with what the step came to", async () => {
    const { node, requeue } = await reply(template(["line", "hello"]));
    assert.equal(node?.phase, "Succeeded", node?.message ?? "");
    assert.equal(node.outputs?.result, "hello");
    assert.equal(requeue, undefined);
    assert.equal((await reply(template(["exit", "4"]))).node?.phase, "Failed");
  });

  test("says that a longer step runs, and gives its result to who asks again in the same words", async () => {
    const slow = template(["sleep", "900", ";", "line", "7"]);
    const first: Reply = await reply(slow);
    assert.deepEqual(first, { node: { phase: "Running" }, requeue: "1s" });
    let last: Reply = first;
    for (let left = 20; last.node?.phase === "Running" && left > 0; left -= 1)
      last = await reply(slow);
    assert.equal(last.node?.phase, "Succeeded");
    // What was taken is forgotten: the same words begin another step.
    assert.equal((await reply(slow)).node?.phase, "Running");
  });

  test("runs once what is asked twice at once, and a step with another name of its own", async () => {
    const before = setting.s3.bucket("artifacts").size;
    const slow = template(["sleep", "100", ";", "line", "1"]);
    const answers = await Promise.all([
      reply(slow),
      reply(slow),
      reply(template(["sleep", "100", ";", "line", "1"], { node: "wf.other" })),
    ]);
    assert.deepEqual(
      answers.map(({ node }) => node?.phase),
      ["Succeeded", "Succeeded", "Succeeded"],
    );
    const logs = setting.s3.bucket("artifacts").size - before;
    assert.equal(logs, 2);
  });

  test("leaves others' templates alone, and takes nothing from whoever has not Argo's token", async () => {
    assert.deepEqual(await reply({ plugin: { slack: {} } }), {});
    const body = { workflow: {}, template: {} };
    assert.equal((await post(body, { authorization: "Bearer wrong" })).status, 403);
    assert.equal((await post(body, { authorization: "" })).status, 403);
    assert.equal((await post(body, {}, "/api/v1/other")).status, 404);
    assert.equal((await post("{")).status, 400);
    assert.equal((await post(body)).status, 400);
    assert.equal(
      (await post("x".repeat(9 * 1024 * 1024)).catch(() => ({ status: 400 }))).status,
      400,
    );
  });

  test("lets what runs end when it is told to, and takes nothing new", async () => {
    await using own = await createPluginServer({
      executors: [setting.steps],
      port: 0,
      answerAfterMs: 50,
      token: async () => token,
    });
    const call = (asked: object): Promise<Response> =>
      fetch(`http://127.0.0.1:${own.port}/api/v1/template.execute`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify({
          workflow: { metadata: { name: "wf", namespace: "team", uid: "uid-team" } },
          template: asked,
        }),
      });
    const slow = template(["sleep", "700", ";", "line", "drained"]);
    await call(slow);
    const drained = own.drain(AbortSignal.timeout(10_000));
    await sleep(20);
    assert.equal((await call(template(["line", "new"]))).status, 503);
    await drained;
    const { node } = (await (await call(slow)).json()) as Reply;
    assert.equal(node?.outputs?.result, "drained");
  });

  test("its manifest has every key that Argo demands", () => {
    const { stdout, status } = spawnSync(
      process.execPath,
      [
        "src/cli/main.ts",
        "executor-plugin",
        "manifest",
        "--image",
        "registry.example.com/atalanta:1",
        "--namespace",
        "argo",
      ],
      { cwd: resolve(import.meta.dirname, "../.."), encoding: "utf8" },
    );
    assert.equal(status, 0);
    const objects = parseAllDocuments(stdout).map(
      (document) =>
        document.toJSON() as {
          kind: string;
          metadata: { name: string; labels?: object };
          data?: Record<string, string>;
        },
    );
    assert.deepEqual(
      objects.map(({ kind }) => kind),
      ["ServiceAccount", "Secret", "Role", "RoleBinding", "ConfigMap"],
    );
    const map = objects.at(-1);
    assert.deepEqual(map?.metadata.labels, {
      "workflows.argoproj.io/configmap-type": "ExecutorPlugin",
    });
    const container = parse(map?.data?.["sidecar.container"] ?? "") as Record<string, unknown>;
    for (const key of ["name", "image", "ports", "resources", "securityContext"])
      assert(container[key], key);
  });
});

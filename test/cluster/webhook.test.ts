import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import type { X509Certificate } from "node:crypto";
import { resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";
import { parseAllDocuments } from "yaml";
import { createWebhook, diagnose } from "../../src/argo/mod.ts";
import { listOf, recordOf, textOf, type Kind, type KubeObject } from "../../src/kubernetes/mod.ts";
import { freePort } from "../servers/program.ts";
import { install } from "../servers/install.ts";
import { crdKind, TestCluster } from "./cluster.ts";
import { workflows } from "./controller.ts";
import { clusterTests } from "./needed.ts";

const root = resolve(import.meta.dirname, "../..");
const admission = { group: "admissionregistration.k8s.io", version: "v1", namespaced: false };
const configurations: ReadonlyMap<string, Kind> = new Map([
  ["MutatingWebhookConfiguration", { ...admission, plural: "mutatingwebhookconfigurations" }],
  ["ValidatingWebhookConfiguration", { ...admission, plural: "validatingwebhookconfigurations" }],
]);
const argo = { group: "argoproj.io", version: "v1alpha1", namespaced: true };
const secrets: Kind = { group: "", version: "v1", plural: "secrets", namespaced: true };
const name = "agents-atalanta-webhook";
const day = 86_400_000;

describe("the admission webhook", clusterTests, () => {
  let cluster: TestCluster;
  let port = 0;
  let now = Date.now();
  const stack = new AsyncDisposableStack();
  const troubles: string[] = [];

  before(async () => {
    const helm = (await install(() => undefined, ["helm"])).get("helm");
    assert(helm && "program" in helm, "helm cannot be built");
    cluster = stack.use(await TestCluster.start());
    await cluster.namespace("atalanta");
    await cluster.namespace("team");
    port = await freePort();
    const chart = resolve(root, "deploy/helm/atalanta");
    const { stdout, stderr, status } = spawnSync(
      helm.program,
      [
        "template",
        "agents",
        chart,
        "-n",
        "atalanta",
        "--set",
        "image.repository=x,webhook.enabled=true",
      ],
      { encoding: "utf8" },
    );
    assert.equal(status, 0, stderr);
    for (const document of parseAllDocuments(stdout)) {
      const object = recordOf(document.toJSON());
      const kind = configurations.get(textOf(object["kind"]) ?? "");
      if (!kind) continue;
      // There is no network of services here.
      const webhooks = listOf(object["webhooks"]).map((item) => {
        const { service } = recordOf(recordOf(item)["clientConfig"]);
        const url = `https://127.0.0.1:${port}${textOf(recordOf(service)["path"]) ?? ""}`;
        return { ...recordOf(item), clientConfig: { url } };
      });
      await cluster.admin.create(kind, { ...object, metadata: { name }, webhooks });
    }
  });
  after(() => stack.disposeAsync());

  const serve = (more: { port?: number } = {}): ReturnType<typeof createWebhook> =>
    createWebhook({
      cluster: cluster.admin,
      namespace: "atalanta",
      name,
      names: ["127.0.0.1"],
      host: "127.0.0.1",
      port,
      definitions: true,
      lookEveryMs: 100,
      now: () => now,
      observer: { trouble: ({ message }) => void troubles.push(message) },
      ...more,
    });

  const trusted = async (webhook: { readonly port: number }): Promise<void> => {
    assert.equal(webhook.port, port);
    for (let left = 100; left > 0; left -= 1) {
      const found = await Promise.all(
        [...configurations.values()].map((kind) => cluster.admin.get(kind, name)),
      );
      const bundles = found.flatMap((one) =>
        listOf(one["webhooks"]).map((item) =>
          textOf(recordOf(recordOf(item)["clientConfig"])["caBundle"]),
        ),
      );
      const secret = await cluster.admin.get(secrets, name, { namespace: "atalanta" });
      const authority = textOf(recordOf(secret["data"])["ca.crt"]);
      if (bundles.length === 6 && bundles.every((bundle) => bundle === authority)) {
        // API servers read their configurations a moment later.
        await sleep(1500);
        return;
      }
      await sleep(100);
    }
    assert.fail(troubles.join("\n"));
  };

  const workflow = (title: string, templates: readonly object[]): KubeObject => ({
    apiVersion: "argoproj.io/v1alpha1",
    kind: "Workflow",
    metadata: { name: title, namespace: "team" },
    spec: { entrypoint: "main", templates },
  });
  const templatesOf = (object: KubeObject): readonly unknown[] =>
    listOf(recordOf(object["spec"])["templates"]);
  const wasm = { image: "ghcr.io/acme/x:1", args: ["a"] };

  test("takes the wasm: key of every kind, and what is stored is the form that all tools know", async () => {
    await using webhook = await serve();
    await trusted(webhook);
    const made = await cluster.admin.create(
      workflows,
      workflow("one", [
        {
          name: "main",
          steps: [
            [
              { name: "a", inline: { wasm } },
              { name: "b", template: "other" },
            ],
          ],
        },
        { name: "other", wasm },
        { name: "plain", container: { image: "alpine" } },
      ]),
    );
    assert.deepEqual(templatesOf(made), [
      {
        name: "main",
        steps: [
          [
            { name: "a", inline: { plugin: { wasm } } },
            { name: "b", template: "other" },
          ],
        ],
      },
      { name: "other", plugin: { wasm } },
      { name: "plain", container: { image: "alpine" } },
    ]);
    const template = await cluster.admin.create(
      { ...argo, plural: "workflowtemplates" },
      { ...workflow("t", [{ name: "main", wasm }]), kind: "WorkflowTemplate" },
    );
    assert.deepEqual(templatesOf(template), [{ name: "main", plugin: { wasm } }]);
    const cron = await cluster.admin.create(
      { ...argo, plural: "cronworkflows" },
      {
        ...workflow("c", []),
        kind: "CronWorkflow",
        spec: { schedules: ["* * * * *"], workflowSpec: { templates: [{ name: "main", wasm }] } },
      },
    );
    const { workflowSpec } = recordOf(cron["spec"]);
    assert.deepEqual(recordOf(workflowSpec)["templates"], [{ name: "main", plugin: { wasm } }]);
    const annotated = await cluster.admin.create(
      workflows,
      workflow("annotated", [
        {
          name: "main",
          metadata: { annotations: { "atalanta.dev/runtime": "wasm" } },
          container: { image: "ghcr.io/acme/x:1", command: ["x"], args: ["a"] },
        },
      ]),
    );
    assert.deepEqual(recordOf(templatesOf(annotated)[0])["plugin"], {
      wasm: { image: "ghcr.io/acme/x:1", command: [], args: ["a"] },
    });
  });

  test("refuses mistakes at once, says where and what to do, and leaves others alone", async () => {
    await using webhook = await serve();
    await trusted(webhook);
    await assert.rejects(
      cluster.admin.create(workflows, workflow("bad", [{ name: "main", wasm: { imgae: "x" } }])),
      /spec\.templates\[0\] \(template "main"\): .*imgae.*\(Did you mean "image"/,
    );
    await assert.rejects(
      cluster.admin.create(
        workflows,
        workflow("bad", [{ name: "main", plugin: { wasm: { args: "x" } } }]),
      ),
      /spec\.templates\[0\]/,
    );
    await cluster.admin.create(
      workflows,
      workflow("foreign", [{ name: "main", plugin: { hello: { wasm: 1 } } }]),
    );
    assert.deepEqual(troubles, []);
  });

  test("goes on over new certificates and a new authority without a request that it misses", async () => {
    await cluster.admin.delete(secrets, name, { namespace: "atalanta" });
    // Made more than nine years ago; since then nobody has asked.
    now = Date.now() - 3400 * day;
    {
      await using old = await serve();
      assert.equal(old.port, port);
    }
    now = Date.now() - 80 * day;
    await using webhook = await serve();
    await trusted(webhook);
    const first = await certificateOf();
    const asking = new AbortController();
    let taken = 0;
    const asked = (async () => {
      for (; !asking.signal.aborted; taken += 1) {
        const made = await cluster.admin.create(
          workflows,
          workflow(`w${taken}`, [{ name: "main", wasm }]),
        );
        assert.deepEqual(templatesOf(made), [{ name: "main", plugin: { wasm } }]);
      }
    })();
    asked.catch(() => undefined);
    for (const at of [Date.now() - 79 * day, Date.now()]) {
      now = at;
      await sleep(2000);
    }
    asking.abort();
    await asked;
    assert(taken > 20, `${taken} requests`);
    const last = await certificateOf();
    assert.notEqual(last.serialNumber, first.serialNumber);
    assert.notEqual(last.issuer, first.issuer, "the new authority signs");
    const { data } = await cluster.admin.get(secrets, name, { namespace: "atalanta" });
    const bundle = Buffer.from(textOf(recordOf(data)["ca.crt"]) ?? "", "base64").toString();
    assert.equal(bundle.split("BEGIN CERTIFICATE").length - 1, 2, "the old one is still known");
  });

  const certificateOf = (of = port): Promise<X509Certificate> =>
    new Promise((found, failed) => {
      const socket = connect({ port: of, host: "127.0.0.1", rejectUnauthorized: false }, () => {
        const certificate = socket.getPeerX509Certificate();
        socket.destroy();
        if (certificate) found(certificate);
        else failed(new Error("no certificate"));
      });
      socket.on("error", failed);
    });

  test("replicas that start at once share their certificates, and what others wrote there is made anew", async () => {
    await cluster.admin.delete(secrets, name, { namespace: "atalanta" });
    const ports = [port, await freePort(), await freePort()];
    {
      await using replicas = new AsyncDisposableStack();
      const [first] = await Promise.all(
        ports.map(async (one) => replicas.use(await serve({ port: one }))),
      );
      assert(first);
      await trusted(first);
      const serials = new Set<string>();
      for (const one of ports) serials.add((await certificateOf(one)).serialNumber);
      assert.equal(serials.size, 1);
    }
    const data = { "ca.json": Buffer.from("nonsense").toString("base64") };
    await cluster.admin.patch(secrets, name, { data }, { namespace: "atalanta" });
    await using webhook = await serve();
    await trusted(webhook);
    const made = await cluster.admin.create(workflows, workflow("anew", [{ name: "main", wasm }]));
    assert.deepEqual(templatesOf(made), [{ name: "main", plugin: { wasm } }]);
  });

  test("doctor sees whether it works", async () => {
    const found = async (): Promise<string> => {
      const all: string[] = [];
      const signal = AbortSignal.timeout(20_000);
      for await (const { check, level, message } of diagnose({
        cluster: cluster.admin,
        namespace: "team",
        signal,
      }))
        if (check === "wasm-key") all.push(`${level}: ${message}`);
      return all.join("\n");
    };
    assert.match(
      await found(),
      /^bad: The cluster keeps the key wasm: .* nobody makes plugin of it/,
    );
    await using webhook = await serve();
    await trusted(webhook);
    assert.match(await found(), /^ok: Every tool may write wasm:/);
  });

  test("without it the cluster goes on, and a key that nobody rewrote is there for all to see", async () => {
    const begun = performance.now();
    const made = await cluster.admin.create(workflows, workflow("gone", [{ name: "main", wasm }]));
    assert.deepEqual(templatesOf(made), [{ name: "main", wasm }]);
    await cluster.admin.create(
      workflows,
      workflow("container", [{ name: "main", container: { image: "alpine" } }]),
    );
    assert(performance.now() - begun < 5000);
  });

  test("definitions get the key again after an upgrade of Argo, and are as before when it is taken back", async () => {
    const definition = (): Promise<KubeObject> =>
      cluster.admin.get(crdKind, "workflows.argoproj.io");
    const hasKey = async (): Promise<boolean> =>
      JSON.stringify(await definition()).includes('"wasm"');
    assert(await hasKey());
    const run = (...args: readonly string[]): Promise<string> =>
      new Promise((done) => {
        execFile(
          process.execPath,
          [
            "--no-warnings",
            resolve(root, "src/cli/main.ts"),
            "webhook",
            ...args,
            "--kubeconfig",
            cluster.kubeconfig,
          ],
          (_error, stdout, stderr) => done(stdout + stderr),
        );
      });
    assert.match(await run("forget"), /^workflows\.argoproj\.io is as Argo made it$/m);
    assert.equal(await hasKey(), false);
    assert.equal(await run("forget"), "Nothing had to be changed\n");
    {
      await using webhook = await serve();
      assert.equal(webhook.port, port);
      for (let left = 50; left > 0 && !(await hasKey()); left -= 1) await sleep(100);
      assert(await hasKey());
    }
    assert.equal(await run("allow"), "Nothing had to be changed\n");
  });
});

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { install } from "../servers/install.ts";
import { clusterTests } from "./needed.ts";
import { ClusterSetting } from "./setting.ts";

const project = resolve(import.meta.dirname, "../..");

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe("kubectl, as its authors make it,", clusterTests, () => {
  let setting: ClusterSetting;
  let kubectl = "";
  let path = "";
  const stack = new AsyncDisposableStack();
  before(async () => {
    const installed = (await install(() => undefined, ["kubectl"])).get("kubectl");
    assert(installed && "program" in installed, "kubectl cannot be built");
    kubectl = installed.program;
    setting = stack.use(await ClusterSetting.start());
    await setting.cluster.namespace("argo");
    stack.use(await setting.controller());
    stack.use(await setting.agent());
    // As `npm install` lays them.
    const bin = join(setting.folder, "bin");
    mkdirSync(bin);
    const { bin: names } = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as {
      readonly bin: Readonly<Record<string, string>>;
    };
    for (const [name, file] of Object.entries(names)) {
      chmodSync(join(project, file), 0o755);
      symlinkSync(join(project, file), join(bin, name));
    }
    symlinkSync(process.execPath, join(bin, "node"));
    path = `${bin}:/usr/bin:/bin`;
  });
  after(() => stack.disposeAsync());

  const run = (...args: readonly string[]): Promise<Ended> =>
    new Promise((done) => {
      const { kubeconfig } = setting.cluster;
      const environment = { PATH: path, HOME: setting.folder, KUBECONFIG: kubeconfig };
      execFile(kubectl, args, { env: environment }, (error, stdout, stderr) =>
        done({ code: Number(error?.code ?? 0), stdout, stderr }),
      );
    });

  test("finds the plugin, which calls itself what the user types", async () => {
    const plugins = await run("plugin", "list");
    assert.match(plugins.stdout, /\/kubectl-atalanta$/m, plugins.stderr);
    const help = await run("atalanta", "--help");
    assert.match(help.stdout, /^Usage: kubectl atalanta \[options\] \[command\]\n/, help.stderr);
    const names = [...help.stdout.matchAll(/^ {2}([a-z-]+) {2,}[A-Z]/gm)].map(([, name]) => name);
    assert(names.includes("executor-plugin"), help.stdout);
    for (const name of names.filter((one) => one !== "help")) {
      const { stdout } = await run("atalanta", name ?? "", "--help");
      assert.match(stdout, new RegExp(`^Usage: kubectl atalanta ${name} `));
      const alone = new RegExp(`(?<!kubectl )\\batalanta (?:${names.join("|")})\\b`);
      assert.doesNotMatch(stdout, alone);
    }
  });

  test("submits a workflow with wasm: steps and waits until it has ended", async () => {
    const file = join(setting.folder, "workflow.yaml");
    writeFileSync(
      file,
      `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: { generateName: hello- }
spec:
  entrypoint: hello
  templates:
    - name: hello
      wasm: { image: ${setting.image}, args: [line, hello] }
`,
    );
    const { code, stdout, stderr } = await run("atalanta", "submit", file, "--watch");
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /Succeeded/);
  });

  test("completes words after `kubectl atalanta`", async () => {
    const { stdout } = await run("__complete", "atalanta", "su");
    assert.deepEqual(stdout.split("\n").slice(0, 2), ["submit", "suspend"]);
    const option = await run("__complete", "atalanta", "submit", "--wa");
    assert.match(option.stdout, /^--watch\n/);
  });

  test("lays the tuned settings over Argo's manifests, and doctor has nothing left to say about them", async () => {
    const folder = join(setting.folder, "argo");
    mkdirSync(folder);
    const component = relative(folder, join(project, "deploy/argo"));
    writeFileSync(
      join(folder, "kustomization.yaml"),
      JSON.stringify({ resources: ["argo.yaml"], components: [component] }),
    );
    // What these two have in Argo's manifests, as far as it matters here.
    writeFileSync(
      join(folder, "argo.yaml"),
      `apiVersion: v1
kind: ConfigMap
metadata: { name: workflow-controller-configmap, namespace: argo }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: workflow-controller, namespace: argo }
spec:
  selector: { matchLabels: { app: workflow-controller } }
  template:
    metadata: { labels: { app: workflow-controller } }
    spec:
      serviceAccountName: argo
      containers:
        - name: workflow-controller
          image: quay.io/argoproj/workflow-controller:v4.1.2
          command: [workflow-controller]
          args: []
          env:
            - { name: LEADER_ELECTION_IDENTITY, value: x }
`,
    );
    const levels = async (): Promise<Readonly<Record<string, string>>> => {
      const { stdout } = await run("atalanta", "doctor", "--json");
      const found = stdout
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line) as { readonly check: string; readonly level: string });
      const wanted = new Set(["agent-pods", "requeue-time", "qps"]);
      return Object.fromEntries(
        found.filter(({ check }) => wanted.has(check)).map(({ check, level }) => [check, level]),
      );
    };
    const plain = await run("apply", "-f", join(folder, "argo.yaml"));
    assert.equal(plain.code, 0, plain.stderr);
    assert.deepEqual(await levels(), { "agent-pods": "bad", "requeue-time": "slow", qps: "slow" });
    const tuned = await run("apply", "-k", folder);
    assert.equal(tuned.code, 0, tuned.stderr);
    assert.deepEqual(await levels(), { "agent-pods": "ok", "requeue-time": "ok", qps: "ok" });
  });
});

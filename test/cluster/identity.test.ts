// Stores by the role of a service account: tokens are the API server's own, and the token service checks them by the server's key.
import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { recordOf, textOf, type Kind, type KubeObject } from "../../src/kubernetes/mod.ts";
import { TokenService } from "../servers/sts.ts";
import { clusterTests } from "./needed.ts";
import { AgentProcess } from "./process.ts";
import { ClusterSetting } from "./setting.ts";

const redRole = "arn:aws:iam::111122223333:role/red";
const annotation = "eks.amazonaws.com/role-arn";
const core = { group: "", version: "v1", namespaced: true };
const serviceAccounts: Kind = { ...core, plural: "serviceaccounts" };
const rbac = { group: "rbac.authorization.k8s.io", version: "v1", namespaced: false };
const roles: Kind = { ...rbac, plural: "clusterroles" };
const bindings: Kind = { ...rbac, plural: "clusterrolebindings" };

/** As the chart gives them with `authority: service-account`. */
const agentRules = [
  { apiGroups: ["argoproj.io"], resources: ["workflowtasksets"], verbs: ["get", "list", "watch"] },
  { apiGroups: ["argoproj.io"], resources: ["workflowtasksets/status"], verbs: ["patch"] },
  { apiGroups: ["argoproj.io"], resources: ["workflows"], verbs: ["get"] },
  { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] },
  { apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["create"] },
  { apiGroups: [""], resources: ["serviceaccounts"], verbs: ["get"] },
];

describe("stores of artifacts by the role of a service account", clusterTests, () => {
  let setting: ClusterSetting;
  let sts: TokenService;
  const stack = new AsyncDisposableStack();
  before(async () => {
    setting = stack.use(await ClusterSetting.start());
    const { admin, s3 } = setting;
    const discovery = recordOf(await admin.raw("GET", "/.well-known/openid-configuration"));
    sts = stack.use(
      await TokenService.start({
        issuer: textOf(discovery["issuer"]) ?? "",
        key: createPublicKey(readFileSync(join(setting.cluster.folder, "sa.pub"))),
        trust: new Map([[redRole, ["system:serviceaccount:red:mover"]]]),
        s3,
      }),
    );
    stack.use(
      await setting.controller({
        repository: {
          archiveLogs: true,
          s3: {
            endpoint: s3.endpoint,
            insecure: true,
            bucket: "artifacts",
            useSDKCreds: true,
          },
        },
      }),
    );
    for (const name of ["red", "blue"]) {
      await setting.namespace(name);
      await account(name, "mover", { [annotation]: redRole });
      await account(name, "plain");
    }
    const kubeconfig = await setting.cluster.kubeconfigOf("default", "agent");
    await admin.create(roles, { metadata: { name: "agent" }, rules: agentRules });
    await admin.create(bindings, {
      metadata: { name: "agent" },
      roleRef: { apiGroup: rbac.group, kind: "ClusterRole", name: "agent" },
      subjects: [{ kind: "ServiceAccount", name: "agent", namespace: "default" }],
    });
    const agent = stack.use(
      new AgentProcess(setting, kubeconfig, ["--authority=service-account"], {
        AWS_ENDPOINT_URL_STS: sts.url,
        // Of this agent's own machine: not for steps.
        AWS_ACCESS_KEY_ID: s3.accessKey,
        AWS_SECRET_ACCESS_KEY: s3.secretKey,
      }),
    );
    await agent.ready();
  });
  after(() => stack.disposeAsync());

  const account = async (
    namespace: string,
    name: string,
    annotations: Record<string, string> = {},
  ): Promise<KubeObject> =>
    setting.admin.create(serviceAccounts, { metadata: { name, namespace, annotations } });

  const twoSteps = (serviceAccountName: string): Readonly<Record<string, unknown>> => ({
    entrypoint: "main",
    serviceAccountName,
    templates: [
      {
        name: "main",
        dag: {
          tasks: [
            { name: "write", template: "write" },
            {
              name: "read",
              template: "read",
              depends: "write",
              arguments: {
                artifacts: [{ name: "in", from: "{{tasks.write.outputs.artifacts.out}}" }],
              },
            },
          ],
        },
      },
      {
        name: "write",
        plugin: { wasm: { image: setting.image, args: ["write", "/out", "by a role"] } },
        outputs: { artifacts: [{ name: "out", path: "/out" }] },
      },
      {
        name: "read",
        inputs: { artifacts: [{ name: "in", path: "/in" }] },
        plugin: { wasm: { image: setting.image, args: ["cat", "/in"] } },
      },
    ],
  });

  test("a workflow whose account has the role writes and reads, with one token for all of its steps", async () => {
    await setting.submit("mine", twoSteps("mover"), "red");
    const over = await setting.ended("mine", "red");
    assert.equal(phaseOf(over), "Succeeded", JSON.stringify(over["status"]));
    const read = nodes(over).find(({ displayName }) => displayName === "read");
    assert.equal(recordOf(read?.["outputs"])["result"], "by a role");
    assert.deepEqual(
      sts.given.map(({ accessKey: _accessKey, ...given }) => given),
      [
        {
          role: redRole,
          subject: "system:serviceaccount:red:mover",
          session: "atalanta-The.service.account.red.mover",
        },
      ],
    );
    const keys = new Set(
      setting.s3.seen.map(
        ({ headers }) => /Credential=(\w+)/.exec(headers.authorization ?? "")?.[1],
      ),
    );
    assert.deepEqual([...keys], [sts.given[0]?.accessKey]);
  });

  test("the same annotation in another namespace gives nothing: the role does not trust that account", async () => {
    await setting.submit("theirs", twoSteps("mover"), "blue");
    const over = await setting.ended("theirs", "blue");
    assert.notEqual(phaseOf(over), "Succeeded");
    const said = JSON.stringify(over["status"]);
    assert.match(said, /Cannot take the role .*role\/red.*AccessDenied/);
    assert(!/eyJ/.test(said), "a token is in the message");
    assert.deepEqual(sts.refused.at(-1), "AccessDenied");
  });

  test("an account without a role is told what is missing, and the agent's own keys are not its", async () => {
    await setting.submit("none", twoSteps("plain"), "red");
    const over = await setting.ended("none", "red");
    assert.notEqual(phaseOf(over), "Succeeded");
    assert.match(
      JSON.stringify(over["status"]),
      /The service account red\/plain has no role at Amazon's.*eks\.amazonaws\.com\/role-arn/,
    );
  });
});

function nodes(workflow: KubeObject): readonly Readonly<Record<string, unknown>>[] {
  return Object.values(recordOf(recordOf(workflow["status"])["nodes"])).map(recordOf);
}

function phaseOf(workflow: KubeObject): string | undefined {
  return textOf(recordOf(workflow["status"])["phase"]);
}

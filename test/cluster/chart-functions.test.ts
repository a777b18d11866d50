import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, describe, test } from "node:test";
import type { KubeObject } from "../../src/kubernetes/mod.ts";
import { NatsServer } from "../remote/nats.ts";
import { install } from "../servers/install.ts";
import { freePort } from "../servers/program.ts";
import { chart, Helm, kinds } from "./chart.ts";
import { crdKind, TestCluster } from "./cluster.ts";
import { kedaCrd } from "./keda.ts";
import { clusterTests } from "./needed.ts";

type Values = Readonly<Record<string, unknown>>;

const least = {
  enabled: true,
  nats: { servers: ["nats://nats.nats:4222"], monitoring: "nats-headless.nats.svc:8222" },
  tokensSecret: "tokens",
};
const lag = { by: "lag", max: 20, namespaces: ["default", "team"] };

/** Values for functions without an agent. */
function values(functions: Values = {}, more: Values = {}): string {
  return JSON.stringify({ agent: false, ...more, functions: { ...least, ...functions } });
}

describe("the chart's functions", clusterTests, () => {
  let helm: Helm;
  let kubectl = "";
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start();
    helm = await Helm.open(cluster);
    const installed = (await install(() => undefined, ["kubectl"])).get("kubectl");
    assert(installed && "program" in installed, "kubectl cannot be built");
    kubectl = installed.program;
    await cluster.namespace("atalanta");
    await cluster.admin.create(crdKind, kedaCrd);
    const scaled = kinds.get("ScaledObject");
    assert(scaled);
    for (let left = 100; ; left--) {
      try {
        await cluster.admin.list(scaled);
        break;
      } catch (thrown) {
        if (left === 0) throw thrown;
        await sleep(50);
      }
    }
  });
  after(() => cluster[Symbol.asyncDispose]());

  const rendered = (input: string): KubeObject[] => helm.rendered(["-f", "-"], input);
  const refused = (input: string): string => {
    const { status, stderr } = helm.template(["-f", "-"], input);
    assert.notEqual(status, 0, `taken: ${input}`);
    return stderr;
  };
  /** The object of a kind and a name, as far into it as the path says. */
  const at = (objects: readonly KubeObject[], kind: string, name: string, path: string): unknown =>
    path.split(".").reduce<unknown>(
      (value, key) =>
        typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined,
      objects.find((object) => object.kind === kind && object.metadata.name === name),
    );
  const pod = "spec.template.spec";
  const argsOf = (objects: readonly KubeObject[], name: string): readonly string[] => {
    const args = at(objects, "Deployment", name, `${pod}.containers.0.args`);
    assert(Array.isArray(args));
    return args.map(String);
  };

  test("in whatever way they are set, the API server takes all of it and knows each field", () => {
    for (const input of [
      values(),
      values({}, { agent: true, serviceMonitor: false }),
      values({ pools: [{ name: "main" }] }),
      values({
        nats: { servers: [], urlSecret: "nats" },
        pools: [{ name: "main" }],
        egress: [{ to: [{ ipBlock: { cidr: "10.0.0.0/8" } }] }],
      }),
      values({
        nats: {
          servers: ["tls://a:4222", "tls://b:4222", "tls://c:4223"],
          replicas: 1,
          credentialsSecret: "nats",
          authoritySecret: "authority",
          silence: "1m30s",
          deliveries: 3,
          monitoring: "nats-headless.nats.svc:8222",
          monitoringTls: true,
          account: "A",
        },
        tokensSecret: "",
        oidc: { issuer: "https://login.example.com", audience: "atalanta", claim: "scopes" },
        tlsSecret: "tls",
        registrySecret: "registry",
        rate: 100,
        runtimeClassName: "gvisor",
        allowFrom: [{ namespaceSelector: { matchLabels: { team: "a" } } }],
        egress: [{ to: [{ ipBlock: { cidr: "0.0.0.0/0", except: ["10.0.0.0/8"] } }] }],
        frontEnd: {
          scaling: { by: "cpu", min: 2, max: 6, cpuPercent: 60, calmSeconds: 0 },
          serviceType: "LoadBalancer",
          serviceAnnotations: { a: "b" },
          nodeSelector: { pool: "front" },
          priorityClassName: "high",
        },
        pools: [
          { name: "lag", scaling: lag, runtimeClassName: "kata", trust: "thread" },
          { name: "cpu", scaling: { by: "cpu", min: 1, max: 3 }, drainSeconds: 600 },
          {
            name: "fixed",
            replicas: 3,
            capacity: 8,
            disk: "1Gi",
            tolerations: [{ key: "wasm", operator: "Exists" }],
            affinity: { nodeAffinity: {} },
            scaling: { by: "none" },
          },
        ],
      }),
      values({ pools: [{ name: "main", scaling: lag }] }, { podDisruptionBudget: false }),
      values({ pools: [{ name: "main" }] }, { networkPolicy: false }),
    ]) {
      const { status, stdout, stderr } = helm.template(["-f", "-"], input);
      assert.equal(status, 0, stderr);
      const applied = spawnSync(
        kubectl,
        ["apply", "--dry-run=server", "--validate=strict", "-f", "-"],
        {
          encoding: "utf8",
          input: stdout,
          env: { ...process.env, KUBECONFIG: cluster.kubeconfig },
        },
      );
      assert.equal(applied.status, 0, applied.stderr);
      // A field or a bound of KEDA's that is wrong would be refused like any other.
      assert.doesNotMatch(applied.stderr, /unknown field/);
    }
  });

  test("wrong values are refused, and the message says which", () => {
    const lagged = (more: Values): Values => ({
      pools: [{ name: "main", scaling: { ...lag, ...more } }],
    });
    for (const [functions, message] of [
      [
        { nats: { servers: [] } },
        /functions\.nats\.servers or functions\.nats\.urlSecret is needed/,
      ],
      [{ tokensSecret: "" }, /tokensSecret or functions\.oidc\.issuer is needed/],
      [{ oidc: { issuer: "https://a.example.com" } }, /needs functions\.oidc\.audience/],
      [{ oidc: { issuer: "http://a.example.com", audience: "b" } }, /issuer/],
      [{ nats: { servers: ["nats://user:password@nats:4222"] } }, /servers/],
      [{ nats: { servers: ["http://nats:4222"] } }, /servers/],
      [{ nats: { ...least.nats, deliveries: 2 } }, /deliveries/],
      [{ nats: { ...least.nats, silence: "soon" } }, /silence/],
      [{ trust: "pod" }, /trust/],
      [{ pool: [] }, /pool/],
      [{ pools: [{}] }, /name/],
      [{ pools: [{ name: "Main" }] }, /name/],
      [{ pools: [{ name: "a" }, { name: "a" }] }, /a is there twice/],
      [{ pools: [{ name: "a", capacity: 0 }] }, /capacity/],
      [{ pools: [{ name: "a", drain: "30s" }] }, /drain/],
      [
        { pools: [{ name: "a", runtimeClassName: "gvisor" }, { name: "b" }] },
        /others would run the same guests without it/,
      ],
      [{ pools: [{ name: "a", scaling: { by: "cpu", max: 3, min: 0 } }] }, /min/],
      [{ pools: [{ name: "a", scaling: { by: "cpu", max: 3, namespaces: ["a"] } }] }, /namespaces/],
      [
        {
          pools: [
            { name: "a", scaling: { by: "cpu", max: 3 }, resources: { limits: { memory: "1Gi" } } },
          ],
        },
        /resources\.requests\.cpu/,
      ],
      [
        { pools: [{ name: "a", replicas: 2, scaling: lag }] },
        /write scaling\.min and scaling\.max/,
      ],
      [lagged({ min: 30 }), /min 30 is more than max 20/],
      [lagged({ namespaces: [] }), /namespaces/],
      [lagged({ namespaces: ["a.b"] }), /namespaces/],
      [lagged({ calls: "many" }), /calls/],
      [
        { ...lagged({}), nats: { servers: least.nats.servers } },
        /functions\.nats\.monitoring is needed/,
      ],
      [{ frontEnd: { scaling: { by: "lag", max: 3 } } }, /by/],
    ] as const) {
      assert.match(refused(values(functions)), message, JSON.stringify(functions));
    }
  });

  test("a pool that is scaled by lag may have no runner at all, and its ScaledObject follows the streams of its namespaces", () => {
    const objects = rendered(values({ pools: [{ name: "main", capacity: 16, scaling: lag }] }));
    const name = "agents-atalanta-runner-main";
    assert.equal(at(objects, "Deployment", name, "spec.replicas"), undefined);
    assert.equal(at(objects, "ScaledObject", name, "spec.scaleTargetRef.name"), name);
    assert.equal(at(objects, "ScaledObject", name, "spec.minReplicaCount"), 0);
    const triggers = at(objects, "ScaledObject", name, "spec.triggers");
    assert(Array.isArray(triggers));
    assert.deepEqual(
      triggers.map((trigger: { readonly metadata: Values }) => [
        trigger.metadata["stream"],
        trigger.metadata["consumer"],
        trigger.metadata["lagThreshold"],
      ]),
      [
        ["ATALANTA-CALLS-default", "runners", "16"],
        ["ATALANTA-CALLS-team", "runners", "16"],
      ],
    );
  });

  test("a pod lives longer than its drain, and guests run in the front ends only where there is no pool", () => {
    const objects = rendered(values({ pools: [{ name: "main", drainSeconds: 600 }] }));
    for (const name of ["agents-atalanta-functions", "agents-atalanta-runner-main"]) {
      const args = argsOf(objects, name);
      const drain = /^--drain=(\d+)s$/.exec(args.find((word) => word.startsWith("--drain")) ?? "");
      const grace = Number(at(objects, "Deployment", name, `${pod}.terminationGracePeriodSeconds`));
      const before = Number(
        at(objects, "Deployment", name, `${pod}.containers.0.lifecycle.preStop.sleep.seconds`) ?? 0,
      );
      assert(grace >= Number(drain?.[1]) + before + 10, `${name}: ${grace} s`);
    }
    assert(argsOf(objects, "agents-atalanta-functions").includes("--no-run"));
    assert(!argsOf(rendered(values()), "agents-atalanta-functions").includes("--no-run"));
  });

  test("pods with guests have no token of the API server, and nothing that they do not need", () => {
    const objects = rendered(values({ runtimeClassName: "gvisor", pools: [{ name: "main" }] }));
    assert(!objects.some(({ kind }) => /Role/.test(kind ?? "")));
    for (const object of objects.filter(({ kind }) => kind === "Deployment")) {
      const text = JSON.stringify(object);
      for (const word of [
        '"automountServiceAccountToken":false',
        '"enableServiceLinks":false',
        '"runtimeClassName":"gvisor"',
        '"readOnlyRootFilesystem":true',
        '"runAsNonRoot":true',
        '"drop":["ALL"]',
        '"RuntimeDefault"',
        '"allowPrivilegeEscalation":false',
      ]) {
        assert(text.includes(word), `${object.metadata.name}: ${word}`);
      }
    }
    // Each policy and budget is of the pods of one Deployment or pool, and not of an agent's.
    for (const object of objects.filter(({ kind }) => kind === "PodDisruptionBudget")) {
      const name = object.metadata.name ?? "";
      assert.deepEqual(
        at(objects, "PodDisruptionBudget", name, "spec.selector.matchLabels"),
        at(objects, "Deployment", name, "spec.template.metadata.labels"),
      );
    }
  });

  test("what the pods are started with is what the program takes: a front end and a runner become ready, and a call is answered", async () => {
    await using nats = await NatsServer.start();
    const folder = mkdtempSync(join(cluster.folder, "pods-"));
    mkdirSync(join(folder, "tokens"));
    const program = resolve(import.meta.dirname, "../../bin/atalanta.js");
    const guest = resolve(import.meta.dirname, "../guests/functions/functions.wasm");
    const made = spawnSync(
      process.execPath,
      [
        program,
        "token",
        "test",
        "--scope=default:call",
        `--file=${join(folder, "tokens/tokens.json")}`,
      ],
      { encoding: "utf8" },
    );
    assert.equal(made.status, 0, made.stderr);
    const objects = rendered(
      values({ nats: { servers: [nats.url], replicas: 1 }, pools: [{ name: "main" }] }),
    );
    const config = at(objects, "ConfigMap", "agents-atalanta", "data");
    assert(typeof config === "object" && config !== null);
    writeFileSync(join(folder, "atalanta.yaml"), String(Reflect.get(config, "atalanta.yaml")));
    const ports = { front: await freePort(), runner: await freePort() };
    // Where things lie is all that is other here.
    const here = (args: readonly string[]): readonly string[] =>
      args.map((word) =>
        word
          .replace("/etc/atalanta-tokens", join(folder, "tokens"))
          .replace("/etc/atalanta/", `${folder}/`)
          .replace("0.0.0.0:4780", `127.0.0.1:${ports.front}`)
          .replace("0.0.0.0:9465", `127.0.0.1:${ports.runner}`),
      );
    await using ends = new AsyncDisposableStack();
    for (const name of ["agents-atalanta-functions", "agents-atalanta-runner-main"]) {
      const home = mkdtempSync(join(folder, "home-"));
      const child = spawn(
        process.execPath,
        [program, ...here(argsOf(objects, name)), `--image=f=${guest}`],
        {
          env: { PATH: process.env["PATH"], HOME: home, ATALANTA_HOME: home },
          stdio: ["ignore", "ignore", "inherit"],
        },
      );
      ends.defer(async () => {
        const gone = once(child, "exit");
        child.kill("SIGTERM");
        assert.deepEqual(await gone, [0, null], name);
      });
    }
    for (const port of [ports.front, ports.runner]) {
      for (let left = 200; ; left--) {
        const response = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
        if (response?.ok) break;
        assert(left > 0, `port ${port} does not become ready`);
        await sleep(50);
      }
    }
    const call = (authorization: string): Promise<Response> =>
      fetch(`http://127.0.0.1:${ports.front}/v1/namespaces/default/call/greet?module=f`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization },
        body: '["Ada"]',
      });
    assert.equal((await call("Bearer wrong")).status, 401);
    const answer = await call(`Bearer ${made.stdout.trim()}`);
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    assert.match(text, /Ada/);
    // What KEDA will read is there, under the names that the chart gives it.
    const jsz = await fetch(
      `http://127.0.0.1:${nats.monitor}/jsz?acc=$G&consumers=true&config=true`,
    );
    const said = await jsz.text();
    assert.match(said, /"name": ?"ATALANTA-CALLS-default"/);
    assert.match(said, /"num_pending": ?0/);
    assert.match(said, /"name": ?"runners"/);
  });

  test("are installed, changed and removed, and the notes say where they are", async () => {
    const set = ["-n", "atalanta", "--set", "image.repository=registry.example.com/atalanta"];
    const first = helm.run(["install", "agents", chart, ...set, "-f", "-"], values());
    assert.equal(first.status, 0, first.stderr);
    assert.match(first.stdout, /http:\/\/agents-atalanta-functions\.atalanta:4780/);
    assert.doesNotMatch(first.stdout, /disableAgentPodCreation/);
    const pools = [{ name: "main", scaling: lag }, { name: "other" }];
    const second = helm.run(
      ["upgrade", "agents", chart, ...set, "-f", "-"],
      values({ pools, tlsSecret: "tls" }),
    );
    assert.equal(second.status, 0, second.stderr);
    assert.match(second.stdout, /https:\/\/agents/);
    const deployments = kinds.get("Deployment");
    assert(deployments);
    const own = { namespace: "atalanta", labelSelector: "app.kubernetes.io/name=atalanta" };
    const names = async (): Promise<readonly string[]> =>
      (await cluster.admin.list(deployments, own)).items.map(({ metadata }) => metadata.name ?? "");
    assert.deepEqual((await names()).toSorted(), [
      "agents-atalanta-functions",
      "agents-atalanta-runner-main",
      "agents-atalanta-runner-other",
    ]);
    const removed = helm.run([
      "uninstall",
      "agents",
      "-n",
      "atalanta",
      "--wait",
      "--timeout",
      "30s",
    ]);
    assert.equal(removed.status, 0, removed.stderr);
    for (const kind of kinds.values()) {
      const { items } = await cluster.admin.list(kind, {
        labelSelector: "app.kubernetes.io/name=atalanta",
      });
      assert.deepEqual(
        items.map(({ metadata }) => metadata.name),
        [],
        kind.plural,
      );
    }
  });
});

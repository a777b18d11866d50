// A control plane for tests: etcd, kube-apiserver and kube-controller-manager as their authors make them, with token authentication and RBAC, on free ports of this machine.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { clusterFrom, type Cluster, type Kind, type KubeObject } from "../../src/kubernetes/mod.ts";
import { install } from "../servers/install.ts";
import { freePort, Program } from "../servers/program.ts";
import { argoCrds } from "./crds.ts";

const names = ["etcd", "kube"] as const;

/** The programs, or why there are none. */
export async function clusterPrograms(
  say: (line: string) => void = () => undefined,
): Promise<{ readonly etcd: string; readonly kube: string } | { readonly missing: string }> {
  const installed = await install(say, names);
  const [etcd, kube] = names.map((name) => installed.get(name));
  if (etcd && kube && "program" in etcd && "program" in kube)
    return { etcd: etcd.program, kube: kube.program };
  const lacking = [etcd, kube].flatMap((one) => (one && "missing" in one ? [one.missing] : []));
  return { missing: lacking.join("; ") };
}

export const crdKind: Kind = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  namespaced: false,
};
const clusterRoles: Kind = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "clusterroles",
  namespaced: false,
};
const namespaces: Kind = { group: "", version: "v1", plural: "namespaces", namespaced: false };

export class TestCluster implements AsyncDisposable {
  readonly folder: string;
  /** Of a user who may do everything. */
  readonly kubeconfig: string;
  readonly admin: Cluster;
  readonly port: number;
  readonly #programs: { readonly etcd: string; readonly kube: string };
  readonly #etcd: Program;
  #server: Program;
  #manager: Program | undefined;

  private constructor(parts: {
    folder: string;
    port: number;
    programs: { readonly etcd: string; readonly kube: string };
    etcd: Program;
    server: Program;
    admin: Cluster;
  }) {
    this.folder = parts.folder;
    this.port = parts.port;
    this.#programs = parts.programs;
    this.#etcd = parts.etcd;
    this.#server = parts.server;
    this.admin = parts.admin;
    this.kubeconfig = join(parts.folder, "admin.kubeconfig");
  }

  /** Starts one with Argo's kinds in it. Takes about five seconds. */
  static async start(): Promise<TestCluster> {
    const programs = await clusterPrograms();
    if ("missing" in programs) throw new Error(programs.missing);
    const folder = mkdtempSync(join(tmpdir(), "atalanta-cluster-"));
    const { privateKey, publicKey } = generateKeyPairSync("rsa", {
      modulusLength: 2048,
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    });
    const token = randomBytes(16).toString("hex");
    writeFileSync(join(folder, "sa.key"), privateKey, { mode: 0o600 });
    writeFileSync(join(folder, "sa.pub"), publicKey);
    writeFileSync(join(folder, "tokens.csv"), `${token},admin,admin,system:masters\n`, {
      mode: 0o600,
    });
    mkdirSync(join(folder, "etcd"));
    const etcd = await Program.start({
      program: programs.etcd,
      args: (port) => [
        `--data-dir=${join(folder, "etcd")}`,
        "--unsafe-no-fsync",
        "--log-level=warn",
        `--listen-client-urls=http://127.0.0.1:${port}`,
        `--advertise-client-urls=http://127.0.0.1:${port}`,
        "--listen-peer-urls=http://127.0.0.1:0",
      ],
      health: (port) => `http://127.0.0.1:${port}/health`,
    });
    const port = await freePort();
    const server = await startServer(programs.kube, folder, port, etcd.port);
    const kubeconfig = join(folder, "admin.kubeconfig");
    writeFileSync(kubeconfig, configuration(port, token), { mode: 0o600 });
    const admin = await clusterFrom({ kubeconfig, environment: {} });
    const cluster = new TestCluster({ folder, port, programs, etcd, server, admin });
    await cluster.#ready();
    for (const crd of argoCrds) await admin.create(crdKind, crd);
    for (const { metadata } of argoCrds) await cluster.#served(metadata.name);
    return cluster;
  }

  /** Collects what has lost its owner, and makes service accounts. */
  async startManager(): Promise<void> {
    this.#manager = await Program.start({
      program: this.#programs.kube,
      args: (port) => [
        "controller-manager",
        `--kubeconfig=${this.kubeconfig}`,
        "--leader-elect=false",
        `--service-account-private-key-file=${join(this.folder, "sa.key")}`,
        `--root-ca-file=${join(this.folder, "certificates", "apiserver.crt")}`,
        `--cert-dir=${join(this.folder, "manager")}`,
        "--bind-address=127.0.0.1",
        `--secure-port=${port}`,
        "--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller,root-ca-certificate-publisher-controller",
      ],
      health: (port) => `https://127.0.0.1:${port}/healthz`,
    });
  }

  /** The API server goes away, as in a crash. */
  async killServer(): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }

  /** It comes back at the same address. */
  async restartServer(): Promise<void> {
    this.#server = await startServer(this.#programs.kube, this.folder, this.port, this.#etcd.port);
    await this.#ready();
  }

  /** What older versions of objects were is forgotten: watches from there end with 410. */
  async compact(): Promise<void> {
    const base = `http://127.0.0.1:${this.#etcd.port}/v3`;
    const put = await post(`${base}/kv/range`, { key: Buffer.from("x").toString("base64") });
    await post(`${base}/kv/compaction`, { revision: put.header.revision, physical: true });
  }

  async namespace(name: string): Promise<void> {
    await this.admin.create(namespaces, {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name },
    });
  }

  /** A kubeconfig for a service account, which is made when it is not there; what it may do is what roles say. */
  async kubeconfigOf(namespace: string, serviceAccount: string): Promise<string> {
    const kind: Kind = { group: "", version: "v1", plural: "serviceaccounts", namespaced: true };
    const metadata = { name: serviceAccount, namespace };
    const object: KubeObject = { apiVersion: "v1", kind: "ServiceAccount", metadata };
    await this.admin.create(kind, object).catch(() => undefined);
    const { token } = await this.admin.token(serviceAccount, { namespace });
    const file = join(this.folder, `${namespace}-${serviceAccount}.kubeconfig`);
    writeFileSync(file, configuration(this.port, token, namespace), { mode: 0o600 });
    return file;
  }

  serverLog(): string {
    return this.#server.log();
  }

  async #ready(): Promise<void> {
    for (let left = 300; ; left -= 1) {
      try {
        await this.admin.get(namespaces, "default");
        // The roles that come with it are made a moment after it serves.
        await this.admin.get(clusterRoles, "cluster-admin");
        return;
      } catch (thrown) {
        if (left === 0) throw new Error(this.serverLog().slice(-3000), { cause: thrown });
        await sleep(100);
      }
    }
  }

  async #served(crd: string): Promise<void> {
    const [plural = "", ...group] = crd.split(".");
    for (let left = 100; ; left -= 1) {
      try {
        await this.admin.list({
          group: group.join("."),
          version: "v1alpha1",
          plural,
          namespaced: true,
        });
        return;
      } catch (thrown) {
        if (left === 0) throw thrown;
        await sleep(50);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin[Symbol.asyncDispose]();
    await this.#manager?.[Symbol.asyncDispose]();
    await this.#server[Symbol.asyncDispose]();
    await this.#etcd[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function startServer(
  program: string,
  folder: string,
  port: number,
  etcdPort: number,
): Promise<Program> {
  return Program.start({
    program,
    args: () => [
      "apiserver",
      `--etcd-servers=http://127.0.0.1:${etcdPort}`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      `--secure-port=${port}`,
      `--cert-dir=${join(folder, "certificates")}`,
      "--authorization-mode=RBAC",
      `--token-auth-file=${join(folder, "tokens.csv")}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${join(folder, "sa.pub")}`,
      `--service-account-signing-key-file=${join(folder, "sa.key")}`,
      "--service-cluster-ip-range=10.0.0.0/24",
      "--max-requests-inflight=2000",
      "--max-mutating-requests-inflight=1000",
    ],
    health: () => `https://127.0.0.1:${port}/livez`,
  });
}

function configuration(port: number, token: string, namespace = "default"): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    contexts: [{ name: "test", context: { cluster: "test", user: "test", namespace } }],
    clusters: [
      {
        name: "test",
        cluster: { server: `https://127.0.0.1:${port}`, "insecure-skip-tls-verify": true },
      },
    ],
    users: [{ name: "test", user: { token } }],
  });
}

async function post(
  url: string,
  body: object,
): Promise<{ readonly header: { readonly revision: string } }> {
  const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
  return (await response.json()) as { readonly header: { readonly revision: string } };
}

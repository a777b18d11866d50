// Everything that a cluster with an agent has: a control plane, the stand-in controller, a registry, an S3 server, and agents with runner processes.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clusterReader, createAgent, type AgentObserver } from "../../src/argo/mod.ts";
import {
  clusterFrom,
  recordOf,
  textOf,
  type Cluster,
  type Kind,
  type KubeObject,
} from "../../src/kubernetes/mod.ts";
import { openRegistry } from "../../src/oci/mod.ts";
import { stepsOn } from "../argo/setting.ts";
import { pushModule } from "../servers/artifact.ts";
import { StandInRegistry } from "../servers/registry.ts";
import { startS3, type S3Server } from "../servers/s3.ts";
import { TestCluster } from "./cluster.ts";
import { StandInController, workflows, type ControllerOptions } from "./controller.ts";

type Json = Readonly<Record<string, unknown>>;

export interface AgentSetting {
  readonly kubeconfig?: string;
  readonly observer?: AgentObserver;
  readonly identity?: string;
  readonly leaseSeconds?: number;
  readonly namespaces?: readonly string[];
  readonly runningAfterMs?: number;
}

export class ClusterSetting implements AsyncDisposable {
  readonly cluster: TestCluster;
  readonly registry: StandInRegistry;
  readonly s3: S3Server;
  readonly image: string;
  readonly folder: string;
  #stack = new AsyncDisposableStack();

  private constructor(
    cluster: TestCluster,
    registry: StandInRegistry,
    s3: S3Server,
    folder: string,
  ) {
    this.cluster = cluster;
    this.registry = registry;
    this.s3 = s3;
    this.folder = folder;
    this.image = `${registry.host}/guests/act:1`;
  }

  static async start(): Promise<ClusterSetting> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "atalanta-agents-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const cluster = stack.use(await TestCluster.start());
    const registry = stack.use(await StandInRegistry.start());
    const s3 = stack.use(await startS3());
    s3.bucket("artifacts");
    const made = new ClusterSetting(cluster, registry, s3, folder);
    await made.push("guests/act:1", join(import.meta.dirname, "../guests/act/act.wasm"));
    made.#stack = stack.move();
    await made.namespace("default");
    return made;
  }

  get admin(): Cluster {
    return this.cluster.admin;
  }

  async push(name: string, file: string): Promise<string> {
    await using pushing = openRegistry({ loopback: true });
    const image = `${this.registry.host}/${name}`;
    await pushModule(pushing, image, await readFile(file));
    return image;
  }

  /** With the secret of the artifact repository in it. */
  async namespace(name: string): Promise<void> {
    if (name !== "default") await this.cluster.namespace(name);
    const secrets: Kind = { group: "", version: "v1", plural: "secrets", namespaced: true };
    await this.admin.create(secrets, {
      metadata: { name: "s3-login", namespace: name },
      stringData: { user: this.s3.accessKey, password: this.s3.secretKey },
    });
  }

  get repository(): Json {
    return {
      archiveLogs: true,
      s3: {
        endpoint: this.s3.endpoint,
        insecure: true,
        bucket: "artifacts",
        accessKeySecret: { name: "s3-login", key: "user" },
        secretKeySecret: { name: "s3-login", key: "password" },
      },
    };
  }

  controller(options: Partial<ControllerOptions> = {}): Promise<StandInController> {
    return StandInController.start({
      cluster: this.admin,
      repository: this.repository,
      onError: (thrown) => console.error("controller:", thrown),
      ...options,
    });
  }

  async agent(
    options: AgentSetting = {},
  ): Promise<AsyncDisposable & { readonly agent: Awaited<ReturnType<typeof createAgent>> }> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(this.folder, "agent-"));
    const cluster = options.kubeconfig
      ? stack.use(await clusterFrom({ kubeconfig: options.kubeconfig, environment: {} }))
      : this.admin;
    const reader = clusterReader(cluster, "agent");
    const steps = await stepsOn(stack, { reader, folder, threads: 2 });
    const { identity, leaseSeconds, namespaces, runningAfterMs, observer } = options;
    const agent = stack.use(
      await createAgent({
        cluster,
        executors: [steps],
        ...(observer ? { observer } : {}),
        ...(namespaces ? { namespaces } : {}),
        ...(runningAfterMs === undefined ? {} : { runningAfterMs }),
        ...(identity === undefined
          ? {}
          : {
              replicas: {
                namespace: "default",
                group: "atalanta-agent",
                identity,
                ...(leaseSeconds === undefined ? {} : { seconds: leaseSeconds }),
              },
            }),
      }),
    );
    await agent.ready;
    const kept = stack.move();
    return { agent, [Symbol.asyncDispose]: () => kept.disposeAsync() };
  }

  submit(name: string, spec: Json, namespace = "default"): Promise<KubeObject> {
    return this.admin.create(workflows, {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: { name, namespace },
      spec,
    });
  }

  /** The workflow once it is over. */
  async ended(name: string, namespace = "default", seconds = 60): Promise<KubeObject> {
    const { promise, resolve, reject } = Promise.withResolvers<KubeObject>();
    const timer = setTimeout(() => reject(new Error(`${name} does not end`)), seconds * 1000);
    await using following = this.admin.follow(workflows, {
      namespace,
      fieldSelector: `metadata.name=${name}`,
      onChange: (now) => {
        if (now && isOver(now)) resolve(now);
      },
    });
    try {
      await following.ready;
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

export function isOver(workflow: KubeObject): boolean {
  const phase = textOf(recordOf(workflow["status"])["phase"]);
  return phase === "Succeeded" || phase === "Failed" || phase === "Error";
}

// Steps with real parts: runner processes, a registry, and an S3 server; what a cluster would say of workflows and secrets is given by the test.
import { readFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeResult, StepExecutor, Template } from "../../src/argo/mod.ts";
import {
  createWasmSteps,
  type NamespaceReader,
  type WasmStepsOptions,
} from "../../src/argo/mod.ts";
import { hostLimits } from "../../src/limits/mod.ts";
import { openRegistry } from "../../src/oci/mod.ts";
import { createRunners } from "../../src/runner/mod.ts";
import { pushModule } from "../servers/artifact.ts";
import { StandInRegistry } from "../servers/registry.ts";
import { startS3, type S3Server } from "../servers/s3.ts";

type Json = Readonly<Record<string, unknown>>;

export interface Namespace {
  readonly workflows: Map<string, Json>;
  readonly secrets: Map<string, { data: Json; annotations?: Record<string, string> }>;
  readonly configMaps: Map<string, Record<string, string>>;
  /** Annotations of service accounts. */
  readonly serviceAccounts: Map<string, Record<string, string>>;
}

export interface Setting extends AsyncDisposable {
  readonly registry: StandInRegistry;
  readonly s3: S3Server;
  readonly image: string;
  readonly folder: string;
  readonly asked: string[];
  readonly steps: StepExecutor;
  namespace(name: string): Namespace;
  /** Runs a template as a step of the workflow `wf` in `team`, or elsewhere. */
  run(
    template: Template,
    how?: { nodeId?: string; namespace?: string; uid?: string; signal?: AbortSignal },
  ): Promise<NodeResult>;
}

const guest = join(import.meta.dirname, "../guests/act/act.wasm");

export async function startSteps(options: Partial<WasmStepsOptions> = {}): Promise<Setting> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "atalanta-steps-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const registry = stack.use(await StandInRegistry.start());
  const s3 = stack.use(await startS3());
  s3.bucket("artifacts");
  const image = `${registry.host}/guests/act:1`;
  {
    await using pushing = openRegistry({ loopback: true });
    await pushModule(pushing, image, await readFile(guest));
  }
  const namespaces = new Map<string, Namespace>();
  const asked: string[] = [];
  const namespace = (name: string): Namespace => {
    const found = namespaces.get(name) ?? {
      workflows: new Map(),
      secrets: new Map(),
      configMaps: new Map(),
      serviceAccounts: new Map(),
    };
    namespaces.set(name, found);
    return found;
  };
  const reader: NamespaceReader = {
    async workflow({ namespace: inside, name }) {
      asked.push(`workflow ${inside}/${name}`);
      return namespace(inside).workflows.get(name);
    },
    async secret(inside, name, { serviceAccount }) {
      asked.push(`secret ${inside}/${name} as ${serviceAccount}`);
      const found = namespace(inside).secrets.get(name);
      return (
        found && {
          data: new Map(
            Object.entries(found.data).map(([key, value]) => [key, Buffer.from(String(value))]),
          ),
          annotations: found.annotations ?? {},
        }
      );
    },
    async configMap(inside, name) {
      const found = namespace(inside).configMaps.get(name);
      return found && new Map(Object.entries(found));
    },
    async serviceAccount(inside, name) {
      asked.push(`service account ${inside}/${name}`);
      return namespace(inside).serviceAccounts.get(name);
    },
    async token(inside, name, { audience }) {
      asked.push(`token of ${inside}/${name} for ${audience}`);
      return `token-of-${inside}-${name}-for-${audience}`;
    },
  };
  const steps = await stepsOn(stack, { reader, folder, threads: 1, ...options });
  const kept = stack.move();
  for (const name of ["team", "other"]) {
    namespace(name).workflows.set("wf", workflowOf(name, s3));
    namespace(name).secrets.set("s3-login", {
      data: { user: s3.accessKey, password: s3.secretKey },
    });
  }
  return {
    registry,
    s3,
    image,
    folder,
    asked,
    steps,
    namespace,
    run: (template, how = {}) =>
      steps.execute(
        {
          workflow: {
            namespace: how.namespace ?? "team",
            name: "wf",
            uid: how.uid ?? `uid-${how.namespace ?? "team"}`,
          },
          nodeId: how.nodeId ?? "wf-123",
          template,
        },
        { signal: how.signal ?? new AbortController().signal },
      ),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** What executes steps, with processes of its own, and everything on this machine in reach. */
export async function stepsOn(
  stack: AsyncDisposableStack,
  {
    threads,
    ...options
  }: Partial<WasmStepsOptions> &
    Pick<WasmStepsOptions, "reader" | "folder"> & { readonly threads: number },
): ReturnType<typeof createWasmSteps> {
  const { folder } = options;
  const runners = stack.use(createRunners({ stagingFolder: join(folder, "staging"), threads }));
  return stack.use(
    await createWasmSteps({
      runners,
      imagesFolder: join(folder, "images"),
      trust: "process",
      limits: hostLimits(),
      permissions: { allowedHosts: [] },
      storeAddresses: ["127.0.0.0/8"],
      registry: { loopback: true },
      environment: {},
      ...options,
    }),
  );
}

/** A workflow as the API server has it once it has begun. */
export function workflowOf(
  namespace: string,
  s3: S3Server,
  more: { spec?: Json; status?: Json } = {},
): Json {
  return {
    apiVersion: "argoproj.io/v1alpha1",
    kind: "Workflow",
    metadata: { name: "wf", namespace, uid: `uid-${namespace}`, labels: { team: "blue" } },
    spec: { entrypoint: "main", templates: [{ name: "main" }], ...more.spec },
    status: {
      phase: "Running",
      nodes: { "wf-123": { id: "wf-123", name: "wf" } },
      artifactRepositoryRef: {
        default: true,
        artifactRepository: {
          archiveLogs: true,
          s3: {
            endpoint: s3.endpoint,
            insecure: true,
            bucket: "artifacts",
            keyFormat:
              "{{workflow.namespace}}/{{workflow.labels.team}}/{{workflow.name}}/{{pod.name}}",
            accessKeySecret: { name: "s3-login", key: "user" },
            secretKeySecret: { name: "s3-login", key: "password" },
          },
        },
      },
      ...more.status,
    },
  };
}

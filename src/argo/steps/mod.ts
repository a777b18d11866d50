/** `plugin.wasm` templates of Argo: a template becomes a task, and what became of it a node's result. */
import type { Limits } from "../../limits/mod.ts";
import type { GateOptions } from "../../network/mod.ts";
import type { ImagePolicy, RegistryOptions } from "../../oci/mod.ts";
import type { Runners, Trust } from "../../runner/mod.ts";
import type { KubeObject } from "../../kubernetes/mod.ts";
import type { Step, StepExecutor, WorkflowIdentity } from "../model.ts";
import type { StepTraces } from "../tracing.ts";
import type { Collected, CollectStrategy } from "./collect.ts";

export { createWasmSteps } from "./execute.ts";

export interface SecretData {
  readonly data: ReadonlyMap<string, Uint8Array>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface As {
  /** With whose authority. */
  readonly serviceAccount: string;
}

/** What steps read of the cluster. Each rejects with a `Failure`; what is not there is undefined. */
export interface NamespaceReader {
  /** The Workflow as it is now. */
  workflow(
    identity: WorkflowIdentity,
    options: { readonly signal: AbortSignal },
  ): Promise<Readonly<Record<string, unknown>> | undefined>;
  secret(namespace: string, name: string, as: As): Promise<SecretData | undefined>;
  configMap(
    namespace: string,
    name: string,
    as: As,
  ): Promise<ReadonlyMap<string, string> | undefined>;
  /** The annotations of a service account. */
  serviceAccount(
    namespace: string,
    name: string,
  ): Promise<Readonly<Record<string, string>> | undefined>;
  /** A new token of a service account, for an audience outside of the cluster. */
  token(
    namespace: string,
    serviceAccount: string,
    options: { readonly audience: string; readonly signal: AbortSignal },
  ): Promise<string>;
}

export interface WasmStepsOptions {
  readonly reader: NamespaceReader;
  /** Whose staging folder lies below `folder`, so that what guests leave needs no copy. */
  readonly runners: Runners;
  /** For artifacts on their way, of this process alone. */
  readonly folder: string;
  /** For images, by namespace; processes may share it. */
  readonly imagesFolder: string;
  /** The class of every step that asks for none, and of those that ask for a weaker one. */
  readonly trust: Trust;
  /** The highest limits that a step may ask for. */
  readonly limits: Limits;
  /** Where guests may send requests, beside what their steps ask for. */
  readonly permissions: GateOptions["permissions"];
  /** Addresses and ranges where stores of artifacts may be, beside public ones. */
  readonly storeAddresses: readonly string[];
  /** Certificates (PEM) of authorities to trust instead of Node's own. */
  readonly authorities?: readonly string[];
  /** How registries are met; its logins are asked after those of the step's namespace. */
  readonly registry: RegistryOptions;
  /** Which images may run. */
  readonly policy?: ImagePolicy;
  /** What the images of one namespace may take on the disk. */
  readonly imageCacheBytes?: number;
  /** Before a result is handed over that names artifacts which are to be deleted some day; absent: nobody deletes them. */
  readonly onCollectable?: (workflow: WorkflowIdentity) => Promise<void>;
  /** Absent: nobody traces. */
  readonly traces?: StepTraces;
  /** For proxies, and where the token services of clouds are (`AWS_REGION`, `AWS_ENDPOINT_URL_STS`). */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface WasmSteps extends StepExecutor, AsyncDisposable {
  /** Deletes what is due of the artifacts that a workflow's modules have left, with the authority that its `artifactGC` names. */
  collect(
    workflow: KubeObject,
    strategies: readonly CollectStrategy[],
    signal: AbortSignal,
  ): Promise<Collected>;
  /** For executors of other templates: a key of a secret of the step's namespace, read as its workflow's service account. Rejects when it is not there. */
  secret(step: Step, name: string, key: string): Promise<Uint8Array>;
}

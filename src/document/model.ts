import type { AskedLimits } from "../limits/mod.ts";
import type { AskedHost } from "../network/mod.ts";
import type { Place } from "../places/mod.ts";

/**
 * The part of Argo's workflow (`argoproj.io/v1alpha1`) that is supported. Keys are Argo's own; values are plain data as they
 * stand in the text, tags and expressions unresolved. Only a document that `readBundle` accepted has this type.
 */
export interface Workflow {
  readonly apiVersion: "argoproj.io/v1alpha1";
  readonly kind: "Workflow";
  readonly metadata: Metadata;
  readonly spec: WorkflowSpec;
}

/** A WorkflowTemplate or ClusterWorkflowTemplate that steps may refer to. */
export interface WorkflowTemplate {
  readonly apiVersion: "argoproj.io/v1alpha1";
  readonly kind: "WorkflowTemplate" | "ClusterWorkflowTemplate";
  readonly metadata: Metadata & { readonly name: string };
  readonly spec: WorkflowSpec;
}

export interface Metadata {
  readonly name?: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface WorkflowSpec {
  readonly entrypoint?: string;
  readonly arguments?: Arguments;
  readonly templates?: readonly Template[];
  readonly templateDefaults?: Omit<Template, "name">;
  readonly workflowTemplateRef?: { readonly name: string; readonly clusterScope?: boolean };
  readonly onExit?: string;
  readonly hooks?: Readonly<Record<string, LifecycleHook>>;
  readonly parallelism?: number;
  readonly activeDeadlineSeconds?: number;
  readonly synchronization?: Synchronization;
  readonly retryStrategy?: RetryStrategy;
  /** Only a value to refer to, as `{{workflow.priority}}`. */
  readonly priority?: number;
  /** Start suspended, until `resume`. */
  readonly suspend?: boolean;
  readonly archiveLogs?: boolean;
  readonly artifactGC?: ArtifactGc;
  readonly artifactRepositoryRef?: { readonly configMap?: string; readonly key?: string };
}

/** A value that Argo keeps as text whatever YAML made of it. */
export type Scalar = string | number | boolean;

export interface Arguments {
  readonly parameters?: readonly Parameter[];
  readonly artifacts?: readonly Artifact[];
}

export interface Parameter {
  readonly name: string;
  readonly value?: Scalar;
  readonly default?: Scalar;
  readonly enum?: readonly Scalar[];
  readonly description?: string;
  readonly globalName?: string;
  readonly valueFrom?: {
    readonly path?: string;
    readonly parameter?: string;
    readonly expression?: string;
    readonly default?: Scalar;
    /** Given by `resume`, on a suspend template. */
    readonly supplied?: Readonly<Record<string, never>>;
    readonly configMapKeyRef?: KeyReference;
  };
}

export interface KeyReference {
  readonly name: string;
  readonly key: string;
  readonly optional?: boolean;
}

export interface Artifact extends ArtifactLocation {
  readonly name: string;
  readonly path?: string;
  readonly optional?: boolean;
  readonly from?: string;
  readonly fromExpression?: string;
  readonly subPath?: string;
  readonly globalName?: string;
  /** Permission bits as a number (YAML `0755` is octal). */
  readonly mode?: number;
  readonly recurseMode?: boolean;
  readonly archive?: {
    readonly none?: Readonly<Record<string, never>>;
    readonly tar?: { readonly compressionLevel?: number };
    readonly zip?: Readonly<Record<string, never>>;
  };
  readonly artifactGC?: ArtifactGc;
}

/** Where an artifact lies: at most one of the kinds. A key alone names an object of the workflow's artifact repository. */
export interface ArtifactLocation extends Place {
  readonly raw?: { readonly data: string };
}

export interface ArtifactGc {
  readonly strategy?: "OnWorkflowCompletion" | "OnWorkflowDeletion" | "Never";
}

/** An artifact repository: a place whose key says where outputs go, with its tags. */
export interface Repository {
  readonly place: Place;
  readonly archiveLogs?: boolean;
}

/** What a step runs. Exactly one of wasm, plugin, container, script, steps, dag, suspend is there. */
export interface Template {
  readonly name: string;
  readonly inputs?: Arguments;
  readonly outputs?: Arguments;
  readonly wasm?: Wasm;
  readonly plugin?: { readonly wasm: Wasm };
  readonly container?: Container;
  readonly script?: Container & { readonly source: string };
  readonly steps?: readonly (readonly Step[])[];
  readonly dag?: Dag;
  readonly suspend?: { readonly duration?: Scalar };
  readonly retryStrategy?: RetryStrategy;
  readonly timeout?: string;
  readonly activeDeadlineSeconds?: Scalar;
  readonly parallelism?: number;
  readonly failFast?: boolean;
  readonly synchronization?: Synchronization;
  readonly memoize?: Memoize;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly metadata?: Pick<Metadata, "labels" | "annotations">;
  readonly archiveLocation?: Omit<Place, "git"> & {
    readonly archiveLogs?: boolean;
  };
}

/** What a `wasm:` template runs. */
export interface Wasm {
  readonly image?: string;
  readonly imagePullPolicy?: "Always" | "IfNotPresent" | "Never";
  /** A module file, relative to the workflow's file; local runs only. */
  readonly module?: string;
  readonly command?: readonly Scalar[];
  readonly args?: readonly Scalar[];
  readonly env?: readonly EnvironmentVariable[];
  readonly stdin?: string;
  readonly limits?: AskedLimits;
  readonly trust?: "thread" | "process" | "pod";
  readonly permissions?: { readonly http?: { readonly allowedHosts?: readonly AskedHost[] } };
  readonly map?: WasmMap;
}

/** Runs a module for each item of a list, as one step. */
export interface WasmMap {
  readonly items?: string | readonly unknown[];
  readonly artifact?: string;
  readonly parallelism?: number;
  readonly maxFailures?: number;
  readonly results?: string;
}

export interface EnvironmentVariable {
  readonly name: string;
  readonly value?: Scalar;
  readonly valueFrom?: {
    readonly configMapKeyRef?: KeyReference;
    readonly secretKeyRef?: KeyReference;
  };
}

/** The part of a Kubernetes container that means something outside a pod. */
export interface Container {
  readonly image: string;
  readonly name?: string;
  readonly command?: readonly Scalar[];
  readonly args?: readonly Scalar[];
  readonly env?: readonly EnvironmentVariable[];
  readonly workingDir?: string;
  readonly imagePullPolicy?: "Always" | "IfNotPresent" | "Never";
  readonly resources?: {
    readonly limits?: { readonly memory?: Scalar; readonly cpu?: Scalar };
    readonly requests?: { readonly memory?: Scalar; readonly cpu?: Scalar };
  };
}

export interface Dag {
  readonly tasks: readonly Step[];
  /** Names of the tasks that must end, separated by blanks; all that nothing depends on when absent. */
  readonly target?: string;
  /** Default true: after a failure no further task starts. */
  readonly failFast?: boolean;
}

export interface TemplateRef {
  readonly name: string;
  readonly template: string;
  readonly clusterScope?: boolean;
}

/** A step of `steps`, or a task of `dag`. Exactly one of template, templateRef, inline is there. */
export interface Step {
  readonly name: string;
  readonly template?: string;
  readonly templateRef?: TemplateRef;
  readonly inline?: Omit<Template, "name">;
  readonly arguments?: Arguments;
  readonly withItems?: readonly unknown[];
  readonly withParam?: string;
  readonly withSequence?: Sequence;
  readonly when?: string;
  readonly continueOn?: { readonly failed?: boolean; readonly error?: boolean };
  readonly onExit?: string;
  readonly hooks?: Readonly<Record<string, LifecycleHook>>;
  /** Tasks of a DAG only; not together with `depends`. */
  readonly dependencies?: readonly string[];
  readonly depends?: string;
}

export interface Sequence {
  readonly count?: Scalar;
  readonly start?: Scalar;
  readonly end?: Scalar;
  /** printf form, e.g. `testuser%02X`. */
  readonly format?: string;
}

/** The hook named `exit` runs at the end, any other one when its expression becomes true. */
export interface LifecycleHook {
  readonly template?: string;
  readonly templateRef?: TemplateRef;
  readonly arguments?: Arguments;
  readonly expression?: string;
}

export interface RetryStrategy {
  readonly limit?: Scalar;
  /** Default: OnFailure, or Always when an expression is given. */
  readonly retryPolicy?: "Always" | "OnFailure" | "OnError" | "OnTransientError";
  readonly backoff?: {
    readonly duration?: Scalar;
    readonly factor?: Scalar;
    readonly maxDuration?: Scalar;
    readonly cap?: Scalar;
  };
  readonly expression?: string;
}

export interface Synchronization {
  readonly mutex?: Mutex;
  readonly mutexes?: readonly Mutex[];
  readonly semaphore?: Semaphore;
  readonly semaphores?: readonly Semaphore[];
}

export interface Mutex {
  readonly name: string;
  readonly namespace?: string;
}

export interface Semaphore {
  readonly configMapKeyRef: KeyReference;
  readonly namespace?: string;
}

export interface Memoize {
  readonly key: string;
  readonly maxAge?: string;
  readonly cache: { readonly configMap: { readonly name: string } };
}

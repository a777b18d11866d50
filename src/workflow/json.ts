import type { ArtifactSource } from "../task/mod.ts";
import type { RunSummary } from "./journal/mod.ts";
import type { NodeOutputs, RunNode, RunState } from "./plan/mod.ts";
import { usageSum } from "./usage.ts";

type Json = Readonly<Record<string, unknown>>;

/**
 * A run as Argo's Workflow object, for `-o json` and the tools that read such. Beside what Argo has, a node says its `usage` and
 * `limitsReached`, and the status the sum of the first.
 */
export function workflowJson(state: RunState): Json {
  const { begin } = state;
  const { workflow } = begin.bundle;
  return {
    apiVersion: workflow.apiVersion,
    kind: workflow.kind,
    metadata: {
      ...workflow.metadata,
      name: begin.name,
      namespace: begin.namespace,
      uid: begin.uid,
      creationTimestamp: time(state.startedAt),
    },
    spec: {
      ...workflow.spec,
      arguments: given(workflow.spec.arguments ?? {}, state.parameters),
      ...(state.suspended ? { suspend: true } : {}),
      ...(state.shutdown === undefined ? {} : { shutdown: state.shutdown }),
    },
    status: {
      phase: state.phase,
      message: state.message,
      startedAt: time(state.startedAt),
      finishedAt: time(state.finishedAt),
      progress: `${state.progress.done}/${state.progress.total}`,
      outputs: outputs(state.outputs),
      usage: usageSum(state.nodes.values()),
      nodes: Object.fromEntries([...state.nodes].map(([id, node]) => [id, nodeStatus(node)])),
    },
  };
}

/** The same of a run in the list: without what only its records know. */
export function summaryJson(run: RunSummary): Json {
  return {
    apiVersion: "argoproj.io/v1alpha1",
    kind: "Workflow",
    metadata: { name: run.name, uid: run.uid, creationTimestamp: time(run.startedAt) },
    spec: run.suspended ? { suspend: true } : {},
    status: {
      phase: run.phase,
      message: run.message,
      startedAt: time(run.startedAt),
      finishedAt: time(run.finishedAt),
      progress: `${run.progress.done}/${run.progress.total}`,
    },
  };
}

type Arguments = NonNullable<RunState["begin"]["bundle"]["workflow"]["spec"]["arguments"]>;

function given(asked: Arguments, parameters: Readonly<Record<string, string>>): Json {
  return {
    ...asked,
    ...(asked.parameters
      ? {
          parameters: asked.parameters.map((item) => ({
            ...item,
            ...(parameters[item.name] === undefined ? {} : { value: parameters[item.name] }),
          })),
        }
      : {}),
  };
}

function nodeStatus(node: RunNode): Json {
  const library = node.template?.includes("/") ? node.template.split("/") : undefined;
  return {
    id: node.id,
    name: node.name,
    displayName: node.displayName,
    type: node.type,
    ...(library
      ? { templateRef: { name: library[0], template: library[1] } }
      : { templateName: node.template }),
    boundaryID: node.boundary,
    phase: node.phase,
    message: node.message,
    startedAt: time(node.startedAt),
    finishedAt: time(node.finishedAt),
    inputs: node.inputs && {
      parameters: node.inputs.parameters,
      artifacts: node.inputs.artifacts.map(artifact),
    },
    outputs: node.outputs && outputs(node.outputs),
    usage: node.usage,
    imageDigest: node.imageDigest,
    limitsReached: node.limitsReached,
    memoizationStatus: node.memoized === undefined ? undefined : { hit: node.memoized },
    children: node.children.length === 0 ? undefined : node.children,
  };
}

function outputs({ result, exitCode, parameters, artifacts }: NodeOutputs): Json | undefined {
  if (
    result === undefined &&
    exitCode === undefined &&
    parameters.length + artifacts.length === 0
  ) {
    return undefined;
  }
  return {
    result,
    exitCode: exitCode === undefined ? undefined : String(exitCode),
    parameters: parameters.length === 0 ? undefined : parameters,
    artifacts: artifacts.length === 0 ? undefined : artifacts.map(artifact),
  };
}

/** Where it lies in a store as Argo says it, and in the folder of artifacts by its digest. */
function artifact(item: { readonly name: string; readonly artifact: ArtifactSource }): Json {
  const { name, artifact: source } = item;
  switch (source.kind) {
    case "raw":
      return { name, raw: { data: source.data } };
    case "key":
      return { name, s3: { key: source.key } };
    case "store":
      return { name, ...source.place, subPath: source.subPath };
    case "stored": {
      const { digest, size, kind, count } = source.artifact;
      const { copy, subPath } = source;
      return {
        name,
        ...copy?.place,
        ...(copy?.collect ? { artifactGC: { strategy: copy.collect } } : {}),
        deleted: copy?.deleted,
        digest,
        size,
        kind,
        count,
        subPath,
      };
    }
  }
}

/** Kubernetes' form of a time: seconds. */
function time(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

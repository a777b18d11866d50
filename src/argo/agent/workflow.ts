import { toFailure } from "../../errors/mod.ts";
import { recordOf, textOf, type Cluster } from "../../kubernetes/mod.ts";
import { workflows } from "../kinds.ts";
import type { WorkflowIdentity } from "../model.ts";
import { nodesOf } from "../nodes.ts";
import { isTerminal } from "./view.ts";

interface NodeState {
  readonly phase: string;
  /** By the cluster's clock. */
  readonly startedAt: number | undefined;
}

/** What a workflow itself says of its steps. */
export interface WorkflowState {
  /** It is gone, was made anew, has ended, or is to end at once. */
  readonly isOver: boolean;
  /** By id; undefined when they lie where only the engine reads them. */
  readonly nodes: ReadonlyMap<string, NodeState> | undefined;
  /** The workflow's own deadline, by the cluster's clock. */
  readonly endsAt: number | undefined;
}

const over: WorkflowState = { isOver: true, nodes: undefined, endsAt: undefined };

export async function workflowState(
  cluster: Cluster,
  { namespace, name, uid }: WorkflowIdentity,
  signal: AbortSignal,
): Promise<WorkflowState> {
  const object = await cluster.get(workflows, name, { namespace, signal }).catch((thrown) => {
    if (toFailure(thrown).code === "cluster-missing") return undefined;
    throw thrown;
  });
  if (object?.metadata.uid !== uid) return over;
  const spec = recordOf(object["spec"]);
  const status = recordOf(object["status"]);
  const phase = textOf(status["phase"]);
  if (isTerminal(phase) || spec["shutdown"] === "Terminate") return over;
  // The spec of a workflow of a template is in the status, merged with its own.
  const stored = recordOf(status["storedWorkflowTemplateSpec"]);
  const seconds = Number(stored["activeDeadlineSeconds"] ?? spec["activeDeadlineSeconds"]);
  const startedAt = timeOf(status["startedAt"]);
  const endsAt = startedAt === undefined ? Number.NaN : startedAt + seconds * 1000;
  return {
    isOver: false,
    nodes: await statesOf(status),
    endsAt: Number.isNaN(endsAt) ? undefined : endsAt,
  };
}

async function statesOf(
  status: Readonly<Record<string, unknown>>,
): Promise<WorkflowState["nodes"]> {
  const nodes = await nodesOf(status);
  return (
    nodes &&
    new Map(
      Object.entries(nodes).map(([id, node]) => {
        const { phase, startedAt } = recordOf(node);
        return [id, { phase: textOf(phase) ?? "", startedAt: timeOf(startedAt) }];
      }),
    )
  );
}

function timeOf(value: unknown): number | undefined {
  const time = Date.parse(textOf(value) ?? "");
  return Number.isNaN(time) ? undefined : time;
}

import type { Cluster } from "../../kubernetes/mod.ts";
import { taskSets } from "../kinds.ts";
import { isOlder, type TaskSetView } from "./view.ts";
import type { WorkflowState } from "./workflow.ts";

/**
 * Entries of a status that belong to no task. One of a node that the workflow does not know, from whoever wrote too late, keeps the engine from reading all others, so
 * it is taken away.
 */
export class Strays {
  readonly #cluster: Cluster;
  /** As they were the last time: the engine takes an entry and its task away one after the other. */
  #before = new Map<string, TaskSetView>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Looks at all task sets of ours, and gives those back that had the same strays before. */
  due(views: Iterable<TaskSetView>): readonly TaskSetView[] {
    const now = new Map<string, TaskSetView>();
    const due: TaskSetView[] = [];
    for (const view of views) {
      if (idsOf(view).length === 0) continue;
      now.set(view.uid, view);
      const before = this.#before.get(view.uid);
      if (before && idsOf(before).some((id) => idsOf(view).includes(id))) due.push(view);
    }
    this.#before = now;
    return due;
  }

  /** Takes those away that the workflow has no node for. */
  async remove(view: TaskSetView, state: WorkflowState, signal: AbortSignal): Promise<boolean> {
    const { nodes, isOver } = state;
    const before = this.#before.get(view.uid);
    if (isOver || !nodes || !before || isOlder(view, before)) return false;
    const ids = idsOf(view).filter((id) => !nodes.has(id));
    if (ids.length === 0) return false;
    await this.#cluster.patch(
      taskSets,
      view.name,
      {
        metadata: { uid: view.uid, resourceVersion: view.version },
        status: { nodes: Object.fromEntries(ids.map((id) => [id, null])) },
      },
      { namespace: view.namespace, subresource: "status", metadataOnly: true, signal },
    );
    return true;
  }
}

function idsOf({ phases, tasks, workflow, completed }: TaskSetView): readonly string[] {
  if (completed || workflow.uid === "") return [];
  return [...phases.keys()].filter((id) => !tasks.has(id));
}

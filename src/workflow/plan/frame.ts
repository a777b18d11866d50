import type { Door } from "./parallelism.ts";
import type { Lock } from "./types.ts";
import type { Names } from "./names.ts";
import type { PlanNode } from "./node.ts";
import type { DagBody } from "./dag.ts";
import type { GroupBody, StepsBody } from "./steps.ts";
import type { TaskGroupBody } from "./taskgroup.ts";
import type { LeafBody } from "./leaves.ts";
import type { RetryBody } from "./retry.ts";
import type { SuspendBody } from "./suspend.ts";
import type { Site } from "./templates.ts";

/** What a node does, in its kind's own terms. */
export type Body =
  | LeafBody
  | SuspendBody
  | StepsBody
  | GroupBody
  | DagBody
  | TaskGroupBody
  | RetryBody;

/** What a node needs only until it is done. */
export interface Frame {
  /** The node that is told of its end; absent for the run's own. */
  readonly into: PlanNode | undefined;
  /** What asked for it; absent for step groups and attempts. */
  readonly site: Site | undefined;
  /** Names in reach where it was asked for. */
  readonly from: Names;
  /** Names in reach inside its template. */
  readonly names: Names;
  /** How many templates it is inside of. */
  readonly depth: number;
  body: Body | undefined;
  /** Where it counts as a running child. */
  door: Door | undefined;
  locks: readonly Lock[] | undefined;
  /** When a leaf must have ended, with what is said then. */
  deadline: { readonly at: number; readonly message: string } | undefined;
  memory: { readonly cache: string; readonly key: string; readonly maxAgeMs?: number } | undefined;
  /** Hooks that have not ended. */
  hooks: number;
  /** Whether its exit hook has been looked at. */
  left: boolean;
}

/** A frame at its beginning. */
export function frame(
  given: Pick<Frame, "into" | "site" | "from" | "names" | "depth"> & { readonly body?: Body },
): Frame {
  return {
    into: given.into,
    site: given.site,
    from: given.from,
    names: given.names,
    depth: given.depth,
    body: given.body,
    door: undefined,
    locks: undefined,
    deadline: undefined,
    memory: undefined,
    hooks: 0,
    left: false,
  };
}

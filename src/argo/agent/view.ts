import { listOf, recordOf, textOf, type KubeObject } from "../../kubernetes/mod.ts";
import type { Template } from "../model.ts";

/** What is kept of a task set: of one whose workflow is over, next to nothing. */
export interface TaskSetView {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly version: string;
  /** Of the workflow that owns it. */
  readonly workflow: { readonly name: string; readonly uid: string };
  readonly completed: boolean;
  readonly tasks: ReadonlyMap<string, Template>;
  /** Phases that are written down, by node. */
  readonly phases: ReadonlyMap<string, string>;
  /** What the status takes of the object, about. */
  readonly statusBytes: number;
}

const nothing: ReadonlyMap<string, never> = new Map<string, never>();

/** Reads a task set. What it holds is others', so nothing of it is taken for granted. */
export function viewOf(object: KubeObject): TaskSetView {
  const { namespace = "", name = "", uid = "", resourceVersion = "", labels } = object.metadata;
  const owner = listOf(object.metadata.ownerReferences)
    .map(recordOf)
    .find(({ kind }) => kind === "Workflow");
  const workflow = {
    name: textOf(owner?.["name"]) ?? name,
    uid: textOf(owner?.["uid"]) ?? "",
  };
  const base = { namespace, name, uid, version: resourceVersion, workflow };
  if (labels?.["workflows.argoproj.io/completed"] === "true") {
    return { ...base, completed: true, tasks: nothing, phases: nothing, statusBytes: 0 };
  }
  const nodes = recordOf(recordOf(object["status"])["nodes"]);
  const tasks = Object.entries(recordOf(recordOf(object["spec"])["tasks"]));
  return {
    ...base,
    completed: false,
    tasks: new Map(tasks.map(([id, template]) => [id, recordOf(template)])),
    phases: new Map(
      Object.entries(nodes).map(([id, result]) => [id, textOf(recordOf(result)["phase"]) ?? ""]),
    ),
    statusBytes: tasks.length === 0 ? 0 : bytesOf(nodes),
  };
}

/** As JSON. */
export function bytesOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** Whether a node with this phase has its result. */
export function isTerminal(phase: string | undefined): boolean {
  return phase !== undefined && phase !== "" && phase !== "Pending" && phase !== "Running";
}

/** Versions of one object count up. */
export function isOlder(one: TaskSetView, other: TaskSetView): boolean {
  return one.uid === other.uid && Number(one.version) < Number(other.version);
}

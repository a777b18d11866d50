import type { Phase, RunNode } from "../workflow/mod.ts";

/** A node with what stands below it in the picture, which is not Argo's `children`: those lead from a task to the next one. */
export interface Branch {
  node: RunNode;
  readonly children: Branch[];
}

/** A line of the picture. */
export type Row =
  | { readonly kind: "node"; readonly lead: string; readonly node: RunNode }
  | {
      readonly kind: "loop";
      readonly lead: string;
      /** Name of the step that is a loop. */
      readonly name: string;
      readonly counts: Counts;
      readonly startedAt: number;
      /** Absent while any of it goes on. */
      readonly finishedAt?: number;
    };

interface Counts {
  readonly total: number;
  readonly done: number;
  readonly failed: number;
  readonly running: number;
}

/** Loops with more items than this are one line with counts. */
const loopRows = 20;
/** Items of such a loop that are shown by themselves: the first that failed and the first that run. */
const shownItems = 5;

/** The nodes of a run as a tree, kept up to date one changed node at a time. */
export class NodeTree {
  readonly #byId = new Map<string, Branch>();
  readonly #byName = new Map<string, Branch>();
  /** The entry node and the run's exit handlers. */
  readonly roots: Branch[] = [];

  constructor(nodes: Iterable<RunNode> = []) {
    for (const node of nodes) this.update(node);
  }

  update(node: RunNode): void {
    const known = this.#byId.get(node.id);
    if (known) {
      known.node = node;
      return;
    }
    const branch: Branch = { node, children: [] };
    this.#byId.set(node.id, branch);
    this.#byName.set(node.name, branch);
    (this.#parent(node)?.children ?? this.roots).push(branch);
  }

  /** Found by its name: `t[1].each(0:x)` stands in the loop or retry `t[1].each`, or else in the group `t[1]`. */
  #parent(node: RunNode): Branch | undefined {
    const { name, displayName, boundary } = node;
    const attempt = /^(.+)\(\d+\)$/s.exec(name)?.[1];
    const retry = attempt === undefined ? undefined : this.#byName.get(attempt);
    if (retry?.node.type === "Retry") return retry;
    const before = name.endsWith(displayName) ? name.slice(0, -displayName.length) : "";
    const loop = loopName(displayName);
    if (loop !== undefined) {
      const group = this.#byName.get(before + loop);
      if (group?.node.type === "TaskGroup" || group?.node.type === "StepGroup") return group;
    }
    const around = this.#byName.get(before.replace(/\.$/, ""));
    return around ?? (boundary === undefined ? undefined : this.#byId.get(boundary));
  }

  /** The picture from top to bottom; with `all`, every item of a loop has its own line. */
  rows(all = false): Row[] {
    const rows: Row[] = [];
    for (const root of this.roots) draw(root, " ", " ", all, rows);
    return rows;
  }
}

/** `each` of `each(0:x)`. */
function loopName(displayName: string): string | undefined {
  return /^(.*?)\(\d+(?::.*)?\)$/s.exec(displayName)?.[1];
}

type Item = Branch | Extract<Row, { readonly kind: "loop" }>;

/**
 * Argo's picture: a group of steps has no line of its own, its members hang on one another instead. `lead` stands before the
 * first line, `below` before the others.
 */
function draw(branch: Branch, lead: string, below: string, all: boolean, rows: Row[]): void {
  const { node } = branch;
  const group = node.type === "StepGroup";
  const alone = node.type === "Retry" && branch.children.length === 1;
  const shown = all ? branch.children : collapse(branch.children);
  // A loop in a DAG has a node of its own, whose line shows the counts; in steps its items hang on their group.
  const [first] = shown;
  const loop = node.type === "TaskGroup" && first && "kind" in first ? first : undefined;
  if (loop) rows.push({ ...loop, lead });
  else if (!group && !alone) rows.push({ kind: "node", lead, node });
  const items = loop ? shown.slice(1) : shown;
  for (const [at, item] of items.entries()) {
    const last = at === items.length - 1;
    let part = last ? "└─" : "├─";
    if (group && at === 0) part = last ? "──" : "┬─";
    if (alone) part = "";
    const itemLead = (group || alone) && at === 0 ? lead + part : below + part;
    const itemBelow = alone ? below : below + (last ? "  " : "│ ");
    if ("kind" in item) rows.push({ ...item, lead: itemLead });
    else draw(item, itemLead, itemBelow, all, rows);
  }
}

/** Puts one line in the place of the items of each long loop, and keeps those that one wants to see. */
function collapse(children: readonly Branch[]): readonly Item[] {
  if (children.length <= loopRows) return children;
  const loops = Map.groupBy(children, (child) => loopName(child.node.displayName) ?? child);
  const items: Item[] = [];
  for (const [key, members] of loops) {
    if (typeof key !== "string" || members.length <= loopRows) {
      items.push(...members);
      continue;
    }
    const failed = members.filter(({ node }) => node.phase === "Failed" || node.phase === "Error");
    const running = members.filter(({ node }) => node.phase === "Running");
    const done = members.filter(({ node }) => ended(node.phase)).length;
    items.push({
      kind: "loop",
      lead: "",
      name: key,
      counts: {
        total: members.length,
        done,
        failed: failed.length,
        running: running.length,
      },
      startedAt: members.reduce((least, { node }) => Math.min(least, node.startedAt), Infinity),
      ...(done === members.length
        ? {
            finishedAt: members.reduce((most, { node }) => Math.max(most, node.finishedAt ?? 0), 0),
          }
        : {}),
    });
    items.push(...failed.slice(0, shownItems), ...running.slice(0, shownItems));
  }
  return items;
}

/** Whether nothing more happens to a node in this phase. */
export function ended(phase: Phase): boolean {
  return phase !== "Pending" && phase !== "Running";
}

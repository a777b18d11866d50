import { start } from "./lifecycle.ts";
import type { PlanNode } from "./node.ts";
import { orderOf } from "./order.ts";
import type { Plan } from "./plan.ts";
import type { RunEvent } from "./types.ts";

type Retried = Extract<RunEvent, { readonly type: "retried" }>;

/**
 * Takes a finished run up again. What failed, what is named, and everything that came after either is taken out of the tree; the
 * templates around them begin anew and find the rest as it was.
 */
export function takeUp(plan: Plan, event: Retried): void {
  if (plan.finishedAt === undefined) return;
  const chosen = new Set(event.restartSuccessful ? event.nodes : []);
  const entry = plan.nodes.get(plan.begin.name);
  if (plan.phase === "Succeeded" && chosen.size === 0) return;
  plan.parameters = { ...plan.parameters, ...event.parameters };
  plan.attempt += 1;
  plan.finishedAt = undefined;
  plan.shutdown = undefined;
  plan.shutdownMessage = undefined;
  plan.hookProblem = undefined;
  plan.globals.status = undefined;
  const opening = new Opening(plan, chosen, Object.keys(event.parameters).length > 0);
  // When all is well in it, what went wrong is the exit handler.
  if (entry) opening.open(entry);
  for (const node of plan.nodes.values()) {
    const own =
      node.hooked && node.bound === undefined && node.name.startsWith(`${plan.begin.name}.`);
    if (own && isOfRun(plan, node) && (node.exit || node.failed)) plan.remove(node);
  }
  start(plan);
}

/** Whether a hook is one of the run's own, by its name. */
function isOfRun(plan: Plan, { name }: PlanNode): boolean {
  const rest = name.slice(plan.begin.name.length);
  return rest === ".onExit" || /^\.hooks\.[^.]+$/u.test(rest);
}

class Opening {
  readonly #plan: Plan;
  readonly #chosen: ReadonlySet<string>;
  readonly #renew: boolean;

  constructor(plan: Plan, chosen: ReadonlySet<string>, renew: boolean) {
    this.#plan = plan;
    this.#chosen = chosen;
    this.#renew = renew;
  }

  /** Makes a node begin again if anything in it is to; false when it stays as it is. */
  open(node: PlanNode): boolean {
    if (this.#chosen.has(node.id)) {
      this.#plan.remove(node);
      return true;
    }
    if (!node.failed && !this.#holdsChosen(node)) return false;
    if (node.type === "Steps") this.#steps(node);
    else if (node.type === "DAG") this.#dag(node);
    else if (node.type === "StepGroup" || node.type === "TaskGroup") this.#group(node);
    // A leaf; or all attempts of what is tried again.
    else this.#plan.remove(node);
    return true;
  }

  #steps(node: PlanNode): void {
    let opened = false;
    for (const group of this.#children(node)) {
      if (opened) this.#plan.remove(group);
      else opened = this.open(group);
    }
    this.#reset(node);
  }

  #group(node: PlanNode): void {
    for (const child of this.#children(node)) {
      if (this.#renew) this.#plan.remove(child);
      else this.open(child);
    }
    this.#reset(node);
  }

  #dag(node: PlanNode): void {
    const order = node.used && orderOf(node.used);
    const tasks = new Map<number, PlanNode>();
    for (const child of this.#children(node)) {
      const task = order?.number.get(child.displayName);
      if (task !== undefined) tasks.set(task, child);
    }
    /** Tasks that wait for one, directly or not. */
    const behind = (task: number): ReadonlySet<number> => {
      const seen = new Set<number>();
      const open = [...(order?.after[task] ?? [])];
      for (let next = open.pop(); next !== undefined; next = open.pop()) {
        if (seen.has(next)) continue;
        seen.add(next);
        open.push(...(order?.after[next] ?? []));
      }
      return seen;
    };
    for (const [task, child] of tasks) {
      if (!this.#plan.nodes.has(child.id)) continue;
      const later = child.failed || this.#holdsChosen(child) ? behind(task) : new Set<number>();
      // A failure that others lived with is no reason to begin again.
      const lived = [...later].some((other) => tasks.get(other)?.phase === "Succeeded");
      if (lived && !this.#holdsChosen(child)) continue;
      if (!this.open(child)) continue;
      for (const other of later) {
        const after = tasks.get(other);
        if (after && this.#plan.nodes.has(after.id)) this.#plan.remove(after);
      }
    }
    this.#reset(node);
  }

  #children(node: PlanNode): readonly PlanNode[] {
    return node.children.flatMap((id) => {
      const child = this.#plan.nodes.get(id);
      return child && !child.hooked ? [child] : [];
    });
  }

  #holdsChosen(node: PlanNode): boolean {
    if (this.#chosen.size === 0) return false;
    const open = [node];
    for (let one = open.pop(); one; one = open.pop()) {
      if (this.#chosen.has(one.id)) return true;
      for (const id of one.children) {
        const child = this.#plan.nodes.get(id);
        if (child) open.push(child);
      }
    }
    return false;
  }

  #reset(node: PlanNode): void {
    for (const id of node.children) {
      const child = this.#plan.nodes.get(id);
      if (child?.hooked) this.#plan.remove(child);
    }
    node.keep((child) => this.#plan.nodes.has(child));
    this.#plan.stale.add(node);
  }
}

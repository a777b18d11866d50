import type { Plan } from "./plan.ts";
import type { PlanNode } from "./node.ts";

/** Calls that wait to be let in, one after the other. */
export interface Source {
  /** How many have not begun. */
  readonly left: number;
  /** Begins the next one. */
  readonly open: () => void;
  /** Gives up those that have not begun. */
  readonly abandon: () => void;
  /** Whether it stays when the others are given up. */
  readonly stays?: () => boolean;
}

/**
 * Where the children of a Steps or DAG node come in: as many at once as its template's `parallelism` allows. A child counts from
 * when it is let in until its end, and not while it waits for its next attempt.
 */
export interface Door {
  readonly limit: number | undefined;
  running: number;
  readonly waiting: Source[];
  /** Place of the first source that may have something left. */
  first: number;
}

export function makeDoor(limit: number | undefined): Door {
  return { limit, running: 0, waiting: [], first: 0 };
}

/** Lets in what there is room for; what there is not comes when something ends. */
export function letIn(plan: Plan, door: Door, source: Source, urgent = false): void {
  plan.waiting += source.left;
  if (urgent) door.waiting.splice(door.first, 0, source);
  else door.waiting.push(source);
  pump(plan, door);
}

function pump(plan: Plan, door: Door): void {
  for (;;) {
    const source = door.waiting[door.first];
    if (!source) break;
    if (source.left === 0) {
      door.first += 1;
      continue;
    }
    if (door.limit !== undefined && door.running >= door.limit) return;
    if (!plan.leaves.free) {
      plan.leaves.blocked.add(door);
      return;
    }
    plan.waiting -= 1;
    source.open();
  }
  door.waiting.length = 0;
  door.first = 0;
}

/** Gives up what has not begun, but for hooks of what has. */
export function abandon(plan: Plan, door: Door): void {
  const sources = door.waiting.slice(door.first).filter((source) => source.left > 0);
  door.waiting.length = 0;
  door.first = 0;
  for (const source of sources) {
    if (source.stays?.()) {
      door.waiting.push(source);
      continue;
    }
    plan.waiting -= source.left;
    source.abandon();
  }
}

/** A child comes in. */
export function enter(node: PlanNode, door: Door): void {
  if (!node.frame) return;
  node.frame.door = door;
  door.running += 1;
}

/** A child ends, or leaves its place to others for a while. */
export function leave(plan: Plan, node: PlanNode): void {
  const door = node.frame?.door;
  if (!node.frame || !door) return;
  node.frame.door = undefined;
  door.running -= 1;
  if (door.waiting.length > 0) plan.later(() => pump(plan, door));
}

/** Leaves of the whole run, as many at once as `spec.parallelism` allows. */
export class Leaves {
  readonly #limit: number | undefined;
  readonly #queue = new Set<PlanNode>();
  readonly blocked: Set<Door> = new Set();
  #running = 0;

  constructor(limit: number | undefined) {
    this.#limit = limit;
  }

  get free(): boolean {
    return this.#limit === undefined || this.#running + this.#queue.size < this.#limit;
  }

  /** Starts a leaf now, or when another one has ended. */
  ask(node: PlanNode, start: (node: PlanNode) => void): void {
    if (this.#limit !== undefined && this.#running >= this.#limit) {
      this.#queue.add(node);
      return;
    }
    this.#running += 1;
    start(node);
  }

  /** A leaf ended, or was given up while it waited. */
  done(plan: Plan, node: PlanNode, start: (node: PlanNode) => void): void {
    if (this.#limit === undefined || this.#queue.delete(node)) return;
    this.#running -= 1;
    plan.later(() => {
      for (const next of this.#queue) {
        if (this.#running >= (this.#limit ?? 0)) return;
        this.#queue.delete(next);
        this.#running += 1;
        start(next);
      }
      for (const door of this.blocked) {
        if (!this.free) return;
        this.blocked.delete(door);
        pump(plan, door);
      }
    });
  }
}

import type { PlanNode } from "./node.ts";

/** What is due at a time. Without a node it is the run's own deadline. */
export interface Timer {
  readonly at: number;
  readonly kind: "deadline" | "resume" | "retry";
  readonly node: PlanNode | undefined;
  readonly order: number;
}

/** Times to come, the earliest first; those of the same time in the order in which they were set. */
export class Timers {
  readonly #heap: Timer[] = [];
  #order = 0;

  get next(): number | undefined {
    return this.#heap[0]?.at;
  }

  set(at: number, kind: Timer["kind"], node?: PlanNode): void {
    const heap = this.#heap;
    const timer: Timer = { at, kind, node, order: this.#order };
    this.#order += 1;
    let place = heap.length;
    heap.push(timer);
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = heap[above];
      if (!parent || !before(timer, parent)) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = timer;
  }

  /** Takes out the earliest one that is due by now. */
  due(now: number): Timer | undefined {
    const heap = this.#heap;
    const [first] = heap;
    if (!first || first.at > now) return undefined;
    const last = heap.pop();
    if (!last || last === first) return first;
    let place = 0;
    for (;;) {
      let below = place * 2 + 1;
      let child = heap[below];
      if (!child) break;
      const right = heap[below + 1];
      if (right && before(right, child)) {
        below += 1;
        child = right;
      }
      if (!before(child, last)) break;
      heap[place] = child;
      place = below;
    }
    heap[place] = last;
    return first;
  }

  clear(): void {
    this.#heap.length = 0;
  }
}

function before(left: Timer, right: Timer): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order);
}

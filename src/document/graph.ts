/** Circles and ancestors of graphs that strangers write: without recursion, and in time that grows with their edges. */

/** Circles that are told of: each may be as long as the graph. */
const circleCount = 50;

/** The first circle that each strongly connected part has, as names from one back to itself. */
export function findCircles(
  names: Iterable<string>,
  next: (name: string) => readonly string[],
): readonly (readonly string[])[] {
  const circles: (readonly string[])[] = [];
  /** On the trail that is being followed: its place there; done: -1. */
  const state = new Map<string, number>();
  for (const start of names) {
    if (state.has(start)) continue;
    const trail: { readonly name: string; readonly to: readonly string[]; at: number }[] = [];
    const enter = (name: string): void => {
      state.set(name, trail.length);
      trail.push({ name, to: next(name), at: 0 });
    };
    enter(start);
    for (let top = trail.at(-1); top; top = trail.at(-1)) {
      const to = top.to[top.at];
      top.at += 1;
      if (to === undefined) {
        state.set(top.name, -1);
        trail.pop();
        continue;
      }
      const seen = state.get(to);
      if (seen === undefined) enter(to);
      else if (seen >= 0 && circles.length < circleCount)
        circles.push([...trail.slice(seen).map(({ name }) => name), to]);
    }
  }
  return circles;
}

/** Everything that can be reached. */
export function reach(
  starts: Iterable<string>,
  next: (name: string) => readonly string[],
): ReadonlySet<string> {
  const seen = new Set(starts);
  const todo = [...seen];
  for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
    for (const to of next(name)) {
      if (seen.has(to)) continue;
      seen.add(to);
      todo.push(to);
    }
  }
  return seen;
}

interface Question {
  readonly task: string;
  readonly no: () => void;
}

/** Answers whether tasks come after others: all questions together, so that a long chain costs no quadratic time. */
export class Ancestors {
  readonly #dependencies: ReadonlyMap<string, readonly string[]>;
  /** By the ancestor that is asked for. */
  readonly #questions = new Map<string, Question[]>();

  constructor(dependencies: ReadonlyMap<string, readonly string[]>) {
    this.#dependencies = dependencies;
  }

  /** Calls `no` from `answer` when `task` does not come after `ancestor`. */
  ask(task: string, ancestor: string, no: () => void): void {
    if (this.#dependencies.get(task)?.includes(ancestor)) return;
    const asked = this.#questions.get(ancestor);
    if (asked) asked.push({ task, no });
    else this.#questions.set(ancestor, [{ task, no }]);
  }

  answer(): void {
    if (this.#questions.size === 0) return;
    const order = this.#order();
    const asked = [...this.#questions.keys()];
    const batch = 31; // ancestors looked for at once: one bit of a small integer each
    for (let from = 0; from < asked.length; from += batch) {
      const bits = new Map(
        asked.slice(from, from + batch).map((name, index) => [name, 1 << index]),
      );
      const above = new Map<string, number>();
      for (const task of order) {
        let found = 0;
        for (const name of this.#dependencies.get(task) ?? []) {
          found |= (above.get(name) ?? 0) | (bits.get(name) ?? 0);
        }
        above.set(task, found);
      }
      for (const [ancestor, bit] of bits) {
        for (const { task, no } of this.#questions.get(ancestor) ?? []) {
          if (((above.get(task) ?? 0) & bit) === 0) no();
        }
      }
    }
  }

  /** Tasks after what they depend on; those in circles anywhere. */
  #order(): readonly string[] {
    const order: string[] = [];
    const seen = new Set<string>();
    for (const start of this.#dependencies.keys()) {
      if (seen.has(start)) continue;
      seen.add(start);
      const trail = [{ name: start, at: 0 }];
      for (let top = trail.at(-1); top; top = trail.at(-1)) {
        const to = this.#dependencies.get(top.name)?.[top.at];
        top.at += 1;
        if (to === undefined) {
          order.push(top.name);
          trail.pop();
        } else if (!seen.has(to)) {
          seen.add(to);
          trail.push({ name: to, at: 0 });
        }
      }
    }
    return order;
  }
}

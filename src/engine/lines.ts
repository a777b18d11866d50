/** Items that wait: one line for each group, first come first served, and the groups take turns. */
export class Lines<Item extends { readonly group: string }> {
  readonly #lines = new Map<string, Line<Item>>();
  size = 0;

  push(item: Item): void {
    let line = this.#lines.get(item.group);
    if (!line) this.#lines.set(item.group, (line = new Line()));
    line.items.add(item);
    this.size++;
  }

  /** Who is next among the groups that may go on. */
  peek(may: (item: Item) => boolean): Item | undefined {
    for (const line of this.#lines.values()) {
      const first = line.first();
      if (first !== undefined && may(first)) return first;
    }
    return undefined;
  }

  /** Takes the next one of the groups that may go on; its group is last from now on. */
  shift(may: (item: Item) => boolean): Item | undefined {
    const item = this.peek(may);
    if (item === undefined) return undefined;
    const line = this.#lines.get(item.group);
    this.remove(item);
    if (line && this.#lines.delete(item.group) && line.items.size > 0) {
      this.#lines.set(item.group, line);
    }
    return item;
  }

  /** False when it is not here. */
  remove(item: Item): boolean {
    const line = this.#lines.get(item.group);
    if (!line?.items.delete(item)) return false;
    this.size--;
    if (line.items.size === 0) this.#lines.delete(item.group);
    return true;
  }

  /** All that wait. */
  all(): Item[] {
    return [...this.#lines.values()].flatMap((line) => [...line.items]);
  }
}

class Line<Item> {
  readonly items: Set<Item> = new Set<Item>();
  /** A set forgets removed items late, so walking it from its beginning would take longer and longer. */
  #walk = this.items.values();
  #first: Item | undefined;

  first(): Item | undefined {
    if (this.#first !== undefined && this.items.has(this.#first)) return this.#first;
    let next = this.#walk.next();
    if (next.done) next = (this.#walk = this.items.values()).next();
    this.#first = next.done ? undefined : next.value;
    return this.#first;
  }
}

import { isNull, type Mapping, type Sequence, type Tree, withEntries } from "./tree.ts";

/** Lists whose items Argo merges by their name; of any other list one is taken as a whole. */
const byName: ReadonlySet<string> = new Set(["parameters", "artifacts", "env"]);

/** What is said in `own`, and what only `base` says. */
export function mergeOver(own: Mapping, base: Mapping): Mapping {
  const entries: Record<string, Tree> = Object.create(null);
  for (const [key, { value }] of base.entries) {
    const mine = own.entries.get(key)?.value;
    if (isNull(value)) continue;
    if (!mine || isNull(mine)) entries[key] = value;
    else if (mine.kind === "mapping" && value.kind === "mapping")
      entries[key] = mergeOver(mine, value);
    else if (byName.has(key) && mine.kind === "sequence" && value.kind === "sequence") {
      entries[key] = mergeNamed(mine, value);
    }
  }
  return withEntries(own, entries);
}

function mergeNamed(own: Sequence, base: Sequence): Sequence {
  const rest = new Map<string, Mapping>();
  for (const item of base.items) {
    if (item.kind === "mapping") rest.set(nameOf(item), item);
  }
  const items = own.items.map((item) => {
    if (item.kind !== "mapping") return item;
    const same = rest.get(nameOf(item));
    rest.delete(nameOf(item));
    // a value of its own replaces whatever source of a value the other has
    return same ? mergeOver(item, saysValue(item) ? withEntries(same, noValue) : same) : item;
  });
  return { ...own, items: [...items, ...rest.values()] };
}

const noValue = { value: undefined, valueFrom: undefined };

function saysValue(item: Mapping): boolean {
  return item.entries.has("value") || item.entries.has("valueFrom");
}

function nameOf(item: Mapping): string {
  const name = item.entries.get("name")?.value;
  return name?.kind === "scalar" ? name.text : "";
}

import { fault } from "../failure.ts";
import type { Function } from "../functions.ts";

const all: ReadonlyMap<string, Function> = new Map();

/** A function of sprig, or a fault that names it. */
export function sprig(name: string): Function {
  const found = all.get(name);
  if (found === undefined) throw fault(`unknown function sprig.${name.slice(0, 100)}`);
  return found;
}

import { randomBundle } from "../test/plan/random-workflow.ts";
import { replay, simulate } from "../test/plan/simulate.ts";
import type { Chance } from "./chance.ts";

/** A random workflow in a simulated world keeps every promise, and its events replay to the same. */
export function round(chance: Chance): Promise<void> {
  replay(simulate(randomBundle(chance), chance));
  return Promise.resolve();
}

import type { KeyReference } from "../../document/mod.ts";
import type { Plan } from "./plan.ts";

/** A value of the ConfigMaps that came with the workflow. */
export function configMapValue(plan: Plan, { name, key }: KeyReference): string | undefined {
  const { configMaps } = plan.begin.bundle;
  const map = Object.hasOwn(configMaps, name) ? configMaps[name] : undefined;
  return map && Object.hasOwn(map, key) ? map[key] : undefined;
}

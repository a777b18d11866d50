import type { Chance } from "./chance.ts";

/** Something that is thrown chance at. */
export interface Target {
  /**
   * One try, well below a second, which takes all its chance from `chance`. Throws when something that must always hold does not.
   * A process that dies of it, or a round that does not end, is found by whoever runs it.
   */
  readonly round: (chance: Chance, signal: AbortSignal) => Promise<void>;
  /** Lets go of what the rounds shared. */
  readonly close?: () => Promise<void>;
}

export type TargetName = "module" | "code" | "yaml" | "workflow" | "wasi";

const files: Readonly<Record<TargetName, () => Promise<Target>>> = {
  module: () => import("./module.ts"),
  code: () => import("./code.ts"),
  yaml: () => import("./yaml.ts"),
  workflow: () => import("./workflow.ts"),
  wasi: () => import("./wasi.ts"),
};

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of the table above
export const targetNames: readonly TargetName[] = Object.keys(files) as TargetName[];

export function isTarget(name: string): name is TargetName {
  return Object.hasOwn(files, name);
}

export function loadTarget(name: TargetName): Promise<Target> {
  return files[name]();
}

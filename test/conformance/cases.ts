import { descriptorCases } from "./cases/descriptors.ts";
import { pathCases } from "./cases/paths.ts";
import { pointerCases } from "./cases/pointers.ts";
import { processCases } from "./cases/process.ts";
import type { Case } from "./setting.ts";

/** Every case of every function. */
export const cases: readonly Case[] = [
  ...processCases,
  ...descriptorCases,
  ...pathCases,
  ...pointerCases,
];

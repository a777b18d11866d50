import { resolve } from "node:path";
import type { Invocation } from "../src/engine/mod.ts";
import { defaultLimits } from "../src/limits/mod.ts";

/** The guest that does nothing but greet. */
export const helloFile: string = resolve(import.meta.dirname, "../test/guests/hello/hello.wasm");

export const greeting: Invocation = {
  arguments: ["hello"],
  environment: new Map(),
  mounts: [],
  collect: [],
  limits: defaultLimits,
};

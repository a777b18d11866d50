/** Looks for everything that keeps Wasm steps from running on a cluster, and says what to change. */
export { diagnose, type Finding } from "./diagnose.ts";

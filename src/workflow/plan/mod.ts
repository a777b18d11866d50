/** The planner: what happened goes in, what to start comes out. */
export { createPlanner } from "./planner.ts";
export type * from "./types.ts";

/** The planner: what happened goes in, what to start comes out. */
export type * from "./types.ts";

export { createLocalDispatcher } from "./local.ts";
export { EmbeddedCalls, overdue } from "./calls/embedded.ts";
export { hedged, Latencies } from "./calls/hedges.ts";
export { mismatch } from "./calls/ledger.ts";
export { Turns } from "./calls/turns.ts";
export { callOf, type Callee } from "./calls/make.ts";
export { Onward } from "./calls/onward.ts";
export type {
  Attempt,
  Call,
  CallDispatcher,
  CallOptions,
  CallRecord,
  CallSpan,
  Ended,
  Load,
} from "./calls/model.ts";
import type { RunTaskOptions, Task, TaskResult } from "../task/mod.ts";

/** Brings tasks to whoever runs them: this process, or runners behind a broker. */
export interface Dispatcher extends AsyncDisposable {
  /** How many tasks it makes sense to have under way at once. */
  readonly capacity: number;
  dispatch(task: Task, options?: RunTaskOptions): Promise<TaskResult>;
}

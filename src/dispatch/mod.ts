export { createLocalDispatcher } from "./local.ts";
import type { RunTaskOptions, Task, TaskResult } from "../task/mod.ts";

/** Brings tasks to whoever runs them: this process, or runners behind a broker. */
export interface Dispatcher extends AsyncDisposable {
  /** How many tasks it makes sense to have under way at once. */
  readonly capacity: number;
  dispatch(task: Task, options?: RunTaskOptions): Promise<TaskResult>;
}

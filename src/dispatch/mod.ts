import { availableParallelism } from "node:os";
import type { RunTaskOptions, Task, TaskResult, TaskRunner } from "../task/mod.ts";

/** Brings tasks to whoever runs them; today that is this process. */
export interface Dispatcher {
  /** How many tasks it makes sense to have under way at once. */
  readonly capacity: number;
  dispatch(task: Task, options?: RunTaskOptions): Promise<TaskResult>;
}

/** Runs every task in this process; whoever dispatches keeps to `capacity`. */
export function createLocalDispatcher(runner: TaskRunner): Dispatcher {
  return {
    capacity: availableParallelism() * 2,
    dispatch: (task, options) => runner.run(task, options),
  };
}

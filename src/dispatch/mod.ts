export { createLocalDispatcher } from "./local.ts";
export { EmbeddedCalls } from "./calls/embedded.ts";
export { openBroker, type NatsOptions } from "./nats/connection.ts";
export { NatsCalls } from "./nats/front.ts";
export { openNatsDeployments } from "./nats/deployments.ts";
export { NatsRunner } from "./nats/runner.ts";
export { callOf, type Callee } from "./calls/make.ts";
export { Onward } from "./calls/onward.ts";
export type { Attempt, Call, CallDispatcher, CallRecord, Ended } from "./calls/model.ts";
import type { RunTaskOptions, Task, TaskResult } from "../task/mod.ts";

/** Brings tasks to whoever runs them: this process, or runners behind a broker. */
export interface Dispatcher extends AsyncDisposable {
  /** How many tasks it makes sense to have under way at once. */
  readonly capacity: number;
  dispatch(task: Task, options?: RunTaskOptions): Promise<TaskResult>;
}

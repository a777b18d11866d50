/** Calls and tasks through NATS JetStream: front ends give them to a broker, runners take them, and each has one outcome (docs/operations.md). */
export { openBroker, type NatsOptions } from "./connection.ts";
export { openNatsDeployments } from "./deployments.ts";
export { NatsCalls } from "./front.ts";
export { NatsRunner } from "./runner.ts";
export { createRemoteTasks, createTaskServer } from "./tasks.ts";

import { stopLeaf, stopMessage as leafMessage } from "./leaves.ts";
import { finish, stopMessage } from "./lifecycle.ts";
import type { PlanNode } from "./node.ts";
import { abandon } from "./parallelism.ts";
import type { Plan } from "./plan.ts";
import { giveUp, lateMessage } from "./retry.ts";

/** Stops the run: nothing more begins but, after a stop, exit handlers. What runs is called off. */
export function shutDown(
  plan: Plan,
  strategy: "Stop" | "Terminate",
  message: string | undefined,
): void {
  // A stop after a terminate would bring back what is over.
  if (plan.shutdown !== "Terminate") plan.shutdown = strategy;
  plan.shutdownMessage ??= message;
  plan.suspended = false;
  if (plan.phase === "Pending") {
    finish(plan, "Failed", stopMessage(plan));
    return;
  }
  const stopped = [...plan.active].filter((node) => plan.stopped(node.exit));
  for (const node of stopped) halt(plan, node);
}

function halt(plan: Plan, node: PlanNode): void {
  const body = node.frame?.body;
  switch (body?.kind) {
    case "steps":
    case "dag":
      abandon(plan, body.door);
      return;
    case "group":
    case "taskgroup":
      // They end with what they wait for.
      return;
    case "retry":
      giveUp(plan, node, `Stopped with strategy '${plan.shutdown}'`);
      return;
    case "leaf":
    case "suspend":
    case undefined:
      stopLeaf(plan, node, leafMessage(plan, node));
  }
}

/** The run's time is over: what runs, waits or is suspended fails, except exit handlers. */
export function runDeadline(plan: Plan): void {
  if (plan.deadlineAt === undefined || plan.now < plan.deadlineAt) return;
  for (const node of plan.active) {
    if (!node.exit) giveUp(plan, node, lateMessage(plan.deadlineAt));
    const kind = node.frame?.body?.kind;
    const waits = kind === undefined || kind === "leaf" || kind === "suspend";
    if (!node.exit && waits) stopLeaf(plan, node, "Step exceeded its deadline");
  }
}

import type { LifecycleHook } from "../../document/mod.ts";
import { toFailure } from "../../errors/mod.ts";
import { call } from "./call.ts";
import { exitHook, hookSite } from "./hooks.ts";
import { resolveLocks, waitingMessage } from "./locks.ts";
import type { PlanNode } from "./node.ts";
import type { Plan } from "./plan.ts";
import type { Site } from "./templates.ts";
import { holds } from "./text.ts";
import type { Phase } from "./types.ts";

/** A run begins: its arguments are read, its own locks are taken, then its entrypoint is called. */
export function beginRun(plan: Plan): void {
  plan.createdAt = plan.now;
  plan.suspended = plan.begin.bundle.workflow.spec.suspend === true;
  start(plan);
}

/** What a beginning and a taking up have in common. */
export function start(plan: Plan): void {
  plan.startedAt = plan.now;
  const { synchronization } = plan.begin.bundle.workflow.spec;
  try {
    plan.globals.read();
    const locks = synchronization
      ? resolveLocks(plan, synchronization, plan.globals, "workflow")
      : [];
    if (locks.length === 0) {
      runs(plan);
      return;
    }
    plan.locks = locks;
    plan.phase = "Pending";
    plan.message = waitingMessage(locks);
    plan.waits.set("", { for: "locks", go: () => runs(plan) });
    plan.effects.push({ type: "lock", node: "", locks });
  } catch (thrown) {
    finish(plan, "Error", toFailure(thrown).message);
  }
}

function runs(plan: Plan): void {
  const { spec } = plan.begin.bundle.workflow;
  plan.phase = "Running";
  plan.message = undefined;
  plan.startedAt = plan.now;
  if (spec.activeDeadlineSeconds !== undefined) {
    plan.deadlineAt = plan.now + spec.activeDeadlineSeconds * 1000;
    plan.timers.set(plan.deadlineAt, "deadline");
  }
  plan.later(() => {
    watchRun(plan);
    call(plan, {
      site: rootSite(plan, { template: spec.entrypoint ?? "" }, plan.begin.name),
      name: plan.begin.name,
      from: plan.globals,
      arguments: plan.globals.arguments,
      into: undefined,
      bound: undefined,
      door: undefined,
      depth: 0,
      exit: false,
      hooked: false,
    });
  });
}

function rootSite(plan: Plan, hook: LifecycleHook, name: string): Site {
  const site = hookSite(name, hook, { library: plan.templates.own, key: "" });
  return { ...site, result: true };
}

/** Looks which hooks of the run have become due. */
export function watchRun(plan: Plan): void {
  const { hooks } = plan.begin.bundle.workflow.spec;
  if (!hooks || plan.finishedAt !== undefined || plan.phase === "Pending") return;
  if (plan.stopped(false)) return;
  for (const [name, hook] of Object.entries(hooks)) {
    if (name === "exit") continue;
    const nodeName = `${plan.begin.name}.hooks.${name}`;
    if (plan.find(nodeName)) continue;
    try {
      if (!holds(plan, hook.expression ?? "", plan.globals, nodeName)) continue;
    } catch (thrown) {
      finishWhenDone(plan, toFailure(thrown).message);
      continue;
    }
    callHook(plan, hook, nodeName, false);
  }
}

/** Something is wrong with a hook of the run: it is told, and the rest goes on. */
function finishWhenDone(plan: Plan, message: string): void {
  plan.hookProblem ??= message;
}

function callHook(plan: Plan, hook: LifecycleHook, name: string, exit: boolean): void {
  plan.hooks += 1;
  call(plan, {
    site: rootSite(plan, hook, name),
    name,
    from: plan.globals,
    arguments: hook.arguments ?? plan.globals.arguments,
    into: undefined,
    bound: undefined,
    door: undefined,
    depth: 0,
    exit,
    hooked: true,
  });
}

/** A node of the run itself is done: its entry node, a hook, or its exit handler. */
export function runDone(plan: Plan, node: PlanNode): void {
  if (node.hooked) plan.hooks -= 1;
  const entry = plan.nodes.get(plan.begin.name);
  if (!entry?.ended || plan.finishedAt !== undefined) return;
  if (plan.globals.status === undefined) {
    plan.globals.status = runPhase(entry.phase);
    watchRun(plan);
  }
  if (plan.hooks > 0) return;
  const exitName = `${plan.begin.name}.onExit`;
  const exit = plan.find(exitName);
  if (exit) {
    conclude(plan, entry, exit);
    return;
  }
  const hook = exitHook(plan.begin.bundle.workflow.spec);
  if (!hook || plan.shutdown === "Terminate" || !isWanted(plan, hook, exitName)) {
    conclude(plan, entry, undefined);
    return;
  }
  callHook(plan, hook, exitName, true);
}

function isWanted(plan: Plan, hook: LifecycleHook, name: string): boolean {
  if (hook.expression === undefined || hook.expression === "") return true;
  try {
    return holds(plan, hook.expression, plan.globals, name);
  } catch (thrown) {
    finishWhenDone(plan, toFailure(thrown).message);
    return false;
  }
}

/** The phase of a run by that of its entry node. */
function runPhase(phase: Phase): "Succeeded" | "Failed" | "Error" {
  return phase === "Failed" || phase === "Error" ? phase : "Succeeded";
}

function conclude(plan: Plan, entry: PlanNode, exit: PlanNode | undefined): void {
  const phase = runPhase(entry.phase);
  if (phase !== "Succeeded") {
    const message = plan.shutdown ? stopMessage(plan) : entry.message;
    finish(plan, phase, message);
  } else if (exit?.failed) finish(plan, exit.phase, exit.message);
  else if (plan.hookProblem !== undefined) finish(plan, "Error", plan.hookProblem);
  else finish(plan, "Succeeded", undefined);
}

export function stopMessage(plan: Plan): string {
  const stopped = `Stopped with strategy '${plan.shutdown}'`;
  return plan.shutdownMessage === undefined ? stopped : `${stopped}: ${plan.shutdownMessage}`;
}

export function finish(plan: Plan, phase: Phase, message: string | undefined): void {
  plan.phase = phase;
  plan.message = message;
  plan.finishedAt = plan.now;
  plan.deadlineAt = undefined;
  plan.timers.clear();
  plan.forget();
  if (plan.locks) {
    plan.locks = undefined;
    plan.waits.delete("");
    plan.effects.push({ type: "unlock", node: "" });
  }
  plan.effects.push({ type: "finish" });
}

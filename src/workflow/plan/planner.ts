import { collected } from "./collected.ts";
import { attemptDone, tryAgain } from "./retry.ts";
import { enterDag, taskDone } from "./dag.ts";
import { closeAfter } from "./failfast.ts";
import { ended, watch } from "./hooks.ts";
import { enterLeaf, leafDeadline, leafEnded, startLeaf } from "./leaves.ts";
import { beginRun, runDone, watchRun } from "./lifecycle.ts";
import { locked } from "./locks.ts";
import { recalled } from "./memoize.ts";
import { Plan, type Rules } from "./plan.ts";
import { takeUp } from "./retried.ts";
import { runDeadline, shutDown } from "./shutdown.ts";
import { stateOf } from "./state.ts";
import { enterSteps, groupDone, stepDone } from "./steps.ts";
import { enterSuspend, resumeNode, suspendOver } from "./suspend.ts";
import { roundDone } from "./taskgroup.ts";
import type { Timer } from "./timers.ts";
import type { Begin, Effect, Planner, RunEvent } from "./types.ts";

const nothing = (): void => {};

const rules: Rules = {
  enter: { leaf: enterLeaf, suspend: enterSuspend, steps: enterSteps, dag: enterDag },
  childDone: {
    leaf: nothing,
    suspend: nothing,
    steps: groupDone,
    group: stepDone,
    dag: taskDone,
    taskgroup: roundDone,
    retry: attemptDone,
  },
  began: watch,
  ended,
  runDone,
  failed: closeAfter,
  startLeaf,
};

/**
 * The planner of one run: a state machine that is told what happened and says what is to be done. The same events give the same
 * state and the same effects, because time comes only with the events and chance only from the run's uid.
 */
export function createPlanner(begin: Begin): Planner {
  const plan = new Plan(begin, rules);
  /** The earliest time that was asked for and has not come. */
  let woken: number | undefined;

  function apply(event: RunEvent): readonly Effect[] {
    plan.effects = [];
    plan.now = Math.max(plan.now, event.at);
    const seen = watched();
    if (woken !== undefined && plan.now >= woken) woken = undefined;
    plan.reported = event.type === "ended" ? event.node : undefined;
    // What was due before the event comes before it; but a success that is told late is still one.
    if (event.type === "ended" && event.result.phase === "Succeeded") happen(plan, event);
    settle();
    happen(plan, event);
    settle();
    if (watched() !== seen || event.type === "woke") {
      watchRun(plan);
      settle();
    }
    const { next } = plan.timers;
    if (next !== undefined && (woken === undefined || next < woken)) {
      woken = next;
      plan.effects.push({ type: "wake", at: next });
    }
    return plan.effects;
  }

  function settle(): void {
    plan.settle();
    for (let due = plan.timers.due(plan.now); due; due = plan.timers.due(plan.now)) {
      ring(plan, due);
      plan.settle();
    }
  }

  /** What hooks of the run may look at, besides its status. */
  function watched(): string {
    const { outputs, outputArtifacts } = plan.globals;
    return `${plan.failures} ${outputs.size} ${outputArtifacts.size}`;
  }

  return {
    state: stateOf(plan),
    apply,
    changed() {
      const ids = [...plan.changed];
      plan.changed.clear();
      return ids;
    },
  };
}

function ring(plan: Plan, { kind, node }: Timer): void {
  if (!node) runDeadline(plan);
  else if (kind === "deadline") leafDeadline(plan, node);
  else if (kind === "resume") suspendOver(plan, node);
  else plan.later(() => tryAgain(plan, node));
}

function happen(plan: Plan, event: RunEvent): void {
  if (event.type === "begun") {
    if (plan.createdAt === 0) beginRun(plan);
    return;
  }
  if (event.type === "retried") {
    takeUp(plan, event);
    return;
  }
  if (event.type === "collected") {
    collected(plan, event);
    return;
  }
  if (plan.finishedAt !== undefined) {
    // Locks that come too late are given back.
    if (event.type === "locked") plan.effects.push({ type: "unlock", node: event.node });
    return;
  }
  switch (event.type) {
    case "ended":
      leafEnded(plan, event);
      break;
    case "locked":
      locked(plan, event.node);
      break;
    case "recalled":
      recalled(plan, event.node, event.outputs);
      break;
    case "suspended":
      plan.suspended = plan.shutdown === undefined;
      break;
    case "resumed": {
      if (!event.nodes) plan.suspended = false;
      const ids = event.nodes ?? [...plan.active].map((node) => node.id);
      for (const id of ids) {
        const node = plan.nodes.get(id);
        if (node) resumeNode(plan, node, event.parameters ?? {});
      }
      break;
    }
    case "shutdown":
      shutDown(plan, event.strategy, event.message);
      break;
    case "woke":
      break;
  }
}

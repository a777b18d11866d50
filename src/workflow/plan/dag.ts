import { toFailure } from "../../errors/mod.ts";
import type { TaskResult } from "../../expression/mod.ts";
import { keep, plainly, unplanned, type Call } from "./call.ts";
import { failFastMessage } from "./failfast.ts";
import { frame } from "./frame.ts";
import { isLoop, itemsOf } from "./loops.ts";
import { isForgiven, MemberNames, rounds, single, type Enlisting, type Member } from "./members.ts";
import { joined } from "./name.ts";
import type { PlanNode } from "./node.ts";
import { orderOf, type Order } from "./order.ts";
import { composed, exportGlobals } from "./outputs.ts";
import { abandon, letIn, makeDoor, type Door } from "./parallelism.ts";
import type { Plan } from "./plan.ts";
import { leaveOut, roundsBelow } from "./steps.ts";
import { endRounds, type TaskGroupBody } from "./taskgroup.ts";
import type { Phase } from "./types.ts";

export interface DagBody {
  readonly kind: "dag";
  readonly order: Order;
  readonly door: Door;
  readonly members: Map<string, Member>;
  readonly names: MemberNames;
  /** Of each task: how many that it waits for have not ended. */
  readonly missing: number[];
  /** Of each ended task: its phase, or what it inherits from those before it when it did not run. */
  readonly branch: (Phase | undefined)[];
  /** Tasks that are about to begin or have not ended. */
  awaited: number;
  /** Why no further task begins. */
  closed: "failed" | "abandoned" | undefined;
}

/** Tasks as soon as all that they wait for have ended. */
export function enterDag(plan: Plan, node: PlanNode): void {
  const { frame: own, used } = node;
  if (!own || !used) return;
  plan.run(node);
  const order = orderOf(used);
  const { parallelism } = used.template;
  const members = new Map<string, Member>();
  const body: DagBody = {
    kind: "dag",
    order,
    door: makeDoor(parallelism === 0 ? undefined : parallelism),
    members,
    names: new MemberNames(plan, own.names, "tasks", members),
    missing: order.before.map((list) => list.length),
    branch: order.before.map(() => undefined),
    // The DAG itself is awaited until all first tasks are known.
    awaited: 1,
    closed: undefined,
  };
  own.body = body;
  for (const [task, missing] of body.missing.entries()) {
    if (missing > 0 || !order.needed[task]) continue;
    body.awaited += 1;
    ready(plan, node, body, task);
  }
  body.awaited -= 1;
  if (body.awaited === 0) finish(plan, node, body);
}

/** All that a task waits for has ended. */
function ready(plan: Plan, node: PlanNode, body: DagBody, task: number): void {
  const site = body.order.sites[task];
  if (!site || node.ended) return;
  const name = joined(node.name, ".", site.name);
  const member: Member = { site, owner: undefined, rounds: undefined, lists: undefined };
  body.members.set(site.name, member);
  const names = new MemberNames(
    plan,
    node.frame?.names ?? body.names,
    "tasks",
    body.members,
    (other) => isBefore(body.order, task, other),
  );
  const asked: Call = {
    site,
    name,
    from: names,
    arguments: site.step.arguments,
    into: node,
    bound: node,
    door: undefined,
    depth: (node.frame?.depth ?? 0) + 1,
    exit: node.exit,
    hooked: false,
  };
  const runs = body.order.runs(task, (other, result) => hasEnded(body, other, result));
  if (!runs) {
    member.owner = unplanned(plan, asked, "Omitted", "omitted: depends condition not met");
    return;
  }
  if (body.closed || plan.stopped(node.exit)) {
    body.awaited -= 1;
    return;
  }
  const given: Enlisting = {
    member,
    name,
    names,
    into: node,
    bound: node,
    door: body.door,
    depth: asked.depth,
    abandoned(count) {
      body.awaited -= count;
      close(body);
      plan.later(() => body.awaited === 0 && finish(plan, node, body));
    },
  };
  if (isLoop(site.step)) loop(plan, node, body, given, asked);
  else letIn(plan, body.door, single(plan, given));
}

function close(body: DagBody): void {
  body.closed ??= "abandoned";
}

function loop(plan: Plan, node: PlanNode, body: DagBody, given: Enlisting, asked: Call): void {
  const { member, name, names, depth } = given;
  const kept = plan.kept(name);
  if (kept) {
    member.owner = keep(plan, asked, kept);
    if (kept.type === "TaskGroup") member.rounds = roundsBelow(plan, kept, name);
    return;
  }
  try {
    const items = itemsOf(plan, member.site.step, names, name);
    if (items.length === 0) {
      member.owner = leaveOut(plan, given);
      return;
    }
    const group: TaskGroupBody = {
      kind: "taskgroup",
      awaited: items.length,
      failed: undefined,
      abandoned: false,
    };
    const groupNode = plan.make({
      name,
      type: "TaskGroup",
      used: plainly(plan, asked.site),
      bound: node,
      exit: node.exit,
      hooked: false,
      frame: frame({ into: node, site: member.site, from: names, names, depth, body: group }),
    });
    member.owner = groupNode;
    plan.run(groupNode);
    const within: Enlisting = {
      ...given,
      into: groupNode,
      abandoned(count) {
        group.awaited -= count;
        group.abandoned = true;
        close(body);
        plan.later(() => group.awaited === 0 && endRounds(plan, groupNode, group));
      },
    };
    letIn(plan, body.door, rounds(plan, within, items));
  } catch (thrown) {
    const failed = unplanned(plan, asked, "Error");
    member.owner = failed;
    plan.fail(failed, toFailure(thrown));
  }
}

/** A task, with its hooks, is done. */
export function taskDone(plan: Plan, node: PlanNode, child: PlanNode): void {
  const body = node.frame?.body;
  const task = child.frame?.site?.ordinal;
  if (body?.kind !== "dag" || task === undefined || node.ended) return;
  const { order } = body;
  const branch = branchOf(body, task, child.phase);
  body.branch[task] = branch;
  body.awaited -= 1;
  const step = order.sites[task]?.step;
  if (failed(branch) && step && !isForgiven(step, branch)) {
    if (order.isTarget[task] && node.used?.template.dag?.failFast !== false) {
      body.closed ??= "failed";
      abandon(plan, body.door);
    }
  }
  for (const next of order.after[task] ?? []) {
    const missing = (body.missing[next] ?? 0) - 1;
    body.missing[next] = missing;
    if (missing > 0) continue;
    body.awaited += 1;
    plan.later(() => {
      ready(plan, node, body, next);
      if (body.awaited === 0) finish(plan, node, body);
    });
  }
  if (body.awaited === 0) finish(plan, node, body);
}

/** A task that did not run goes on with the worst of those before it. */
function branchOf(body: DagBody, task: number, phase: Phase): Phase {
  if (phase !== "Skipped" && phase !== "Omitted") return phase;
  let worst: Phase = "Succeeded";
  for (const other of body.order.before[task] ?? []) {
    const before = body.branch[other];
    if (before && failed(before)) worst = before;
  }
  return worst;
}

function failed(phase: Phase): boolean {
  return phase === "Failed" || phase === "Error";
}

/** How a task ended, as `depends` asks for it. */
function hasEnded(body: DagBody, task: number, result: TaskResult): boolean {
  const member = body.members.get(body.order.sites[task]?.name ?? "");
  const phase = member?.owner?.phase;
  switch (result) {
    case "Succeeded":
    case "Failed":
    case "Skipped":
    case "Omitted":
      return phase === result;
    case "Errored":
      return phase === "Error";
    case "Daemoned":
      return false;
    case "AnySucceeded":
      return member?.rounds?.some((round) => round?.phase === "Succeeded") ?? false;
    case "AllFailed":
      return (
        member?.rounds !== undefined &&
        member.rounds.length > 0 &&
        member.rounds.every((round) => round?.phase === "Failed")
      );
  }
}

/** Whether a task has ended before another one begins because that waits for it, directly or not. */
function isBefore(order: Order, task: number, name: string): boolean {
  const wanted = order.number.get(name);
  if (wanted === undefined) return false;
  if (order.before[task]?.includes(wanted)) return true;
  const seen = new Set<number>();
  const open = [...(order.before[task] ?? [])];
  for (let other = open.pop(); other !== undefined; other = open.pop()) {
    if (other === wanted) return true;
    if (seen.has(other)) continue;
    seen.add(other);
    open.push(...(order.before[other] ?? []));
  }
  return false;
}

/** Nothing runs and nothing more begins. */
function finish(plan: Plan, node: PlanNode, body: DagBody): void {
  if (node.ended) return;
  const stopped = plan.stopped(node.exit);
  for (const target of body.order.targets) {
    const branch = body.branch[target];
    const step = body.order.sites[target]?.step;
    if (!branch || !failed(branch) || (step && isForgiven(step, branch))) continue;
    const message = body.closed === "abandoned" && !stopped ? failFastMessage : undefined;
    plan.end(node, branch, message);
    return;
  }
  if (body.closed || body.order.targets.some((target) => !body.branch[target])) {
    plan.end(node, "Failed", stopped ? undefined : failFastMessage);
    return;
  }
  try {
    node.outputs = composed(plan, node, body.names);
    exportGlobals(plan, node);
    plan.end(node, "Succeeded");
  } catch (thrown) {
    plan.fail(node, toFailure(thrown));
  }
}

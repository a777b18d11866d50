import type { Step } from "../../document/mod.ts";
import { Failure, toFailure } from "../../errors/mod.ts";
import { failFastMessage } from "./failfast.ts";
import { frame } from "./frame.ts";
import { isLoop, itemsCeiling, itemsOf } from "./loops.ts";
import { isForgiven, MemberNames, rounds, single, type Enlisting, type Member } from "./members.ts";
import { joined } from "./name.ts";
import type { PlanNode } from "./node.ts";
import { composed, exportGlobals } from "./outputs.ts";
import { letIn, makeDoor, type Door } from "./parallelism.ts";
import type { Plan } from "./plan.ts";
import { resultsRead, type Site, type Used } from "./templates.ts";
import { keep, unplanned } from "./call.ts";

export interface StepsBody {
  readonly kind: "steps";
  readonly door: Door;
  readonly members: Map<string, Member>;
  readonly names: MemberNames;
  /** Index of the group that runs. */
  group: number;
}

export interface GroupBody {
  readonly kind: "group";
  /** Calls whose end is awaited. */
  awaited: number;
  /** The first of its children, in the order of the text, that makes it fail. */
  failed: { readonly id: string; readonly order: number } | undefined;
  /** What went wrong before anything of a step ran. */
  error: Failure | undefined;
  /** Whether calls were given up because of `failFast`. */
  abandoned: boolean;
}

type StepSite = Site & { readonly step: Step };

const sites = new WeakMap<Used, readonly (readonly StepSite[])[]>();

/** The steps of a template, group by group. */
function sitesOf(used: Used): readonly (readonly StepSite[])[] {
  const known = sites.get(used);
  if (known) return known;
  const read = resultsRead(used.template);
  const made = (used.template.steps ?? []).map((group) =>
    group.map((step, ordinal) => ({
      name: step.name,
      asked: step,
      step,
      word: "steps" as const,
      library: used.library,
      key: used.key,
      ordinal,
      result: read.has(step.name),
    })),
  );
  sites.set(used, made);
  return made;
}

/** A list of groups, one after the other. */
export function enterSteps(plan: Plan, node: PlanNode): void {
  const { frame: own, used } = node;
  if (!own || !used) return;
  const { parallelism } = used.template;
  const members = new Map<string, Member>();
  const names = new MemberNames(plan, own.names, "steps", members);
  const door = makeDoor(parallelism === 0 ? undefined : parallelism);
  own.body = { kind: "steps", door, members, names, group: -1 };
  plan.run(node);
  nextGroup(plan, node, own.body, used);
}

function nextGroup(plan: Plan, node: PlanNode, body: StepsBody, used: Used): void {
  body.group += 1;
  const groups = sitesOf(used);
  const group = groups[body.group];
  if (!group) {
    finish(plan, node, body);
    return;
  }
  if (plan.stopped(node.exit)) {
    plan.end(node, "Failed", `Stopped with strategy '${plan.shutdown}'`);
    return;
  }
  const name = joined(node.name, "[", body.group, "]");
  const depth = (node.frame?.depth ?? 0) + 1;
  const known = plan.kept(name);
  if (known) {
    adopt(plan, known, body, group);
    known.frame = frame({
      into: node,
      site: undefined,
      from: body.names,
      names: body.names,
      depth,
    });
    known.frame.left = true;
    plan.later(() => plan.rules.ended(plan, known));
    return;
  }
  const own: GroupBody = {
    kind: "group",
    awaited: 0,
    failed: undefined,
    error: undefined,
    abandoned: false,
  };
  const groupNode = plan.make({
    name,
    type: "StepGroup",
    used: undefined,
    bound: node,
    exit: node.exit,
    hooked: false,
    frame: frame({
      into: node,
      site: undefined,
      from: body.names,
      names: body.names,
      depth,
      body: own,
    }),
  });
  plan.run(groupNode);
  // The group itself is awaited until all of its steps are known.
  own.awaited = 1;
  for (const site of group) enlist(plan, groupNode, own, node, body, site);
  own.awaited -= 1;
  if (own.awaited === 0) endGroup(plan, groupNode, own);
}

function enlist(
  plan: Plan,
  groupNode: PlanNode,
  group: GroupBody,
  node: PlanNode,
  body: StepsBody,
  site: StepSite,
): void {
  const name = joined(groupNode.name, ".", site.name);
  const member: Member = { site, owner: undefined, rounds: undefined, lists: undefined };
  body.members.set(site.name, member);
  const given: Enlisting = {
    member,
    name,
    names: body.names,
    into: groupNode,
    bound: node,
    door: body.door,
    depth: groupNode.frame?.depth ?? 0,
    abandoned(count) {
      group.awaited -= count;
      group.abandoned = true;
      plan.later(() => group.awaited === 0 && endGroup(plan, groupNode, group));
    },
  };
  if (!isLoop(site.step)) {
    group.awaited += 1;
    letIn(plan, body.door, single(plan, given));
    return;
  }
  try {
    const items = itemsOf(plan, site.step, body.names, name);
    if (items.length === 0) {
      group.awaited += 1;
      member.owner = leaveOut(plan, given);
      return;
    }
    member.owner = groupNode;
    group.awaited += items.length;
    letIn(plan, body.door, rounds(plan, given, items));
  } catch (thrown) {
    group.error ??= toFailure(thrown);
  }
}

/** A loop over nothing. */
export function leaveOut(plan: Plan, given: Enlisting): PlanNode {
  const { member, name, names, into, bound, depth } = given;
  const kept = plan.kept(name);
  const asked = {
    site: member.site,
    name,
    from: names,
    arguments: undefined,
    into,
    bound,
    door: undefined,
    depth,
    exit: bound.exit,
    hooked: false,
  };
  return kept
    ? keep(plan, asked, kept)
    : unplanned(plan, asked, "Skipped", "Skipped, empty params");
}

/** What the steps of a group came to that a taking up left as it is. */
function adopt(plan: Plan, groupNode: PlanNode, body: StepsBody, group: readonly StepSite[]): void {
  for (const site of group) {
    const name = `${groupNode.name}.${site.name}`;
    const member: Member = { site, owner: undefined, rounds: undefined, lists: undefined };
    body.members.set(site.name, member);
    member.owner = plan.find(name);
    if (member.owner) continue;
    member.owner = groupNode;
    member.rounds = roundsBelow(plan, groupNode, name);
  }
}

/** The rounds of a loop by their names, in order. */
export function roundsBelow(plan: Plan, into: PlanNode, name: string): PlanNode[] {
  const found: PlanNode[] = [];
  for (const id of into.children) {
    const child = plan.nodes.get(id);
    if (!child?.name.startsWith(`${name}(`)) continue;
    found[Number.parseInt(child.name.slice(name.length + 1), 10)] = child;
  }
  return found;
}

/** A step, with its hooks, is done. */
export function stepDone(plan: Plan, groupNode: PlanNode, child: PlanNode): void {
  const group = groupNode.frame?.body;
  const steps = groupNode.frame?.into;
  const body = steps?.frame?.body;
  if (group?.kind !== "group" || body?.kind !== "steps" || groupNode.ended) return;
  group.awaited -= 1;
  const site = child.frame?.site;
  if (child.failed && site) note(group, groupNode, child, site);
  if (group.awaited === 0) endGroup(plan, groupNode, group);
}

function note(group: GroupBody, groupNode: PlanNode, child: PlanNode, site: Site): void {
  if (child.type === "Skipped" && child.failure) {
    // Planned wrong: nothing of it ran, and it is no failure that `continueOn` means.
    const { code, message, hint } = child.failure;
    const text = `step group deemed errored due to child ${child.name} error: ${message}`;
    group.error ??= new Failure(code, text, hint === undefined ? {} : { hint });
  } else if (!(site.step && isForgiven(site.step, child.phase))) {
    const round = child.name.slice(groupNode.name.length + site.name.length + 2);
    const order = site.ordinal * itemsCeiling + (Number.parseInt(round, 10) || 0);
    if (!group.failed || order < group.failed.order) group.failed = { id: child.id, order };
  }
}

/** All of a group's children are done. */
function endGroup(plan: Plan, groupNode: PlanNode, group: GroupBody): void {
  if (groupNode.ended) return;
  if (group.error) plan.fail(groupNode, group.error);
  else if (group.abandoned && !plan.stopped(groupNode.exit)) {
    plan.end(groupNode, "Failed", failFastMessage);
  } else if (group.abandoned && !group.failed) {
    plan.end(groupNode, "Failed", `Stopped with strategy '${plan.shutdown}'`);
  } else if (group.failed) plan.end(groupNode, "Failed", `child '${group.failed.id}' failed`);
  else plan.end(groupNode, "Succeeded");
}

/** A group is done: the next one begins. */
export function groupDone(plan: Plan, node: PlanNode, groupNode: PlanNode): void {
  const body = node.frame?.body;
  if (body?.kind !== "steps" || !node.used || node.ended) return;
  if (groupNode.failed) {
    if (groupNode.failure) node.note({ failure: groupNode.failure });
    plan.end(node, "Failed", groupNode.message);
    return;
  }
  nextGroup(plan, node, body, node.used);
}

function finish(plan: Plan, node: PlanNode, body: StepsBody): void {
  try {
    node.outputs = composed(plan, node, body.names);
    exportGlobals(plan, node);
    plan.end(node, "Succeeded");
  } catch (thrown) {
    plan.fail(node, toFailure(thrown));
  }
}

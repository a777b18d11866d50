import type { Step } from "../../document/mod.ts";
import { evaluateCondition } from "../../expression/mod.ts";
import { toFailure } from "../../errors/mod.ts";
import type { ArtifactSource } from "../../task/mod.ts";
import { call, plainly, unplanned, type Call } from "./call.ts";
import { rfc3339 } from "./format.ts";
import type { Item } from "./items.ts";
import { roundName } from "./loops.ts";
import { aggregated } from "./aggregate.ts";
import { artifactMark, ItemNames, type Names } from "./names.ts";
import type { PlanNode } from "./node.ts";
import type { Door, Source } from "./parallelism.ts";
import type { Plan } from "./plan.ts";
import type { Site } from "./templates.ts";
import { fill } from "./text.ts";

/** A step or task of a template, as far as it has come. */
export interface Member {
  readonly site: Site & { readonly step: Step };
  /** Its own node; of a loop the group that its rounds belong to. */
  owner: PlanNode | undefined;
  /** Rounds of a loop, in the order of the items. */
  rounds: (PlanNode | undefined)[] | undefined;
  /** Lists made of the rounds' outputs. */
  lists: Map<string, string | undefined> | undefined;
}

/** What the calls of a member have in common. */
export interface Enlisting {
  readonly member: Member;
  /** Name of its node. */
  readonly name: string;
  readonly names: Names;
  readonly into: PlanNode;
  readonly bound: PlanNode;
  readonly door: Door;
  readonly depth: number;
  /** Called with how many calls are not going to begin. */
  readonly abandoned: (count: number) => void;
}

/** The one call of a step that is no loop. */
export function single(plan: Plan, given: Enlisting): Source {
  let left = 1;
  return {
    get left() {
      return left;
    },
    open() {
      left = 0;
      given.member.owner = beginMember(plan, given, given.name, given.names);
    },
    abandon() {
      left = 0;
      given.abandoned(1);
    },
  };
}

/** A call for each item. They come in one after the other, so that what waits for room costs nothing. */
export function rounds(plan: Plan, given: Enlisting, items: readonly Item[]): Source {
  const { member } = given;
  const list: (PlanNode | undefined)[] = [];
  member.rounds = list;
  let next = 0;
  return {
    get left() {
      return items.length - next;
    },
    open() {
      const index = next;
      const item = items[index];
      next += 1;
      const name = roundName(given.name, index, item);
      list[index] = beginMember(plan, given, name, new ItemNames(given.names, item));
    },
    abandon() {
      const count = items.length - next;
      next = items.length;
      given.abandoned(count);
    },
  };
}

/** Begins one call, unless its `when` says no. */
function beginMember(plan: Plan, given: Enlisting, name: string, names: Names): PlanNode {
  const { member, into, bound, door, depth } = given;
  const { step } = member.site;
  const asked: Call = {
    site: member.site,
    name,
    from: names,
    arguments: step.arguments,
    into,
    bound,
    door,
    depth,
    exit: bound.exit,
    hooked: false,
  };
  if (step.when === undefined || plan.kept(name)) return call(plan, asked);
  let text: string;
  let wanted: boolean;
  try {
    text = fill(plan, step.when, names, `${name}/when`);
    wanted = evaluateCondition(text);
  } catch (thrown) {
    const node = unplanned(plan, asked, "Error");
    plan.fail(node, toFailure(thrown));
    return node;
  }
  return wanted
    ? call(plan, asked)
    : unplanned(plan, asked, "Skipped", `when '${text}' evaluated false`);
}

/** Whether a member's failure is forgiven by its `continueOn`. */
export function isForgiven(step: Step, phase: string): boolean {
  if (phase === "Failed") return step.continueOn?.failed === true;
  return phase === "Error" && step.continueOn?.error === true;
}

/** Inside a Steps or DAG template: what its own steps came to. */
export class MemberNames implements Names {
  readonly #plan: Plan;
  readonly #around: Names;
  readonly #prefix: string;
  readonly #members: ReadonlyMap<string, Member>;
  readonly #reach: ((name: string) => boolean) | undefined;

  /** `reach` says which of the members may be named; absent for all that are done. */
  constructor(
    plan: Plan,
    around: Names,
    word: "steps" | "tasks",
    members: ReadonlyMap<string, Member>,
    reach?: (name: string) => boolean,
  ) {
    this.#plan = plan;
    this.#around = around;
    this.#prefix = `${word}.`;
    this.#members = members;
    this.#reach = reach;
  }

  get(name: string): unknown {
    const found = this.#member(name);
    if (!found) return this.#around.get(name);
    return memberValue(this.#plan, found.member, found.rest, name);
  }

  within(name: string): Iterable<string> {
    if (name === this.#prefix.slice(0, -1)) return this.#members.keys();
    const found = this.#member(`${name}.`);
    if (!found) return this.#around.within?.(name) ?? [];
    const outputs = found.member.rounds
      ? undefined
      : reported(this.#plan, found.member.owner)?.outputs;
    if (found.rest === "outputs.parameters.") {
      return (outputs?.parameters ?? []).map((item) => item.name);
    }
    if (found.rest === "outputs.artifacts.") {
      return (outputs?.artifacts ?? []).map((item) => item.name);
    }
    if (found.rest === "outputs.") return ["result", "parameters", "artifacts"];
    return found.rest === ""
      ? ["id", "status", "startedAt", "finishedAt", "exitCode", "outputs"]
      : [];
  }

  artifact(name: string): ArtifactSource | null | undefined {
    const found = this.#member(name);
    if (!found) return this.#around.artifact(name);
    const { member, rest } = found;
    if (!rest.startsWith("outputs.artifacts.") || member.rounds) return undefined;
    return nodeArtifact(this.#plan, member, rest.slice(18));
  }

  #member(name: string): { readonly member: Member; readonly rest: string } | undefined {
    const prefix = this.#prefix;
    if (!name.startsWith(prefix)) return undefined;
    const dot = name.indexOf(".", prefix.length);
    if (dot === -1) return undefined;
    const own = name.slice(prefix.length, dot);
    const member = this.#members.get(own);
    if (!member?.owner?.ended || (this.#reach && !this.#reach(own))) return undefined;
    return { member, rest: name.slice(dot + 1) };
  }
}

function memberValue(plan: Plan, member: Member, rest: string, name: string): unknown {
  const { owner } = member;
  if (!owner) return undefined;
  if (!member.rounds) return nodeValue(plan, owner, rest, name, member.site);
  if (!rest.startsWith("outputs.")) return nodeValue(plan, owner, rest, name, member.site);
  member.lists ??= new Map();
  if (!member.lists.has(rest)) member.lists.set(rest, aggregated(member.rounds, rest.slice(8)));
  return member.lists.get(rest);
}

/** The node that speaks for one: of a node that is tried again the last attempt. */
function reported(plan: Plan, node: PlanNode | undefined): PlanNode | undefined {
  if (node?.type !== "Retry" || node.memoized) return node;
  for (const id of node.children.toReversed()) {
    const child = plan.nodes.get(id);
    if (child && !child.hooked) return child;
  }
  return node;
}

function nodeValue(plan: Plan, owner: PlanNode, rest: string, name: string, site: Site): unknown {
  const node = reported(plan, owner) ?? owner;
  switch (rest) {
    case "id":
      return node.id;
    case "status":
      return owner.phase;
    case "startedAt":
      return rfc3339(node.startedAt);
    case "finishedAt":
      return node.finishedAt === undefined ? undefined : rfc3339(node.finishedAt);
    case "exitCode":
      return node.outputs?.exitCode === undefined ? undefined : String(node.outputs.exitCode);
    case "outputs.result":
      return node.outputs?.result ?? (isLeftOut(node) ? null : undefined);
    default:
  }
  if (rest.startsWith("outputs.parameters.")) {
    const wanted = rest.slice(19);
    const found = node.outputs?.parameters.find((item) => item.name === wanted)?.value;
    return found ?? (isLeftOut(node) ? declaredDefault(plan, site, wanted) : undefined);
  }
  if (!rest.startsWith("outputs.artifacts.")) return undefined;
  const artifact = artifactOf(node, rest.slice(18));
  return artifact ? artifactMark(name) : artifact;
}

function nodeArtifact(
  plan: Plan,
  member: Member,
  wanted: string,
): ArtifactSource | null | undefined {
  const node = reported(plan, member.owner);
  return node && artifactOf(node, wanted);
}

function artifactOf(node: PlanNode, wanted: string): ArtifactSource | null | undefined {
  const found = node.outputs?.artifacts.find((item) => item.name === wanted)?.artifact;
  return found ?? (isLeftOut(node) ? null : undefined);
}

function isLeftOut(node: PlanNode): boolean {
  return node.phase === "Skipped" || node.phase === "Omitted";
}

/** What an output parameter of a step that did not run is: its default, or nothing at all. */
function declaredDefault(plan: Plan, site: Site, wanted: string): string | null | undefined {
  const used = plainly(plan, site);
  // Its template has tags that are known only when it runs.
  if (!used) return null;
  const declared = used.template.outputs?.parameters?.find((item) => item.name === wanted);
  if (!declared) return undefined;
  const otherwise = declared.valueFrom?.default;
  return otherwise === undefined ? null : String(otherwise);
}

/** Around a hook: the names of its step's place, with the step itself whether it is done or not. */
export class OwnNames implements Names {
  readonly #plan: Plan;
  readonly #around: Names;
  readonly #site: Site;
  readonly #node: PlanNode;

  constructor(plan: Plan, around: Names, site: Site, node: PlanNode) {
    this.#plan = plan;
    this.#around = around;
    this.#site = site;
    this.#node = node;
  }

  get(name: string): unknown {
    const rest = this.#rest(name);
    if (rest === undefined) return this.#around.get(name);
    const value = nodeValue(this.#plan, this.#node, rest, name, this.#site);
    return value === undefined ? this.#around.get(name) : value;
  }

  within(name: string): Iterable<string> {
    return this.#around.within?.(name) ?? [];
  }

  artifact(name: string): ArtifactSource | null | undefined {
    const rest = this.#rest(name);
    if (!rest?.startsWith("outputs.artifacts.")) return this.#around.artifact(name);
    const node = reported(this.#plan, this.#node);
    return node ? artifactOf(node, rest.slice(18)) : undefined;
  }

  #rest(name: string): string | undefined {
    const prefix = `${this.#site.word}.${this.#site.name}.`;
    return name.startsWith(prefix) ? name.slice(prefix.length) : undefined;
  }
}

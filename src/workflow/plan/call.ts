import type { Arguments } from "../../document/mod.ts";
import { Failure, toFailure } from "../../errors/mod.ts";
import { frame, type Frame } from "./frame.ts";
import { inputsOf } from "./inputs.ts";
import { watchTimeout } from "./leaves.ts";
import { askLocks, locksOf } from "./locks.ts";
import { askMemory, memoryOf } from "./memoize.ts";
import { TemplateNames, type Names } from "./names.ts";
import type { PlanNode } from "./node.ts";
import { enter, type Door } from "./parallelism.ts";
import type { Plan } from "./plan.ts";
import { beginRetries, retryStrategyOf } from "./retry.ts";
import { typeOf, type Site, type Used } from "./templates.ts";
import { fill } from "./text.ts";
import type { Phase } from "./types.ts";

/** Templates within each other; Argo's own ceiling. */
const depthCeiling = 100;

/** One use of a template, about to begin. */
export interface Call {
  readonly site: Site;
  /** Of the node that it becomes. */
  readonly name: string;
  /** Names in reach of its arguments. */
  readonly from: Names;
  readonly arguments: Arguments | undefined;
  /** The node that is told of the end. */
  readonly into: PlanNode | undefined;
  /** The Steps or DAG node it belongs to. */
  readonly bound: PlanNode | undefined;
  /** Where it counts as running. */
  readonly door: Door | undefined;
  readonly depth: number;
  readonly exit: boolean;
  readonly hooked: boolean;
}

/** Begins a use of a template. Whatever goes wrong becomes the end of its node. */
export function call(plan: Plan, asked: Call): PlanNode {
  const kept = plan.kept(asked.name);
  if (kept) return keep(plan, asked, kept);
  const { site, from, name } = asked;
  try {
    if (asked.depth >= depthCeiling) {
      throw new Failure("limit-plan", "Maximum recursion depth exceeded", {
        hint: `Templates may be ${depthCeiling} deep within each other.`,
      });
    }
    const used = plan.templates.resolve(site, (text) => fill(plan, text, from, `${name}/template`));
    const { word } = site;
    const names = new TemplateNames(
      site.step?.inline ? from : plan.globals, // an inline template knows what its step knows
      used,
      { name, id: plan.id(name) },
      // As in Argo, which calls the entrypoint and hooks as steps without a name.
      word ? { word, name: site.name } : { word: "steps", name: "" },
    );
    names.inputs = inputsOf(plan, used, { arguments: asked.arguments, from, names, seed: name });
    return begin(plan, asked, used, names);
  } catch (thrown) {
    const node = unplanned(plan, asked, "Error");
    plan.fail(node, toFailure(thrown));
    return node;
  }
}

/** A node of a call that came to nothing: left out, or gone wrong before its template was known. */
export function unplanned(plan: Plan, asked: Call, phase: Phase, message?: string): PlanNode {
  const { name, bound, exit, hooked } = asked;
  const node = plan.make({
    name,
    type: "Skipped",
    used: plainly(plan, asked.site),
    bound,
    exit,
    hooked,
    frame: frameOf(asked, asked.from),
  });
  if (phase !== "Error") plan.end(node, phase, message);
  return node;
}

/** The template of a call that does not use it, unless its name has tags. */
export function plainly(plan: Plan, site: Site): Used | undefined {
  try {
    return plan.templates.resolve(site, (text) => text);
  } catch {
    return undefined;
  }
}

function begin(plan: Plan, asked: Call, used: Used, names: TemplateNames): PlanNode {
  const { name, bound, exit, hooked } = asked;
  const retried = retryStrategyOf(plan, used) !== undefined;
  const node = plan.make({
    name,
    type: retried ? "Retry" : typeOf(used),
    used,
    bound,
    exit,
    hooked,
    frame: frameOf(asked, names),
  });
  node.inputs = names.inputs;
  if (plan.stopped(exit)) {
    plan.end(node, "Failed", `Stopped with strategy '${plan.shutdown}'`);
    return node;
  }
  if (!exit && plan.deadlineAt !== undefined && plan.now >= plan.deadlineAt) {
    plan.end(node, "Failed", "Step exceeded its deadline");
    return node;
  }
  if (asked.door && used.kind !== "suspend") enter(node, asked.door);
  try {
    const locks = locksOf(plan, node, used, names);
    const memory = memoryOf(plan, node, used, names);
    if (used.kind === "leaf" && !retried) watchTimeout(plan, node);
    if (locks) askLocks(plan, node, locks, () => recall(plan, node, memory));
    else recall(plan, node, memory);
  } catch (thrown) {
    plan.fail(node, toFailure(thrown));
  }
  return node;
}

function recall(plan: Plan, node: PlanNode, memory: Frame["memory"]): void {
  if (memory) askMemory(plan, node, memory, () => enterTemplate(plan, node));
  else enterTemplate(plan, node);
}

function enterTemplate(plan: Plan, node: PlanNode): void {
  const { used } = node;
  if (!used || node.ended) return;
  try {
    if (node.type === "Retry") beginRetries(plan, node);
    else plan.rules.enter[used.kind](plan, node);
  } catch (thrown) {
    plan.fail(node, toFailure(thrown));
  }
}

/** A node that a taking up left as it was: its parent hears of its end once more. */
export function keep(plan: Plan, asked: Call, node: PlanNode): PlanNode {
  node.frame = { ...frameOf(asked, asked.from), left: true };
  plan.later(() => plan.rules.ended(plan, node));
  return node;
}

function frameOf(asked: Call, names: Names): Frame {
  const { into, site, from, depth } = asked;
  return frame({ into, site, from, names, depth });
}

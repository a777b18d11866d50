import type { LifecycleHook, Step } from "../../document/mod.ts";
import { Failure, toFailure } from "../../errors/mod.ts";
import { call, unplanned, type Call } from "./call.ts";
import { OwnNames } from "./members.ts";
import type { PlanNode } from "./node.ts";
import { letIn, type Door } from "./parallelism.ts";
import type { Plan } from "./plan.ts";
import type { Site } from "./templates.ts";
import { holds } from "./text.ts";

type Asking = Pick<Step, "onExit" | "hooks">;

/** The hook that runs at the end; `onExit` is the older way to say it. */
export function exitHook(asking: Asking): LifecycleHook | undefined {
  return asking.onExit ? { template: asking.onExit } : asking.hooks?.["exit"];
}

function hooksOf(node: PlanNode): Asking | undefined {
  const step = node.frame?.site?.step;
  return (step?.onExit ?? step?.hooks) ? step : undefined;
}

/** Looks which hooks of a step have become due: when it begins to run, and when it has ended. */
export function watch(plan: Plan, node: PlanNode): void {
  const asking = hooksOf(node);
  // In a DAG the hooks of a loop are those of the whole task, not of each round; its exit hook is both, as in Argo.
  if (!asking?.hooks || node.frame?.into?.type === "TaskGroup") return;
  for (const [name, hook] of Object.entries(asking.hooks)) {
    if (name === "exit") continue;
    const nodeName = `${node.name}.hooks.${name}`;
    if (plan.find(nodeName)) continue;
    begin(plan, node, { hook, name: nodeName, exit: node.exit, needsExpression: true });
  }
}

/** Begins the exit hook of a step that has run. */
function leave(plan: Plan, node: PlanNode): void {
  const asking = hooksOf(node);
  const hook = asking && exitHook(asking);
  if (!hook || plan.shutdown === "Terminate") return;
  const nodeName = `${node.name}.onExit`;
  if (plan.find(nodeName)) return;
  begin(plan, node, { hook, name: nodeName, exit: true, needsExpression: false });
}

interface Due {
  readonly hook: LifecycleHook;
  readonly name: string;
  readonly exit: boolean;
  readonly needsExpression: boolean;
}

function begin(plan: Plan, node: PlanNode, due: Due): void {
  const { frame: own, bound } = node;
  const site = own?.site;
  if (!own || !site || plan.stopped(due.exit)) return;
  const { hook, name, exit } = due;
  const names = new OwnNames(plan, own.from, site, node);
  const asked: Call = {
    site: hookSite(name, hook, site),
    name,
    from: names,
    arguments: hook.arguments ?? plan.globals.arguments,
    into: node,
    bound,
    door: doorOf(bound),
    depth: own.depth,
    exit,
    hooked: true,
  };
  try {
    if (!isDue(plan, hook, names, due)) return;
  } catch (thrown) {
    own.hooks += 1;
    plan.fail(unplanned(plan, asked, "Error"), toFailure(thrown));
    return;
  }
  own.hooks += 1;
  let left = 1;
  const source = {
    get left() {
      return left;
    },
    open() {
      left = 0;
      call(plan, asked);
    },
    abandon() {
      left = 0;
      own.hooks -= 1;
      plan.later(() => plan.rules.ended(plan, node));
    },
    stays: () => !plan.stopped(exit),
  };
  if (asked.door) letIn(plan, asked.door, source, true);
  else source.open();
}

function isDue(plan: Plan, hook: LifecycleHook, names: OwnNames, due: Due): boolean {
  if (hook.expression !== undefined && hook.expression !== "") {
    return holds(plan, hook.expression, names, due.name);
  }
  if (!due.needsExpression) return true;
  throw new Failure("workflow-invalid", `Expression required for hook ${due.name}`, {
    hint: "Only the hook named exit runs without one.",
  });
}

/** A hook's template is looked for where its step's is. */
export function hookSite(
  name: string,
  hook: LifecycleHook,
  around: Pick<Site, "library" | "key">,
): Site {
  const { library, key } = around;
  return {
    name,
    asked: hook,
    step: undefined,
    word: undefined,
    library,
    key,
    ordinal: 0,
    result: false,
  };
}

function doorOf(bound: PlanNode | undefined): Door | undefined {
  const body = bound?.frame?.body;
  return body?.kind === "steps" || body?.kind === "dag" ? body.door : undefined;
}

/** A node ended: its hooks come first, then the node that it belongs to hears of it. */
export function ended(plan: Plan, node: PlanNode): void {
  const { frame: own } = node;
  if (!own || !node.ended) return;
  if (!own.left) {
    own.left = true;
    if (node.phase === "Succeeded" || node.failed) {
      watch(plan, node);
      leave(plan, node);
    }
  }
  if (own.hooks > 0) return;
  const { into } = own;
  if (!into) plan.rules.runDone(plan, node);
  else if (node.hooked) hookDone(plan, into);
  else if (into.frame?.body) plan.rules.childDone[into.frame.body.kind](plan, into, node);
  node.frame = undefined;
}

function hookDone(plan: Plan, owner: PlanNode): void {
  const { frame: own } = owner;
  if (!own) {
    plan.rules.runDone(plan, owner);
    return;
  }
  own.hooks -= 1;
  if (own.hooks === 0 && owner.ended) ended(plan, owner);
}

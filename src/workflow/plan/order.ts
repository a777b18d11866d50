import type { Step } from "../../document/mod.ts";
import {
  dependsReferences,
  evaluateDepends,
  parseDepends,
  plainResults,
  type Depends,
  type TaskResult,
} from "../../expression/mod.ts";
import { Failure } from "../../errors/mod.ts";
import { resultsRead, type Site, type Used } from "./templates.ts";

type TaskSite = Site & { readonly step: Step };

/** The tasks of a DAG with what they wait for, worked out once for each template. Tasks are numbered in the order of the text. */
export interface Order {
  readonly sites: readonly TaskSite[];
  /** Numbers of the tasks that a task waits for. */
  readonly before: readonly (readonly number[])[];
  /** Numbers of the tasks that wait for a task, as far as a target needs them. */
  readonly after: readonly (readonly number[])[];
  /** Whether any target needs a task. */
  readonly needed: readonly boolean[];
  readonly targets: readonly number[];
  readonly isTarget: readonly boolean[];
  readonly number: ReadonlyMap<string, number>;
  /** Whether a task is to run, when all that it waits for has ended. */
  readonly runs: (task: number, ended: (task: number, result: TaskResult) => boolean) => boolean;
}

const orders = new WeakMap<Used, Order>();

/** Throws when a task waits for one that is not there, or for itself. */
export function orderOf(used: Used): Order {
  const known = orders.get(used);
  if (known) return known;
  const made = work(used);
  orders.set(used, made);
  return made;
}

function work(used: Used): Order {
  const tasks = used.template.dag?.tasks ?? [];
  const read = resultsRead(used.template);
  const sites = tasks.map((step, ordinal) => ({
    name: step.name,
    asked: step,
    step,
    word: "tasks" as const,
    library: used.library,
    key: used.key,
    ordinal,
    result: read.has(step.name),
  }));
  const number = new Map(tasks.map((task, index) => [task.name, index]));
  const find = (name: string): number => {
    const found = number.get(name);
    if (found !== undefined) return found;
    throw new Failure("workflow-invalid", `There is no task "${name}" in ${used.key}`, {
      hint: `Its tasks are: ${tasks.map((task) => task.name).join(", ")}.`,
    });
  };
  const logic = tasks.map((task) => (task.depends ? parseDepends(task.depends) : undefined));
  const before = tasks.map((task, index) => {
    const depends = logic[index];
    const names = depends
      ? dependsReferences(depends).map((item) => item.name)
      : (task.dependencies ?? []);
    return [...new Set(names.map(find))];
  });
  const all = backwards(before);
  const targets = targetsOf(used, find, all);
  const needed = needs(targets, before);
  checkNoCircle(used, sites, before, all);
  const isTarget = sites.map(() => false);
  for (const target of targets) isTarget[target] = true;
  const accepts = (task: number): readonly TaskResult[] => accepted(sites[task]?.step);
  return {
    sites,
    before,
    after: all.map((list) => list.filter((task) => needed[task])),
    needed,
    targets,
    isTarget,
    number,
    runs(task, ended) {
      const depends = logic[task];
      if (!depends) {
        return (before[task] ?? []).every((other) =>
          accepts(other).some((result) => ended(other, result)),
        );
      }
      return evaluated(depends, find, ended, accepts);
    },
  };
}

function evaluated(
  depends: Depends,
  find: (name: string) => number,
  ended: (task: number, result: TaskResult) => boolean,
  accepts: (task: number) => readonly TaskResult[],
): boolean {
  return evaluateDepends(depends, {
    has: (name, result) => ended(find(name), result),
    accepts: (name) => accepts(find(name)),
  });
}

function accepted(step: Step | undefined): readonly TaskResult[] {
  const { failed, error } = step?.continueOn ?? {};
  if (!failed && !error) return plainResults;
  return [
    ...plainResults,
    ...(error ? (["Errored"] as const) : []),
    ...(failed ? (["Failed"] as const) : []),
  ];
}

function backwards(before: readonly (readonly number[])[]): readonly (readonly number[])[] {
  const after: number[][] = before.map(() => []);
  for (const [task, list] of before.entries()) for (const other of list) after[other]?.push(task);
  return after;
}

/** The tasks that `target` names, or all that nothing waits for. */
function targetsOf(
  used: Used,
  find: (name: string) => number,
  after: readonly (readonly number[])[],
): readonly number[] {
  const target = used.template.dag?.target?.trim();
  if (target) return target.split(/\s+/u).map(find);
  const tasks = used.template.dag?.tasks ?? [];
  return [...tasks.keys()]
    .filter((task) => after[task]?.length === 0)
    .toSorted((left, right) => ((tasks[left]?.name ?? "") < (tasks[right]?.name ?? "") ? -1 : 1));
}

function needs(targets: readonly number[], before: readonly (readonly number[])[]): boolean[] {
  const needed = before.map(() => false);
  const open = [...targets];
  for (let task = open.pop(); task !== undefined; task = open.pop()) {
    if (needed[task]) continue;
    needed[task] = true;
    open.push(...(before[task] ?? []));
  }
  return needed;
}

function checkNoCircle(
  used: Used,
  sites: readonly TaskSite[],
  before: readonly (readonly number[])[],
  after: readonly (readonly number[])[],
): void {
  const missing = before.map((list) => list.length);
  const open = [...missing.keys()].filter((task) => missing[task] === 0);
  let done = 0;
  for (let task = open.pop(); task !== undefined; task = open.pop()) {
    done += 1;
    for (const next of after[task] ?? []) {
      const left = (missing[next] ?? 0) - 1;
      missing[next] = left;
      if (left === 0) open.push(next);
    }
  }
  if (done === sites.length) return;
  const stuck = sites.filter((_, task) => (missing[task] ?? 0) > 0).map((site) => site.name);
  throw new Failure("workflow-invalid", `Tasks of ${used.key} wait for each other in a circle`, {
    hint: `Look at: ${stuck.slice(0, 10).join(", ")}.`,
  });
}

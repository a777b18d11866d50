import type { Synchronization } from "../../document/mod.ts";
import { Failure } from "../../errors/mod.ts";
import { configMapValue } from "./configmaps.ts";
import type { Names } from "./names.ts";
import type { PlanNode } from "./node.ts";
import type { Plan } from "./plan.ts";
import type { Used } from "./templates.ts";
import { fill } from "./text.ts";
import type { Lock } from "./types.ts";

/** The locks that a node needs; undefined for none. */
export function locksOf(
  plan: Plan,
  node: PlanNode,
  used: Used,
  names: Names,
): readonly Lock[] | undefined {
  const { synchronization } = used.template;
  if (!synchronization) return undefined;
  const locks = resolveLocks(plan, synchronization, names, node.name);
  for (const lock of locks) checkFree(plan, node, lock);
  return locks.length === 0 ? undefined : locks;
}

export function resolveLocks(
  plan: Plan,
  synchronization: Synchronization,
  names: Names,
  seed: string,
): readonly Lock[] {
  const { mutex, mutexes, semaphore, semaphores } = fill(
    plan,
    synchronization,
    names,
    `${seed}/locks`,
  );
  const own = plan.begin.namespace;
  const locks = new Map<string, Lock>();
  for (const item of [...(mutex ? [mutex] : []), ...(mutexes ?? [])]) {
    const key = `${item.namespace ?? own}/Mutex/${item.name}`;
    locks.set(key, { key, limit: 1 });
  }
  for (const item of [...(semaphore ? [semaphore] : []), ...(semaphores ?? [])]) {
    const reference = item.configMapKeyRef;
    const key = `${item.namespace ?? own}/ConfigMap/${reference.name}/${reference.key}`;
    const limit = Number(configMapValue(plan, reference));
    if (!Number.isSafeInteger(limit) || limit < 1) {
      throw new Failure("workflow-invalid", `Failed to get semaphore limit for ${key}`, {
        hint: `Give a ConfigMap "${reference.name}" beside the workflow whose key "${reference.key}" is a number above zero.`,
      });
    }
    locks.set(key, { key, limit });
  }
  return [...locks.values()];
}

/** A lock that the nodes around it hold already would be waited for without end. */
function checkFree(plan: Plan, node: PlanNode, lock: Lock): void {
  let held = plan.locks?.some((item) => item.key === lock.key) ? 1 : 0;
  for (let around: PlanNode | undefined = node; around; around = outer(around)) {
    if (around.frame?.locks?.some((item) => item.key === lock.key)) held += 1;
  }
  if (held < lock.limit) return;
  throw new Failure("workflow-invalid", `The lock ${lock.key} is held by what this is part of`, {
    hint: "Take a lock at one level only: a step inside would wait for it without end.",
  });
}

/** The template that a node stands in; of an attempt it is the node that is tried again, which holds the locks. */
function outer(node: PlanNode): PlanNode | undefined {
  const into = node.frame?.into;
  return into?.type === "Retry" ? into : node.bound;
}

/** Asks for locks; goes on when they are given. */
export function askLocks(
  plan: Plan,
  node: PlanNode,
  locks: readonly Lock[],
  then: () => void,
): void {
  if (!node.frame) return;
  node.frame.locks = locks;
  const waitingFor = locks.map((lock) => lock.key);
  node.note({ waitingFor });
  plan.tell(node, waitingMessage(locks));
  plan.waits.set(node.id, { for: "locks", go: then });
  plan.effects.push({ type: "lock", node: node.id, locks });
}

export function waitingMessage(locks: readonly Lock[]): string {
  return `Waiting for ${locks.map((lock) => lock.key).join(", ")} lock`;
}

/** Locks were given; a node that does not want them any more gives them back. */
export function locked(plan: Plan, id: string): void {
  const wait = plan.waits.get(id);
  if (wait?.for !== "locks") {
    const node = plan.nodes.get(id);
    // What holds them already was told twice.
    if (!node?.frame?.locks) plan.effects.push({ type: "unlock", node: id });
    return;
  }
  plan.waits.delete(id);
  const node = plan.nodes.get(id);
  node?.note({ waitingFor: undefined });
  if (node) plan.tell(node, undefined);
  plan.later(wait.go);
}

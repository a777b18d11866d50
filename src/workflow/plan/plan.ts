import type { Failure } from "../../errors/mod.ts";
import type { Body, Frame } from "./frame.ts";
import { Globals } from "./globals.ts";
import { nodeId } from "./name.ts";
import { PlanNode } from "./node.ts";
import { leave, Leaves } from "./parallelism.ts";
import { Templates, type Kind, type Used } from "./templates.ts";
import { Timers } from "./timers.ts";
import type { Begin, Effect, Lock, NodeType, Phase } from "./types.ts";

/** What the kinds of nodes do. They are handed in because they need each other through the plan. */
export interface Rules {
  /** Begins the work of a node that has been let in. */
  readonly enter: Readonly<Record<Kind, (plan: Plan, node: PlanNode) => void>>;
  /** A child, with its hooks, is done. */
  readonly childDone: Readonly<
    Record<Body["kind"], (plan: Plan, node: PlanNode, child: PlanNode) => void>
  >;
  /** A node began to run: some hooks wait for that. */
  readonly began: (plan: Plan, node: PlanNode) => void;
  /** A node ended: its hooks come, then the node it belongs to is told. */
  readonly ended: (plan: Plan, node: PlanNode) => void;
  /** A node of the run itself is done. */
  readonly runDone: (plan: Plan, node: PlanNode) => void;
  /** A node has failed, and its hooks are still to come. */
  readonly failed: (plan: Plan, node: PlanNode) => void;
  readonly startLeaf: (plan: Plan, node: PlanNode) => void;
}

export interface NewNode {
  readonly name: string;
  readonly type: NodeType;
  readonly used: Used | undefined;
  readonly bound: PlanNode | undefined;
  readonly exit: boolean;
  readonly hooked: boolean;
  readonly frame: Frame;
}

/** What goes on when an answer comes. */
interface Wait {
  readonly for: "locks" | "memory";
  readonly go: () => void;
}

/** The state of a run that all rules work on, with the few operations that they share. */
export class Plan {
  readonly begin: Begin;
  readonly rules: Rules;
  readonly templates: Templates;
  readonly globals: Globals;
  readonly nodes: Map<string, PlanNode> = new Map();
  readonly timers: Timers = new Timers();
  readonly leaves: Leaves;
  /** Nodes that have not ended. */
  readonly active: Set<PlanNode> = new Set();
  /** Nodes of an earlier taking up that begin again when their turn comes; until then they are as they ended. */
  readonly stale: Set<PlanNode> = new Set();
  readonly changed: Set<string> = new Set();
  /** Values of the arguments, with what a later taking up gave instead. */
  parameters: Readonly<Record<string, string>>;

  /** Time of the latest event. */
  now = 0;
  /** How often the run was taken up again. */
  attempt = 0;
  phase: Phase = "Pending";
  message: string | undefined = undefined;
  createdAt = 0;
  startedAt = 0;
  finishedAt: number | undefined = undefined;
  deadlineAt: number | undefined = undefined;
  suspended = false;
  shutdown: "Stop" | "Terminate" | undefined = undefined;
  shutdownMessage: string | undefined = undefined;
  /** Locks of the run as a whole. */
  locks: readonly Lock[] | undefined = undefined;
  /** The leaf whose work has just ended, so that it is not called off. */
  reported: string | undefined = undefined;
  /** Calls that are known and have not begun. */
  waiting = 0;
  leavesKnown = 0;
  leavesDone = 0;
  /** Pieces of work and waits that began. */
  begun = 0;
  /** Hooks of the run that have not ended. */
  hooks = 0;
  /** What is wrong with one of them. */
  hookProblem: string | undefined = undefined;
  /** Failed nodes so far, for `workflow.failures`. */
  failures = 0;

  effects: Effect[] = [];
  /** What goes on when an answer from outside comes, by node; the run's own under the empty name. */
  readonly waits: Map<string, Wait> = new Map();
  #queue: (() => void)[] = [];

  constructor(begin: Begin, rules: Rules) {
    this.begin = begin;
    this.rules = rules;
    this.globals = new Globals(this);
    this.parameters = begin.parameters;
    this.templates = new Templates(begin.bundle);
    const { parallelism } = begin.bundle.workflow.spec;
    this.leaves = new Leaves(parallelism === 0 ? undefined : parallelism);
  }

  /** The node of a name, if there is one. */
  find(name: string): PlanNode | undefined {
    const place = this.#place(name);
    return place instanceof PlanNode ? place : undefined;
  }

  /** The node of a name that has ended and is not to begin again. */
  kept(name: string): PlanNode | undefined {
    const node = this.find(name);
    return node?.ended && !this.stale.has(node) ? node : undefined;
  }

  /** The id that the node of a name has, or will have. */
  id(name: string): string {
    const place = this.#place(name);
    return place instanceof PlanNode ? place.id : place;
  }

  /** 32 bits of hash are not enough to tell a hundred thousand names apart, so the second of two with one hash gets a suffix. */
  #place(name: string): PlanNode | string {
    const id = nodeId(this.begin.name, name);
    let tried = id;
    for (let count = 2; ; count += 1) {
      const known = this.nodes.get(tried);
      if (!known) return tried;
      if (known.name === name) return known;
      tried = `${id}-${count}`;
    }
  }

  /** A new node below the one that its frame names, or the one that a taking up has put back. */
  make(given: NewNode): PlanNode {
    const place = this.#place(given.name);
    const { frame } = given;
    let node: PlanNode;
    if (place instanceof PlanNode) {
      node = place;
      this.stale.delete(node);
      node.reset(this.now);
      node.type = given.type;
      node.used = given.used;
    } else {
      node = new PlanNode(place, given.name, given.type, { ...given, at: this.now });
      this.nodes.set(place, node);
      frame.into?.add(place);
      if (isLeaf(given.type)) this.leavesKnown += 1;
    }
    node.frame = frame;
    this.active.add(node);
    this.changed.add(node.id);
    return node;
  }

  /** Takes a node with everything below it out of the tree; its parent still names it. */
  remove(node: PlanNode): void {
    const open = [node];
    for (let one = open.pop(); one; one = open.pop()) {
      for (const id of one.children) {
        const child = this.nodes.get(id);
        if (child) open.push(child);
      }
      this.nodes.delete(one.id);
      this.stale.delete(one);
      this.changed.add(one.id);
      if (!isLeaf(one.type)) continue;
      this.leavesKnown -= 1;
      this.leavesDone -= 1;
    }
  }

  /** A node's work begins. */
  run(node: PlanNode): void {
    if (node.phase === "Running") return;
    node.phase = "Running";
    this.changed.add(node.id);
    this.rules.began(this, node);
  }

  tell(node: PlanNode, message: string | undefined): void {
    node.message = message;
    this.changed.add(node.id);
  }

  /** A node has come to its end; only the first one counts. What it held is given back at once. */
  end(node: PlanNode, phase: Phase, message?: string): void {
    if (node.ended) return;
    node.phase = phase;
    node.message = message;
    node.finish(this.now);
    this.active.delete(node);
    this.changed.add(node.id);
    if (isLeaf(node.type)) this.leavesDone += 1;
    if (node.failed) {
      this.failures += 1;
      this.rules.failed(this, node);
    }
    const { frame } = node;
    this.waits.delete(node.id);
    leave(this, node);
    if (node.waitingFor) node.note({ waitingFor: undefined });
    if (frame?.locks) {
      frame.locks = undefined;
      this.effects.push({ type: "unlock", node: node.id });
    }
    if (frame?.body?.kind === "leaf") {
      this.leaves.done(this, node, (next) => this.rules.startLeaf(this, next));
    }
    if (frame?.memory && phase === "Succeeded" && !node.memoized) {
      const { cache, key } = frame.memory;
      const outputs = node.outputs ?? { parameters: [], artifacts: [] };
      this.effects.push({ type: "remember", node: node.id, cache, key, outputs });
    }
    this.later(() => this.rules.ended(this, node));
  }

  /** A node that cannot be planned ends in error, and says why. */
  fail(node: PlanNode, failure: Failure): void {
    node.note({ failure: failure.toJSON() });
    this.end(node, "Error", failure.message);
  }

  /** Does something after what is being done, so that nothing recurses deeper than templates nest. */
  later(act: () => void): void {
    this.#queue.push(act);
  }

  /** Forgets what was still to be done. */
  forget(): void {
    this.#queue.length = 0;
  }

  /** Does all that is to be done, unless the run is suspended. */
  settle(): void {
    let done = 0;
    while (!this.suspended && done < this.#queue.length) {
      this.#queue[done]?.();
      done += 1;
      if (done === 1024) {
        this.#queue.splice(0, done);
        done = 0;
      }
    }
    this.#queue.splice(0, done);
  }

  /** Whether nothing more is begun there, because the run is being stopped. */
  stopped(exit: boolean): boolean {
    return this.shutdown === "Terminate" || (this.shutdown === "Stop" && !exit);
  }
}

/** Whether a node of this type runs a program. */
function isLeaf(type: NodeType): boolean {
  return type === "Plugin" || type === "Pod";
}

import assert from "node:assert/strict";
import type { Bundle, Template } from "../../src/document/mod.ts";
import {
  createPlanner,
  type Begin,
  type Effect,
  type Lock,
  type NodeOutputs,
  type Planner,
  type RunEvent,
  type RunNode,
  type RunState,
  type Work,
} from "../../src/workflow/plan/mod.ts";
import { beginning, resultOf, type Ending } from "./drive.ts";
import type { Chance } from "../../fuzz/chance.ts";

/** What the world around a planner does at a time. */
interface Due {
  readonly at: number;
  readonly order: number;
  readonly event: () => RunEvent | undefined;
}

export interface Recorded {
  readonly begin: Begin;
  readonly events: readonly RunEvent[];
  /** Effects of each event, as text. */
  readonly effects: readonly string[];
  /** The state after each event that is looked at again, as text. */
  readonly states: ReadonlyMap<number, string>;
}

const eventsCeiling = 20_000;

/** Runs a workflow in a world of chance, and holds against it what must be true of every run. */
export function simulate(bundle: Bundle, chance: Chance): Recorded {
  const begin: Begin = {
    name: "wf",
    uid: "0d2b5c1e-0000-4000-8000-000000000000",
    namespace: "default",
    bundle,
    parameters: {},
    artifacts: {},
  };
  const world = new World(createPlanner(begin), begin, chance);
  world.play();
  return { begin, events: world.events, effects: world.effects, states: world.states };
}

class World {
  readonly #planner: Planner;
  readonly #chance: Chance;
  readonly #templates: ReadonlyMap<string, Template>;
  readonly #begin: Begin;
  readonly #due: Due[] = [];
  readonly #running = new Map<string, Work>();
  readonly #started = new Set<string>();
  readonly #held = new Map<string, readonly Lock[]>();
  readonly #asked = new Map<string, readonly Lock[]>();
  readonly #memory = new Map<string, NodeOutputs>();
  readonly events: RunEvent[] = [];
  readonly effects: string[] = [];
  readonly states: Map<number, string> = new Map();
  #at = beginning;
  #order = 0;
  #finished = false;
  #takenUp = 0;

  constructor(planner: Planner, begin: Begin, chance: Chance) {
    this.#planner = planner;
    this.#begin = begin;
    this.#chance = chance;
    const { templates } = begin.bundle.workflow.spec;
    this.#templates = new Map((templates ?? []).map((item) => [item.name, item]));
  }

  play(): void {
    const chance = this.#chance;
    this.#apply({ type: "begun", at: this.#at });
    this.#meddle();
    for (;;) {
      this.#grant();
      if (this.#due.length === 0) {
        if (this.#finished ? this.#takeUp() : this.#carryOn()) continue;
        break;
      }
      // Also while old work is still to report its end.
      if (this.#finished && chance.one(10) && this.#takeUp()) continue;
      assert(this.events.length < eventsCeiling, "the run does not come to an end");
      this.#due.sort((left, right) => left.at - right.at || left.order - right.order);
      const due = this.#due.shift();
      if (!due) continue;
      this.#at = Math.max(this.#at, due.at);
      const event = due.event();
      if (event) this.#apply(event);
    }
    assert(this.#finished, `the run is stuck: ${pending(this.#planner.state)}`);
    this.#checkEnd();
  }

  #later(ms: number, event: () => RunEvent | undefined): void {
    this.#due.push({ at: this.#at + ms, order: this.#order, event });
    this.#order += 1;
  }

  /** Users and operators come in at any time. */
  #meddle(): void {
    const chance = this.#chance;
    if (chance.one(6)) {
      this.#later(chance.below(20_000), () => ({ type: "suspended", at: this.#at }));
      this.#later(chance.below(60_000), () => ({ type: "resumed", at: this.#at }));
    }
    if (chance.one(6)) {
      const strategy = chance.one(2) ? "Stop" : "Terminate";
      this.#later(chance.below(30_000), () => ({ type: "shutdown", at: this.#at, strategy }));
    }
    if (chance.one(10)) this.#later(chance.below(9000), () => ({ type: "woke", at: this.#at }));
  }

  /** Nothing is to come: what waits for people goes on. */
  #carryOn(): boolean {
    const { state } = this.#planner;
    const waits = [...state.nodes.values()].filter(
      (node) => node.type === "Suspend" && node.phase === "Running",
    );
    if (!state.suspended && waits.length === 0) return false;
    const some =
      !state.suspended && this.#chance.one(2) ? { nodes: waits.map((node) => node.id) } : {};
    this.#later(this.#chance.below(5000), () => ({ type: "resumed", at: this.#at, ...some }));
    return true;
  }

  /** Finished runs are taken up again now and then. */
  #takeUp(): boolean {
    const chance = this.#chance;
    if (this.#takenUp >= 2 || !chance.one(3)) return false;
    const { phase, nodes } = this.#planner.state;
    const restart = chance.one(2);
    const some = restart ? [...nodes.keys()].filter(() => chance.one(8)) : [];
    if (phase === "Succeeded" && some.length === 0) return false;
    this.#takenUp += 1;
    this.#checkEnd();
    this.#finished = false;
    this.#at += 1000;
    this.#apply({
      type: "retried",
      at: this.#at,
      restartSuccessful: restart,
      nodes: some,
      parameters: chance.one(4) ? { p: "1" } : {},
    });
    this.#meddle();
    return true;
  }

  #apply(event: RunEvent): void {
    const effects = this.#planner.apply(event);
    this.events.push(event);
    this.effects.push(JSON.stringify(effects));
    if (this.#chance.one(10)) this.states.set(this.events.length, snapshot(this.#planner.state));
    for (const effect of effects) this.#take(effect);
    this.#checkParallelism();
  }

  #take(effect: Effect): void {
    assert(!this.#finished, `after the end of the run: ${JSON.stringify(effect)}`);
    switch (effect.type) {
      case "start":
        this.#start(effect.work);
        break;
      case "cancel": {
        const work = this.#running.get(effect.node);
        assert(work, `called off, and not running: ${effect.node}`);
        this.#running.delete(effect.node);
        // What is left of it reports its end some time, and that must change nothing.
        const ended = this.#ending(work, { phase: "Error", message: "stopped" });
        this.#later(this.#chance.below(3000), ended);
        break;
      }
      case "wake":
        assert(effect.at >= this.#at - 1, "asked to be woken in the past");
        this.#later(effect.at - this.#at, () => ({ type: "woke", at: this.#at }));
        break;
      case "lock":
        assert(!this.#asked.has(effect.node) && !this.#held.has(effect.node), "asked twice");
        this.#asked.set(effect.node, effect.locks);
        break;
      case "unlock":
        this.#asked.delete(effect.node);
        this.#held.delete(effect.node);
        break;
      case "recall": {
        const { node, cache, key } = effect;
        this.#later(this.#chance.below(50), () => ({
          type: "recalled",
          at: this.#at,
          node,
          outputs: this.#memory.get(`${cache}/${key}`) ?? null,
        }));
        break;
      }
      case "remember":
        this.#memory.set(`${effect.cache}/${effect.key}`, effect.outputs);
        break;
      case "finish":
        this.#finished = true;
        break;
    }
  }

  #start(work: Work): void {
    const key = `${work.node}/${work.attempt}`;
    assert(!this.#started.has(key), `started twice: ${work.nodeName}`);
    this.#started.add(key);
    this.#running.set(work.node, work);
    this.#checkBefore(work);
    const chance = this.#chance;
    const phase = chance.one(8) ? "Failed" : chance.one(16) ? "Error" : "Succeeded";
    const ending: Ending = {
      phase,
      ...(phase === "Failed" ? { exitCode: 1 + chance.below(5) } : {}),
      ...(phase === "Error" ? { retryable: chance.one(2) } : {}),
      ...(work.outputs.result ? { result: chance.pick(["[1,2]", "text", "7"]) } : {}),
    };
    const ended = this.#ending(work, ending);
    this.#later(chance.below(15_000), () => {
      if (this.#running.get(work.node) !== work) return undefined;
      this.#running.delete(work.node);
      return ended();
    });
  }

  #ending(work: Work, ending: Ending): () => RunEvent {
    const startedAt = this.#at;
    return () => ({
      type: "ended",
      at: this.#at,
      node: work.node,
      attempt: work.attempt,
      startedAt,
      result: resultOf(ending),
    });
  }

  /** Locks go to those who asked first, all or none. */
  #grant(): void {
    for (const [node, locks] of this.#asked) {
      const free = locks.every((lock) => {
        const holders = [...this.#held.values()].flat().filter((held) => held.key === lock.key);
        return holders.length < lock.limit;
      });
      if (!free) continue;
      this.#asked.delete(node);
      this.#held.set(node, locks);
      this.#later(this.#chance.below(100), () => {
        // Given back before the word came.
        if (this.#held.get(node) !== locks) return undefined;
        return { type: "locked", at: this.#at, node };
      });
    }
  }

  /** Everything that the document puts before a leaf has ended, and its locks are held. */
  #checkBefore(work: Work): void {
    const { nodes } = this.#planner.state;
    const parents = new Map<string, RunNode>();
    for (const node of nodes.values()) for (const id of node.children) parents.set(id, node);
    for (let node = nodes.get(work.node); node; node = parents.get(node.id)) {
      const template = this.#template(node);
      // A call holds them, not its attempts and not the group of a loop.
      const calls = node.type !== "TaskGroup" && parents.get(node.id)?.type !== "Retry";
      if (template?.synchronization && calls && node.finishedAt === undefined) {
        assert(this.#held.has(node.id), `${node.name} runs without its lock`);
      }
      const parent = parents.get(node.id);
      if (parent?.type === "StepGroup") {
        const [, name = "", at = ""] = /^(.*)\[(\d+)\]$/s.exec(parent.name) ?? [];
        if (at !== "0") this.#checkEnded(`${name}[${Number(at) - 1}]`);
      } else if (parent?.type === "DAG" && !/\.(?:onExit|hooks\.\w+)$/.test(node.name)) {
        const task = this.#template(parent)?.dag?.tasks.find(
          (item) => `${parent.name}.${item.name}` === node?.name,
        );
        const before = task?.dependencies ?? [...(task?.depends ?? "").matchAll(/\bd\d/g)].flat();
        for (const name of before) this.#checkEnded(`${parent.name}.${name}`);
      }
    }
  }

  #checkEnded(name: string): void {
    const node = [...this.#planner.state.nodes.values()].find((item) => item.name === name);
    assert(node?.finishedAt !== undefined, `${name} has not ended`);
    for (const id of node.children) {
      const child = this.#planner.state.nodes.get(id);
      assert(child?.finishedAt !== undefined, `${child?.name} has not ended`);
    }
  }

  #checkParallelism(): void {
    const { nodes } = this.#planner.state;
    const limit = this.#begin.bundle.workflow.spec.parallelism;
    const inside = new Map<string, number>();
    let leaves = 0;
    for (const node of nodes.values()) {
      if (node.phase !== "Running") continue;
      if (node.type === "Plugin") leaves += 1;
      const counts = node.type === "Plugin" || node.type === "Steps" || node.type === "DAG";
      if (!counts || node.boundary === undefined) continue;
      inside.set(node.boundary, (inside.get(node.boundary) ?? 0) + 1);
    }
    assert.equal(leaves, this.#running.size, "what runs here and there");
    if (limit !== undefined) assert(leaves <= limit, `${leaves} leaves run, ${limit} may`);
    for (const [id, count] of inside) {
      const node = nodes.get(id);
      const most = node && this.#template(node)?.parallelism;
      if (most !== undefined) assert(count <= most, `${node?.name}: ${count} run, ${most} may`);
    }
  }

  #template(node: RunNode): Template | undefined {
    return this.#templates.get(node.template ?? "");
  }

  /** Nothing is left, and every node's phase is that of what it holds. */
  #checkEnd(): void {
    const { state } = this.#planner;
    assert.equal(this.#running.size, 0, "work is left");
    assert.equal(this.#held.size + this.#asked.size, 0, "locks are left");
    assert.equal(state.progress.done, state.progress.total, "progress");
    for (const node of state.nodes.values()) {
      assert(node.finishedAt !== undefined, `${node.name} has not ended`);
      // What a taking up was to begin again, and did not come to, is as it was but for what is gone.
      if (node.finishedAt < state.startedAt) continue;
      const children = node.children.map((id) => {
        const child = state.nodes.get(id);
        assert(child, `${node.name} has a child that is not there`);
        return child;
      });
      checkPhase(
        node,
        children.filter((child) => !isHook(node, child)),
      );
    }
    const entry = state.nodes.get("wf");
    const exit = [...state.nodes.values()].find((node) => node.name === "wf.onExit");
    const phases = [entry?.phase, exit?.phase].filter((phase) => phase && isFailed(phase));
    if (state.phase !== "Succeeded") return;
    assert.deepEqual(phases, [], "the run succeeded, its entry node or exit handler did not");
  }
}

function isHook(node: RunNode, child: RunNode): boolean {
  return child.name === `${node.name}.onExit` || child.name.startsWith(`${node.name}.hooks.`);
}

function isFailed(phase: string): boolean {
  return phase === "Failed" || phase === "Error";
}

function checkPhase(node: RunNode, children: readonly RunNode[]): void {
  const bad = children.filter((child) => isFailed(child.phase));
  const what = `${node.name} is ${node.phase} (${node.message}), with ${children
    .map((child) => `${child.name} ${child.phase}`)
    .join(", ")}`;
  switch (node.type) {
    case "Steps":
      if (node.phase === "Succeeded") assert.equal(bad.length, 0, what);
      else if (node.phase === "Failed" && node.message?.startsWith("child")) {
        assert.equal(bad.length, 1, what);
      }
      break;
    case "StepGroup":
      if (node.message?.startsWith("child")) assert(bad.length > 0, what);
      break;
    case "TaskGroup":
      assert.equal(isFailed(node.phase), bad.length > 0 || node.message !== undefined, what);
      break;
    case "Retry":
      if (children.length > 0) assert.equal(node.phase, children.at(-1)?.phase, what);
      if (node.phase === "Succeeded" && !node.memoized) assert(children.length > 0, what);
      break;
    case "DAG":
    case "Plugin":
    case "Pod":
    case "Skipped":
    case "Suspend":
      break;
  }
}

function pending(state: RunState): string {
  return [...state.nodes.values()]
    .filter((node) => node.finishedAt === undefined)
    .map((node) => `${node.name} ${node.type} ${node.phase} ${node.message ?? ""}`)
    .join("; ");
}

/** Everything that can be seen of a run, as text. */
export function snapshot(state: RunState): string {
  return JSON.stringify({
    phase: state.phase,
    message: state.message,
    startedAt: state.startedAt,
    finishedAt: state.finishedAt,
    suspended: state.suspended,
    shutdown: state.shutdown,
    progress: state.progress,
    outputs: state.outputs,
    nodes: [...state.nodes.values()].map((node) => [
      node.id,
      node.name,
      node.displayName,
      node.type,
      node.template,
      node.boundary,
      node.phase,
      node.message,
      node.startedAt,
      node.finishedAt,
      node.children,
      node.inputs,
      node.outputs,
      node.failure,
      node.memoized,
      node.waitingFor,
    ]),
  });
}

/** Folds the events of a run into a fresh planner, which must say and be the same at every point. */
export function replay({ begin, events, effects, states }: Recorded): void {
  const planner = createPlanner(begin);
  for (const [index, event] of events.entries()) {
    assert.equal(JSON.stringify(planner.apply(event)), effects[index], `event ${index}`);
    const seen = states.get(index + 1);
    if (seen !== undefined) assert.equal(snapshot(planner.state), seen, `after event ${index}`);
  }
}

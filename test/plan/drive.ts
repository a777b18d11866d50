import type { Bundle, Template, WorkflowSpec, WorkflowTemplate } from "../../src/document/mod.ts";
import type { StoredArtifact, TaskResult } from "../../src/task/mod.ts";
import {
  createPlanner,
  type Begin,
  type Effect,
  type NodeOutputs,
  type Planner,
  type RunEvent,
  type RunNode,
  type Work,
} from "../../src/workflow/plan/mod.ts";

export interface BundleOptions {
  readonly spec?: Partial<WorkflowSpec>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly library?: readonly WorkflowTemplate[];
  readonly configMaps?: Bundle["configMaps"];
}

/** A document of these templates, as the reader hands it on; the first one is the entrypoint. */
export function bundleOf(templates: readonly Template[], options: BundleOptions = {}): Bundle {
  const [first] = templates;
  return {
    workflow: {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Workflow",
      metadata: {
        ...(options.labels ? { labels: options.labels } : {}),
        ...(options.annotations ? { annotations: options.annotations } : {}),
      },
      spec: { entrypoint: first?.name ?? "", templates, ...options.spec },
    },
    library: Object.fromEntries(
      (options.library ?? []).map((item) => [`${item.kind}/${item.metadata.name}`, item]),
    ),
    configMaps: options.configMaps ?? {},
    places: {},
    folder: "/",
  };
}

/** A leaf that prints its input `text`, if it has one. */
export function say(name = "say", more: Partial<Template> = {}): Template {
  return {
    name,
    inputs: { parameters: [{ name: "text", default: "" }] },
    wasm: { module: "say.wasm", args: ["{{inputs.parameters.text}}"] },
    ...more,
  };
}

/** A leaf without inputs. */
export function leaf(name = "leaf", more: Partial<Template> = {}): Template {
  return { name, wasm: { module: "leaf.wasm" }, ...more };
}

export interface Ending {
  readonly phase?: TaskResult["phase"];
  readonly message?: string;
  readonly exitCode?: number;
  readonly result?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly artifacts?: Readonly<Record<string, StoredArtifact>>;
  readonly retryable?: boolean;
}

const timings = {
  queueMs: 0,
  pullMs: 0,
  compileMs: 0,
  instantiateMs: 0,
  runMs: 0,
  artifactsMs: 0,
};

/** How the task runner reports an end. */
export function resultOf(ending: Ending = {}): TaskResult {
  const phase = ending.phase ?? "Succeeded";
  const exitCode =
    ending.exitCode ?? (phase === "Succeeded" ? 0 : phase === "Failed" ? 1 : undefined);
  const message =
    ending.message ??
    (phase === "Failed" ? `Error (exit code ${exitCode})` : phase === "Error" ? "lost" : undefined);
  return {
    phase,
    ...(message === undefined ? {} : { message }),
    ...(exitCode === undefined ? {} : { exitCode }),
    outputs: {
      ...(ending.result === undefined ? {} : { result: ending.result }),
      parameters: Object.entries(ending.parameters ?? {}).map(([name, value]) => ({ name, value })),
      artifacts: Object.entries(ending.artifacts ?? {}).map(([name, artifact]) => ({
        name,
        artifact,
      })),
    },
    ...(ending.retryable === undefined
      ? {}
      : { failure: { code: "runner-lost", message: message ?? "", retryable: ending.retryable } }),
    timings,
  };
}

/** When every test begins. */
export const beginning: number = Date.UTC(2026, 0, 2, 3, 4, 5);

export interface DriveOptions {
  readonly name?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly artifacts?: Readonly<Record<string, StoredArtifact>>;
}

/** A planner driven by hand in a time of its own. */
export class Drive {
  readonly planner: Planner;
  /** All effects since the beginning. */
  readonly effects: Effect[] = [];
  /** Effects of the last event. */
  last: readonly Effect[] = [];
  /** Work that was handed out and neither ended nor was called off, by the node's name. */
  readonly running: Map<string, Work> = new Map();
  readonly works: Work[] = [];
  at: number = beginning;

  constructor(bundle: Bundle, options: DriveOptions = {}) {
    const begin: Begin = {
      name: options.name ?? "wf",
      uid: "0d2b5c1e-0000-4000-8000-000000000000",
      namespace: "default",
      bundle,
      parameters: options.parameters ?? {},
      artifacts: options.artifacts ?? {},
    };
    this.planner = createPlanner(begin);
    this.apply({ type: "begun", at: this.at });
  }

  apply(event: RunEvent): readonly Effect[] {
    const effects = this.planner.apply(event);
    this.last = effects;
    for (const effect of effects) {
      this.effects.push(effect);
      if (effect.type === "start") {
        this.running.set(effect.work.nodeName, effect.work);
        this.works.push(effect.work);
      } else if (effect.type === "cancel") {
        for (const [name, work] of this.running) {
          if (work.node === effect.node) this.running.delete(name);
        }
      }
    }
    return effects;
  }

  /** The work of a node ends, now. */
  end(name: string, ending: Ending = {}): void {
    const work = this.running.get(name);
    if (!work) throw new Error(`"${name}" does not run; ${[...this.running.keys()].join(", ")}`);
    this.running.delete(name);
    this.apply({
      type: "ended",
      at: this.at,
      node: work.node,
      attempt: work.attempt,
      startedAt: this.at,
      result: resultOf(ending),
    });
  }

  /** Ends everything that runs, again and again, until nothing does. */
  finish(ending: (work: Work) => Ending = () => ({})): void {
    for (let [first] = this.running; first; [first] = this.running) {
      this.end(first[0], ending(first[1]));
    }
  }

  /** Lets time pass; whoever asked to be woken is. */
  pass(ms: number): void {
    const until = this.at + ms;
    for (;;) {
      const next = this.effects
        .flatMap((effect) => (effect.type === "wake" && effect.at > this.at ? [effect.at] : []))
        .reduce((left, right) => Math.min(left, right), Number.POSITIVE_INFINITY);
      if (next > until) break;
      this.at = next;
      this.apply({ type: "woke", at: next });
    }
    this.at = until;
  }

  resume(parameters?: Readonly<Record<string, string>>, ...names: readonly string[]): void {
    this.apply({
      type: "resumed",
      at: this.at,
      ...(names.length === 0 ? {} : { nodes: names.map((name) => this.node(name).id) }),
      ...(parameters ? { parameters } : {}),
    });
  }

  lock(name: string): void {
    this.apply({ type: "locked", at: this.at, node: name === "" ? "" : this.node(name).id });
  }

  recall(name: string, outputs: NodeOutputs | null): void {
    this.apply({ type: "recalled", at: this.at, node: this.node(name).id, outputs });
  }

  shutdown(strategy: "Stop" | "Terminate"): void {
    this.apply({ type: "shutdown", at: this.at, strategy });
  }

  find(name: string): RunNode | undefined {
    for (const node of this.planner.state.nodes.values()) if (node.name === name) return node;
    return undefined;
  }

  node(name: string): RunNode {
    const found = this.find(name);
    if (found) return found;
    throw new Error(`There is no node "${name}"; there are ${this.names().join(", ")}`);
  }

  names(): readonly string[] {
    return [...this.planner.state.nodes.values()].map((node) => node.name);
  }

  /** Names of what runs. */
  get runs(): readonly string[] {
    return [...this.running.keys()];
  }

  /** Each node as `NAME TYPE PHASE: MESSAGE`, in the order of the tree, without the name of the run. */
  get tree(): readonly string[] {
    const { nodes } = this.planner.state;
    const below = new Set([...nodes.values()].flatMap((node) => node.children));
    const lines: string[] = [];
    const walk = (node: RunNode) => {
      const message = node.message === undefined ? "" : `: ${node.message}`;
      lines.push(`${node.name.slice(2) || "-"} ${node.type} ${node.phase}${message}`);
      for (const id of node.children) {
        const child = nodes.get(id);
        if (child) walk(child);
      }
    };
    for (const node of nodes.values()) if (!below.has(node.id)) walk(node);
    return lines;
  }

  /** First argument of the work of a node. */
  said(name: string): unknown {
    const work = this.works.findLast((item) => item.nodeName === name);
    return work?.program.args?.[0];
  }
}

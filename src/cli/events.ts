import type { NodeOutputs, RunNode, RunState } from "../workflow/mod.ts";
import type { Progress, Transfer } from "./live.ts";
import { ended } from "./nodetree.ts";
import { nodeMark, nodeMessage, nodeTime } from "./phase.ts";
import type { Paint } from "./style.ts";
import { escaped, oneLine } from "./text.ts";

/** One line when a node has ended; for pipes, files and terminals that cannot do more. */
export class PlainProgress implements Progress {
  readonly #paint: Paint;
  readonly #told = new Map<string, string>();
  constructor(paint: Paint) {
    this.#paint = paint;
  }

  update(nodes: readonly RunNode[]): void {
    for (const node of nodes) {
      if (node.type === "StepGroup" || node.type === "TaskGroup") continue;
      const waits = node.type === "Suspend" && node.phase === "Running";
      // A run that was taken up again tells of its nodes a second time.
      if ((!ended(node.phase) && !waits) || this.#told.get(node.id) === node.phase) continue;
      this.#told.set(node.id, node.phase);
      const word = waits ? "waits for resume" : node.phase;
      const parts = [oneLine(node.name), word, nodeTime(node, Date.now()), nodeMessage(node)];
      this.say(`${nodeMark(node, this.#paint)} ${parts.filter(Boolean).join("  ")}`);
    }
  }

  say(line: string): void {
    process.stdout.write(`${line}\n`);
  }

  transfer(): void {}

  [Symbol.dispose](): void {}
}

/** Says nothing. */
export class NoProgress implements Progress {
  update(): void {}
  say(): void {}
  transfer(): void {}
  [Symbol.dispose](): void {}
}

const transferMs = 1000;

/** Events as one line of JSON each; the shapes are in docs/cli.md. */
export class JsonProgress implements Progress {
  readonly #transfers = new Map<string, number>();
  #started = false;

  update(nodes: readonly RunNode[], state: RunState): void {
    if (!this.#started) {
      this.#started = true;
      const { name, uid, namespace, parameters, artifacts } = state.begin;
      const { startedAt } = state;
      event({ type: "run-started", name, uid, namespace, startedAt, parameters, artifacts });
    }
    for (const node of nodes) event({ type: "node", ...nodeJson(node) });
  }

  say(message: string): void {
    event({ type: "notice", message });
  }

  /** The first word of each, one a second while it goes on, and the last. */
  transfer(node: string, { artifact, way, bytes }: Transfer): void {
    const key = `${node} ${way} ${artifact}`;
    const now = performance.now();
    const last = this.#transfers.get(key);
    if (bytes === undefined) this.#transfers.delete(key);
    else if (last !== undefined && now - last < transferMs) return;
    else this.#transfers.set(key, now);
    event({
      type: "transfer",
      node,
      artifact,
      way,
      ...(bytes === undefined ? { done: true } : { bytes }),
    });
  }

  [Symbol.dispose](): void {}
}

/** Writes one event. */
export function event(value: Readonly<Record<string, unknown>> & { readonly type: string }): void {
  process.stdout.write(`${escaped(JSON.stringify(value))}\n`);
}

/** A node as an event: Argo's words, times in milliseconds since 1970. */
function nodeJson(node: RunNode): Readonly<Record<string, unknown>> {
  return {
    id: node.id,
    name: node.name,
    displayName: node.displayName,
    nodeType: node.type,
    template: node.template,
    boundary: node.boundary,
    phase: node.phase,
    message: node.message,
    startedAt: node.startedAt,
    finishedAt: node.finishedAt,
    inputs: node.inputs && {
      parameters: Object.fromEntries(
        node.inputs.parameters.map(({ name, value }) => [name, value]),
      ),
    },
    outputs: node.outputs && outputsJson(node.outputs),
    log: node.log,
    stderrTail: node.stderrTail,
    stack: node.stack,
    failure: node.failure,
    timings: node.timings,
    usage: node.usage,
    imageDigest: node.imageDigest,
    limitsReached: node.limitsReached,
    memoized: node.memoized,
    waitingFor: node.waitingFor,
  };
}

/** Outputs as mappings by name. */
export function outputsJson(outputs: NodeOutputs): Readonly<Record<string, unknown>> {
  const { result, exitCode, parameters, artifacts } = outputs;
  return {
    ...(result === undefined ? {} : { result }),
    ...(exitCode === undefined ? {} : { exitCode }),
    parameters: Object.fromEntries(parameters.map(({ name, value }) => [name, value])),
    artifacts: Object.fromEntries(artifacts.map(({ name, artifact }) => [name, artifact])),
  };
}

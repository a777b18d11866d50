import { randomBytes } from "node:crypto";
import type { Cluster, Kind } from "../../kubernetes/mod.ts";
import type { NodeResult, Step, WorkflowIdentity } from "../model.ts";
import { remember } from "../remember.ts";
import type { TaskSetView } from "./view.ts";

const events: Kind = { group: "", version: "v1", plural: "events", namespaced: true };
/** Events of one namespace: so many at once, and one more each second; a workflow of thousands of failures tells the first. */
const burst = 20;
const messageLength = 1000;
/** Namespaces and events that are remembered. */
const remembered = 1000;
const againMs = 10 * 60_000;
/** An engine that is set up for short steps takes results much sooner. */
const slowMs = 5000;
const slowAgainMs = 3_600_000;

/** How often a count is written. */
const countMs = 1000;

interface Told {
  readonly name: string;
  readonly at: number;
  count: number;
  counting: boolean;
}

/**
 * Tells what became of steps where people look for it: as events of their workflow and of its task set. What is told again is counted. Never throws, and drops what is
 * too much.
 */
export class StepEvents {
  readonly #cluster: Cluster;
  readonly #component: string;
  readonly #left = new Map<string, { tokens: number; at: number }>();
  readonly #told = new Map<string, Told>();
  readonly #slow = new Map<string, number>();

  constructor(cluster: Cluster, component: string) {
    this.#cluster = cluster;
    this.#component = component;
  }

  /** A step that did not succeed. */
  failed(
    { workflow, nodeId }: Step,
    { phase, message = "" }: NodeResult,
    taskSet: TaskSetView,
  ): void {
    this.#tell(`WasmStep${phase}`, `${nodeId}: ${message}`, message, [
      workflowOf(workflow),
      objectOf(taskSet),
    ]);
  }

  /** Results that cannot be written. */
  trouble(taskSet: TaskSetView, { message }: Error): void {
    const { namespace, workflow } = taskSet;
    this.#tell("WasmResultsNotWritten", `It is tried again: ${message}`, message, [
      workflowOf({ namespace, ...workflow }),
      objectOf(taskSet),
    ]);
  }

  /** Artifacts that cannot be deleted as `artifactGC` has it. */
  notDeleted(workflow: WorkflowIdentity, message: string, last: boolean): void {
    const then = last ? "It is not tried again, and they stay" : "It is tried again";
    this.#tell("WasmArtifactsNotDeleted", `${then}: ${message}`, `${last} ${message}`, [
      workflowOf(workflow),
    ]);
  }

  /** How long the engine left a result lying: what is not set up for short steps makes each of them take seconds. */
  taken({ workflow }: Step, { afterMs }: { readonly afterMs: number }): void {
    if (afterMs < slowMs) return;
    const now = performance.now();
    if (now - (this.#slow.get(workflow.namespace) ?? -Infinity) < slowAgainMs) return;
    remember(this.#slow, workflow.namespace, now, remembered);
    const seconds = (afterMs / 1000).toFixed(1);
    const message = `The workflow controller took a result ${seconds} s after it was written. It looks at a workflow no more often than DEFAULT_REQUEUE_TIME says (10 s when nobody set it), and each step waits for that twice. With DEFAULT_REQUEUE_TIME=100ms, --qps 500 and --burst 1000 a step takes about 0.25 s; \`atalanta doctor\` says more`;
    this.#tell("WasmEngineSlow", message, "", [workflowOf(workflow)]);
  }

  #tell(reason: string, message: string, same: string, about: readonly Involved[]): void {
    const [{ namespace, uid } = { namespace: "", uid: "" }] = about;
    const keyed = about.map(
      (involved) => [`${uid} ${reason} ${involved.kind} ${same}`, involved] as const,
    );
    const isKnown = keyed.every(([key]) => {
      const told = this.#told.get(key);
      return told && performance.now() - told.at < againMs;
    });
    if (!isKnown && !this.#may(namespace)) return;
    for (const [key, involved] of keyed) {
      if (isKnown) this.#count(key, namespace);
      else void this.#create(key, involved, reason, message);
    }
  }

  async #create(key: string, involved: Involved, reason: string, message: string): Promise<void> {
    const { namespace, name } = involved;
    const now = new Date().toISOString();
    const event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: `${name.slice(0, 200)}.${randomBytes(8).toString("hex")}`, namespace },
      involvedObject: { apiVersion: "argoproj.io/v1alpha1", ...involved },
      type: "Warning",
      reason,
      message: message.slice(0, messageLength),
      source: { component: this.#component },
      reportingComponent: this.#component,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    };
    const told = { name: event.metadata.name, at: performance.now(), count: 1, counting: false };
    remember(this.#told, key, told, remembered);
    // Who may not write events has the log.
    await this.#cluster
      .create(events, event, { namespace, signal: AbortSignal.timeout(10_000) })
      .catch(() => this.#told.delete(key));
  }

  /** What comes often is written together. */
  #count(key: string, namespace: string): void {
    const told = this.#told.get(key);
    if (!told) return;
    told.count += 1;
    if (told.counting) return;
    told.counting = true;
    const write = (): void => {
      told.counting = false;
      const patch = { count: told.count, lastTimestamp: new Date().toISOString() };
      this.#cluster
        .patch(events, told.name, patch, { namespace, signal: AbortSignal.timeout(10_000) })
        .catch(() => this.#told.delete(key));
    };
    setTimeout(write, countMs).unref();
  }

  #may(namespace: string): boolean {
    const now = performance.now();
    const left = this.#left.get(namespace) ?? { tokens: burst, at: now };
    left.tokens = Math.min(burst, left.tokens + (now - left.at) / 1000);
    left.at = now;
    remember(this.#left, namespace, left, remembered);
    if (left.tokens < 1) return false;
    left.tokens -= 1;
    return true;
  }
}

interface Involved {
  readonly kind: "Workflow" | "WorkflowTaskSet";
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

function workflowOf({ namespace, name, uid }: WorkflowIdentity): Involved {
  return { kind: "Workflow", namespace, name, uid };
}

function objectOf({ namespace, name, uid }: TaskSetView): Involved {
  return { kind: "WorkflowTaskSet", namespace, name, uid };
}

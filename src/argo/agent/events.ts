import { randomBytes } from "node:crypto";
import type { Cluster, Kind } from "../../kubernetes/mod.ts";
import type { NodeResult, Step } from "../model.ts";

const events: Kind = { group: "", version: "v1", plural: "events", namespaced: true };
/** Events of one namespace: so many at once, and one more each second; a workflow of thousands of failures tells the first. */
const burst = 20;
const messageLength = 1000;
/** Namespaces that are counted. */
const counted = 1000;

/** Tells what became of steps where people look for it: as events of their workflow. Never throws, and drops what is too much. */
export class StepEvents {
  readonly #cluster: Cluster;
  readonly #component: string;
  readonly #left = new Map<string, { tokens: number; at: number }>();

  constructor(cluster: Cluster, component: string) {
    this.#cluster = cluster;
    this.#component = component;
  }

  /** A step that did not succeed. */
  failed({ workflow, nodeId }: Step, { phase, message = "" }: NodeResult): void {
    const { namespace, name, uid } = workflow;
    if (!this.#may(namespace)) return;
    const now = new Date().toISOString();
    const event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: `${name.slice(0, 200)}.${randomBytes(8).toString("hex")}`, namespace },
      involvedObject: {
        apiVersion: "argoproj.io/v1alpha1",
        kind: "Workflow",
        namespace,
        name,
        uid,
      },
      type: "Warning",
      reason: `WasmStep${phase}`,
      message: `${nodeId}: ${message}`.slice(0, messageLength),
      source: { component: this.#component },
      reportingComponent: this.#component,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    };
    this.#cluster
      .create(events, event, { namespace, signal: AbortSignal.timeout(10_000) })
      .catch(() => undefined);
  }

  #may(namespace: string): boolean {
    const now = performance.now();
    const left = this.#left.get(namespace) ?? { tokens: burst, at: now };
    left.tokens = Math.min(burst, left.tokens + (now - left.at) / 1000);
    left.at = now;
    this.#left.delete(namespace);
    this.#left.set(namespace, left);
    const [oldest] = this.#left.keys();
    if (this.#left.size > counted && oldest !== undefined) this.#left.delete(oldest);
    if (left.tokens < 1) return false;
    left.tokens -= 1;
    return true;
  }
}

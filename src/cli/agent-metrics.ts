import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";

/** Seconds; a step takes milliseconds as a rule. */
const buckets = [
  0.001, 0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.035, 0.05, 0.1, 0.25, 0.5, 1,
  2.5, 5, 10, 30, 60, 300,
];

/** What an agent did, for Prometheus. */
export class AgentMetrics {
  readonly #registry = new Registry();
  readonly #steps: Counter<"phase">;
  readonly #seconds: Histogram<"part">;
  readonly #counts: Counter<"what">;
  readonly #now: Gauge<"state">;

  constructor() {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#steps = new Counter({
      name: "atalanta_steps_total",
      help: "Steps that ended, by phase",
      labelNames: ["phase"],
      registers,
    });
    this.#seconds = new Histogram({
      name: "atalanta_step_seconds",
      help: "Time of steps by part: queue, run, patch, total from when it was seen until the API server had its result, and from then until the engine took it",
      labelNames: ["part"],
      buckets,
      registers,
    });
    this.#counts = new Counter({
      name: "atalanta_agent_events_total",
      help: "Steps that were called off, conflicts with other writers, and troubles with the API server",
      labelNames: ["what"],
      registers,
    });
    this.#now = new Gauge({
      name: "atalanta_steps",
      help: "Steps that wait or run now",
      labelNames: ["state"],
      registers,
    });
  }

  ended(phase: string, times: { readonly waitedMs: number; readonly ranMs: number }): void {
    this.#steps.inc({ phase });
    this.#seconds.observe({ part: "queue" }, times.waitedMs / 1000);
    this.#seconds.observe({ part: "run" }, times.ranMs / 1000);
  }

  written(times: { readonly totalMs: number; readonly patchMs: number }): void {
    this.#seconds.observe({ part: "patch" }, times.patchMs / 1000);
    this.#seconds.observe({ part: "total" }, times.totalMs / 1000);
  }

  taken(times: { readonly afterMs: number }): void {
    this.#seconds.observe({ part: "taken" }, times.afterMs / 1000);
  }

  cancelled(): void {
    this.#counts.inc({ what: "cancelled" });
  }

  conflict(): void {
    this.#counts.inc({ what: "conflict" });
  }

  trouble(): void {
    this.#counts.inc({ what: "trouble" });
  }

  /** In Prometheus' text format. */
  text(now: { readonly waiting: number; readonly running: number }): Promise<string> {
    this.#now.set({ state: "waiting" }, now.waiting);
    this.#now.set({ state: "running" }, now.running);
    return this.#registry.metrics();
  }
}

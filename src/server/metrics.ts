import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Attempt, CallDispatcher } from "../dispatch/mod.ts";

const seconds = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];
/** Names of targets that are told apart; the rest is counted together. */
const mostTargets = 500;

/** What Prometheus reads of calls. Targets that are images are one, or anybody could make as many as he likes. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #targets = new Set<string>();
  readonly #calls: Counter<"target" | "function" | "end">;
  readonly #cold: Counter<"target">;
  readonly #retries: Counter<"target">;
  readonly #hedges: Counter<"target">;
  readonly #queue: Histogram<"target">;
  readonly #run: Histogram<"target">;
  readonly #load: Histogram<"target">;

  constructor(dispatcher: () => Pick<CallDispatcher, "load">) {
    const registers = [this.#registry];
    const histogram = (name: string, help: string): Histogram<"target"> =>
      new Histogram({ name, help, labelNames: ["target"], buckets: seconds, registers });
    const counter = (name: string, help: string): Counter<"target"> =>
      new Counter({ name, help, labelNames: ["target"], registers });
    this.#calls = new Counter({
      name: "atalanta_function_attempts_total",
      help: "Attempts of calls, by how they ended",
      labelNames: ["target", "function", "end"],
      registers,
    });
    this.#cold = counter(
      "atalanta_function_cold_starts_total",
      "Calls that waited for their module to be loaded",
    );
    this.#retries = counter("atalanta_function_retries_total", "Attempts after the first");
    this.#hedges = counter(
      "atalanta_function_hedges_total",
      "Slow calls that a second runner was asked, too",
    );
    this.#queue = histogram("atalanta_function_queue_seconds", "Time until a call had its turn");
    this.#run = histogram("atalanta_function_run_seconds", "Time that the guest ran");
    this.#load = histogram(
      "atalanta_function_load_seconds",
      "Time to load a module, of cold starts",
    );
    const gauge = (name: string, help: string, key: "waiting" | "running"): void => {
      const labelled = (target: string): string => this.#label(target);
      const measured = new Gauge({
        name,
        help,
        labelNames: ["target"],
        registers: [],
        collect() {
          this.reset();
          for (const load of dispatcher().load())
            this.inc({ target: labelled(load.target) }, load[key]);
        },
      });
      this.#registry.registerMetric(measured);
    };
    gauge("atalanta_function_waiting", "Calls that wait for their turn", "waiting");
    gauge("atalanta_function_running", "Calls that run", "running");
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  readonly count = (attempt: Attempt): void => {
    const target = this.#label(attempt.target);
    this.#calls.inc({
      target,
      function: target === other ? other : attempt.function,
      end: attempt.end,
    });
    if (attempt.cold) {
      this.#cold.inc({ target });
      this.#load.observe({ target }, attempt.loadMs / 1000);
    }
    if (attempt.attempt > 1) this.#retries.inc({ target });
    this.#queue.observe({ target }, attempt.queueMs / 1000);
    this.#run.observe({ target }, attempt.runMs / 1000);
  };

  readonly hedged = (target: string): void => {
    this.#hedges.inc({ target: this.#label(target) });
  };

  #label(target: string): string {
    if (!/^[a-z0-9-]+\/[a-z0-9-]+$/.test(target)) return other;
    if (this.#targets.size < mostTargets) this.#targets.add(target);
    return this.#targets.has(target) ? target : other;
  }
}

const other = "other";

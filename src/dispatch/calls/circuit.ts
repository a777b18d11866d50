import { Failure } from "../../errors/mod.ts";
import type { Outcome } from "../../functions/mod.ts";

/** Ends of calls that are looked at, and how many of them may be failures. */
const window = 20;
const mostFailures = 10;
const openMs = 5000;

/** Failures that say the function is not well, wherever it runs. What it throws is its answer, and what is wrong with a call is its caller's. */
const unwell: ReadonlySet<string> = new Set([
  "limit-time",
  "limit-cpu-time",
  "limit-memory",
  "runner-lost",
  "runner-start",
  "module-not-found",
  "image-not-found",
  "registry-unavailable",
  "call-poison",
]);

/**
 * Keeps calls from a function that fails again and again: after ten failures among the last twenty ends it is not called for five seconds, then
 * one call tries.
 */
export class Circuit {
  readonly #ends: boolean[] = [];
  #openUntil = 0;
  #trying = false;

  /** Throws `circuit-open`, with the seconds to wait. */
  check(target: string): void {
    if (this.#openUntil === 0) return;
    const leftMs = this.#openUntil - performance.now();
    if (leftMs <= 0 && !this.#trying) {
      this.#trying = true;
      return;
    }
    const seconds = Math.max(1, Math.ceil(leftMs / 1000));
    throw new Failure(
      "circuit-open",
      `${target} has failed ${mostFailures} times of its last ${window} calls`,
      {
        hint: `It is called again in ${seconds} s; look at the failures before.`,
      },
    );
  }

  ended(outcome: Outcome): void {
    const failed = outcome.kind === "failed" && unwell.has(outcome.failure.code);
    if (this.#trying) {
      this.#trying = false;
      this.#openUntil = failed ? performance.now() + openMs : 0;
      this.#ends.length = 0;
      return;
    }
    this.#ends.push(failed);
    if (this.#ends.length > window) this.#ends.shift();
    if (failed && this.#ends.filter(Boolean).length >= mostFailures) {
      this.#openUntil = performance.now() + openMs;
    }
  }

  get isOpen(): boolean {
    return this.#openUntil > performance.now();
  }
}

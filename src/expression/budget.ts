import { Fault } from "./failure.ts";

/**
 * What one text may cost. An expression is written by a user, but the values in it come from guests, so each loop over them
 * and each string made of them counts.
 */
export const ceilings: {
  readonly textLength: number;
  readonly nodes: number;
  readonly depth: number;
  readonly valueDepth: number;
  readonly steps: number;
  readonly bytes: number;
} = {
  /** UTF-16 units of one expression. */
  textLength: 65_536,
  /** Nodes of its syntax tree, as many as expr-lang allows. */
  nodes: 10_000,
  /** How deep the syntax tree may be; the evaluator recurses over it. */
  depth: 400,
  /** How deep a JSON value may be. */
  valueDepth: 400,
  /** Nodes evaluated and elements visited; about half a second. */
  steps: 1_000_000,
  /** UTF-16 units of all the strings and elements that an evaluation makes, about 32 MiB. */
  bytes: 16 * 1024 * 1024,
};

/** Counts what an evaluation costs. */
export class Budget {
  #steps = ceilings.steps;
  #bytes = ceilings.bytes;

  /** One more step, or as many as elements are about to be visited. */
  step(count = 1): void {
    this.#steps -= count;
    if (this.#steps < 0) {
      throw new Fault(
        "ceiling",
        `the evaluation takes more than ${ceilings.steps} steps`,
        "Do less in one expression, or do it in a step of the workflow.",
      );
    }
  }

  /** Called before a string or array of this size is made. */
  allocate(size: number): void {
    this.#bytes -= size;
    if (!(this.#bytes >= 0)) {
      throw new Fault(
        "ceiling",
        `the evaluation makes more than ${ceilings.bytes} characters`,
        "Do less in one expression, or do it in a step of the workflow.",
      );
    }
  }
}

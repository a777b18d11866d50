import type { FailureRecord } from "../../errors/mod.ts";
import type { StoredArtifact, TaskResult } from "../../task/mod.ts";
import type { Frame } from "./frame.ts";
import type { Used } from "./templates.ts";
import type { NodeInputs, NodeOutputs, NodeType, Phase, RunNode } from "./types.ts";

/** What only some nodes have, so that the others do not pay for it. */
interface Detail {
  stderrTail?: string | undefined;
  stack?: readonly string[] | undefined;
  failure?: FailureRecord | undefined;
  limitsReached?: readonly FailureRecord[] | undefined;
  memoized?: boolean | undefined;
  waitingFor?: readonly string[] | undefined;
}

const none: readonly string[] = [];

/**
 * A node as the planner holds it. A run may have a hundred thousand, so what can be told from the others (display name, ids) is not
 * kept twice, and everything that only a node in work needs hangs on its frame, which goes when the node is done.
 */
export class PlanNode implements RunNode {
  readonly id: string;
  readonly name: string;
  type: NodeType;
  used: Used | undefined;
  readonly bound: PlanNode | undefined;
  phase: Phase = "Pending";
  message: string | undefined = undefined;
  startedAt: number;
  outputs: NodeOutputs | undefined = undefined;
  log: StoredArtifact | undefined = undefined;
  timings: TaskResult["timings"] | undefined = undefined;
  usage: TaskResult["usage"] = undefined;
  imageDigest: TaskResult["imageDigest"] = undefined;
  frame: Frame | undefined = undefined;
  /** Whether it belongs to an exit handler, which a stop spares. */
  readonly exit: boolean;
  /** Whether a hook made it: it is no step, task or attempt of its parent. */
  readonly hooked: boolean;
  /** Milliseconds from `startedAt`: a small number, where a second time would be one more object. */
  #took: number | undefined = undefined;
  /** Values of the input parameters in the order of the template, which has their names. */
  #values: readonly string[] | undefined = undefined;
  #artifacts: NodeInputs["artifacts"] | undefined = undefined;
  #children: string[] | undefined = undefined;
  #detail: Detail | undefined = undefined;

  constructor(
    id: string,
    name: string,
    type: NodeType,
    options: {
      readonly used: Used | undefined;
      readonly bound: PlanNode | undefined;
      readonly at: number;
      readonly exit: boolean;
      readonly hooked: boolean;
    },
  ) {
    this.id = id;
    this.name = name;
    this.type = type;
    this.used = options.used;
    this.bound = options.bound;
    this.startedAt = options.at;
    this.exit = options.exit;
    this.hooked = options.hooked;
  }

  get displayName(): string {
    if (!this.bound) return this.name;
    return this.name.slice(this.bound.name.length).replace(/^(\[\d+\])?\./u, "");
  }

  get template(): string | undefined {
    return this.type === "StepGroup" ? undefined : this.used?.key;
  }

  get boundary(): string | undefined {
    return this.bound?.id;
  }

  get children(): readonly string[] {
    return this.#children ?? none;
  }

  get inputs(): NodeInputs | undefined {
    const values = this.#values;
    if (!values) return undefined;
    const declared = this.used?.template.inputs?.parameters ?? [];
    return {
      parameters: values.map((value, index) => ({ name: declared[index]?.name ?? "", value })),
      artifacts: this.#artifacts ?? [],
    };
  }

  /** The inputs that were made for its template. */
  set inputs(inputs: NodeInputs | undefined) {
    this.#values = inputs?.parameters.map(({ value }) => value);
    if (this.#values?.length === 0) this.#values = none;
    this.#artifacts = inputs?.artifacts;
  }

  get stderrTail(): string | undefined {
    return this.#detail?.stderrTail;
  }

  get stack(): readonly string[] | undefined {
    return this.#detail?.stack;
  }

  get failure(): FailureRecord | undefined {
    return this.#detail?.failure;
  }

  get limitsReached(): readonly FailureRecord[] | undefined {
    return this.#detail?.limitsReached;
  }

  get memoized(): boolean | undefined {
    return this.#detail?.memoized;
  }

  get waitingFor(): readonly string[] | undefined {
    return this.#detail?.waitingFor;
  }

  get finishedAt(): number | undefined {
    return this.#took === undefined ? undefined : this.startedAt + this.#took;
  }

  /** Whether it has come to its end, whatever way. */
  get ended(): boolean {
    return this.#took !== undefined;
  }

  finish(at: number): void {
    this.#took = at - this.startedAt;
  }

  get failed(): boolean {
    return this.phase === "Failed" || this.phase === "Error";
  }

  add(child: string): void {
    (this.#children ??= []).push(child);
  }

  /** Forgets children that are taken out of the tree. */
  keep(stays: (child: string) => boolean): void {
    this.#children = this.#children?.filter((child) => stays(child));
  }

  note(detail: Detail): void {
    this.#detail = this.#detail ? { ...this.#detail, ...detail } : detail;
  }

  /** Back to the state of a node that has just been made. */
  reset(at: number): void {
    this.phase = "Pending";
    this.message = undefined;
    this.startedAt = at;
    this.#took = undefined;
    this.outputs = undefined;
    this.log = undefined;
    this.timings = undefined;
    this.usage = undefined;
    this.imageDigest = undefined;
    this.frame = undefined;
    this.#detail = undefined;
  }
}

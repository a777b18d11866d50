import { createHash } from "node:crypto";
import { textOf } from "../kubernetes/mod.ts";
import type { Span, Tracing } from "../telemetry/mod.ts";
import type { NodeResult, Step } from "./model.ts";
import { remember } from "./remember.ts";

/** Argo's controller writes its own there, when it is traced. */
export const engineTrace = "workflows.argoproj.io/trace-id";
/** For who starts workflows and wants to see them in a trace of his own. */
const parentAnnotation = "atalanta.dev/traceparent";
const messageLength = 1000;
/** Steps whose results are on their way. */
const remembered = 2000;

/** Spans of steps: all steps of a workflow are in one trace, whichever replica ran them. */
export class StepTraces {
  readonly #tracing: Tracing;
  readonly #written = new Map<string, Span>();

  constructor(tracing: Tracing) {
    this.#tracing = tracing;
  }

  /** A step begins, of a workflow as far as it is known. */
  begin(
    { workflow, nodeId, template }: Step,
    {
      annotations,
      startMs,
    }: { readonly annotations: Readonly<Record<string, unknown>>; readonly startMs: number },
  ): Span {
    const name = textOf(template["name"]) ?? "step";
    const span = this.#tracing.start(name, {
      startMs,
      traceparent: textOf(annotations[parentAnnotation]),
      traceId:
        textOf(annotations[engineTrace]) ??
        createHash("sha256").update(workflow.uid).digest("hex").slice(0, 32),
      attributes: {
        "k8s.namespace.name": workflow.namespace,
        "argo.workflow.name": workflow.name,
        "argo.workflow.uid": workflow.uid,
        "argo.node.id": nodeId,
        "argo.template.name": name,
      },
    });
    remember(this.#written, keyOf(workflow.uid, nodeId), span, remembered);
    return span;
  }

  /** What is only known beside the step: how long it waited for its turn. */
  queued({ workflow, nodeId }: Step, waitedMs: number, ranMs: number): void {
    const span = this.#written.get(keyOf(workflow.uid, nodeId));
    const endMs = clock() - ranMs;
    span?.child("queue", { startMs: endMs - waitedMs }).end({ endMs });
  }

  /** Its result is with the API server. */
  written({ workflow, nodeId }: Step, patchMs: number): void {
    const key = keyOf(workflow.uid, nodeId);
    this.#written
      .get(key)
      ?.child("write result", { startMs: clock() - patchMs })
      .end();
    this.#written.delete(key);
  }
}

/** Milliseconds since 1970, as fine as the machine has them. */
export function clock(): number {
  return performance.timeOrigin + performance.now();
}

/** How a step ended, in a span. */
export function ended(span: Span, { phase, message, outputs }: NodeResult): void {
  span.end({
    attributes: {
      "argo.node.phase": phase,
      ...(outputs?.exitCode === undefined ? {} : { "process.exit.code": Number(outputs.exitCode) }),
    },
    error: phase === "Succeeded" ? undefined : (message ?? phase).slice(0, messageLength),
  });
}

function keyOf(uid: string, nodeId: string): string {
  return `${uid}/${nodeId}`;
}

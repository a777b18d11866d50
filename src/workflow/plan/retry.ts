import type { RetryStrategy } from "../../document/mod.ts";
import { Failure, toFailure } from "../../errors/mod.ts";
import { parseDurationMs } from "../../limits/mod.ts";
import { duration } from "./format.ts";
import { frame } from "./frame.ts";
import { joined } from "./name.ts";
import { lastRetry, TemplateNames, type Names } from "./names.ts";
import type { PlanNode } from "./node.ts";
import { enter, leave, letIn, type Door } from "./parallelism.ts";
import type { Plan } from "./plan.ts";
import { typeOf, type Used } from "./templates.ts";
import { fill, holds } from "./text.ts";

/** Attempts of one node, whatever its strategy says. */
const attemptsCeiling = 10_000;

export interface RetryBody {
  readonly kind: "retry";
  readonly strategy: RetryStrategy;
  readonly door: Door | undefined;
  attempts: number;
  firstAt: number;
  last: PlanNode | undefined;
  /** Work of the whole run that had begun when the last attempt began. */
  begun: number;
  /** Whether it waits for its next attempt. */
  waits: boolean;
}

/** A template's own strategy, else the one of the workflow. */
export function retryStrategyOf(plan: Plan, used: Used): RetryStrategy | undefined {
  return used.template.retryStrategy ?? plan.begin.bundle.workflow.spec.retryStrategy;
}

export function beginRetries(plan: Plan, node: PlanNode): void {
  const { used, frame: own } = node;
  const written = used && retryStrategyOf(plan, used);
  if (!written || !own) return;
  const { expression, ...rest } = written;
  own.body = {
    kind: "retry",
    strategy: {
      ...fill(plan, rest, own.names, `${node.name}/retry`),
      ...(expression === undefined ? {} : { expression }),
    },
    door: own.door,
    attempts: 0,
    firstAt: plan.now,
    last: undefined,
    begun: 0,
    waits: false,
  };
  plan.run(node);
  attempt(plan, node, own.body);
}

function attempt(plan: Plan, node: PlanNode, body: RetryBody): void {
  const { used, frame: own } = node;
  if (!used || !own || !(own.names instanceof TemplateNames)) return;
  const retries = body.attempts;
  body.attempts += 1;
  body.waits = false;
  body.begun = plan.begun;
  if (node.message !== undefined) plan.tell(node, undefined);
  const name = joined(node.name, "(", retries, ")");
  const names = own.names.attempt({ name, id: plan.id(name) }, { retries, last: body.last });
  const { depth } = own;
  const child = plan.make({
    name,
    type: typeOf(used),
    used,
    bound: node.bound,
    exit: node.exit,
    hooked: false,
    frame: frame({ into: node, site: undefined, from: own.from, names, depth }),
  });
  child.inputs = node.inputs;
  if (retries === 0) body.firstAt = plan.now;
  try {
    plan.rules.enter[used.kind](plan, child);
  } catch (thrown) {
    plan.fail(child, toFailure(thrown));
  }
}

/** An attempt is done: success, another one, or the end. */
export function attemptDone(plan: Plan, node: PlanNode, child: PlanNode): void {
  const body = node.frame?.body;
  if (body?.kind !== "retry" || node.ended) return;
  body.last = child;
  node.outputs = child.outputs;
  if (!child.failed) {
    plan.end(node, "Succeeded");
    return;
  }
  try {
    const verdict = decide(plan, node, body, child);
    if ("message" in verdict) plan.end(node, child.phase, verdict.message);
    else if (verdict.waitMs > 0) wait(plan, node, body, verdict.waitMs);
    else attempt(plan, node, body);
  } catch (thrown) {
    plan.fail(node, toFailure(thrown));
  }
}

type Verdict = { readonly message: string | undefined } | { readonly waitMs: number };

function decide(plan: Plan, node: PlanNode, body: RetryBody, last: PlanNode): Verdict {
  const { strategy } = body;
  if (plan.stopped(node.exit)) return { message: `Stopped with strategy '${plan.shutdown}'` };
  if (!node.exit && plan.deadlineAt !== undefined && plan.now >= plan.deadlineAt) {
    return { message: lateMessage(plan.deadlineAt) };
  }
  // It would go wrong in the same way again, at once and up to the ceiling.
  const nothingBegun = body.begun === plan.begun;
  if (nothingBegun && (last.phase === "Error" || last.used?.kind !== "leaf")) {
    return { message: last.message };
  }
  const waitMs = backoff(plan, body, last);
  if (typeof waitMs === "string") return { message: waitMs };
  if (!isTriedAgain(strategy, last)) return { message: last.message };
  const limit = strategy.limit === undefined ? attemptsCeiling : whole(strategy.limit);
  if (body.attempts > Math.min(limit, attemptsCeiling)) return { message: "No more retries left" };
  if (strategy.expression !== undefined) {
    const names = retryNames(body, last, node.frame?.names);
    if (!holds(plan, strategy.expression, names, `${last.name}/retry`)) {
      return { message: "retryStrategy.expression evaluated to false" };
    }
  }
  return { waitMs };
}

/** How long to wait for the next attempt, or why there is none. */
function backoff(plan: Plan, body: RetryBody, last: PlanNode): number | string {
  const { backoff: asked } = body.strategy;
  if (!asked) return 0;
  const until =
    asked.maxDuration === undefined || asked.maxDuration === ""
      ? undefined
      : body.firstAt + parseDurationMs(String(asked.maxDuration));
  if (until !== undefined && plan.now > until) return "Max duration limit exceeded";
  if (asked.duration === undefined || asked.duration === "") {
    throw new Failure("workflow-invalid", "no base duration specified for retryStrategy", {
      hint: "Give backoff a duration.",
    });
  }
  let waitMs = parseDurationMs(String(asked.duration));
  const factor = asked.factor === undefined ? 0 : whole(asked.factor);
  if (factor > 0)
    waitMs = Math.min(waitMs * factor ** (body.attempts - 1), Number.MAX_SAFE_INTEGER);
  if (asked.cap !== undefined && asked.cap !== "") {
    waitMs = Math.min(waitMs, parseDurationMs(String(asked.cap)));
  }
  const again = (last.finishedAt ?? plan.now) + waitMs;
  if (until !== undefined && again > until) return "Backoff would exceed max duration limit";
  return Math.max(0, again - plan.now);
}

/** When attempts must have ended, of `backoff.maxDuration`. */
export function attemptsDeadline(node: PlanNode): number | undefined {
  const into = node.frame?.into;
  const body = into?.frame?.body;
  if (body?.kind !== "retry") return undefined;
  const longest = body.strategy.backoff?.maxDuration;
  return longest === undefined || longest === ""
    ? undefined
    : body.firstAt + parseDurationMs(String(longest));
}

function isTriedAgain(strategy: RetryStrategy, last: PlanNode): boolean {
  const policy = strategy.retryPolicy ?? (strategy.expression ? "Always" : "OnFailure");
  switch (policy) {
    case "Always":
      return true;
    case "OnFailure":
      return last.phase === "Failed";
    case "OnError":
      return last.phase === "Error";
    case "OnTransientError":
      return last.failure?.retryable === true || transient.test(last.message ?? "");
  }
}

/** What Argo takes for a passing trouble of the network. */
const transient =
  /unexpected error when reading response body|stream error when reading response body|Connection closed by foreign host|TLS handshake timeout|i\/o timeout|connection timed out|connection reset by peer|http2: client connection lost|http2: server sent GOAWAY|request did not complete within requested timeout|connect: connection refused|invalid connection/u;

function retryNames(body: RetryBody, last: PlanNode, around: Names | undefined): Names {
  return {
    get: (name) => {
      if (name === "retries") return String(body.attempts - 1);
      if (name.startsWith("lastRetry.")) return lastRetry(name.slice(10), last, "-1");
      return around?.get(name);
    },
    within: (name) =>
      name === "lastRetry"
        ? ["exitCode", "status", "duration", "message"]
        : (around?.within?.(name) ?? []),
    artifact: (name) => around?.artifact(name),
  };
}

function wait(plan: Plan, node: PlanNode, body: RetryBody, waitMs: number): void {
  body.waits = true;
  plan.tell(node, `Backoff for ${duration(waitMs)}`);
  // Who holds locks keeps its place: the one who got it could wait for these very locks.
  if (!node.frame?.locks) leave(plan, node);
  plan.timers.set(plan.now + waitMs, "retry", node);
}

/** Ends what waits for its next attempt. */
export function giveUp(plan: Plan, node: PlanNode, message: string): void {
  const body = node.frame?.body;
  if (body?.kind !== "retry" || !body.waits) return;
  plan.end(node, body.last?.phase ?? "Failed", message);
}

export function lateMessage(deadlineAt: number): string {
  return `retry exceeded workflow deadline ${goTime(deadlineAt)}`;
}

/** The time of the next attempt has come. */
export function tryAgain(plan: Plan, node: PlanNode): void {
  const body = node.frame?.body;
  if (body?.kind !== "retry" || !body.waits || node.ended) return;
  const { door } = body;
  if (!door || node.frame?.door) {
    attempt(plan, node, body);
    return;
  }
  let left = 1;
  const source = {
    get left() {
      return left;
    },
    open() {
      left = 0;
      if (node.ended) return;
      enter(node, door);
      attempt(plan, node, body);
    },
    abandon() {
      left = 0;
      plan.end(node, body.last?.phase ?? "Failed", body.last?.message);
    },
  };
  letIn(plan, door, source, true);
}

function whole(value: string | number | boolean): number {
  const number = Number(value);
  if (Number.isInteger(number) && String(value).trim() !== "") return number;
  throw new Failure("workflow-invalid", `"${value}" of retryStrategy is no whole number`);
}

function goTime(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} +0000 UTC`;
}

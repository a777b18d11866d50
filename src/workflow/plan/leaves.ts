import type { EnvironmentVariable, Template } from "../../document/mod.ts";
import { Failure, toFailure } from "../../errors/mod.ts";
import { parseDurationMs } from "../../limits/mod.ts";
import { archiveKind, packingOf } from "../../places/mod.ts";
import type { InputArtifact, TaskResult } from "../../task/mod.ts";
import { configMapValue } from "./configmaps.ts";
import { checked, valueOf } from "./inputs.ts";
import type { Names } from "./names.ts";
import type { PlanNode } from "./node.ts";
import { exportGlobals } from "./outputs.ts";
import { logStore, outputStore } from "./places.ts";
import type { Plan } from "./plan.ts";
import { attemptsDeadline } from "./retry.ts";
import { fill } from "./text.ts";
import type { NodeOutputs, RunEvent, Work } from "./types.ts";

export interface LeafBody {
  readonly kind: "leaf";
  /** Taking up in which its work began. */
  begun: number | undefined;
}

/** A leaf's `timeout` counts from when there is a node, whatever that waits for. */
export function watchTimeout(plan: Plan, node: PlanNode): void {
  const { frame, used } = node;
  const timeout = used?.template.timeout;
  if (!frame || timeout === undefined) return;
  const length = fill(plan, timeout, frame.names, `${node.name}/timeout`);
  setDeadline(plan, node, node.startedAt + parseDurationMs(length), "timeout");
}

/** A leaf has been let in: it starts when the run has room for one more. */
export function enterLeaf(plan: Plan, node: PlanNode): void {
  if (!node.frame) return;
  const body: LeafBody = { kind: "leaf", begun: undefined };
  node.frame.body = body;
  watchTimeout(plan, node);
  plan.leaves.ask(node, (leaf) => startLeaf(plan, leaf));
}

/** Hands out the work of a leaf. */
export function startLeaf(plan: Plan, node: PlanNode): void {
  const { frame, used } = node;
  if (node.ended || !used || frame?.body?.kind !== "leaf") return;
  const { body } = frame;
  if (plan.stopped(node.exit)) {
    plan.end(node, "Failed", stopMessage(plan, node));
    return;
  }
  if (!node.exit && plan.deadlineAt !== undefined && plan.now >= plan.deadlineAt) {
    plan.end(node, "Failed", "Step exceeded its deadline");
    return;
  }
  try {
    const { activeDeadlineSeconds } = used.template;
    if (activeDeadlineSeconds !== undefined) {
      const text = fill(plan, String(activeDeadlineSeconds), frame.names, `${node.name}/deadline`);
      const at = plan.now + Number(text) * 1000;
      if (!(at > plan.now)) {
        throw new Failure("workflow-invalid", `activeDeadlineSeconds is "${text}"`, {
          hint: "Write a number of seconds above zero.",
        });
      }
      setDeadline(plan, node, at, podDeadline);
    }
    const lastAt = attemptsDeadline(node);
    if (lastAt !== undefined) setDeadline(plan, node, lastAt, podDeadline);
    const work = workOf(plan, node, used.template, frame.names);
    body.begun = plan.attempt;
    plan.begun += 1;
    plan.effects.push({ type: "start", work });
    plan.run(node);
  } catch (thrown) {
    plan.fail(node, toFailure(thrown));
  }
}

const podDeadline = "Pod was active on the node longer than the specified deadline";

/** What a stop says of a leaf; Argo's two kinds say it differently. */
export function stopMessage(plan: Plan, node: PlanNode): string {
  return node.type === "Pod"
    ? `workflow shutdown with strategy:  ${plan.shutdown}`
    : `Stopped with strategy '${plan.shutdown}'`;
}

function setDeadline(plan: Plan, node: PlanNode, at: number, message: string): void {
  const { frame } = node;
  if (!frame || (frame.deadline && frame.deadline.at <= at)) return;
  frame.deadline = { at, message };
  plan.timers.set(at, "deadline", node);
}

/** A leaf whose time is over. */
export function leafDeadline(plan: Plan, node: PlanNode): void {
  const deadline = node.frame?.deadline;
  if (!node.ended && deadline && deadline.at <= plan.now) stopLeaf(plan, node, deadline.message);
}

/** Ends a leaf from this side: its work, if it began, is called off. */
export function stopLeaf(plan: Plan, node: PlanNode, message: string): void {
  const body = node.frame?.body;
  if (body?.kind === "leaf" && body.begun !== undefined && plan.reported !== node.id) {
    plan.effects.push({ type: "cancel", node: node.id, reason: message });
  }
  plan.end(node, "Failed", message);
}

function workOf(plan: Plan, node: PlanNode, template: Template, names: Names): Work {
  const seed = `${node.name}/program`;
  const wasm = template.wasm ?? template.plugin?.wasm;
  const written = wasm ?? template.script ?? template.container;
  if (!written) {
    throw new Failure("workflow-invalid", `Template '${template.name}' missing specification`, {
      hint: "Write wasm, container, script, steps, dag or suspend.",
    });
  }
  const { env, ...rest } = fill(plan, written, names, seed);
  const program = env
    ? { ...rest, env: env.map((item) => environment(plan, template, item)) }
    : rest;
  const deadlines = [node.frame?.deadline?.at, node.exit ? undefined : plan.deadlineAt].filter(
    (at) => at !== undefined,
  );
  return {
    node: node.id,
    nodeName: node.name,
    attempt: plan.attempt,
    program,
    kind: wasm ? "wasm" : "container",
    inputs: (template.inputs?.artifacts ?? []).map((item): InputArtifact => {
      const source = node.inputs?.artifacts.find((given) => given.name === item.name)?.artifact;
      return {
        name: item.name,
        path: fill(plan, item.path ?? "", names, seed),
        ...(source ? { source } : {}),
        ...(item.mode === undefined ? {} : { mode: item.mode }),
        ...(item.recurseMode === undefined ? {} : { recurseMode: item.recurseMode }),
        ...(item.archive ? { archive: archiveKind(item.archive) } : {}),
        ...(item.optional === undefined ? {} : { optional: item.optional }),
      };
    }),
    outputs: outputsOf(plan, node, template, names),
    ...(deadlines.length === 0 ? {} : { deadlineAt: Math.min(...deadlines) }),
  };
}

function outputsOf(plan: Plan, node: PlanNode, template: Template, names: Names): Work["outputs"] {
  const seed = `${node.name}/outputs`;
  const log = logStore(plan, template, names, seed);
  return {
    parameters: (template.outputs?.parameters ?? []).flatMap(({ name, valueFrom }) => {
      if (valueFrom?.path === undefined) return [];
      const path = fill(plan, valueFrom.path, names, seed);
      const otherwise =
        valueFrom.default === undefined
          ? {}
          : { default: fill(plan, String(valueFrom.default), names, seed) };
      return [{ name, path, ...otherwise }];
    }),
    artifacts: (template.outputs?.artifacts ?? []).map((item) => ({
      name: item.name,
      path: fill(plan, item.path ?? "", names, seed),
      optional: item.optional ?? false,
      ...outputStore(plan, item, template, names, seed),
      ...(item.archive ? { archive: packingOf(item.archive) } : {}),
      ...(item.mode === undefined ? {} : { mode: item.mode }),
    })),
    ...(log ? { log } : {}),
    result: wantsResult(node),
  };
}

/** An attempt is asked for what the node that is tried again is asked for; what is remembered is remembered whole. */
function wantsResult(node: PlanNode): boolean {
  const { frame, used } = node;
  const into = frame?.into;
  const site = frame?.site ?? (into?.type === "Retry" ? into.frame?.site : undefined);
  return site === undefined || site.result || used?.template.memoize !== undefined;
}

function environment(
  plan: Plan,
  template: Template,
  variable: EnvironmentVariable,
): EnvironmentVariable {
  const { name, value, valueFrom } = variable;
  // A secret stays a reference: nothing of it is ever part of a run's state.
  if (valueFrom?.secretKeyRef) return { name, valueFrom: { secretKeyRef: valueFrom.secretKeyRef } };
  const reference = valueFrom?.configMapKeyRef;
  if (!reference) return { name, value: String(value ?? "") };
  const found = configMapValue(plan, reference);
  if (found === undefined && !reference.optional) {
    throw new Failure(
      "workflow-invalid",
      `The variable ${name} of template "${template.name}" needs the key "${reference.key}" of the ConfigMap "${reference.name}"`,
      { hint: "Give the file of the ConfigMap beside the workflow." },
    );
  }
  return { name, value: found ?? "" };
}

/** The work of a leaf ended. What comes after the node has ended changes nothing. */
export function leafEnded(plan: Plan, event: Extract<RunEvent, { readonly type: "ended" }>): void {
  const node = plan.nodes.get(event.node);
  const body = node?.frame?.body;
  if (!node || node.ended || body?.kind !== "leaf" || body.begun !== event.attempt) return;
  const { result } = event;
  node.startedAt = event.startedAt;
  node.log = result.log;
  node.timings = result.timings;
  node.usage = result.usage;
  node.imageDigest = result.imageDigest;
  const { stderrTail, stack, failure, limitsReached } = result;
  if (stderrTail !== undefined || stack || failure || limitsReached) {
    node.note({ stderrTail, stack, failure, limitsReached });
  }
  try {
    node.outputs = outputsFrom(plan, node, result);
    exportGlobals(plan, node);
  } catch (thrown) {
    plan.fail(node, toFailure(thrown));
    return;
  }
  plan.end(node, result.phase, result.message);
}

const noParameters: NodeOutputs["parameters"] = [];
const noArtifacts: NodeOutputs["artifacts"] = [];

function outputsFrom(plan: Plan, node: PlanNode, result: TaskResult): NodeOutputs {
  const { outputs, exitCode } = result;
  const declared = node.used?.template.outputs?.parameters ?? [];
  const parameters = outputs.parameters.length === 0 ? noParameters : outputs.parameters;
  const artifacts: NodeOutputs["artifacts"] =
    outputs.artifacts.length === 0
      ? noArtifacts
      : outputs.artifacts.map(({ name, artifact, copy }) => ({
          name,
          artifact: copy ? { kind: "stored", artifact, copy } : { kind: "stored", artifact },
        }));
  // Literals, because objects put together from others are larger.
  const made: NodeOutputs =
    exitCode === undefined
      ? {
          ...(outputs.result === undefined ? {} : { result: outputs.result }),
          parameters,
          artifacts,
        }
      : outputs.result === undefined
        ? { exitCode, parameters, artifacts }
        : { result: outputs.result, exitCode, parameters, artifacts };
  for (const item of made.parameters) {
    const about = declared.find((known) => known.name === item.name);
    if (about) checked(about, item.value);
  }
  const computed = declared.filter((item) => item.valueFrom?.path === undefined);
  if (result.phase !== "Succeeded" || computed.length === 0) return made;
  const around = node.frame?.names;
  const names: Names = {
    get: (name) => {
      if (name === "outputs.result") return made.result;
      if (name === "outputs.exitCode") return made.exitCode;
      return around?.get(name);
    },
    artifact: (name) => around?.artifact(name),
  };
  const added = computed.map((item) => ({
    name: item.name,
    value: checked(item, valueOf(plan, item, names, `${node.name}/outputs`) ?? ""),
  }));
  return { ...made, parameters: [...made.parameters, ...added] };
}

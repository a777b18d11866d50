import type { Failure } from "../../errors/mod.ts";
import type { TaskResult } from "../../task/mod.ts";
import type { NodeOutputs, NodeResult, Template } from "../model.ts";
import { listOf, recordOf } from "../../kubernetes/mod.ts";
import type { StepPlaces } from "./places.ts";

const messageLength = 2048;
const shownFrames = 5;

/** What Argo's users see beside the phase. */
export function messageOf(result: TaskResult): string | undefined {
  const { phase, message, stack = [], stderrTail, failure } = result;
  if (phase === "Succeeded") return undefined;
  const parts = [message ?? phase];
  const [, ...callers] = stack.slice(0, shownFrames);
  if (callers.length > 0) parts.push(`called by ${callers.join(" < ")}`);
  const said = stderrTail?.trim().split("\n").at(-1);
  if (said) parts.push(`stderr: ${said}`);
  if (failure?.hint !== undefined) parts.push(failure.hint);
  return shortened(parts.join("; "), failure?.retryable ?? false);
}

/** A node that never came to run. */
export function failed(failure: Failure): NodeResult {
  const { message, hint, retryable } = failure;
  const said = hint === undefined ? message : `${message}. ${hint}`;
  return { phase: "Error", message: shortened(said, retryable) };
}

/** `retryPolicy: OnTransientError` looks for such words in the message. */
function shortened(text: string, retryable: boolean): string {
  const flat = text.length > messageLength ? `${text.slice(0, messageLength - 1)}…` : text;
  return retryable ? `${flat} (transient: i/o timeout)` : flat;
}

const placeKeys: ReadonlySet<string> = new Set([
  "s3",
  "gcs",
  "oss",
  "azure",
  "http",
  "artifactory",
]);

/** The template's outputs with what became of them; everything else that they say stays, such as their global names. */
export function outputsOf(
  template: Template,
  { outputs, exitCode }: TaskResult,
  places: StepPlaces,
): NodeOutputs {
  const written = recordOf(template["outputs"]);
  const values = new Map(outputs.parameters.map(({ name, value }) => [name, value]));
  const parameters = listOf(written["parameters"]).flatMap((item) => {
    const parameter = recordOf(item);
    const value = values.get(String(parameter["name"])) ?? parameter["value"];
    return typeof value === "string" ? [{ ...parameter, value }] : [];
  });
  const sent = new Map(outputs.artifacts.map(({ name, copy }) => [name, copy]));
  const artifacts = listOf(written["artifacts"]).flatMap((item) => {
    const artifact = recordOf(item);
    const copy = sent.get(String(artifact["name"]));
    if (!copy) return [];
    const said = Object.entries(artifact).filter(([key]) => !placeKeys.has(key));
    return [{ ...Object.fromEntries(said), ...places.told(copy.place) }];
  });
  return {
    ...(exitCode === undefined ? {} : { exitCode: String(exitCode) }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(artifacts.length === 0 ? {} : { artifacts }),
  };
}

/** The result of a node: of a loop's item as JSON, which is what Argo reads there. */
export function loopResult(result: string, node: string): string {
  return /\(\d+:[^]*\)(?:\(\d+\))?$/.test(node) ? JSON.stringify(result) : result;
}

import type { Arguments, Artifact, Parameter, Scalar, Template } from "../../document/mod.ts";
import { Failure } from "../../errors/mod.ts";
import { joinKey, keyOf, withKey, type Place } from "../../places/mod.ts";
import type { ArtifactSource } from "../../task/mod.ts";
import { configMapValue } from "./configmaps.ts";
import { markedArtifact, type Names } from "./names.ts";
import { placeOf } from "./places.ts";
import type { Plan } from "./plan.ts";
import type { Used } from "./templates.ts";
import { fill, outcome, plain, pureName } from "./text.ts";
import type { NodeInputs } from "./types.ts";

export interface Given {
  readonly arguments: Arguments | undefined;
  /** Names in reach of the arguments. */
  readonly from: Names;
  /** Names in reach of the template's own values. */
  readonly names: Names;
  readonly seed: string;
}

type Around = Pick<Template, "archiveLocation"> | undefined;

const noParameters: NodeInputs["parameters"] = [];
const noArtifacts: NodeInputs["artifacts"] = [];
const nothing: NodeInputs = { parameters: noParameters, artifacts: noArtifacts };

/**
 * Gives a template its inputs: the argument of the name, else the template's own value or default. As in Argo an `enum` binds what a user
 * gives, not what a step has made.
 */
export function inputsOf(plan: Plan, used: Used, given: Given): NodeInputs {
  const { inputs } = used.template;
  if (!inputs) return nothing;
  const parameters = inputs.parameters?.map((item) => ({
    name: item.name,
    value: parameter(plan, item, given),
  }));
  const artifacts = inputs.artifacts?.flatMap((item) => {
    const source = artifact(plan, item, used.template, given);
    return source ? [{ name: item.name, artifact: source }] : [];
  });
  return { parameters: parameters ?? noParameters, artifacts: artifacts ?? noArtifacts };
}

/** A value that the parameter's `enum` allows. */
export function checked(parameter: Parameter, value: string): string {
  if (!parameter.enum || parameter.enum.some((item) => String(item) === value)) return value;
  throw new Failure("invalid-argument", `The parameter "${parameter.name}" is "${value}"`, {
    hint: `It may be: ${parameter.enum.join(", ")}.`,
  });
}

function parameter(plan: Plan, input: Parameter, given: Given): string {
  const { from, names } = given;
  const seed = `${given.seed}/${input.name}`;
  const said = given.arguments?.parameters?.find((item) => item.name === input.name);
  const absent = said?.value !== undefined && isAbsent(String(said.value), from);
  if (said && !absent) {
    const value = valueOf(plan, said, from, seed);
    if (value !== undefined) return value;
  }
  const own = valueOf(plan, input, names, seed);
  if (own !== undefined) return own;
  throw new Failure(
    "workflow-invalid",
    absent
      ? `inputs.parameters.${input.name}: argument references an absent optional (skipped/omitted node output with no default)`
      : `inputs.parameters.${input.name} was not supplied`,
    { hint: `Give it as an argument, or give the input a default.` },
  );
}

/** Whether an argument is nothing but the output of a step that did not run, and that has no default. */
function isAbsent(text: string, names: Names): boolean {
  const name = pureName(text);
  return name !== undefined && names.get(name) === null;
}

/** What a parameter is worth where it stands; undefined when it does not say. */
export function valueOf(
  plan: Plan,
  parameter: Parameter,
  names: Names,
  seed: string,
): string | undefined {
  const { value, valueFrom } = parameter;
  if (value !== undefined) return text(plan, value, names, seed);
  if (valueFrom?.configMapKeyRef) {
    const reference = fill(plan, valueFrom.configMapKeyRef, names, seed);
    const found = configMapValue(plan, reference);
    if (found !== undefined) return found;
    if (valueFrom.default === undefined && parameter.default === undefined) {
      throw new Failure(
        "workflow-invalid",
        `unable to retrieve inputs.parameters.${parameter.name} from ConfigMap: ConfigMap '${reference.name}' does not have the key '${reference.key}'`,
        { hint: "Give the file of the ConfigMap beside the workflow." },
      );
    }
  }
  const source = valueFrom?.expression ?? valueFrom?.parameter;
  if (source !== undefined) {
    const made =
      valueFrom?.expression === undefined
        ? text(plan, asTag(source), names, seed)
        : plain(outcome(plan, source, names, seed));
    return made;
  }
  const otherwise = valueFrom?.default ?? parameter.default;
  return otherwise === undefined ? undefined : text(plan, otherwise, names, seed);
}

function text(plan: Plan, written: Scalar, names: Names, seed: string): string {
  const value = String(written);
  return value.includes("{{") ? fill(plan, value, names, seed) : value;
}

/** `valueFrom.parameter` and `from` may be written with and without braces. */
function asTag(written: string): string {
  return written.includes("{{") ? written : `{{${written}}}`;
}

function artifact(
  plan: Plan,
  input: Artifact,
  around: Around,
  given: Given,
): ArtifactSource | undefined {
  const seed = `${given.seed}/${input.name}`;
  const said = given.arguments?.artifacts?.find((item) => item.name === input.name);
  const source =
    (said && sourceOf(plan, said, given.from, seed, around)) ??
    sourceOf(plan, input, given.names, seed, around);
  if (source || input.optional) return source;
  throw new Failure("workflow-invalid", `inputs.artifacts.${input.name} was not supplied`, {
    hint: "Give it as an argument, or make the input optional.",
  });
}

/**
 * Where an artifact comes from; undefined when nothing is said, or what is named is missing and optional. A key belongs to the archive
 * location of the template `around`, if that has one.
 */
export function sourceOf(
  plan: Plan,
  artifact: Artifact,
  names: Names,
  seed: string,
  around?: Around,
): ArtifactSource | undefined {
  if (artifact.raw) return { kind: "raw", data: fill(plan, artifact.raw.data, names, seed) };
  if (artifact.from === undefined && artifact.fromExpression === undefined) {
    const said = placeOf(plan, artifact, around, names, seed);
    if (!said) return undefined;
    const source = "key" in said ? ({ kind: "key", ...said } as const) : outside(said.place);
    return inside(source, plan, artifact, names, seed);
  }
  const source = referred(plan, artifact, names, seed);
  if (source) return inside(source, plan, artifact, names, seed);
  if (artifact.optional) return undefined;
  throw new Failure(
    "workflow-invalid",
    `unable to resolve references: Unable to resolve: "${artifact.from ?? artifact.fromExpression}"`,
    { hint: "The step that gives it has not run, has failed, or has no such output." },
  );
}

function outside(place: Place): ArtifactSource {
  return { kind: "store", place };
}

function referred(
  plan: Plan,
  artifact: Artifact,
  names: Names,
  seed: string,
): ArtifactSource | null | undefined {
  if (artifact.fromExpression !== undefined) {
    const chosen = outcome(plan, artifact.fromExpression, names, seed);
    if (chosen === null) return null;
    const name = markedArtifact(chosen);
    if (name !== undefined) return names.artifact(name);
    throw new Failure(
      "workflow-invalid",
      `fromExpression of "${artifact.name}" gives no artifact: ${artifact.fromExpression}`,
    );
  }
  const from = artifact.from ?? "";
  const name = pureName(from.trim());
  return names.artifact(name ?? fill(plan, from, names, seed));
}

function inside(
  source: ArtifactSource,
  plan: Plan,
  artifact: Artifact,
  names: Names,
  seed: string,
): ArtifactSource {
  if (artifact.subPath === undefined) return source;
  const added = fill(plan, artifact.subPath, names, seed);
  if (source.kind === "raw") {
    throw new Failure(
      "workflow-invalid",
      `subPath "${added}" of "${artifact.name}" names raw data`,
      {
        hint: "subPath needs an artifact that is a folder.",
      },
    );
  }
  // For Argo it is more of the key, so what lies there is not looked into.
  const key = source.kind === "store" ? keyOf(source.place) : undefined;
  if (source.kind === "store" && key !== undefined)
    return outside(withKey(source.place, joinKey(key, added)));
  const subPath = source.subPath === undefined ? added : `${source.subPath}/${added}`;
  return { ...source, subPath };
}

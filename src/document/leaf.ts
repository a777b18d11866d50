import { Failure } from "../errors/mod.ts";
import { resolveLimits, type Limits } from "../limits/mod.ts";
import { reportDoubles, reportSize } from "./calls.ts";
import type { Found } from "./check.ts";
import type { Artifact, Parameter, Template, WasmMap } from "./model.ts";
import type { Origins } from "./shape.ts";
import type { Report, Spot } from "./source.ts";

/** Inputs and outputs have names of their own. */
export function checkUnique(
  template: Omit<Template, "name">,
  report: Report,
  origins: Origins,
): void {
  for (const side of ["inputs", "outputs"] as const) {
    reportDoubles(template[side]?.parameters ?? [], "parameter", report, origins);
    reportDoubles(template[side]?.artifacts ?? [], "artifact", report, origins);
  }
}

/** What a template says beside its type fits its type. */
export function checkLeaf(
  { template, label }: Pick<Found, "template" | "label">,
  report: Report,
  origins: Origins,
): void {
  const inner = (template.steps ?? template.dag) !== undefined;
  const type = template.steps ? "steps" : template.dag ? "dag" : "leaf";
  const part = (key: string): Spot => origins.part(template, key) ?? origins.spot(template);
  for (const key of ["timeout", "activeDeadlineSeconds"] as const) {
    if (inner && template[key] !== undefined) {
      report.problem(
        part(key),
        `A template of ${type} has no "${key}"`,
        "Give it to the templates that run something.",
      );
    }
  }
  for (const key of ["parallelism", "failFast"] as const) {
    if (!inner && template[key] !== undefined) {
      report.problem(
        part(key),
        `Only templates of steps or dag have "${key}"`,
        "Move it to the template around.",
      );
    }
  }
  const { wasm } = template;
  if (wasm && (wasm.image === undefined) === (wasm.module === undefined)) {
    const what = wasm.image === undefined ? "neither image nor module" : "image and module";
    report.problem(origins.spot(wasm), `wasm has ${what}`, "Give one of the two.");
  }
  if (wasm?.map) checkMap(wasm.map, template, report, origins);
  for (const key of ["container", "script"] as const) {
    const container = template[key];
    if (container?.image === "")
      report.problem(origins.spot(container), `${key} lacks "image"`, 'Add "image:".');
  }
  if (template.script?.source === "")
    report.problem(
      origins.spot(template.script),
      'script lacks "source"',
      'Add "source: |" with the script.',
    );
  const program = template.wasm ?? template.container ?? template.script;
  if (program?.env) reportDoubles(program.env, "variable", report, origins);
  for (const { name, valueFrom } of template.wasm ? [] : (program?.env ?? [])) {
    if (!valueFrom?.secretKeyRef) continue;
    report.problem(
      origins.part(valueFrom, "secretKeyRef") ?? origins.spot(valueFrom),
      `The variable ${name} is a secret, and a container would get its value`,
      "Only steps that run as Wasm get secrets, by placeholder.",
      "workflow-unsupported",
    );
  }
  for (const artifact of template.inputs?.artifacts ?? []) {
    checkInputArtifact(
      artifact,
      { inner, label, suspend: template.suspend !== undefined },
      report,
      origins,
    );
  }
  for (const parameter of template.inputs?.parameters ?? [])
    checkInputParameter(parameter, report, origins);
  const paths = new Map<string, string>();
  for (const artifact of template.inputs?.artifacts ?? []) {
    const { path, name } = artifact;
    if (path === undefined) continue;
    const other = paths.get(path);
    if (other !== undefined)
      report.problem(
        origins.part(artifact, "path") ?? origins.spot(artifact),
        `The artifacts "${other}" and "${name}" have the same path`,
        "Give each a path of its own.",
      );
    paths.set(path, name);
  }
}

/** A map has one list of items, and leaves one of results. */
function checkMap(
  map: WasmMap,
  template: Pick<Template, "inputs" | "outputs">,
  report: Report,
  origins: Origins,
): void {
  const { items, artifact, results } = map;
  if ((items === undefined) === (artifact === undefined)) {
    const what = items === undefined ? "neither items nor artifact" : "items and artifact";
    report.problem(origins.spot(map), `map has ${what}`, "Give one of the two.");
  }
  if (items !== undefined && typeof items !== "string" && !Array.isArray(items)) {
    report.problem(
      origins.part(map, "items") ?? origins.spot(map),
      "map.items is no list",
      "Write a list, or text that is a JSON list.",
    );
  }
  const inputs = template.inputs?.artifacts ?? [];
  if (artifact !== undefined && !inputs.some(({ name }) => name === artifact)) {
    report.problem(
      origins.part(map, "artifact") ?? origins.spot(map),
      `There is no input artifact "${artifact}"`,
      "Add it to inputs.artifacts, with a path.",
    );
  }
  const outputs = template.outputs?.artifacts ?? [];
  if (results !== undefined && !outputs.some(({ name }) => name === results)) {
    report.problem(
      origins.part(map, "results") ?? origins.spot(map),
      `There is no output artifact "${results}"`,
      "Add it to outputs.artifacts, with a path.",
    );
  }
  const files = [
    ...(template.outputs?.parameters ?? []).filter(
      ({ valueFrom }) => valueFrom?.path !== undefined,
    ),
    ...outputs.filter(({ name }) => name !== results),
  ];
  for (const output of files) {
    report.problem(
      origins.spot(output),
      `The output "${output.name}" has one path, and a map has many items that would write to it`,
      "Read outputs.result, or name one output artifact as map.results.",
      "workflow-unsupported",
    );
  }
}

/** What a step asks for is not more than the host allows. What is filled in as it runs is looked at then. */
export function checkLimits(
  { template }: Pick<Found, "template">,
  host: Limits,
  report: Report,
  origins: Origins,
): void {
  const limits = template.wasm?.limits;
  for (const [key, value] of Object.entries(limits ?? {})) {
    if (!limits || String(value).includes("{{")) continue;
    try {
      resolveLimits({ [key]: value }, host);
    } catch (thrown) {
      // What cannot be read at all was reported with the form of its text.
      if (!(thrown instanceof Failure) || thrown.code !== "limit-above-host") continue;
      const spot = origins.part(limits, key) ?? origins.spot(limits);
      report.problem(spot, thrown.message, thrown.hint, thrown.code);
    }
  }
}

interface Holding {
  readonly inner: boolean;
  readonly suspend: boolean;
  readonly label: string;
}

function checkInputArtifact(
  artifact: Artifact,
  { inner, suspend }: Holding,
  report: Report,
  origins: Origins,
): void {
  const spot = (key: string): Spot => origins.part(artifact, key) ?? origins.spot(artifact);
  if (inner && artifact.path !== undefined) {
    report.problem(
      spot("path"),
      `The artifact "${artifact.name}" has a path, and nothing runs in this template`,
      "Remove it; the template that runs says where it lies.",
    );
  }
  if (!inner && !suspend && artifact.path === undefined) {
    report.problem(
      origins.spot(artifact),
      `The artifact "${artifact.name}" has no path`,
      "Say where it lies in the sandbox, such as /tmp/doc.",
    );
  }
  for (const key of ["from", "fromExpression"] as const) {
    if (artifact[key] !== undefined) {
      report.problem(
        spot(key),
        `An input artifact has no "${key}"`,
        "The step that calls the template says it, under arguments.",
      );
    }
  }
}

function checkInputParameter(parameter: Parameter, report: Report, origins: Origins): void {
  const { name, value, default: fallback, enum: words, valueFrom } = parameter;
  reportSize(parameter, report, origins);
  const allowed = words?.map(String);
  for (const key of ["value", "default"] as const) {
    const given = key === "value" ? value : fallback;
    if (
      given === undefined ||
      !allowed ||
      String(given).includes("{{") ||
      allowed.includes(String(given))
    )
      continue;
    report.problem(
      origins.part(parameter, key) ?? origins.spot(parameter),
      `"${String(given)}" is not in the enum of "${name}"`,
      `Known there: ${allowed.slice(0, 12).join(", ")}.`,
    );
  }
  for (const key of ["path", "parameter", "expression", "supplied"] as const) {
    if (valueFrom?.[key] === undefined) continue;
    report.problem(
      origins.part(valueFrom, key) ?? origins.spot(parameter),
      `valueFrom of an input has no "${key}"`,
      "Use value, default, or valueFrom.configMapKeyRef.",
    );
  }
}

/** What a template hands on comes from somewhere, in the way of its type. */
export function checkOutputs(
  { template }: Pick<Found, "template">,
  report: Report,
  origins: Origins,
): void {
  const inner = (template.steps ?? template.dag) !== undefined;
  const suspend = template.suspend !== undefined;
  const sources = inner
    ? (["parameter", "expression"] as const)
    : suspend
      ? (["supplied"] as const)
      : (["path"] as const);
  for (const parameter of template.outputs?.parameters ?? []) {
    const { name, value, valueFrom } = parameter;
    const spot = origins.spot(parameter);
    if (value !== undefined && valueFrom !== undefined)
      report.problem(spot, `The output "${name}" has value and valueFrom`, "Keep one of them.");
    if (value !== undefined) continue;
    const hint = `Give it valueFrom.${sources.join(" or valueFrom.")}.`;
    if (!valueFrom) {
      report.problem(spot, `The output "${name}" comes from nowhere`, hint);
      continue;
    }
    const said = (
      ["path", "parameter", "expression", "supplied", "configMapKeyRef"] as const
    ).filter((key) => valueFrom[key] !== undefined);
    const [only] = said;
    if (said.length > 1)
      report.problem(spot, `The output "${name}" has ${said.join(" and ")}`, hint);
    else if (only === undefined) {
      if (!(suspend && valueFrom.default !== undefined))
        report.problem(spot, `The output "${name}" comes from nowhere`, hint);
    } else if (!sources.some((key) => key === only)) {
      report.problem(
        origins.part(valueFrom, only) ?? spot,
        `An output of this template has no "${only}"`,
        hint,
      );
    }
  }
  for (const artifact of template.outputs?.artifacts ?? []) {
    const spot = origins.spot(artifact);
    const { name, path } = artifact;
    const from = (["from", "fromExpression"] as const).filter((key) => artifact[key] !== undefined);
    if (inner) {
      if (path !== undefined)
        report.problem(
          origins.part(artifact, "path") ?? spot,
          `The output "${name}" has a path, and nothing runs in this template`,
          "Use from or fromExpression.",
        );
      else if (from.length !== 1)
        report.problem(
          spot,
          `The output "${name}" ${from.length === 0 ? "comes from nowhere" : "has from and fromExpression"}`,
          "Give it one of from, fromExpression.",
        );
    } else {
      for (const key of from)
        report.problem(
          origins.part(artifact, key) ?? spot,
          `An output of this template has no "${key}"`,
          "Give it a path in the sandbox, such as /tmp/result.",
        );
      if (path === undefined && from.length === 0)
        report.problem(
          spot,
          `The output "${name}" has no path`,
          "Say where it lies in the sandbox, such as /tmp/result.",
        );
    }
  }
}

import { locationKinds } from "./locations.ts";
import type { Arguments, Artifact, Parameter, Template } from "./model.ts";
import type { Origins } from "./shape.ts";
import type { Report, Spot } from "./source.ts";
import { parameterBytes } from "./parameters.ts";
import { closest, meant } from "./suggest.ts";

interface Call {
  readonly caller: { readonly arguments?: Arguments };
  readonly spot: Spot;
  readonly target: Pick<Template, "inputs">;
  /** The caller as a message names it, and the name of what it calls. */
  readonly label: string;
  readonly of: string;
}

interface Entry {
  readonly given: Arguments | undefined;
  readonly spot: Spot;
  readonly target: Pick<Template, "inputs">;
  readonly label: string;
  /** Parameters that are given at the start. */
  readonly more: readonly string[];
}

/** Looks at what is handed to templates: that it is all they need, and nothing they do not know. */
export class CallCheck {
  readonly #report: Report;
  readonly #origins: Origins;

  constructor(report: Report, origins: Origins) {
    this.#report = report;
    this.#origins = origins;
  }

  /** A step or a hook gives a template its inputs. */
  call({ caller, spot, target, label, of }: Call): void {
    for (const kind of ["parameters", "artifacts"] as const) {
      const word = kind.slice(0, -1);
      const given = caller.arguments?.[kind] ?? [];
      const names = new Set(given.map(({ name }) => name));
      const inputs: readonly (Parameter | Artifact)[] = target.inputs?.[kind] ?? [];
      const needed = new Set(inputs.map(({ name }) => name));
      const missing = inputs.filter((input) => !names.has(input.name) && !isFilled(input));
      const extra = given.filter(({ name }) => name !== "" && !needed.has(name));
      const few = missing.length * extra.length <= 1000;
      for (const { name } of missing) {
        // one mistake, told where the other name stands
        if (
          few &&
          closest(
            name,
            extra.map((other) => other.name),
          ) !== undefined
        )
          continue;
        const example =
          kind === "parameters" ? `{name: ${name}, value: …}` : `{name: ${name}, from: "{{…}}"}`;
        this.#report.problem(
          spot,
          `${label} does not give the ${word} "${name}" of template "${of}"`,
          `Add ${example} to arguments.${kind}.`,
        );
      }
      for (const argument of extra) {
        const hint = this.#report.crowded
          ? undefined
          : meant(argument.name, [...missing.map(({ name }) => name), ...needed]);
        const at = this.#origins.part(argument, "name") ?? this.#origins.spot(argument);
        this.#report.problem(at, `Template "${of}" has no input ${word} "${argument.name}"`, hint);
      }
    }
  }

  /** The entrypoint gets the workflow's arguments of the same name. */
  entry({ given, spot, target, label, more }: Entry): void {
    for (const kind of ["parameters", "artifacts"] as const) {
      const names = new Set((given?.[kind] ?? []).map(({ name }) => name));
      if (kind === "parameters") for (const name of more) names.add(name);
      const inputs: readonly (Parameter | Artifact)[] = target.inputs?.[kind] ?? [];
      for (const input of inputs) {
        if (names.has(input.name) || isFilled(input)) continue;
        this.#report.problem(
          spot,
          `${label} needs the ${kind.slice(0, -1)} "${input.name}"`,
          `Add it to the workflow's arguments.${kind}.`,
        );
      }
    }
  }

  /** Arguments say what their value is; those of the workflow itself may leave that to the start. */
  given(given: Arguments, by: "workflow" | "step"): void {
    this.#unique(given.parameters ?? [], "parameter");
    this.#unique(given.artifacts ?? [], "artifact");
    for (const parameter of given.parameters ?? []) {
      const { name, value, valueFrom } = parameter;
      const spot = this.#origins.spot(parameter);
      if (value !== undefined && valueFrom !== undefined) {
        this.#report.problem(
          spot,
          `The parameter "${name}" has value and valueFrom`,
          "Keep one of them.",
        );
      } else if (
        value === undefined &&
        valueFrom === undefined &&
        by === "step" &&
        parameter.default === undefined
      ) {
        this.#report.problem(spot, `The parameter "${name}" has no value`, 'Add "value:".');
      } else if (valueFrom !== undefined) this.#source(parameter, spot);
      this.#enumerated(parameter);
      reportSize(parameter, this.#report, this.#origins);
    }
    if (by === "workflow") return;
    for (const artifact of given.artifacts ?? []) {
      const sources = (["from", "fromExpression", ...locationKinds] as const).filter(
        (key) => artifact[key] !== undefined,
      );
      if (sources.length === 1 || (sources.length === 0 && artifact.optional)) continue;
      const what = sources.length === 0 ? "comes from nowhere" : `has ${sources.join(" and ")}`;
      this.#report.problem(
        this.#origins.spot(artifact),
        `The artifact "${artifact.name}" ${what}`,
        "Give it one of from, fromExpression, raw, s3, http or another store.",
      );
    }
  }

  #source({ name, valueFrom }: Parameter, spot: Spot): void {
    const wrong = (["path", "parameter", "expression", "supplied"] as const).filter(
      (key) => valueFrom?.[key] !== undefined,
    );
    if (valueFrom?.configMapKeyRef && wrong.length === 0) return;
    const [key] = wrong;
    const at = (key && valueFrom && this.#origins.part(valueFrom, key)) ?? spot;
    const message =
      key === undefined
        ? `valueFrom of the parameter "${name}" says nothing`
        : `valueFrom of an argument has no "${key}"`;
    this.#report.problem(
      at,
      message,
      'Use "value" with {{…}} or {{=…}}, or valueFrom.configMapKeyRef.',
    );
  }

  /** A parameter's value is one of its enum. */
  #enumerated(parameter: Parameter): void {
    const { name, value, enum: words } = parameter;
    if (!words) return;
    if (words.length === 0)
      this.#report.problem(
        this.#origins.spot(parameter),
        `The enum of "${name}" is empty`,
        "List the values that are allowed.",
      );
    else if (
      value !== undefined &&
      !String(value).includes("{{") &&
      !words.map(String).includes(String(value))
    ) {
      this.#report.problem(
        this.#origins.part(parameter, "value") ?? this.#origins.spot(parameter),
        `"${String(value)}" is not in the enum of "${name}"`,
        meant(String(value), words.map(String)),
      );
    }
  }

  #unique(items: readonly { readonly name: string }[], word: string): void {
    reportDoubles(items, word, this.#report, this.#origins);
  }
}

/** A value is not larger than a parameter may be. */
export function reportSize(parameter: Parameter, report: Report, origins: Origins): void {
  for (const key of ["value", "default"] as const) {
    const size = Buffer.byteLength(String(parameter[key] ?? ""));
    if (size <= parameterBytes) continue;
    report.problem(
      origins.part(parameter, key) ?? origins.spot(parameter),
      `The parameter "${parameter.name}" has ${size} bytes; the ceiling is ${parameterBytes}`,
      "Pass large data as an artifact.",
    );
  }
}

/** Names are there once. */
export function reportDoubles(
  items: readonly { readonly name: string }[],
  word: string,
  report: Report,
  origins: Origins,
): void {
  const seen = new Set<string>();
  for (const item of items) {
    if (item.name !== "" && seen.has(item.name)) {
      report.problem(
        origins.part(item, "name") ?? origins.spot(item),
        `The ${word} "${item.name}" is there twice`,
        "Rename one of them.",
      );
    }
    seen.add(item.name);
  }
}

/** Whether an input has a value when the caller gives none. */
function isFilled(input: Parameter | Artifact): boolean {
  if ("value" in input || "default" in input || "valueFrom" in input) return true;
  return (
    locationKinds.some((kind) => kind in input) ||
    ("optional" in input && (input.optional ?? false))
  );
}

import {
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
} from "yaml";
import { Failure, type Place } from "../errors/mod.ts";
import { parseBytes, parseDurationMs } from "../limits/mod.ts";
import type { Artifact, Parameter, Step, Template, Workflow } from "./model.ts";
import { unsupportedKeys, workflowShape, type Shape } from "./shape.ts";

/** Largest document, and how often its aliases may unfold. */
const documentBytes = 10 * 1024 * 1024;
const aliasCount = 100;

type Path = readonly (string | number)[];

export interface Parsed {
  /** Absent when the document has problems. */
  readonly workflow?: Workflow;
  /** Every mistake, in the order of the text. */
  readonly problems: readonly Failure[];
  readonly placeOf: (path: Path) => Place;
}

/** Reads one workflow and finds all its mistakes in one pass. Never throws for what is in the text. */
export function parseWorkflow(file: string, text: string): Parsed {
  if (text.length > documentBytes) {
    const failure = new Failure(
      "workflow-invalid",
      `"${file}" has ${text.length} characters; the ceiling is ${documentBytes}`,
    );
    return { problems: [failure], placeOf: () => ({ file, line: 1, column: 1 }) };
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  const placeOf = (path: Path): Place => placeAt(offsetOf(document, path));
  const check = new Check(placeOf, placeAt);
  for (const error of document.errors) {
    const [summary = ""] = error.message.split("\n");
    check.report(error.pos[0], `YAML: ${summary.replace(/ at line \d+, column \d+:?$/, "")}`);
  }
  if (check.problems.length === 0) {
    check.shape(document.contents, workflowShape, "the document");
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: aliasCount });
    } catch (cause) {
      check.report(
        0,
        `YAML: ${cause instanceof Error ? cause.message : String(cause)}`,
        "Write the values out instead of nesting aliases.",
      );
    }
    if (check.problems.length === 0) check.meaning(checked(value));
    if (check.problems.length === 0) return { workflow: checked(value), problems: [], placeOf };
  }
  const problems = check.problems.toSorted((left, right) => order(left) - order(right));
  return { problems, placeOf };
}

interface Header {
  readonly apiVersion: string;
  readonly kind: string;
}

/** The plain value of a document whose shape was found right. */
function checked(value: unknown): Workflow & Header {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `Check.shape` looked at every key and type before
  return value as Workflow & Header;
}

function order({ place }: Failure): number {
  return place ? place.line * 10_000 + place.column : 0;
}

function offsetOf(document: Document, path: Path): number {
  for (let length = path.length; length >= 0; length--) {
    const found: unknown =
      length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(found) && found.range) return found.range[0];
  }
  return 0;
}

class Check {
  readonly problems: Failure[] = [];
  readonly #placeOf: (path: Path) => Place;
  readonly #placeAt: (offset: number) => Place;
  constructor(placeOf: (path: Path) => Place, placeAt: (offset: number) => Place) {
    this.#placeOf = placeOf;
    this.#placeAt = placeAt;
  }

  report(
    at: number | Path,
    message: string,
    hint?: string,
    code: "workflow-invalid" | "workflow-unsupported" = "workflow-invalid",
  ): void {
    const place = typeof at === "number" ? this.#placeAt(at) : this.#placeOf(at);
    this.problems.push(
      new Failure(code, message, { place, ...(hint === undefined ? {} : { hint }) }),
    );
  }

  /** Every value has its type and every key is known. */
  shape(node: unknown, shape: Shape, name: string): void {
    const at = isNode(node) ? (node.range?.[0] ?? 0) : 0;
    if (isNode(node) && "source" in node && !isScalar(node)) return; // an alias: its anchor is checked where it stands
    if (shape.kind === "any") return;
    if (shape.kind === "object" || shape.kind === "map") {
      if (!isMap<Node, Node>(node)) return this.report(at, `${name} must be a mapping`);
      if (shape.kind === "map") return;
      const seen = new Set<string>();
      for (const { key, value } of node.items) {
        const word = isScalar(key) ? String(key.value) : "";
        seen.add(word);
        const inner = shape.keys.get(word);
        const keyAt = key.range?.[0] ?? at;
        if (inner) this.shape(value, inner, `"${word}"`);
        else if (unsupportedKeys.has(word)) {
          this.report(
            keyAt,
            `The key "${word}" is not supported here yet`,
            "Remove it, or run this workflow with Argo.",
            "workflow-unsupported",
          );
        } else
          this.report(
            keyAt,
            `Unknown key "${word}" in ${name}`,
            meant(word, [...shape.keys.keys()]),
          );
      }
      for (const word of shape.required)
        if (!seen.has(word)) this.report(at, `${name} lacks "${word}"`, `Add "${word}:".`);
      return;
    }
    if (shape.kind === "list") {
      if (!isSeq<Node>(node)) return this.report(at, `${name} must be a list`);
      for (const item of node.items) this.shape(item, shape.of, `an item of ${name}`);
      return;
    }
    const value = isScalar(node) ? node.value : undefined;
    const fits =
      shape.kind === "flag"
        ? typeof value === "boolean"
        : typeof value === "string" ||
          (shape.kind === "scalar" && ["number", "boolean"].includes(typeof value));
    const wanted = { flag: "true or false", text: "a string", scalar: "a string or a number" }[
      shape.kind
    ];
    if (!fits) this.report(at, `${name} must be ${wanted}`);
  }

  /** Names lead somewhere, and everything that is needed is given. */
  meaning(workflow: Workflow & Header): void {
    if (workflow.apiVersion !== "argoproj.io/v1alpha1")
      this.report(
        ["apiVersion"],
        `apiVersion "${workflow.apiVersion}" is not argoproj.io/v1alpha1`,
      );
    if (workflow.kind !== "Workflow") {
      this.report(
        ["kind"],
        `The kind "${workflow.kind}" is not supported here yet`,
        'Only "Workflow" is.',
        "workflow-unsupported",
      );
    }
    const { templates, entrypoint } = workflow.spec;
    const byName = new Map(templates.map((template) => [template.name, template]));
    this.#unique(templates, ["spec", "templates"], "template");
    if (!byName.has(entrypoint)) {
      this.report(
        ["spec", "entrypoint"],
        `The entrypoint "${entrypoint}" is no template`,
        meant(entrypoint, [...byName.keys()]),
      );
    }
    const globals = new Set(
      (workflow.spec.arguments?.parameters ?? []).map((item) => `workflow.parameters.${item.name}`),
    );
    for (const item of workflow.spec.arguments?.artifacts ?? [])
      globals.add(`workflow.artifacts.${item.name}`);
    for (const name of ["workflow.name", "workflow.uid", "workflow.parameters"]) globals.add(name);
    for (const [index, template] of templates.entries()) {
      this.#template(template, ["spec", "templates", index], byName, globals);
    }
    this.#circles(templates, byName);
  }

  #template(
    template: Template,
    path: Path,
    byName: ReadonlyMap<string, Template>,
    globals: ReadonlySet<string>,
  ): void {
    const types = (["wasm", "plugin", "steps", "dag"] as const).filter(
      (type) => template[type] !== undefined,
    );
    if (types.length !== 1) {
      this.report(
        path,
        `Template "${template.name}" has ${types.length === 0 ? "no type" : `the types ${types.join(" and ")}`}`,
        "Give it exactly one of wasm, plugin, steps, dag.",
      );
    }
    const known = new Set(globals);
    known.add("inputs.parameters");
    for (const item of template.inputs?.parameters ?? [])
      known.add(`inputs.parameters.${item.name}`);
    for (const item of template.inputs?.artifacts ?? []) {
      known.add(`inputs.artifacts.${item.name}`);
      known.add(`inputs.artifacts.${item.name}.path`);
    }
    for (const item of template.outputs?.artifacts ?? [])
      known.add(`outputs.artifacts.${item.name}.path`);
    this.#unique(template.inputs?.parameters ?? [], [...path, "inputs", "parameters"], "parameter");
    this.#unique(template.inputs?.artifacts ?? [], [...path, "inputs", "artifacts"], "artifact");
    const wasm = template.wasm ?? template.plugin?.wasm;
    const wasmPath = [...path, ...(template.wasm ? ["wasm"] : ["plugin", "wasm"])];
    if (wasm) {
      if ((wasm.image === undefined) === (wasm.module === undefined))
        this.report(
          wasmPath,
          "A wasm template needs either image or module",
          "Give one of the two.",
        );
      for (const [key, value] of Object.entries(wasm.limits ?? {})) {
        if (String(value).includes("{{")) continue;
        try {
          if (key === "time") parseDurationMs(value);
          else parseBytes(value);
        } catch (thrown) {
          if (!(thrown instanceof Failure)) throw thrown;
          this.report(
            [...wasmPath, "limits", key],
            `limits.${key}: ${thrown.message}`,
            thrown.hint,
          );
        }
      }
      this.#references(wasm, wasmPath, known);
      this.#paths(template, path);
    }
    const steps = template.steps?.flatMap((group, at) =>
      group.map((step, inner) => ({ step, at: [...path, "steps", at, inner] })),
    );
    const tasks = template.dag?.tasks.map((step, at) => ({
      step,
      at: [...path, "dag", "tasks", at],
    }));
    const children = steps ?? tasks ?? [];
    const word = steps ? "steps" : "tasks";
    const names = new Set<string>();
    for (const { step, at } of children) {
      if (names.has(step.name))
        this.report(
          [...at, "name"],
          `The name "${step.name}" is used twice`,
          "Give each step a name of its own.",
        );
      names.add(step.name);
      const target = byName.get(step.template);
      for (const name of ["outputs.result", "outputs.parameters", "exitCode", "status", "id"])
        known.add(`${word}.${step.name}.${name}`);
      for (const item of target?.outputs?.parameters ?? [])
        known.add(`${word}.${step.name}.outputs.parameters.${item.name}`);
      for (const item of target?.outputs?.artifacts ?? [])
        known.add(`${word}.${step.name}.outputs.artifacts.${item.name}`);
    }
    for (const { step, at } of children) this.#step(step, at, byName, known, names);
    if (template.outputs && !wasm)
      this.#references(template.outputs, [...path, "outputs"], known, true);
  }

  #step(
    step: Step,
    at: Path,
    byName: ReadonlyMap<string, Template>,
    known: ReadonlySet<string>,
    names: ReadonlySet<string>,
  ): void {
    const target = byName.get(step.template);
    if (!target)
      this.report(
        [...at, "template"],
        `There is no template "${step.template}"`,
        meant(step.template, [...byName.keys()]),
      );
    for (const [index, name] of (step.dependencies ?? []).entries()) {
      if (!names.has(name))
        this.report(
          [...at, "dependencies", index],
          `There is no task "${name}"`,
          meant(name, [...names]),
        );
    }
    if (step.withItems && step.withParam !== undefined)
      this.report(at, `"${step.name}" has withItems and withParam`, "Keep one of them.");
    if (step.withParam !== undefined) this.#references(step.withParam, [...at, "withParam"], known);
    const looped = step.withItems !== undefined || step.withParam !== undefined;
    if (step.arguments)
      this.#references(
        step.arguments,
        [...at, "arguments"],
        looped ? new Set([...known, "item"]) : known,
        true,
      );
    for (const kind of ["parameters", "artifacts"] as const) {
      const given = new Set((step.arguments?.[kind] ?? []).map((item) => item.name));
      const inputs: readonly (Parameter | Artifact)[] = target?.inputs?.[kind] ?? [];
      const word = kind === "parameters" ? "parameter" : "artifact";
      for (const input of inputs) {
        const filled =
          "value" in input ||
          "default" in input ||
          "raw" in input ||
          ("optional" in input && input.optional);
        if (!given.has(input.name) && !filled) {
          this.report(
            at,
            `"${step.name}" does not give the ${word} "${input.name}" of template "${step.template}"`,
            `Add it under arguments.${kind}.`,
          );
        }
      }
      for (const name of given) {
        if (target && !inputs.some((input) => input.name === name)) {
          this.report(
            [...at, "arguments", kind],
            `Template "${step.template}" has no input ${word} "${name}"`,
            meant(
              name,
              inputs.map((input) => input.name),
            ),
          );
        }
      }
    }
  }

  #paths(template: Template, path: Path): void {
    for (const side of ["inputs", "outputs"] as const) {
      for (const [index, item] of (template[side]?.artifacts ?? []).entries()) {
        this.#absolute(item.path, [...path, side, "artifacts", index], item.name);
      }
    }
    for (const [index, item] of (template.outputs?.parameters ?? []).entries()) {
      this.#absolute(item.valueFrom?.path, [...path, "outputs", "parameters", index], item.name);
    }
  }

  #absolute(value: string | undefined, path: Path, name: string): void {
    if (value === undefined)
      this.report(path, `"${name}" has no path`, "Add the path in the sandbox, such as /tmp/doc.");
    else if (!value.startsWith("/") || value.split("/").includes("..") || value === "/") {
      this.report(
        path,
        `The path "${value}" of "${name}" is not absolute or leads outside`,
        'Write an absolute path without "..".',
      );
    }
  }

  /** Every `{{name}}` below a value is known; `from` and `parameter` fields may also name things without looking at loops. */
  #references(value: unknown, path: Path, known: ReadonlySet<string>, bare = false): void {
    if (Array.isArray(value)) {
      for (const [index, item] of value.entries())
        this.#references(item, [...path, index], known, bare);
    } else if (typeof value === "object" && value !== null) {
      for (const [key, item] of Object.entries(value))
        this.#references(item, [...path, key], known, bare);
    } else if (typeof value === "string") {
      for (const [, name = ""] of value.matchAll(/\{\{\s*(.*?)\s*\}\}/g)) {
        if (name.startsWith("="))
          this.report(
            path,
            `The expression {{${name}}} is not supported here yet`,
            undefined,
            "workflow-unsupported",
          );
        else if (!known.has(name) && !(name.startsWith("item.") && known.has("item"))) {
          this.report(path, `Nothing is known as {{${name}}}`, meant(name, [...known]));
        }
      }
    }
  }

  #unique(items: readonly { readonly name: string }[], path: Path, word: string): void {
    const seen = new Set<string>();
    for (const [index, { name }] of items.entries()) {
      if (seen.has(name))
        this.report(
          [...path, index, "name"],
          `The ${word} "${name}" is there twice`,
          "Rename one of them.",
        );
      seen.add(name);
    }
  }

  /** No template may lead back to itself, and no task may wait for itself: without conditions both would never end. */
  #circles(templates: readonly Template[], byName: ReadonlyMap<string, Template>): void {
    const targets = (template: Template | undefined): readonly string[] =>
      [...(template?.steps?.flat() ?? []), ...(template?.dag?.tasks ?? [])].map(
        (step) => step.template,
      );
    for (const [index, template] of templates.entries()) {
      const circle = findCircle(template.name, (name) => targets(byName.get(name)));
      if (circle)
        this.report(
          ["spec", "templates", index],
          `Template "${template.name}" leads back to itself: ${circle.join(" → ")}`,
          "Break the circle.",
        );
      const tasks = new Map(
        (template.dag?.tasks ?? []).map((task) => [task.name, task.dependencies ?? []]),
      );
      for (const [at, task] of (template.dag?.tasks ?? []).entries()) {
        const waiting = findCircle(task.name, (name) => tasks.get(name) ?? []);
        if (waiting)
          this.report(
            ["spec", "templates", index, "dag", "tasks", at],
            `Task "${task.name}" waits for itself: ${waiting.join(" → ")}`,
            "Remove one of the dependencies.",
          );
      }
    }
  }
}

function findCircle(
  start: string,
  next: (name: string) => readonly string[],
): readonly string[] | undefined {
  const seen = new Set<string>();
  const todo: (readonly string[])[] = [[start]];
  for (let trail = todo.pop(); trail; trail = todo.pop()) {
    for (const name of next(trail.at(-1) ?? start)) {
      if (name === start) return [...trail, name];
      if (!seen.has(name)) todo.push([...trail, name]);
      seen.add(name);
    }
  }
  return undefined;
}

/** "Did you mean …?" for a word that is close to a known one. */
function meant(word: string, known: readonly string[]): string {
  const ranked = known
    .map((candidate) => ({ candidate, far: distance(word, candidate) }))
    .toSorted((left, right) => left.far - right.far);
  const [best] = ranked;
  if (best && best.far <= Math.max(2, word.length / 3)) return `Did you mean "${best.candidate}"?`;
  return known.length === 0
    ? "Nothing is defined there."
    : `Known here: ${known.slice(0, 12).join(", ")}.`;
}

/** Levenshtein's distance, of words short enough for it. */
function distance(left: string, right: string): number {
  if (left.length > 100 || right.length > 100) return Infinity;
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let at = 1; at <= left.length; at++) {
    const next = [at];
    for (let to = 1; to <= right.length; to++) {
      const change = left[at - 1] === right[to - 1] ? 0 : 1;
      next.push(Math.min((next[to - 1] ?? 0) + 1, (row[to] ?? 0) + 1, (row[to - 1] ?? 0) + change));
    }
    row = next;
  }
  return row[right.length] ?? Infinity;
}

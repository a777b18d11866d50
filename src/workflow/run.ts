import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import type { Dispatcher } from "../dispatch/mod.ts";
import { Failure, toFailure } from "../errors/mod.ts";
import type { ArtifactSource, StoredArtifact, Task, TaskResult } from "../task/mod.ts";
import type { Arguments, Artifact, Scalar, Step, Template, Wasm, Workflow } from "./model.ts";
import { substitute, type Scope } from "./substitute.ts";

/** Most items of one loop. */
const loopItems = 100_000;

type Phase = "Running" | "Succeeded" | "Failed" | "Error" | "Omitted";

/** One node of the tree, in Argo's words. */
export interface NodeStatus {
  /** `NAME-` and the FNV-1a hash of the node's name, as Argo makes it. */
  readonly id: string;
  readonly name: string;
  readonly displayName: string;
  readonly type: "Plugin" | "Steps" | "StepGroup" | "DAG" | "TaskGroup";
  readonly template: string;
  phase: Phase;
  message: string | undefined;
  readonly startedAt: number;
  finishedAt: number | undefined;
  /** Of leaves that ran. */
  result: TaskResult | undefined;
  readonly children: NodeStatus[];
}

interface Outputs {
  readonly result?: string;
  readonly exitCode?: number;
  readonly parameters: ReadonlyMap<string, string>;
  readonly artifacts: ReadonlyMap<string, StoredArtifact>;
}

export interface RunWorkflowOptions {
  readonly workflow: Workflow;
  /** Default: `metadata.name`, or `metadata.generateName` with five random letters. */
  readonly name?: string;
  /** Folder that `module:` paths are relative to. */
  readonly folder: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly artifacts: ReadonlyMap<string, StoredArtifact>;
  readonly dispatcher: Dispatcher;
  readonly signal?: AbortSignal;
  /** Called whenever a node began or ended. */
  readonly onNode?: (node: NodeStatus) => void;
}

export interface WorkflowResult {
  readonly name: string;
  readonly root: NodeStatus;
  readonly outputs: Outputs;
}

/** Runs a workflow to its end. Rejects when arguments are missing; what a step does is in the result. */
export async function runWorkflow(options: RunWorkflowOptions): Promise<WorkflowResult> {
  const { workflow } = options;
  const name =
    options.name ??
    workflow.metadata?.name ??
    `${workflow.metadata?.generateName ?? "workflow-"}${randomUUID().slice(0, 5)}`;
  const run = new Run(options, name);
  const entry = run.template(workflow.spec.entrypoint);
  const globals = run.globals();
  const inputs = entryInputs(entry, globals);
  const { node, outputs } = await run.execute(entry, name, name, inputs, globals);
  return { name, root: node, outputs };
}

interface Inputs {
  readonly parameters: ReadonlyMap<string, string>;
  readonly artifacts: ReadonlyMap<string, ArtifactSource>;
}

interface Globals {
  readonly parameters: ReadonlyMap<string, string>;
  readonly artifacts: ReadonlyMap<string, ArtifactSource>;
}

interface Ended {
  readonly node: NodeStatus;
  readonly outputs: Outputs;
}

const nothing: Outputs = { parameters: new Map(), artifacts: new Map() };

class Run {
  readonly #options: RunWorkflowOptions;
  readonly #name: string;
  readonly #templates: ReadonlyMap<string, Template>;

  constructor(options: RunWorkflowOptions, name: string) {
    this.#options = options;
    this.#name = name;
    this.#templates = new Map(options.workflow.spec.templates.map((item) => [item.name, item]));
  }

  template(name: string): Template {
    const found = this.#templates.get(name);
    if (!found) throw new Failure("workflow-invalid", `There is no template "${name}"`);
    return found;
  }

  /** What `workflow.…` names: arguments of the document, and what the caller gave instead. */
  globals(): Globals {
    const asked = this.#options.workflow.spec.arguments ?? {};
    const parameters = new Map([
      ["workflow.name", this.#name],
      ["workflow.uid", randomUUID()],
    ]);
    const artifacts = new Map<string, ArtifactSource>();
    const all: Record<string, string> = Object.create(null);
    known("parameter", [...this.#options.parameters.keys()], asked.parameters ?? []);
    known("artifact", [...this.#options.artifacts.keys()], asked.artifacts ?? []);
    for (const item of asked.parameters ?? []) {
      const value = this.#options.parameters.get(item.name) ?? item.value ?? item.default;
      if (value === undefined) throw notGiven("parameter", item.name, `-p ${item.name}=VALUE`);
      checkEnum(item.name, String(value), item.enum);
      parameters.set(`workflow.parameters.${item.name}`, String(value));
      all[item.name] = String(value);
    }
    parameters.set("workflow.parameters", JSON.stringify(all));
    for (const item of asked.artifacts ?? []) {
      const given = this.#options.artifacts.get(item.name);
      const source: ArtifactSource | undefined = given
        ? { kind: "stored", artifact: given }
        : item.raw && { kind: "raw", data: item.raw.data };
      if (source) artifacts.set(`workflow.artifacts.${item.name}`, source);
      else if (!item.optional) throw notGiven("artifact", item.name, `-a ${item.name}=PATH`);
    }
    return { parameters, artifacts };
  }

  async execute(
    template: Template,
    name: string,
    displayName: string,
    inputs: Inputs,
    globals: Globals,
  ): Promise<Ended> {
    const wasm = template.wasm ?? template.plugin?.wasm;
    const type = wasm ? "Plugin" : template.steps ? "Steps" : "DAG";
    const node = this.#begin(name, displayName, type, template.name);
    try {
      const scope = new Map(globals.parameters);
      scope.set(
        "inputs.parameters",
        JSON.stringify([...inputs.parameters].map(([key, value]) => ({ name: key, value }))),
      );
      for (const [key, value] of inputs.parameters) scope.set(`inputs.parameters.${key}`, value);
      if (wasm) return await this.#leaf(node, template, wasm, inputs, scope);
      const sources = new Map(globals.artifacts);
      for (const [key, value] of inputs.artifacts) sources.set(`inputs.artifacts.${key}`, value);
      const word = template.steps ? "steps" : "tasks";
      const failed = template.steps
        ? await this.#steps(node, template.steps, { scope, sources, globals, word })
        : await this.#dag(node, template.dag?.tasks ?? [], { scope, sources, globals, word });
      if (failed) {
        this.#end(
          node,
          failed.phase === "Error" ? "Error" : "Failed",
          `child '${failed.id}' failed`,
        );
        return { node, outputs: nothing };
      }
      const outputs = composed(template, scope, sources);
      this.#end(node, "Succeeded");
      return { node, outputs };
    } catch (thrown) {
      this.#end(node, "Error", toFailure(thrown).message);
      return { node, outputs: nothing };
    }
  }

  async #steps(
    node: NodeStatus,
    groups: readonly (readonly Step[])[],
    place: Place,
  ): Promise<NodeStatus | undefined> {
    for (const [index, group] of groups.entries()) {
      const name = `${node.name}[${index}]`;
      const groupNode = this.#begin(name, `[${index}]`, "StepGroup", node.template);
      node.children.push(groupNode);
      // Groups are sequential by definition.
      const ended = await Promise.all(
        group.map((step) => this.#step(groupNode, `${name}.${step.name}`, step, place)),
      );
      const failed = ended.find((item) => item !== undefined);
      this.#end(
        groupNode,
        failed ? "Failed" : "Succeeded",
        failed && `child '${failed.id}' failed`,
      );
      if (failed) return failed;
    }
    return undefined;
  }

  async #dag(
    node: NodeStatus,
    tasks: readonly Step[],
    place: Place,
  ): Promise<NodeStatus | undefined> {
    let failed: NodeStatus | undefined;
    const waiting = new Map<string, Promise<boolean>>();
    const byName = new Map(tasks.map((task) => [task.name, task]));
    const start = (task: Step): Promise<boolean> => {
      const known = waiting.get(task.name);
      if (known) return known;
      const work = (async (): Promise<boolean> => {
        const before = (task.dependencies ?? [])
          .map((name) => byName.get(name))
          .filter((item) => item !== undefined);
        const ready = await Promise.all(before.map(start));
        if (failed || ready.includes(false)) {
          const omitted = this.#begin(
            `${node.name}.${task.name}`,
            task.name,
            "Plugin",
            task.template,
          );
          node.children.push(omitted);
          this.#end(omitted, "Omitted", "omitted: depends condition not met");
          return false;
        }
        const problem = await this.#step(node, `${node.name}.${task.name}`, task, place);
        failed ??= problem;
        return problem === undefined;
      })();
      waiting.set(task.name, work);
      return work;
    };
    await Promise.all(tasks.map(start));
    return failed;
  }

  /** Runs one step or its loop, makes its outputs known, and returns the node that makes the parent fail. */
  async #step(
    parent: NodeStatus,
    name: string,
    step: Step,
    place: Place,
  ): Promise<NodeStatus | undefined> {
    const template = this.template(step.template);
    const items = loop(step, place.scope);
    const run = async (
      into: NodeStatus,
      nodeName: string,
      display: string,
      item?: unknown,
    ): Promise<Ended> => {
      const scope = item === undefined ? place.scope : withItem(place.scope, item);
      const given = bind(template, step.arguments ?? {}, {
        parameters: scope,
        artifacts: place.sources,
      });
      const running = this.execute(template, nodeName, display, given, place.globals);
      const ended = await running;
      into.children.push(ended.node);
      return ended;
    };
    if (!items) {
      const ended = await run(parent, name, step.name);
      publish(place, step.name, ended);
      return tolerated(ended.node, step);
    }
    const group = this.#begin(name, step.name, "TaskGroup", step.template);
    parent.children.push(group);
    const all = await Promise.all(
      items.map((item, index) => {
        const suffix = `(${index}:${shown(item)})`;
        return run(group, `${name}${suffix}`, `${step.name}${suffix}`, item);
      }),
    );
    const failed = all.map((item) => tolerated(item.node, step)).find((item) => item !== undefined);
    this.#end(group, failed ? "Failed" : "Succeeded", failed && `child '${failed.id}' failed`);
    if (!failed)
      aggregate(
        place,
        step.name,
        all.map((item) => item.outputs),
      );
    return failed && group;
  }

  async #leaf(
    node: NodeStatus,
    template: Template,
    wasm: Wasm,
    inputs: Inputs,
    scope: Map<string, string>,
  ): Promise<Ended> {
    for (const item of template.inputs?.artifacts ?? [])
      scope.set(`inputs.artifacts.${item.name}.path`, item.path ?? "");
    for (const item of template.outputs?.artifacts ?? [])
      scope.set(`outputs.artifacts.${item.name}.path`, item.path ?? "");
    const asked = substitute(wasm, scope);
    const task: Task = {
      key: node.id,
      program: {
        kind: "wasm",
        module:
          asked.module === undefined
            ? { image: asked.image ?? "" }
            : { path: resolve(this.#options.folder, asked.module) },
        arguments: [...(asked.command ?? []), ...(asked.args ?? [])].map(String),
        limits: asked.limits ?? {},
      },
      environment: (asked.env ?? []).map((item) => ({
        name: item.name,
        value: String(item.value ?? ""),
      })),
      ...(asked.stdin === undefined ? {} : { stdin: asked.stdin }),
      inputs: (template.inputs?.artifacts ?? []).map((item) => {
        const source = inputs.artifacts.get(item.name);
        return { name: item.name, path: item.path ?? "", ...(source ? { source } : {}) };
      }),
      outputs: {
        parameters: (template.outputs?.parameters ?? []).map((item) => ({
          name: item.name,
          path: item.valueFrom?.path ?? "",
          ...(item.valueFrom?.default === undefined
            ? {}
            : { default: String(item.valueFrom.default) }),
        })),
        artifacts: (template.outputs?.artifacts ?? []).map((item) => ({
          name: item.name,
          path: item.path ?? "",
          optional: item.optional ?? false,
        })),
        result: true,
      },
    };
    const { signal } = this.#options;
    const result = await this.#options.dispatcher.dispatch(task, signal ? { signal } : {});
    node.result = result;
    this.#end(node, result.phase, result.message);
    const { outputs } = result;
    return {
      node,
      outputs: {
        ...(outputs.result === undefined ? {} : { result: outputs.result }),
        ...(result.exitCode === undefined ? {} : { exitCode: result.exitCode }),
        parameters: new Map(outputs.parameters.map((item) => [item.name, item.value])),
        artifacts: new Map(outputs.artifacts.map((item) => [item.name, item.artifact])),
      },
    };
  }

  #begin(
    name: string,
    displayName: string,
    type: NodeStatus["type"],
    template: string,
  ): NodeStatus {
    const node: NodeStatus = {
      id: name === this.#name ? name : `${this.#name}-${fnv1a(name)}`,
      name,
      displayName,
      type,
      template,
      phase: "Running",
      message: undefined,
      startedAt: Date.now(),
      finishedAt: undefined,
      result: undefined,
      children: [],
    };
    this.#options.onNode?.(node);
    return node;
  }

  #end(node: NodeStatus, phase: Phase, message?: string): void {
    node.phase = phase;
    node.message = message;
    node.finishedAt = Date.now();
    this.#options.onNode?.(node);
  }
}

/** Where a step stands: what it can name, and where its outputs become known. */
interface Place {
  readonly scope: Map<string, string>;
  readonly sources: Map<string, ArtifactSource>;
  readonly globals: Globals;
  readonly word: "steps" | "tasks";
}

/** The entrypoint's inputs are the workflow's arguments of the same names. */
function entryInputs(template: Template, globals: Globals): Inputs {
  const parameters = new Map<string, string>();
  const artifacts = new Map<string, ArtifactSource>();
  for (const input of template.inputs?.parameters ?? []) {
    const own = input.value ?? input.default;
    const value = globals.parameters.get(`workflow.parameters.${input.name}`) ?? own;
    if (value === undefined) throw notGiven("parameter", input.name, "spec.arguments.parameters");
    checkEnum(input.name, String(value), input.enum);
    parameters.set(input.name, String(value));
  }
  for (const input of template.inputs?.artifacts ?? []) {
    const source = globals.artifacts.get(`workflow.artifacts.${input.name}`) ?? rawSource(input);
    if (source) artifacts.set(input.name, source);
    else if (!input.optional) throw notGiven("artifact", input.name, "spec.arguments.artifacts");
  }
  return { parameters, artifacts };
}

function rawSource(artifact: Artifact): ArtifactSource | undefined {
  return artifact.raw && { kind: "raw", data: artifact.raw.data };
}

/** Gives a template its inputs: what the step says, else the template's own value or default. */
function bind(
  template: Template,
  given: Arguments,
  known: { readonly parameters: Scope; readonly artifacts: ReadonlyMap<string, ArtifactSource> },
): Inputs {
  const parameters = new Map<string, string>();
  const artifacts = new Map<string, ArtifactSource>();
  for (const input of template.inputs?.parameters ?? []) {
    const said = given.parameters?.find((item) => item.name === input.name);
    const written = said?.value ?? input.value ?? input.default;
    if (written === undefined)
      throw notGiven("parameter", input.name, `an argument for template "${template.name}"`);
    const value = substitute(String(written), known.parameters);
    checkEnum(input.name, value, input.enum);
    parameters.set(input.name, value);
  }
  for (const input of template.inputs?.artifacts ?? []) {
    const said = given.artifacts?.find((item) => item.name === input.name);
    const source = said ? sourceOf(said, known) : rawSource(input);
    if (source) artifacts.set(input.name, source);
    else if (!input.optional)
      throw notGiven("artifact", input.name, `an argument for template "${template.name}"`);
  }
  return { parameters, artifacts };
}

function sourceOf(
  artifact: Artifact,
  known: { readonly parameters: Scope; readonly artifacts: ReadonlyMap<string, ArtifactSource> },
): ArtifactSource | undefined {
  if (artifact.raw) {
    return { kind: "raw", data: substitute(artifact.raw.data, known.parameters) };
  }
  if (artifact.from === undefined) return undefined;
  const source = known.artifacts.get(artifact.from.replace(/^\{\{\s*|\s*\}\}$/g, ""));
  if (!source) return undefined;
  if (artifact.subPath === undefined || source.kind !== "stored") return source;
  return { ...source, subPath: substitute(artifact.subPath, known.parameters) };
}

function composed(
  template: Template,
  scope: Scope,
  sources: ReadonlyMap<string, ArtifactSource>,
): Outputs {
  const parameters = new Map<string, string>();
  const artifacts = new Map<string, StoredArtifact>();
  for (const item of template.outputs?.parameters ?? []) {
    const written: Scalar =
      item.valueFrom?.parameter ?? item.value ?? item.valueFrom?.default ?? "";
    parameters.set(item.name, substitute(String(written), scope));
  }
  for (const item of template.outputs?.artifacts ?? []) {
    const source = sourceOf(item, { parameters: scope, artifacts: sources });
    if (source?.kind === "stored") artifacts.set(item.name, source.artifact);
    else if (!item.optional) throw notGiven("artifact", item.name, "outputs.artifacts.from");
  }
  return { parameters, artifacts };
}

function publish({ scope, sources, word }: Place, step: string, { node, outputs }: Ended): void {
  const base = `${word}.${step}`;
  scope.set(`${base}.status`, node.phase);
  scope.set(`${base}.id`, node.id);
  if (outputs.result !== undefined) scope.set(`${base}.outputs.result`, outputs.result);
  if (outputs.exitCode !== undefined) scope.set(`${base}.exitCode`, String(outputs.exitCode));
  for (const [name, value] of outputs.parameters)
    scope.set(`${base}.outputs.parameters.${name}`, value);
  for (const [name, artifact] of outputs.artifacts)
    sources.set(`${base}.outputs.artifacts.${name}`, { kind: "stored", artifact });
}

/** A loop's outputs are JSON lists in the order of its items. A result that is no JSON stays a string in it. */
function aggregate({ scope, word }: Place, step: string, all: readonly Outputs[]): void {
  const base = `${word}.${step}.outputs`;
  scope.set(`${base}.result`, JSON.stringify(all.map((item) => parsed(item.result ?? ""))));
  scope.set(
    `${base}.parameters`,
    JSON.stringify(all.map((item) => Object.fromEntries(item.parameters))),
  );
  for (const name of all[0]?.parameters.keys() ?? []) {
    scope.set(
      `${base}.parameters.${name}`,
      JSON.stringify(all.map((item) => parsed(item.parameters.get(name) ?? ""))),
    );
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function loop(step: Step, scope: Scope): readonly unknown[] | undefined {
  if (step.withItems) return checkedCount(step, substitute(step.withItems, scope));
  if (step.withParam === undefined) return undefined;
  const text = substitute(step.withParam, scope);
  const value = parsed(text);
  if (!Array.isArray(value)) {
    throw new Failure(
      "workflow-invalid",
      `withParam of "${step.name}" is no JSON list: ${text.slice(0, 100)}`,
      {
        hint: 'The step before must print a list such as [1, 2] or [{"a": 1}].',
      },
    );
  }
  return checkedCount(step, value);
}

function checkedCount(step: Step, items: readonly unknown[]): readonly unknown[] {
  if (items.length <= loopItems) return items;
  throw new Failure(
    "workflow-invalid",
    `The loop of "${step.name}" has ${items.length} items; the ceiling is ${loopItems}`,
  );
}

/** A scope over another: a loop of 10,000 items must not copy it 10,000 times. */
function withItem(scope: Scope, item: unknown): Scope {
  const own = new Map<string, string>();
  own.set("item", typeof item === "string" ? item : JSON.stringify(item));
  if (typeof item === "object" && item !== null && !Array.isArray(item)) {
    for (const [key, value] of Object.entries(item)) {
      own.set(`item.${key}`, typeof value === "object" ? JSON.stringify(value) : String(value));
    }
  }
  return { get: (name) => own.get(name) ?? scope.get(name) };
}

/** Argo writes an item in a node's name as `value`, and a mapping as `a:1,b:2`. */
function shown(item: unknown): string {
  if (typeof item !== "object" || item === null) return String(item);
  return Object.entries(item)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(
      ([key, value]) =>
        `${key}:${typeof value === "object" ? JSON.stringify(value) : String(value)}`,
    )
    .join(",");
}

function tolerated(node: NodeStatus, step: Step): NodeStatus | undefined {
  if (node.phase === "Failed") return step.continueOn?.failed ? undefined : node;
  if (node.phase === "Error") return step.continueOn?.error ? undefined : node;
  return undefined;
}

function known(
  word: string,
  given: readonly string[],
  asked: readonly { readonly name: string }[],
): void {
  for (const name of given) {
    if (asked.some((item) => item.name === name)) continue;
    throw new Failure("invalid-argument", `The workflow has no ${word} "${name}"`, {
      hint:
        asked.length === 0
          ? `It takes no ${word}s.`
          : `It takes: ${asked.map((item) => item.name).join(", ")}.`,
    });
  }
}

function notGiven(word: string, name: string, how: string): Failure {
  return new Failure("invalid-argument", `The ${word} "${name}" is not given`, {
    hint: `Give it with ${how}.`,
  });
}

function checkEnum(name: string, value: string, allowed: readonly Scalar[] | undefined): void {
  if (!allowed || allowed.some((item) => String(item) === value)) return;
  throw new Failure("invalid-argument", `The parameter "${name}" is "${value}"`, {
    hint: `It may be: ${allowed.join(", ")}.`,
  });
}

/** FNV-1a with 32 bits, as Argo hashes a node's name. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

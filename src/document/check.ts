import { CallCheck } from "./calls.ts";
import { dependenciesOf } from "./depends.ts";
import type { Wrong } from "./forms.ts";
import { findCircles, reach, Ancestors } from "./graph.ts";
import type { Limits } from "../limits/mod.ts";
import { checkTemplatePlaces, checkWorkflowPlaces, type SecretCheck } from "./locations.ts";
import { checkLeaf, checkLimits, checkOutputs, checkUnique } from "./leaf.ts";
import type {
  LifecycleHook,
  Step,
  Template,
  TemplateRef,
  Workflow,
  WorkflowTemplate,
} from "./model.ts";
import type { Globals, Scope, Sibling, Siblings } from "./names.ts";
import { TextCheck, type ConfigMaps } from "./texts.ts";
import type { Origins } from "./shape.ts";
import type { Report, Spot } from "./source.ts";
import { meant } from "./suggest.ts";
import type { Mapping } from "./tree.ts";

/** A document whose steps look for templates among its own first. */
export interface Holder {
  /** `WorkflowTemplate/NAME`, `ClusterWorkflowTemplate/NAME`, or nothing for the workflow. */
  readonly key: string;
  readonly tree: Mapping;
  readonly document: Workflow | WorkflowTemplate;
  readonly templates: ReadonlyMap<string, Template>;
}

/** The library as one workflow sees it: with its `templateDefaults`. */
export interface Library {
  readonly find: (key: string) => Holder | undefined;
  readonly names: () => Iterable<string>;
}

/** A template where it stands. An inline one has the name of its step after the one of the template around it. */
export interface Found {
  readonly id: string;
  readonly holder: Holder;
  readonly template: Omit<Template, "name">;
  readonly label: string;
  /** The place that an inline template stands in. */
  readonly outer?: Scope;
}

interface Edge {
  readonly to: string;
  /** Whether a condition, a loop or a failure decides that it is taken. */
  readonly guarded: boolean;
}

export interface CheckOptions {
  readonly report: Report;
  readonly origins: Origins;
  readonly library: Library;
  /** Parameters that are given at the start, beside those of the document. */
  readonly parameters: readonly string[];
  readonly configMaps: ConfigMaps;
  /** The highest limits that a step may ask for. */
  readonly limits: Limits;
  /** Looks at the secrets of stores; absent: nobody has said which there are. */
  readonly secrets?: SecretCheck | undefined;
}

/** Finds what the keys and values of one workflow, or of a library alone, do not tell: whether it all fits together. */
export class Check {
  readonly #report: Report;
  readonly #origins: Origins;
  readonly #library: Library;
  readonly #given: readonly string[];
  readonly #limits: Limits;
  readonly #secrets: SecretCheck | undefined;
  readonly #texts: TextCheck;
  readonly #calls: CallCheck;
  readonly #found = new Map<string, Found>();
  readonly #edges = new Map<string, Edge[]>();
  readonly #holders = new Map<string, Holder>();
  /** Templates that onExit and hooks run. */
  readonly #handlers = new Set<string>();

  constructor(options: CheckOptions) {
    const { report, origins, library, parameters, configMaps, limits } = options;
    this.#secrets = options.secrets;
    this.#limits = limits;
    this.#report = report;
    this.#origins = origins;
    this.#library = library;
    this.#given = parameters;
    this.#texts = new TextCheck(report, origins, configMaps);
    this.#calls = new CallCheck(report, origins);
  }

  /** Checks a workflow with all it reaches; returns the library documents among that. */
  workflow(holder: Holder): readonly Holder[] {
    const { spec } = holder.document;
    this.#collect(holder);
    const entry = this.#entry(holder);
    const handlers = this.#workflowHooks(holder);
    this.#grow(this.#found.keys());
    const reached = reach([...(entry === undefined ? [] : [entry]), ...handlers], (id) =>
      this.#next(id),
    );
    const handling = reach([...handlers, ...this.#handlers], (id) => this.#next(id));
    const globals = this.#globals(holder);
    this.#spec(holder, globals);
    for (const found of this.#found.values()) {
      if (found.outer || (found.holder !== holder && !reached.has(found.id))) continue;
      this.#template(found, globals, handling.has(found.id));
    }
    this.#circles();
    if (spec.arguments) this.#calls.given(spec.arguments, "workflow");
    return [...this.#holders.values()].filter((other) => other !== holder);
  }

  /** Checks the templates of a library that no workflow has reached. */
  alone(holder: Holder): void {
    this.#collect(holder);
    this.#grow(this.#found.keys());
    const globals: Globals = { priority: true };
    this.#spec(holder, globals);
    for (const found of this.#found.values()) {
      if (found.holder === holder && !found.outer) this.#template(found, globals, true);
    }
    this.#circles();
    const { entrypoint } = holder.document.spec;
    if (entrypoint !== undefined) this.#entry(holder);
    this.#workflowHooks(holder);
    if (holder.document.spec.arguments)
      this.#calls.given(holder.document.spec.arguments, "workflow");
  }

  #collect(holder: Holder): void {
    if (this.#holders.has(holder.key)) return;
    this.#holders.set(holder.key, holder);
    for (const template of holder.templates.values()) {
      const id = `${holder.key}/${template.name}`;
      this.#found.set(id, { id, holder, template, label: `Template "${template.name}"` });
    }
  }

  #next(id: string): readonly string[] {
    return (this.#edges.get(id) ?? []).map(({ to }) => to);
  }

  /** Follows all calls from these templates. Each call that leads nowhere is reported. */
  #grow(ids: Iterable<string>): void {
    const todo = [...ids];
    for (let id = todo.pop(); id !== undefined; id = todo.pop()) {
      const found = this.#found.get(id);
      if (!found || this.#edges.has(id)) continue;
      const edges: Edge[] = [];
      this.#edges.set(id, edges);
      for (const step of stepsOf(found.template)) {
        const target = this.#stepTarget(step, found);
        if (target) edges.push({ to: target.id, guarded: isGuarded(step) });
        const hooks = this.#hooksOf(step, found.holder);
        for (const { to } of hooks) this.#handlers.add(to);
        edges.push(...hooks);
      }
      todo.push(...edges.map(({ to }) => to));
    }
  }

  #stepTarget(step: Step, found: Found): Found | undefined {
    const said = (["template", "templateRef", "inline"] as const).filter(
      (key) => step[key] !== undefined,
    );
    if (said.length !== 1) {
      const what = said.length === 0 ? "runs nothing" : `has ${said.join(" and ")}`;
      this.#report.problem(
        this.#spot(step),
        `"${step.name}" ${what}`,
        "Give it one of template, templateRef, inline.",
      );
    }
    if (step.inline) {
      const id = `${found.id}/${step.name}`;
      const known = this.#found.get(id);
      if (known) return known;
      const inline: Found = {
        id,
        holder: found.holder,
        template: step.inline,
        label: `The inline template of "${step.name}"`,
        outer: noScope,
      };
      this.#found.set(id, inline);
      return inline;
    }
    return this.#target(step, found.holder);
  }

  /** The template that a step or hook names. What is filled in as it runs is not known before. */
  #target(caller: Step | LifecycleHook, holder: Holder): Found | undefined {
    const { template, templateRef } = caller;
    if (templateRef) return this.#referred(templateRef);
    if (template === undefined || template === "" || template.includes("{{")) return undefined;
    return this.#named(template, holder, this.#part(caller, "template"));
  }

  #named(name: string, holder: Holder, spot: Spot): Found | undefined {
    const found = this.#found.get(`${holder.key}/${name}`);
    if (!found)
      this.#report.problem(
        spot,
        `There is no template "${name}"`,
        this.#meant(name, holder.templates.keys()),
      );
    return found;
  }

  #referred(ref: TemplateRef): Found | undefined {
    if (ref.name === "" || ref.template === "" || `${ref.name}${ref.template}`.includes("{{"))
      return undefined;
    const kind = ref.clusterScope ? "ClusterWorkflowTemplate" : "WorkflowTemplate";
    const holder = this.#library.find(`${kind}/${ref.name}`);
    if (!holder) {
      const names = [...this.#library.names()];
      this.#report.problem(
        this.#part(ref, "name"),
        `There is no ${kind} "${ref.name}" among the files`,
        missingLibrary(ref.name, kind, names),
      );
      return undefined;
    }
    this.#collect(holder);
    return this.#named(ref.template, holder, this.#part(ref, "template"));
  }

  #hooksOf(step: Step, holder: Holder): readonly Edge[] {
    const edges: Edge[] = [];
    if (step.onExit !== undefined && step.onExit !== "" && !step.onExit.includes("{{")) {
      const target = this.#named(step.onExit, holder, this.#part(step, "onExit"));
      if (target) {
        this.#calls.call({
          caller: {},
          spot: this.#part(step, "onExit"),
          target: target.template,
          label: `The onExit of "${step.name}"`,
          of: step.onExit,
        });
        edges.push({ to: target.id, guarded: false });
      }
    }
    edges.push(...this.#lifecycle(step.hooks, holder));
    return edges;
  }

  #lifecycle(
    hooks: Readonly<Record<string, LifecycleHook>> | undefined,
    holder: Holder,
  ): readonly Edge[] {
    const edges: Edge[] = [];
    for (const [name, hook] of Object.entries(hooks ?? {})) {
      const spot = this.#spot(hook);
      if ((hook.template === undefined) === (hook.templateRef === undefined)) {
        this.#report.problem(
          spot,
          `The hook "${name}" ${hook.template === undefined ? "runs nothing" : "has template and templateRef"}`,
          "Give it one of template, templateRef.",
        );
      }
      if (name !== "exit" && hook.expression === undefined) {
        this.#report.problem(
          spot,
          `The hook "${name}" lacks "expression"`,
          'Say when it runs; only the hook named "exit" runs at the end.',
        );
      }
      const target = this.#target(hook, holder);
      if (!target) continue;
      this.#calls.call({
        caller: hook,
        spot,
        target: target.template,
        label: `The hook "${name}"`,
        of: hook.template ?? hook.templateRef?.template ?? "",
      });
      edges.push({ to: target.id, guarded: hook.expression !== undefined });
    }
    return edges;
  }

  #entry(holder: Holder): string | undefined {
    const { spec } = holder.document;
    const specSpot = this.#spot(spec);
    if (spec.entrypoint === undefined || spec.entrypoint === "") {
      this.#report.problem(specSpot, 'The workflow has no "entrypoint"', this.#meantEntry(holder));
      return undefined;
    }
    const target = this.#found.get(`${holder.key}/${spec.entrypoint}`);
    const spot = this.#part(spec, "entrypoint");
    if (!target) {
      this.#report.problem(
        spot,
        `The entrypoint "${spec.entrypoint}" is no template`,
        this.#meant(spec.entrypoint, holder.templates.keys()),
      );
      return undefined;
    }
    this.#calls.entry({
      given: spec.arguments,
      spot,
      target: target.template,
      label: `The entrypoint "${spec.entrypoint}"`,
      more: this.#given,
    });
    return target.id;
  }

  #meantEntry(holder: Holder): string {
    const [first] = holder.templates.keys();
    return first === undefined
      ? "Add templates, and name the one to begin with."
      : `Add "entrypoint: ${first}", or the template to begin with.`;
  }

  #workflowHooks(holder: Holder): readonly string[] {
    const { spec } = holder.document;
    const ids: string[] = [];
    if (spec.onExit !== undefined && spec.onExit !== "") {
      const spot = this.#part(spec, "onExit");
      const target = this.#named(spec.onExit, holder, spot);
      if (target) {
        this.#calls.entry({
          given: spec.arguments,
          spot,
          target: target.template,
          label: `The onExit "${spec.onExit}"`,
          more: this.#given,
        });
        ids.push(target.id);
      }
    }
    ids.push(...this.#lifecycle(spec.hooks, holder).map(({ to }) => to));
    return ids;
  }

  #globals(holder: Holder): Globals {
    const { spec, metadata } = holder.document;
    const outputs = { parameters: new Set<string>(), artifacts: new Set<string>() };
    const open = { parameters: false, artifacts: false };
    for (const { template } of this.#found.values()) {
      for (const kind of ["parameters", "artifacts"] as const) {
        for (const { globalName } of template.outputs?.[kind] ?? []) {
          if (globalName?.includes("{{")) open[kind] = true;
          else if (globalName !== undefined) outputs[kind].add(globalName);
        }
      }
    }
    return {
      parameters: new Set([
        ...(spec.arguments?.parameters ?? []).map(({ name }) => name),
        ...this.#given,
      ]),
      ...(open.parameters ? {} : { outputParameters: outputs.parameters }),
      ...(open.artifacts ? {} : { outputArtifacts: outputs.artifacts }),
      labels: new Set(Object.keys(metadata.labels ?? {})),
      annotations: new Set(Object.keys(metadata.annotations ?? {})),
      priority: spec.priority !== undefined,
    };
  }

  #placing(): Parameters<typeof checkTemplatePlaces>[1] {
    return { report: this.#report, origins: this.#origins, secrets: this.#secrets };
  }

  /** What stands in a specification beside its templates. */
  #spec(holder: Holder, globals: Globals): void {
    const { spec } = holder.document;
    checkWorkflowPlaces(spec, this.#placing());
    const scope: Scope = { globals, templates: [], looped: false, retried: false, handler: false };
    this.#texts.below(spec, scope, {
      skip: ["templates", "templateDefaults", "hooks", "retryStrategy", "workflowTemplateRef"],
    });
    for (const hook of Object.values(spec.hooks ?? {}))
      this.#texts.below(hook, { ...scope, handler: true });
    if (spec.retryStrategy) this.#texts.below(spec.retryStrategy, { ...scope, retried: true });
  }

  #template(found: Found, globals: Globals, handler: boolean): void {
    const { template } = found;
    const retried = template.retryStrategy !== undefined;
    const scope: Scope = {
      globals,
      looped: found.outer?.looped ?? false,
      retried: retried || (found.outer?.retried ?? false),
      handler: handler || (found.outer?.handler ?? false),
      templates: [template, ...(found.outer?.templates ?? [])],
      ...(found.outer?.siblings ? { siblings: found.outer.siblings } : {}),
    };
    checkUnique(template, this.#report, this.#origins);
    checkLeaf(found, this.#report, this.#origins);
    checkLimits(found, this.#limits, this.#report, this.#origins);
    checkOutputs(found, this.#report, this.#origins);
    checkTemplatePlaces(template, this.#placing());
    this.#texts.below(template, scope, { skip: ["steps", "dag", "outputs"] });
    if (template.steps) this.#steps(found, scope);
    else if (template.dag) this.#dag(found, scope);
    else if (template.outputs) this.#texts.below(template.outputs, scope);
  }

  #steps(found: Found, scope: Scope): void {
    const groups = found.template.steps ?? [];
    const place = new Map<string, { readonly group: number; readonly step: Step }>();
    for (const [group, steps] of groups.entries()) {
      for (const step of steps) this.#place(place, step, { group, step });
    }
    const siblings = (group: number, self?: string): Siblings => ({
      word: "steps",
      names: () => place.keys(),
      find: (name) => this.#sibling(place.get(name)?.step, found),
      hidden: (name, tell) => {
        const known = place.get(name);
        if (!known || known.group < group || name === self) return;
        const when = known.group === group ? "runs at the same time" : "runs later";
        tell({
          message: `Step "${name}" ${when}: nothing of it is known here`,
          hint: "Refer to a step of an earlier group.",
        });
      },
    });
    for (const [group, steps] of groups.entries()) {
      for (const step of steps) {
        this.#step(
          step,
          found,
          { ...scope, siblings: siblings(group) },
          { ...scope, siblings: siblings(group, step.name) },
        );
      }
    }
    if (found.template.outputs) {
      this.#texts.below(found.template.outputs, { ...scope, siblings: siblings(groups.length) });
    }
  }

  #place<T>(place: Map<string, T>, step: Step, value: T): void {
    if (step.name === "") return;
    if (place.has(step.name)) {
      this.#report.problem(
        this.#part(step, "name"),
        `The name "${step.name}" is used twice`,
        "Give each step a name of its own.",
      );
    } else place.set(step.name, value);
  }

  #sibling(step: Step | undefined, found: Found): Sibling | undefined {
    if (!step) return undefined;
    const target = this.#quietTarget(step, found);
    return target ? { step, template: target.template } : { step };
  }

  /** What a step runs, without a word when it is not there: `#grow` has said it. */
  #quietTarget(step: Step, { id, holder }: Found): Found | undefined {
    if (step.inline) return this.#found.get(`${id}/${step.name}`);
    const { templateRef: ref } = step;
    if (!ref) return this.#found.get(`${holder.key}/${step.template ?? ""}`);
    return this.#found.get(
      `${ref.clusterScope ? "ClusterWorkflowTemplate" : "WorkflowTemplate"}/${ref.name}/${ref.template}`,
    );
  }

  #dag(found: Found, scope: Scope): void {
    const dag = found.template.dag ?? { tasks: [] };
    const place = new Map<string, Step>();
    for (const task of dag.tasks) this.#place(place, task, task);
    if (dag.tasks.length === 0)
      this.#report.problem(this.#spot(dag), `${found.label} has no tasks`, "Add one.");
    const usesDepends = dag.tasks.some(({ depends }) => depends !== undefined);
    const dependencies = new Map<string, readonly string[]>();
    for (const task of place.values()) {
      dependencies.set(
        task.name,
        dependenciesOf(task, { place, usesDepends, report: this.#report, origins: this.#origins }),
      );
    }
    for (const circle of findCircles(dependencies.keys(), (name) => dependencies.get(name) ?? [])) {
      const task = place.get(circle[0] ?? "");
      if (task)
        this.#report.problem(
          this.#spot(task),
          `Task "${task.name}" waits for itself: ${trail(circle)}`,
          "Remove one of the dependencies.",
        );
    }
    for (const name of (dag.target ?? "").split(/\s+/)) {
      if (name === "" || name.includes("{{") || name.includes("}}") || place.has(name)) continue;
      this.#report.problem(
        this.#part(dag, "target"),
        `The target "${name}" is no task`,
        this.#meant(name, place.keys()),
      );
    }
    if (dag.target !== undefined) this.#texts.part(dag, "target", scope);
    const ancestors = new Ancestors(dependencies);
    const siblings = (self?: { readonly name: string; readonly hook: boolean }): Siblings => ({
      word: "tasks",
      names: () => place.keys(),
      find: (name) => this.#sibling(place.get(name), found),
      hidden: (name, tell) => {
        if (!self || (self.hook && self.name === name)) return;
        if (self.name === name) return tell(itself);
        ancestors.ask(self.name, name, () =>
          tell({
            message: `Task "${self.name}" does not depend on "${name}": nothing of it is known here`,
            hint: `Add "${name}" to its ${usesDepends ? "depends" : "dependencies"}.`,
          }),
        );
      },
    });
    for (const task of dag.tasks) {
      this.#step(
        task,
        found,
        { ...scope, siblings: siblings({ name: task.name, hook: false }) },
        { ...scope, siblings: siblings({ name: task.name, hook: true }) },
      );
    }
    if (found.template.outputs)
      this.#texts.below(found.template.outputs, { ...scope, siblings: siblings() });
    ancestors.answer();
  }

  #step(step: Step, found: Found, around: Scope, hookScope: Scope): void {
    const loops = (["withItems", "withParam", "withSequence"] as const).filter(
      (key) => step[key] !== undefined,
    );
    if (loops.length > 1)
      this.#report.problem(
        this.#spot(step),
        `"${step.name}" has ${loops.join(" and ")}`,
        "Keep one of them.",
      );
    const { withSequence: sequence } = step;
    if (sequence && (sequence.count === undefined) === (sequence.end === undefined)) {
      this.#report.problem(
        this.#spot(sequence),
        `withSequence has ${sequence.count === undefined ? "neither count nor end" : "count and end"}`,
        "Give one of the two.",
      );
    }
    const scope: Scope = { ...around, looped: around.looped || loops.length > 0 };
    this.#texts.below(step, around, { only: ["withItems", "withParam", "withSequence"] });
    this.#texts.below(step, scope, {
      skip: [
        "withItems",
        "withParam",
        "withSequence",
        "hooks",
        "onExit",
        "inline",
        "depends",
        "dependencies",
        "name",
      ],
    });
    for (const hook of Object.values(step.hooks ?? {})) {
      this.#texts.below(hook, { ...hookScope, looped: scope.looped, handler: true });
      if (hook.arguments) this.#calls.given(hook.arguments, "step");
    }
    if (step.arguments) this.#calls.given(step.arguments, "step");
    const target = this.#quietTarget(step, found);
    if (!target) return;
    this.#calls.call({
      caller: step,
      spot: this.#spot(step),
      target: target.template,
      label: `"${step.name}"`,
      of: step.template ?? step.templateRef?.template ?? "",
    });
    if (step.inline) this.#template({ ...target, outer: scope }, scope.globals, scope.handler);
  }

  /** A template may come back to itself, but not without a condition: that would never end. */
  #circles(): void {
    const next = (id: string): readonly string[] =>
      (this.#edges.get(id) ?? []).filter(({ guarded }) => !guarded).map(({ to }) => to);
    for (const circle of findCircles(this.#found.keys(), next)) {
      const found = this.#found.get(circle[0] ?? "");
      if (!found) continue;
      const names = circle.map((id) => id.slice(id.lastIndexOf("/") + 1));
      this.#report.problem(
        this.#spot(found.template),
        `${found.label} leads back to itself: ${trail(names)}`,
        'Break the circle, or give a step of it a "when".',
      );
    }
  }

  #spot(built: object): Spot {
    return this.#origins.spot(built);
  }

  #part(built: object, key: string | number): Spot {
    return this.#origins.part(built, key) ?? this.#spot(built);
  }

  #meant(word: string, known: Iterable<string>): string | undefined {
    return this.#report.crowded ? undefined : meant(word, known);
  }
}

const itself: Wrong = {
  message: "A task knows nothing of itself before it has run",
  hint: "Its hooks do.",
};

const noScope: Scope = {
  globals: { priority: true },
  templates: [],
  looped: false,
  retried: false,
  handler: false,
};

export function stepsOf(template: Omit<Template, "name">): readonly Step[] {
  return template.steps?.flat() ?? template.dag?.tasks ?? [];
}

function isGuarded(step: Step): boolean {
  return (
    (step.when ?? step.withItems ?? step.withParam ?? step.withSequence) !== undefined ||
    (step.depends?.includes(".") ?? false)
  );
}

function trail(names: readonly string[]): string {
  if (names.length <= 12) return names.join(" → ");
  return `${names.slice(0, 6).join(" → ")} → … → ${names.slice(-4).join(" → ")}`;
}

export function missingLibrary(name: string, kind: string, keys: readonly string[]): string {
  const known = keys
    .filter((key) => key.startsWith(`${kind}/`))
    .map((key) => key.slice(kind.length + 1));
  const other = kind === "WorkflowTemplate" ? "ClusterWorkflowTemplate" : "WorkflowTemplate";
  if (keys.includes(`${other}/${name}`)) {
    return kind === "WorkflowTemplate"
      ? 'There is a ClusterWorkflowTemplate of this name: add "clusterScope: true".'
      : 'There is a WorkflowTemplate of this name: remove "clusterScope".';
  }
  return known.length === 0 ? `Give the file with the ${kind}, too.` : meant(name, known);
}

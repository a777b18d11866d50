import type { Place } from "../errors/mod.ts";
import type {
  Bundle,
  LifecycleHook,
  RetryStrategy,
  Scalar,
  Sequence,
  Step,
  Synchronization,
  Template,
} from "../document/mod.ts";

/** A step of the workflow as it is written: what would be run, not how often. The shape of `atalanta plan --graph json`. */
export interface PlanNode {
  /** Names from the entry down, such as `main/split`. */
  readonly id: string;
  readonly name: string;
  /** `circle` leads back to a template around it; `cut` is one too many to show. */
  readonly kind: "steps" | "dag" | "wasm" | "container" | "script" | "suspend" | "circle" | "cut";
  readonly template: string;
  readonly place?: Place;
  /** Image or module file. */
  readonly program?: string;
  /** `×3`, or `for each of {{…}}`. */
  readonly loop?: string;
  readonly when?: string;
  /** Tasks of a DAG: ids of the tasks that it waits for, with how they must have ended where that is written. */
  readonly after: readonly { readonly id: string; readonly how?: string }[];
  /** The whole `depends` expression. */
  readonly depends?: string;
  /** Everything else that decides how it runs: `retry 3×`, `time 30s` … */
  readonly notes: readonly string[];
  /** Groups one after the other; the members of a group together. A DAG is one group. */
  readonly groups: readonly (readonly PlanNode[])[];
  /** What runs when something has happened to this node. */
  readonly hooks: readonly { readonly on: string; readonly node: PlanNode }[];
}

export interface Plan {
  readonly name: string;
  readonly entrypoint: string;
  readonly parameters: readonly { readonly name: string; readonly value?: string }[];
  readonly artifacts: readonly { readonly name: string; readonly needed: boolean }[];
  readonly notes: readonly string[];
  readonly root: PlanNode;
  readonly hooks: PlanNode["hooks"];
}

/** Nodes of a plan. Templates that call others twice grow with the power of their depth, so there must be an end. */
const planNodes = 5000;

/** Where a step's template is: its name, and the library that its own steps' names are looked up in. */
interface Found {
  readonly template: Omit<Template, "name">;
  /** Name as in a node of a run, and key into the bundle's places. */
  readonly name: string;
  readonly library?: string;
}

/** The graph of a workflow, from what is written. */
export function planOf(bundle: Bundle): Plan {
  const { metadata, spec } = bundle.workflow;
  const builder = new Builder(bundle);
  const entrypoint = spec.entrypoint ?? "";
  const root = builder.node({
    id: entrypoint,
    name: entrypoint,
    found: builder.find({ name: "", template: entrypoint }),
    around: [],
  });
  return {
    name: metadata.name ?? metadata.generateName ?? "workflow",
    entrypoint,
    parameters: (spec.arguments?.parameters ?? []).map(({ name, value, default: other }) => ({
      name,
      ...(value === undefined && other === undefined ? {} : { value: String(value ?? other) }),
    })),
    artifacts: (spec.arguments?.artifacts ?? []).map((item) => ({
      name: item.name,
      needed: !item.optional && !item.raw && !item.s3,
    })),
    notes: [
      ...present(spec.parallelism, (count) => `at most ${count} at once`),
      ...present(spec.activeDeadlineSeconds, (seconds) => `time ${seconds}s`),
      ...present(spec.synchronization, locks),
      ...(spec.suspend ? ["starts suspended"] : []),
    ],
    root,
    hooks: builder.hooks("", spec, undefined, []),
  };
}

class Builder {
  readonly #bundle: Bundle;
  #left = planNodes;

  constructor(bundle: Bundle) {
    this.#bundle = bundle;
  }

  find(step: Pick<Step, "name" | "template" | "templateRef" | "inline">, at?: Found): Found {
    const { inline, templateRef } = step;
    if (inline) {
      const name = `${at?.name ?? ""}/${step.name}`;
      return { template: inline, name, ...optional("library", at?.library) };
    }
    const library = templateRef
      ? `${templateRef.clusterScope ? "ClusterWorkflowTemplate" : "WorkflowTemplate"}/${templateRef.name}`
      : at?.library;
    const wanted = templateRef?.template ?? step.template ?? "";
    const spec =
      library === undefined ? this.#bundle.workflow.spec : this.#bundle.library[library]?.spec;
    const template = spec?.templates?.find((item) => item.name === wanted) ?? { name: wanted };
    const owner = library?.slice(library.indexOf("/") + 1);
    return {
      template,
      name: owner === undefined ? wanted : `${owner}/${wanted}`,
      ...optional("library", library),
    };
  }

  node(given: {
    readonly id: string;
    readonly name: string;
    readonly found: Found;
    /** Names of the templates around it. */
    readonly around: readonly string[];
    readonly step?: Step;
    readonly after?: PlanNode["after"];
  }): PlanNode {
    const { id, name, found, around, step, after = [] } = given;
    const { template } = found;
    const circle = around.includes(found.name);
    const kind = circle ? "circle" : this.#left-- <= 0 ? "cut" : kindOf(template);
    const inside = [...around, found.name];
    const place = this.#bundle.places[found.name];
    const program = template.wasm
      ? (template.wasm.image ?? template.wasm.module)
      : (template.container ?? template.script)?.image;
    return {
      id,
      name,
      kind,
      template: found.name,
      ...optional("place", place),
      ...optional("program", kind === "circle" || kind === "cut" ? undefined : program),
      ...optional("loop", step && loopOf(step)),
      ...optional("when", step?.when),
      after,
      ...optional("depends", step?.depends),
      notes: [...notesOfTemplate(template), ...(step ? notesOfStep(step) : [])],
      groups:
        kind === "steps"
          ? (template.steps ?? []).map((group) =>
              group.map((item) => this.#step(id, item, found, inside)),
            )
          : kind === "dag"
            ? [(template.dag?.tasks ?? []).map((task) => this.#step(id, task, found, inside))]
            : [],
      hooks: kind === "cut" ? [] : this.hooks(id, step ?? {}, given.found, around),
    };
  }

  #step(parent: string, step: Step, at: Found, around: readonly string[]): PlanNode {
    return this.node({
      id: `${parent}/${step.name}`,
      name: step.name,
      found: this.find(step, at),
      around,
      step,
      after: dependencies(step).map(({ task, how }) => ({
        id: `${parent}/${task}`,
        ...optional("how", how),
      })),
    });
  }

  hooks(
    id: string,
    owner: {
      readonly onExit?: string;
      readonly hooks?: Readonly<Record<string, LifecycleHook>>;
    },
    at: Found | undefined,
    around: readonly string[],
  ): PlanNode["hooks"] {
    const hooks: (readonly [string, string, LifecycleHook])[] = Object.entries(
      owner.hooks ?? {},
    ).map(([name, hook]) => [
      name,
      name === "exit" ? "exit" : `${name}: ${hook.expression ?? ""}`,
      hook,
    ]);
    if (owner.onExit !== undefined) hooks.push(["onExit", "exit", { template: owner.onExit }]);
    return hooks.map(([name, on, hook]) => ({
      on,
      node: this.node({
        id: `${id}/${name}`,
        name,
        found: this.find({ name, ...hook }, at),
        around,
      }),
    }));
  }
}

function kindOf(template: Omit<Template, "name">): PlanNode["kind"] {
  if (template.steps) return "steps";
  if (template.dag) return "dag";
  if (template.suspend) return "suspend";
  if (template.container) return "container";
  if (template.script) return "script";
  return "wasm";
}

function loopOf(step: Step): string | undefined {
  if (step.withItems) return `×${step.withItems.length}`;
  if (step.withParam !== undefined) return `for each of ${step.withParam}`;
  return step.withSequence && sequenceOf(step.withSequence);
}

function sequenceOf({ count, start, end }: Sequence): string {
  const from = Number(start ?? 0);
  const number = end === undefined ? Number(count) : Math.abs(Number(end) - from) + 1;
  if (Number.isInteger(number)) return `×${number}`;
  return end === undefined ? `×${count}` : `for each of ${start ?? 0} to ${end}`;
}

function notesOfStep(step: Step): string[] {
  const { failed, error } = step.continueOn ?? {};
  return failed || error
    ? [`goes on after ${[failed && "failure", error && "error"].filter(Boolean).join(" or ")}`]
    : [];
}

function notesOfTemplate(template: Omit<Template, "name">): string[] {
  const limits = Object.entries(template.wasm?.limits ?? {}).map(
    ([name, value]) => `${name} ${value}`,
  );
  const { limits: container } = template.container?.resources ?? template.script?.resources ?? {};
  const resources = Object.entries(container ?? {}).map(([name, value]) => `${name} ${value}`);
  return [
    ...limits,
    ...resources,
    ...present(template.timeout, (text) => `time ${text}`),
    ...present(template.activeDeadlineSeconds, (seconds) => `time ${seconds}s`),
    ...present(template.retryStrategy, retryOf),
    ...present(template.parallelism, (count) => `at most ${count} at once`),
    ...present(template.synchronization, locks),
    ...present(
      template.memoize,
      ({ key, cache }) => `remembered as ${key} in ${cache.configMap.name}`,
    ),
    ...(template.suspend ? [suspendOf(template.suspend.duration)] : []),
    ...(template.failFast === false || template.dag?.failFast === false
      ? ["goes on with other branches after a failure"]
      : []),
    ...present(template.dag?.target, (target) => `only up to ${target}`),
  ];
}

function suspendOf(duration: Scalar | undefined): string {
  return duration === undefined ? "until resumed" : `for ${duration}`;
}

function retryOf({ limit, retryPolicy, backoff, expression }: RetryStrategy): string {
  const parts = [`retry ${limit === undefined ? "until it succeeds" : `${limit}×`}`];
  if (retryPolicy) parts.push(retryPolicy);
  if (backoff?.duration !== undefined) {
    const { duration, factor, maxDuration, cap } = backoff;
    const grows = factor === undefined ? "" : ` ×${factor}`;
    const least = cap === undefined ? "" : ` at most ${cap}`;
    const most = maxDuration === undefined ? "" : ` for ${maxDuration} in all`;
    parts.push(`wait ${duration}${grows}${least}${most}`);
  }
  if (expression !== undefined) parts.push(`while ${expression}`);
  return parts.join(", ");
}

function locks({ mutex, mutexes = [], semaphore, semaphores = [] }: Synchronization): string {
  const names = [
    ...[...(mutex ? [mutex] : []), ...mutexes].map(({ name }) => `mutex ${name}`),
    ...[...(semaphore ? [semaphore] : []), ...semaphores].map(
      ({ configMapKeyRef: { name, key } }) => `semaphore ${name}/${key}`,
    ),
  ];
  return `holds ${names.join(", ")}`;
}

/** The tasks that a task waits for. How they must end is said of each only where all of it must hold. */
function dependencies(step: Step): readonly { readonly task: string; readonly how?: string }[] {
  const { dependencies: names = [], depends = "" } = step;
  const conditions = [...depends.matchAll(/([\w-]+)(?:\.([A-Za-z]+))?/g)];
  const conjunction = !/[!|(]/.test(depends);
  const all = new Map<string, string | undefined>(names.map((task) => [task, undefined]));
  for (const [, task = "", how] of conditions) all.set(task, conjunction ? how : undefined);
  return [...all].map(([task, how]) => ({ task, ...optional("how", how) }));
}

function present<Value>(value: Value | undefined, say: (value: Value) => string): string[] {
  return value === undefined ? [] : [say(value)];
}

/** A property that is only there when it has a value. */
function optional<Key extends string, Value>(
  key: Key,
  value: Value | undefined,
): { readonly [Name in Key]?: Value } {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a computed key widens to string; it is `Key`
  return value === undefined ? {} : ({ [key]: value } as { readonly [Name in Key]: Value });
}

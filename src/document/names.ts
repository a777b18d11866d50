import type { Arguments, Step, Template } from "./model.ts";
import type { Wrong } from "./forms.ts";
import { closest } from "./suggest.ts";

/** What a workflow makes known everywhere in it. */
export interface Globals {
  /** Absent for a library that is looked at without the workflow that uses it: then any is known. */
  readonly parameters?: ReadonlySet<string>;
  /** Absent when a `globalName` is filled in as it runs: then any is known. */
  readonly outputParameters?: ReadonlySet<string>;
  readonly outputArtifacts?: ReadonlySet<string>;
  readonly labels?: ReadonlySet<string>;
  readonly annotations?: ReadonlySet<string>;
  readonly priority: boolean;
}

/** A step or task beside the place that is looked at. */
export interface Sibling {
  readonly step: Step;
  /** Absent when it is not known what it runs. */
  readonly template?: Inputs;
}

export interface Siblings {
  readonly word: "steps" | "tasks";
  readonly find: (name: string) => Sibling | undefined;
  readonly names: () => Iterable<string>;
  /** Tells why one of them cannot be referred to from there, if so; perhaps later, when all has been asked. */
  readonly hidden: (name: string, tell: (wrong: Wrong) => void) => void;
}

type Inputs = Pick<Template, "inputs" | "outputs" | "suspend" | "steps" | "dag">;

/** What is known at a place of a document. */
export interface Scope {
  readonly globals: Globals;
  /** The template that the place is in, and the ones around an inline one. */
  readonly templates: readonly Omit<Template, "name">[];
  readonly siblings?: Siblings;
  readonly looped: boolean;
  readonly retried: boolean;
  /** Whether it runs when the workflow has ended, or something has happened to it. */
  readonly handler: boolean;
}

const stepFacts = ["id", "ip", "status", "exitCode", "startedAt", "finishedAt", "hostNodeName"];
const retryFacts = [
  "lastRetry.exitCode",
  "lastRetry.status",
  "lastRetry.duration",
  "lastRetry.message",
];
const workflowFacts = [
  "name",
  "namespace",
  "uid",
  "serviceAccountName",
  "mainEntrypoint",
  "creationTimestamp",
  "duration",
];

/** How a name is looked at. */
export interface How {
  /** Whether it stands in an expression, where a part of a name is known, too. */
  readonly part: boolean;
  /** Whether to say only that it is wrong: looking for what was meant takes time. */
  readonly brief: boolean;
}

/** What is wrong with a name that a tag or an expression refers to. */
export function wrongName(name: string, scope: Scope, how: How): Wrong | undefined {
  const words = name.split(".");
  const [root = ""] = words;
  if (root === "item")
    return scope.looped
      ? undefined
      : unknown(name, "Only a step with withItems, withParam or withSequence has an item.");
  if (root === "workflow") return wrongGlobal(name, words.slice(1), scope, how);
  if (root === "retries" || root === "lastRetry") return wrongRetry(name, scope, how);
  if (root === "inputs" || root === "outputs") return wrongOwn(name, words, scope, how);
  if (root === "steps" || root === "tasks") return wrongSibling(name, words, scope, how);
  if (
    name === "node.name" ||
    name === "pod.name" ||
    (how.part && (name === "node" || name === "pod"))
  )
    return undefined;
  const near = closest(root, [
    "item",
    "workflow",
    "retries",
    "lastRetry",
    "inputs",
    "outputs",
    "steps",
    "tasks",
    "node",
    "pod",
  ]);
  return unknown(
    name,
    near === undefined
      ? "Names begin with inputs, steps, tasks, workflow, item, retries or lastRetry."
      : `Did you mean "${near === "node" || near === "pod" ? `${near}.name` : [near, ...words.slice(1)].join(".")}"?`,
  );
}

function unknown(name: string, hint?: string): Wrong {
  const message = `Nothing is known as "${name}" here`;
  return hint === undefined ? { message } : { message, hint };
}

/** "Did you mean" with the whole name. */
function among(
  name: string,
  before: string,
  word: string,
  known: Iterable<string> | undefined,
  how: How,
): Wrong {
  if (how.brief) return unknown(name);
  const list = [...(known ?? [])].slice(0, 2000);
  const near = closest(word, list);
  if (near !== undefined) return unknown(name, `Did you mean "${before}${near}"?`);
  if (list.length === 0) return unknown(name, `There is nothing in "${before.slice(0, -1)}".`);
  return unknown(
    name,
    `Known in "${before.slice(0, -1)}": ${list.slice(0, 12).join(", ")}${list.length > 12 ? " …" : "."}`,
  );
}

/** A name in a set, or in an expression something below it. `key` may have dots itself. */
function has(known: ReadonlySet<string> | undefined, key: string, how: How): boolean {
  if (!known || known.has(key)) return true;
  if (!how.part) return false;
  const words = key.split(".");
  return words.some((_, count) => known.has(words.slice(0, count).join(".")));
}

function wrongGlobal(
  name: string,
  words: readonly string[],
  scope: Scope,
  how: How,
): Wrong | undefined {
  const { globals } = scope;
  const [word = "", ...rest] = words;
  const key = rest.join(".");
  if (word === "parameters" || word === "labels" || word === "annotations") {
    if (rest.length === 0 || key === "json" || has(globals[word], key, how)) return undefined;
    return among(name, `workflow.${word}.`, key, globals[word], how);
  }
  if (word === "outputs") {
    const [kind = "", ...more] = rest;
    if (kind === "parameters" || kind === "artifacts") {
      const known = kind === "parameters" ? globals.outputParameters : globals.outputArtifacts;
      if ((how.part && more.length === 0) || has(known, more.join("."), how)) return undefined;
      const fault = among(name, `workflow.outputs.${kind}.`, more.join("."), known, how);
      return known?.size === 0
        ? { ...fault, hint: "No template has an output with a globalName." }
        : fault;
    }
    return how.part && rest.length === 0
      ? undefined
      : among(name, "workflow.outputs.", kind, ["parameters", "artifacts"], how);
  }
  if (word === "status" || word === "failures") {
    return scope.handler
      ? undefined
      : unknown(name, "It is known in templates that onExit or hooks run.");
  }
  if (word === "scheduledTime")
    return unknown(name, "Only a CronWorkflow has it, and none is run here.");
  if (word === "priority" && !globals.priority)
    return unknown(name, 'The workflow has no "priority".');
  if (word === "" && how.part) return undefined;
  const timestamp = word === "creationTimestamp";
  const known = [
    ...workflowFacts,
    "parameters",
    "labels",
    "annotations",
    "outputs",
    "status",
    "failures",
    "priority",
  ];
  if (known.includes(word) && (rest.length === 0 || (timestamp && rest.length === 1)))
    return undefined;
  return among(name, "workflow.", words.join("."), known, how);
}

function wrongRetry(name: string, scope: Scope, how: How): Wrong | undefined {
  if (!scope.retried) return unknown(name, "Only a template with a retryStrategy knows it.");
  if (name === "retries" || retryFacts.includes(name) || (how.part && name === "lastRetry"))
    return undefined;
  return among(
    name,
    "lastRetry.",
    name.replace(/^lastRetry\./, ""),
    retryFacts.map((fact) => fact.slice(10)),
    how,
  );
}

/** Names of inputs or outputs; made once for each list, as a long text may ask often. */
function namesOf(
  kind: "parameters" | "artifacts",
  given: Arguments | undefined,
): ReadonlySet<string> {
  const list = given?.[kind];
  if (!list) return none;
  const known = nameSets.get(list) ?? new Set(list.map((item) => item.name));
  nameSets.set(list, known);
  return known;
}

const none: ReadonlySet<string> = new Set();
const nameSets = new WeakMap<object, ReadonlySet<string>>();

function wrongOwn(
  name: string,
  words: readonly string[],
  scope: Scope,
  how: How,
): Wrong | undefined {
  const [side = "", kind = "", ...rest] = words;
  if (how.part && kind === "") return undefined;
  if (kind !== "parameters" && kind !== "artifacts")
    return among(name, `${side}.`, kind, ["parameters", "artifacts"], how);
  const whole = rest.length === 0 && (how.part || (side === "inputs" && kind === "parameters"));
  if (whole) return undefined;
  const key = rest.join(".");
  const path = key.endsWith(".path") ? key.slice(0, -".path".length) : undefined;
  for (const template of scope.templates) {
    const names = namesOf(kind, side === "inputs" ? template.inputs : template.outputs);
    if (side === "inputs" && has(names, key, how)) return undefined;
    // where a file lies is known only where something runs
    const placed = !template.steps && !template.dag && (side === "outputs" || kind === "artifacts");
    if (placed && path !== undefined && names.has(path)) return undefined;
    if (placed && how.part && names.has(key)) return undefined;
  }
  const known = scope.templates.flatMap((template) => {
    const names = [...namesOf(kind, side === "inputs" ? template.inputs : template.outputs)];
    return side === "inputs" ? names : names.map((word) => `${word}.path`);
  });
  return among(name, `${side}.${kind}.`, key, known, how);
}

function wrongSibling(
  name: string,
  words: readonly string[],
  scope: Scope,
  how: How,
): Wrong | undefined {
  const { siblings } = scope;
  const [root = "", key = "", ...rest] = words;
  if (key === "name" && rest.length === 0) return undefined;
  if (siblings?.word !== root) {
    const hint = siblings
      ? `This is a template of ${siblings.word}: write "${[siblings.word, ...words.slice(1)].join(".")}".`
      : `Only a template of ${root} knows its ${root}. Hand the value in as an input.`;
    return unknown(name, hint);
  }
  if (how.part && key === "") return undefined;
  const sibling = siblings.find(key);
  if (!sibling) {
    if (how.brief) return unknown(name);
    const known = [...siblings.names()].slice(0, 2000);
    const near = closest(key, known);
    return near === undefined
      ? among(name, `${root}.`, key, known, how)
      : unknown(name, `Did you mean "${[root, near, ...rest].join(".")}"?`);
  }
  return how.part && rest.length === 0
    ? undefined
    : wrongFact(name, `${root}.${key}.`, rest, sibling, how);
}

function wrongFact(
  name: string,
  before: string,
  rest: readonly string[],
  { step, template }: Sibling,
  how: How,
): Wrong | undefined {
  const [fact = "", kind = "", ...more] = rest;
  if (fact !== "outputs") {
    if (stepFacts.includes(fact) && kind === "") return undefined;
    return among(
      name,
      before,
      rest.join("."),
      [...stepFacts, "outputs.result", "outputs.parameters", "outputs.artifacts"],
      how,
    );
  }
  if (how.part && kind === "") return undefined;
  const inner =
    template !== undefined && (template.steps ?? template.dag ?? template.suspend) !== undefined;
  if (kind === "result" && (more.length === 0 || how.part)) {
    if (!inner) return undefined;
    return unknown(
      name,
      "Only a step that runs a program has a result. Use one of its outputs.parameters.",
    );
  }
  if (kind === "exitCode" && more.length === 0) return undefined;
  if (kind !== "parameters" && kind !== "artifacts")
    return among(name, `${before}outputs.`, kind, ["result", "parameters", "artifacts"], how);
  if (more.length === 0) {
    const looped = step.withItems ?? step.withParam ?? step.withSequence;
    if (how.part || (kind === "parameters" && looped !== undefined)) return undefined;
  }
  if (!template || has(namesOf(kind, template.outputs), more.join("."), how)) return undefined;
  return among(
    name,
    `${before}outputs.${kind}.`,
    more.join("."),
    namesOf(kind, template.outputs),
    how,
  );
}

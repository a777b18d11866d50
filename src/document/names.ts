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
  "scheduledTime",
];

/** What is wrong with a name that a tag or an expression refers to. In an expression a part of a name is known, too. */
export function wrongName(
  name: string,
  scope: Scope,
  options: { readonly part?: boolean } = {},
): Wrong | undefined {
  const words = name.split(".");
  const [root = ""] = words;
  const part = options.part ?? false;
  if (root === "item")
    return scope.looped
      ? undefined
      : unknown(name, "Only a step with withItems, withParam or withSequence has an item.");
  if (root === "workflow") return wrongGlobal(name, words.slice(1), scope, part);
  if (root === "retries" || root === "lastRetry") return wrongRetry(name, scope, part);
  if (root === "inputs" || root === "outputs") return wrongOwn(name, words, scope, part);
  if (root === "steps" || root === "tasks") return wrongSibling(name, words, scope, part);
  if (name === "node.name" || name === "pod.name" || (part && (name === "node" || name === "pod")))
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
      : `Did you mean "${[near, ...words.slice(1)].join(".")}"?`,
  );
}

function unknown(name: string, hint: string): Wrong {
  return { message: `Nothing is known as "${name}" here`, hint };
}

/** "Did you mean" with the whole name. */
function among(
  name: string,
  before: string,
  word: string,
  known: Iterable<string> | undefined,
): Wrong {
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
function has(known: ReadonlySet<string> | undefined, key: string, part: boolean): boolean {
  if (!known || known.has(key)) return true;
  if (!part) return false;
  const words = key.split(".");
  return words.some((_, count) => known.has(words.slice(0, count).join(".")));
}

function wrongGlobal(
  name: string,
  words: readonly string[],
  scope: Scope,
  part: boolean,
): Wrong | undefined {
  const { globals } = scope;
  const [word = "", ...rest] = words;
  const key = rest.join(".");
  if (word === "parameters" || word === "labels" || word === "annotations") {
    if (rest.length === 0 || key === "json" || has(globals[word], key, part)) return undefined;
    return among(name, `workflow.${word}.`, key, globals[word]);
  }
  if (word === "outputs") {
    const [kind = "", ...more] = rest;
    if (kind === "parameters" || kind === "artifacts") {
      const known = kind === "parameters" ? globals.outputParameters : globals.outputArtifacts;
      if ((part && more.length === 0) || has(known, more.join("."), part)) return undefined;
      const fault = among(name, `workflow.outputs.${kind}.`, more.join("."), known);
      return known?.size === 0
        ? { ...fault, hint: "No template has an output with a globalName." }
        : fault;
    }
    return part && rest.length === 0
      ? undefined
      : among(name, "workflow.outputs.", kind, ["parameters", "artifacts"]);
  }
  if (word === "status" || word === "failures") {
    return scope.handler
      ? undefined
      : unknown(name, "It is known in templates that onExit or hooks run.");
  }
  if (word === "priority" && !globals.priority)
    return unknown(name, 'The workflow has no "priority".');
  if (word === "" && part) return undefined;
  const timestamp = word === "creationTimestamp" || word === "scheduledTime";
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
  return among(name, "workflow.", words.join("."), known);
}

function wrongRetry(name: string, scope: Scope, part: boolean): Wrong | undefined {
  if (!scope.retried) return unknown(name, "Only a template with a retryStrategy knows it.");
  if (name === "retries" || retryFacts.includes(name) || (part && name === "lastRetry"))
    return undefined;
  return among(
    name,
    "lastRetry.",
    name.replace(/^lastRetry\./, ""),
    retryFacts.map((fact) => fact.slice(10)),
  );
}

function namesOf(
  kind: "parameters" | "artifacts",
  given: Arguments | undefined,
): ReadonlySet<string> {
  return new Set((given?.[kind] ?? []).map((item) => item.name));
}

function wrongOwn(
  name: string,
  words: readonly string[],
  scope: Scope,
  part: boolean,
): Wrong | undefined {
  const [side = "", kind = "", ...rest] = words;
  if (part && kind === "") return undefined;
  if (kind !== "parameters" && kind !== "artifacts")
    return among(name, `${side}.`, kind, ["parameters", "artifacts"]);
  const whole = rest.length === 0 && (part || (side === "inputs" && kind === "parameters"));
  if (whole) return undefined;
  const key = rest.join(".");
  const known = new Set<string>();
  for (const template of scope.templates) {
    const leaf = !template.steps && !template.dag;
    for (const word of namesOf(kind, side === "inputs" ? template.inputs : template.outputs)) {
      if (side === "inputs") known.add(word);
      if (leaf && (side === "outputs" || kind === "artifacts")) known.add(`${word}.path`);
    }
  }
  if (has(known, key, part) || (part && [...known].some((word) => word.startsWith(`${key}.`))))
    return undefined;
  return among(name, `${side}.${kind}.`, key, known);
}

function wrongSibling(
  name: string,
  words: readonly string[],
  scope: Scope,
  part: boolean,
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
  if (part && key === "") return undefined;
  const sibling = siblings.find(key);
  if (!sibling) {
    const known = [...siblings.names()].slice(0, 2000);
    const near = closest(key, known);
    return near === undefined
      ? among(name, `${root}.`, key, known)
      : unknown(name, `Did you mean "${[root, near, ...rest].join(".")}"?`);
  }
  return part && rest.length === 0
    ? undefined
    : wrongFact(name, `${root}.${key}.`, rest, sibling, part);
}

function wrongFact(
  name: string,
  before: string,
  rest: readonly string[],
  { step, template }: Sibling,
  part: boolean,
): Wrong | undefined {
  const [fact = "", kind = "", ...more] = rest;
  if (fact !== "outputs") {
    if (stepFacts.includes(fact) && kind === "") return undefined;
    return among(name, before, rest.join("."), [
      ...stepFacts,
      "outputs.result",
      "outputs.parameters",
      "outputs.artifacts",
    ]);
  }
  if (part && kind === "") return undefined;
  const inner =
    template !== undefined && (template.steps ?? template.dag ?? template.suspend) !== undefined;
  if (kind === "result" && (more.length === 0 || part)) {
    if (!inner) return undefined;
    return unknown(
      name,
      "Only a step that runs a program has a result. Use one of its outputs.parameters.",
    );
  }
  if (kind === "exitCode" && more.length === 0) return undefined;
  if (kind !== "parameters" && kind !== "artifacts")
    return among(name, `${before}outputs.`, kind, ["result", "parameters", "artifacts"]);
  if (more.length === 0) {
    const looped = step.withItems ?? step.withParam ?? step.withSequence;
    if (part || (kind === "parameters" && looped !== undefined)) return undefined;
  }
  if (!template || has(namesOf(kind, template.outputs), more.join("."), part)) return undefined;
  return among(name, `${before}outputs.${kind}.`, more.join("."), namesOf(kind, template.outputs));
}

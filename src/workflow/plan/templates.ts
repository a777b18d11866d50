import type { Bundle, LifecycleHook, Step, Template } from "../../document/mod.ts";
import { Failure } from "../../errors/mod.ts";
import type { NodeType } from "./types.ts";

/** What becomes of a template: a leaf runs a program, the others are the planner's own. */
export type Kind = "leaf" | "suspend" | "steps" | "dag";

/** Templates that may name each other: those of the workflow, or of one library. */
interface Library {
  /** Absent for the workflow's own. */
  readonly name: string | undefined;
  readonly find: (name: string) => Used | undefined;
}

/** A template with the place it comes from. There is one for each template of a run, shared by all nodes. */
export interface Used {
  readonly template: Template;
  readonly library: Library;
  /** As `RunNode.template`. */
  readonly key: string;
  readonly kind: Kind;
}

/** What a step, a task or a hook asks for, the same for all nodes that it leads to. */
export interface Site {
  readonly name: string;
  readonly asked: Step | LifecycleHook;
  /** Of a step or task: the same, with what only they have. */
  readonly step: Step | undefined;
  /** What the names of its outputs begin with; absent where nothing is named: the entrypoint and the run's hooks. */
  readonly word: "steps" | "tasks" | undefined;
  /** The template it stands in, or the workflow. */
  readonly library: Library;
  readonly key: string;
  /** Place among the steps of its group or the tasks of its DAG. */
  readonly ordinal: number;
  /** Whether anything there reads its `outputs.result`. */
  readonly result: boolean;
}

export class Templates {
  readonly #bundle: Bundle;
  readonly #libraries = new Map<string, Library>();
  readonly #inline = new WeakMap<object, Used>();
  readonly own: Library;

  constructor(bundle: Bundle) {
    this.#bundle = bundle;
    this.own = library(undefined, bundle.workflow.spec.templates ?? []);
  }

  /** The template that a site asks for, with its tags resolved by `text`. */
  resolve(site: Site, text: (written: string) => string): Used {
    const { template, templateRef } = site.asked;
    const inline = site.step?.inline;
    if (inline) return this.#inlined(inline, site);
    if (templateRef) {
      const name = text(templateRef.name);
      const kind = templateRef.clusterScope ? "ClusterWorkflowTemplate" : "WorkflowTemplate";
      const from = this.#library(`${kind}/${name}`, name);
      return found(from, text(templateRef.template));
    }
    if (template === undefined) {
      throw new Failure("workflow-invalid", `"${site.name}" names no template`, {
        hint: "Write template, templateRef or inline.",
      });
    }
    return found(site.library, text(template));
  }

  #library(key: string, name: string): Library {
    const known = this.#libraries.get(key);
    if (known) return known;
    const document = this.#bundle.library[key];
    if (!document) {
      throw new Failure("workflow-invalid", `workflow template ${name} not found`, {
        hint: "Give the file that has it beside the workflow.",
      });
    }
    const made = library(name, document.spec.templates ?? []);
    this.#libraries.set(key, made);
    return made;
  }

  #inlined(inline: Omit<Template, "name">, site: Site): Used {
    const known = this.#inline.get(inline);
    if (known) return known;
    const template = { ...inline, name: "" };
    const made = {
      template,
      library: site.library,
      key: site.key === "" ? site.name : `${site.key}/${site.name}`,
      kind: kindOf(template),
    };
    this.#inline.set(inline, made);
    return made;
  }
}

function library(name: string | undefined, templates: readonly Template[]): Library {
  const byName = new Map<string, Used>();
  const made: Library = { name, find: (wanted) => byName.get(wanted) };
  for (const template of templates) {
    byName.set(template.name, {
      template,
      library: made,
      key: name === undefined ? template.name : `${name}/${template.name}`,
      kind: kindOf(template),
    });
  }
  return made;
}

function found(from: Library, name: string): Used {
  const used = from.find(name);
  if (used) return used;
  const where = from.name === undefined ? "" : ` in workflow template ${from.name}`;
  throw new Failure("workflow-invalid", `template ${name} not found${where}`);
}

function kindOf(template: Template): Kind {
  if (template.steps) return "steps";
  if (template.dag) return "dag";
  return template.suspend ? "suspend" : "leaf";
}

/** The type of a node that uses a template. */
export function typeOf(used: Used): NodeType {
  if (used.kind === "steps") return "Steps";
  if (used.kind === "dag") return "DAG";
  if (used.kind === "suspend") return "Suspend";
  return (used.template.wasm ?? used.template.plugin) ? "Plugin" : "Pod";
}

const reading =
  /\b(?:steps|tasks)(?:\.([\w-]+)|\[\s*\\?['"]([\w-]+)\\?['"]\s*\])\.outputs\.result\b/gu;

/** Names of the steps whose `outputs.result` a template reads. */
export function resultsRead(template: Template): ReadonlySet<string> {
  const read = new Set<string>();
  for (const [, dotted, indexed] of JSON.stringify(template).matchAll(reading)) {
    read.add(dotted ?? indexed ?? "");
  }
  return read;
}

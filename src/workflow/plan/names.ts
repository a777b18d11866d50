import type { Scope } from "../../expression/mod.ts";
import type { ArtifactSource } from "../../task/mod.ts";
import { itemFields, itemText, type Item } from "./items.ts";
import type { PlanNode } from "./node.ts";
import type { Used } from "./templates.ts";
import type { NodeInputs } from "./types.ts";

/**
 * Names in reach of a text. A view over nodes, never a copy of them: a loop of ten thousand items shares all but its item. What a
 * layer does not know it asks the one around it.
 */
export interface Names extends Scope {
  /** The artifact of a name; null for one that is known to be missing, undefined for an unknown name. */
  artifact(name: string): ArtifactSource | null | undefined;
}

const marker = "\u0000artifact:";

/** What stands for an artifact inside an expression, where only plain values live. */
export function artifactMark(name: string): string {
  return marker + name;
}

/** The name of the artifact that an expression chose. */
export function markedArtifact(value: unknown): string | undefined {
  return typeof value === "string" && value.startsWith(marker)
    ? value.slice(marker.length)
    : undefined;
}

/** What `{{retries}}` and `{{lastRetry.…}}` are in an attempt. */
export interface Attempt {
  readonly retries: number;
  readonly last: PlanNode | undefined;
}

/** Inside a template: its inputs, its paths, and who it is. */
export class TemplateNames implements Names {
  readonly #around: Names;
  readonly #used: Used;
  readonly #node: { readonly id: string; readonly name: string };
  readonly #caller: { readonly word: string; readonly name: string };
  readonly #attempt: Attempt | undefined;
  inputs: NodeInputs | undefined;

  constructor(
    around: Names,
    used: Used,
    node: { readonly id: string; readonly name: string },
    caller: { readonly word: string; readonly name: string },
    options: { readonly inputs?: NodeInputs | undefined; readonly attempt?: Attempt } = {},
  ) {
    this.#around = around;
    this.#used = used;
    this.#node = node;
    this.#caller = caller;
    this.inputs = options.inputs;
    this.#attempt = options.attempt;
  }

  /** The same names in one of its attempts. */
  attempt(node: { readonly id: string; readonly name: string }, attempt: Attempt): TemplateNames {
    return new TemplateNames(this.#around, this.#used, node, this.#caller, {
      inputs: this.inputs,
      attempt,
    });
  }

  get(name: string): unknown {
    if (name.startsWith("inputs.")) return this.#input(name.slice(7)) ?? this.#around.get(name);
    if (name.startsWith("outputs.")) return this.#path(name.slice(8)) ?? this.#around.get(name);
    if (name === "node.name") return this.#node.name;
    if (name === "pod.name") return this.#node.id;
    if (name === `${this.#caller.word}.name`) return this.#caller.name;
    if (this.#attempt) {
      if (name === "retries") return String(this.#attempt.retries);
      if (name.startsWith("lastRetry.")) return lastRetry(name.slice(10), this.#attempt.last, "0");
    }
    return this.#around.get(name);
  }

  within(name: string): Iterable<string> {
    if (name === "inputs") return ["parameters", "artifacts"];
    if (name === "inputs.parameters") {
      return (this.inputs?.parameters ?? []).map((item) => item.name);
    }
    if (name === "inputs.artifacts") {
      return (this.inputs?.artifacts ?? []).map((item) => item.name);
    }
    if (name === "lastRetry" && this.#attempt) return lastRetryNames;
    return this.#around.within?.(name) ?? [];
  }

  artifact(name: string): ArtifactSource | null | undefined {
    if (!name.startsWith("inputs.artifacts.")) return this.#around.artifact(name);
    const wanted = name.slice(17);
    const given = this.inputs?.artifacts.find((item) => item.name === wanted);
    if (given) return given.artifact;
    return this.#used.template.inputs?.artifacts?.some((item) => item.name === wanted)
      ? null
      : this.#around.artifact(name);
  }

  #input(rest: string): unknown {
    if (rest === "parameters") {
      return this.inputs && JSON.stringify(parametersJson(this.#used, this.inputs));
    }
    if (rest.startsWith("parameters.")) {
      const wanted = rest.slice(11);
      return this.inputs?.parameters.find((item) => item.name === wanted)?.value;
    }
    if (!rest.startsWith("artifacts.")) return undefined;
    const wanted = rest.slice(10);
    if (wanted.endsWith(".path")) {
      const plain = wanted.slice(0, -5);
      return this.#used.template.inputs?.artifacts?.find((item) => item.name === plain)?.path;
    }
    const source = this.artifact(`inputs.artifacts.${wanted}`);
    return source ? artifactMark(`inputs.artifacts.${wanted}`) : source;
  }

  #path(rest: string): string | undefined {
    if (!rest.endsWith(".path")) return undefined;
    const { outputs } = this.#used.template;
    if (rest.startsWith("artifacts.")) {
      const wanted = rest.slice(10, -5);
      return outputs?.artifacts?.find((item) => item.name === wanted)?.path;
    }
    if (!rest.startsWith("parameters.")) return undefined;
    const wanted = rest.slice(11, -5);
    return outputs?.parameters?.find((item) => item.name === wanted)?.valueFrom?.path;
  }
}

/** The inputs as Argo writes them into `inputs.parameters`. */
function parametersJson(used: Used, inputs: NodeInputs): unknown {
  return (used.template.inputs?.parameters ?? []).map((item) => ({
    name: item.name,
    ...(item.default === undefined ? {} : { default: String(item.default) }),
    value: inputs.parameters.find((given) => given.name === item.name)?.value,
    ...(item.enum === undefined ? {} : { enum: item.enum.map(String) }),
    ...(item.description === undefined ? {} : { description: item.description }),
  }));
}

const lastRetryNames = ["exitCode", "status", "duration", "message"];

/** A field of `lastRetry`; Argo's exit code of an attempt that has none differs between a text and an expression. */
export function lastRetry(
  field: string,
  last: PlanNode | undefined,
  noExitCode: string,
): string | undefined {
  if (field === "exitCode") return String(last?.outputs?.exitCode ?? noExitCode);
  if (field === "status") return last?.phase ?? "";
  if (field === "message") return last?.message ?? "";
  if (field !== "duration") return undefined;
  return last ? String(((last.finishedAt ?? last.startedAt) - last.startedAt) / 1000) : "0";
}

/** In one round of a loop. */
export class ItemNames implements Names {
  readonly #around: Names;
  readonly #item: Item;

  constructor(around: Names, item: Item) {
    this.#around = around;
    this.#item = item;
  }

  get(name: string): unknown {
    if (name === "item") return itemText(this.#item);
    if (!name.startsWith("item.")) return this.#around.get(name);
    const fields = itemFields(this.#item);
    const field = name.slice(5);
    return fields && Object.hasOwn(fields, field) ? itemText(fields[field]) : undefined;
  }

  within(name: string): Iterable<string> {
    if (name === "item") return Object.keys(itemFields(this.#item) ?? {});
    return this.#around.within?.(name) ?? [];
  }

  artifact(name: string): ArtifactSource | null | undefined {
    return this.#around.artifact(name);
  }
}

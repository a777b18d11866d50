import type { Arguments } from "../../document/mod.ts";
import { Failure } from "../../errors/mod.ts";
import type { ArtifactSource } from "../../task/mod.ts";
import { rfc3339, seconds, strftime } from "./format.ts";
import { checked, sourceOf, valueOf } from "./inputs.ts";
import { artifactMark, type Names } from "./names.ts";
import type { Plan } from "./plan.ts";

/** Everything that begins with `workflow.`, in reach everywhere. */
export class Globals implements Names {
  readonly #plan: Plan;
  readonly #parameters = new Map<string, string>();
  readonly #artifacts = new Map<string, ArtifactSource>();
  /** Outputs with a globalName. */
  readonly outputs: Map<string, string> = new Map();
  readonly outputArtifacts: Map<string, ArtifactSource> = new Map();
  /** What the run came to, from when its entry node is done. */
  status: string | undefined = undefined;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** Reads the arguments of the run. Throws when one is missing or wrong. */
  read(): void {
    const plan = this.#plan;
    const { parameters, artifacts } = plan.begin.bundle.workflow.spec.arguments ?? {};
    this.#parameters.clear();
    for (const item of parameters ?? []) {
      const given = Object.hasOwn(plan.parameters, item.name)
        ? plan.parameters[item.name]
        : undefined;
      const value = given ?? valueOf(plan, item, this, `workflow/${item.name}`);
      if (value === undefined) {
        throw new Failure(
          "workflow-invalid",
          `either value or valueFrom must be specified in order to set global parameter ${item.name}`,
          { hint: `Give it with -p ${item.name}=VALUE.` },
        );
      }
      this.#parameters.set(item.name, checked(item, value));
    }
    for (const item of artifacts ?? []) {
      const given = Object.hasOwn(plan.begin.artifacts, item.name)
        ? plan.begin.artifacts[item.name]
        : undefined;
      const source: ArtifactSource | undefined = given
        ? { kind: "stored", artifact: given }
        : sourceOf(plan, item, this, `workflow/${item.name}`);
      if (source) this.#artifacts.set(item.name, source);
      else if (!item.optional) {
        throw new Failure("workflow-invalid", `The artifact "${item.name}" is not given`, {
          hint: `Give it with -a ${item.name}=PATH.`,
        });
      }
    }
  }

  /** The run's arguments, as the entrypoint and exit handlers are given them. */
  get arguments(): Arguments {
    return {
      parameters: [...this.#parameters.keys()].map((name) => ({
        name,
        valueFrom: { parameter: `workflow.parameters.${name}` },
      })),
      artifacts: [...this.#artifacts.keys()].map((name) => ({
        name,
        from: `{{workflow.artifacts.${name}}}`,
      })),
    };
  }

  get(name: string): unknown {
    if (!name.startsWith("workflow.")) return undefined;
    const rest = name.slice(9);
    const plan = this.#plan;
    const { workflow } = plan.begin.bundle;
    switch (rest) {
      case "name":
        return plan.begin.name;
      case "namespace":
        return plan.begin.namespace;
      case "uid":
        return plan.begin.uid;
      case "mainEntrypoint":
        return workflow.spec.entrypoint;
      case "priority":
        return workflow.spec.priority === undefined ? undefined : String(workflow.spec.priority);
      case "serviceAccountName":
        return "";
      case "status":
        return this.status ?? plan.phase;
      case "duration":
        return seconds(plan.startedAt === 0 ? 0 : (plan.finishedAt ?? plan.now) - plan.startedAt);
      case "failures":
        return JSON.stringify(JSON.stringify(this.#failures()));
      case "creationTimestamp":
      case "creationTimestamp.RFC3339":
        return rfc3339(plan.createdAt);
      case "creationTimestamp.s":
        return String(Math.floor(plan.createdAt / 1000));
      case "parameters":
      case "parameters.json":
        return JSON.stringify(this.#parametersJson());
      case "labels":
      case "labels.json":
        return JSON.stringify(workflow.metadata.labels ?? {});
      case "annotations":
      case "annotations.json":
        return JSON.stringify(workflow.metadata.annotations ?? {});
      default:
        return this.#below(rest);
    }
  }

  within(name: string): Iterable<string> {
    const { metadata } = this.#plan.begin.bundle.workflow;
    if (name === "workflow.parameters") return this.#parameters.keys();
    if (name === "workflow.outputs.parameters") return this.outputs.keys();
    if (name === "workflow.labels") return Object.keys(metadata.labels ?? {});
    if (name === "workflow.annotations") return Object.keys(metadata.annotations ?? {});
    return [];
  }

  artifact(name: string): ArtifactSource | undefined {
    if (name.startsWith("workflow.outputs.artifacts.")) {
      return this.outputArtifacts.get(name.slice(27));
    }
    return name.startsWith("workflow.artifacts.") ? this.#artifacts.get(name.slice(19)) : undefined;
  }

  #below(rest: string): string | undefined {
    const { labels, annotations } = this.#plan.begin.bundle.workflow.metadata;
    if (rest.startsWith("parameters.")) return this.#parameters.get(rest.slice(11));
    if (rest.startsWith("outputs.parameters.")) return this.outputs.get(rest.slice(19));
    if (rest.startsWith("outputs.artifacts.")) {
      return this.outputArtifacts.has(rest.slice(18))
        ? artifactMark(`workflow.${rest}`)
        : undefined;
    }
    if (rest.startsWith("labels.")) return own(labels, rest.slice(7));
    if (rest.startsWith("annotations.")) return own(annotations, rest.slice(12));
    if (rest.startsWith("creationTimestamp.")) {
      return strftime(rest.slice(18), this.#plan.createdAt);
    }
    return undefined;
  }

  #parametersJson(): unknown {
    const { parameters } = this.#plan.begin.bundle.workflow.spec.arguments ?? {};
    return (parameters ?? []).map((item) => ({
      name: item.name,
      ...(item.default === undefined ? {} : { default: String(item.default) }),
      value: this.#parameters.get(item.name),
      ...(item.enum === undefined ? {} : { enum: item.enum.map(String) }),
      ...(item.description === undefined ? {} : { description: item.description }),
    }));
  }

  #failures(): unknown {
    const failed = [...this.#plan.nodes.values()].filter((node) => node.failed);
    if (failed.length === 0) return null;
    return failed.map((node) => ({
      displayName: node.displayName,
      message: node.message ?? "",
      templateName: node.template ?? "",
      phase: node.phase,
      podName: node.id,
      finishedAt: node.finishedAt === undefined ? null : rfc3339(node.finishedAt),
    }));
  }
}

/** A value of a map whose keys a user chose. */
function own(from: Readonly<Record<string, string>> | undefined, name: string): string | undefined {
  return from && Object.hasOwn(from, name) ? from[name] : undefined;
}

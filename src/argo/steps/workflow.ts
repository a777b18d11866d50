import { parseRepository, type Repository } from "../../document/mod.ts";
import { Failure } from "../../errors/mod.ts";
import { isRecord, listOf, recordOf, textOf } from "../../kubernetes/mod.ts";
import { nodesOf } from "../nodes.ts";
import { engineTrace } from "../tracing.ts";

/** What the engine writes into a workflow when it begins, out of its own configuration. */
export interface Additions {
  readonly repository: Readonly<Record<string, unknown>>;
  /** Of the spec, as far as steps need to know. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** It writes down which trace the workflow is in, and that is another one for each. */
  readonly traced: boolean;
}

const addedKeys = ["serviceAccountName", "archiveLogs", "imagePullSecrets", "artifactGC"] as const;
/** Tags of keys that the engine may still give another meaning. */
const laterTag = /\{\{\s*workflow\.(?:labels|annotations|parameters|priority)/;

/** A Workflow as the API server has it, as far as its steps need to know. */
export class WorkflowFacts {
  readonly #object: Readonly<Record<string, unknown>>;
  /** What the engine is going to add is taken for what it added to another workflow just now. */
  readonly assumed: boolean;
  #repository: { readonly found: Repository | undefined } | undefined;
  #nodes: ReturnType<typeof nodesOf> | undefined;

  constructor(object: Readonly<Record<string, unknown>>, assumed = false) {
    this.#object = object;
    this.assumed = assumed;
  }

  /** Whether it is known who its steps are and where their artifacts go. */
  get settled(): boolean {
    return (this.begun || this.assumed) && this.whole;
  }

  /** What the workflow itself says of what the engine would add: to equal ones it adds the same. */
  get wishes(): string {
    const spec = recordOf(this.#object["spec"]);
    return JSON.stringify([spec["artifactRepositoryRef"], ...addedKeys.map((key) => spec[key])]);
  }

  /** What the engine has added; undefined before it has begun. */
  get additions(): Additions | undefined {
    if (!this.begun) return undefined;
    const spec = recordOf(this.#object["spec"]);
    return {
      repository: recordOf(this.#status["artifactRepositoryRef"]),
      spec: Object.fromEntries(addedKeys.map((key) => [key, spec[key]])),
      traced: this.annotations[engineTrace] !== undefined,
    };
  }

  /** As it will be when the engine adds this; undefined when its keys may come out differently. */
  assuming({ repository, spec }: Additions): WorkflowFacts | undefined {
    if (!this.whole || laterTag.test(JSON.stringify(repository))) return undefined;
    const object = {
      ...this.#object,
      spec: { ...recordOf(this.#object["spec"]), ...spec },
      status: { ...this.#status, artifactRepositoryRef: repository },
    };
    return new WorkflowFacts(object, true);
  }

  get uid(): string {
    return textOf(recordOf(this.#object["metadata"])["uid"]) ?? "";
  }

  get annotations(): Readonly<Record<string, unknown>> {
    return recordOf(recordOf(this.#object["metadata"])["annotations"]);
  }

  /**
   * Whether the engine has written down what it found out when it began: it hands out the first steps a moment before that.
   */
  get begun(): boolean {
    return textOf(this.#status["phase"]) !== undefined;
  }

  /** Whether all of what it runs is known: a template that it refers to is written down when it begins. */
  get whole(): boolean {
    const stored = this.#status["storedWorkflowTemplateSpec"];
    return isRecord(stored) || recordOf(this.#object["spec"])["workflowTemplateRef"] === undefined;
  }

  /** Who its pods would be. */
  serviceAccount(template: Readonly<Record<string, unknown>>): string {
    return (
      textOf(template["serviceAccountName"]) ??
      textOf(this.#spec["serviceAccountName"]) ??
      "default"
    );
  }

  /** Names of the secrets that its images are pulled with. */
  get pullSecrets(): readonly string[] {
    return listOf(this.#spec["imagePullSecrets"]).flatMap(
      (item) => textOf(recordOf(item)["name"]) ?? [],
    );
  }

  /** Its artifact repository, whose key has tags; undefined when it has none. Throws for one that cannot be read. */
  get repository(): Repository | undefined {
    this.#repository ??= { found: this.#readRepository() };
    return this.#repository.found;
  }

  #readRepository(): Repository | undefined {
    const ref = recordOf(this.#status["artifactRepositoryRef"]);
    const written = ref["artifactRepository"];
    if (!isRecord(written)) return undefined;
    const name = textOf(ref["configMap"]) ?? "the default";
    return parseRepository(JSON.stringify(written), `artifact repository (${name})`);
  }

  /** Whether logs are artifacts: the repository's word goes first, then the template's, then the workflow's. */
  archivesLogs(template: {
    readonly archiveLocation?: { readonly archiveLogs?: boolean };
  }): boolean {
    return (
      this.repository?.archiveLogs === true ||
      (template.archiveLocation?.archiveLogs ?? this.#spec["archiveLogs"] === true)
    );
  }

  /** When artifacts are deleted that do not say it themselves. */
  get collectStrategy(): string | undefined {
    return textOf(recordOf(this.#spec["artifactGC"])["strategy"]);
  }

  /** Who deletes them. */
  get collectingAccount(): string {
    return (
      textOf(recordOf(this.#spec["artifactGC"])["serviceAccountName"]) ?? this.serviceAccount({})
    );
  }

  /** Whether a template of this name is a module; one without a name is written where it is used. */
  runsWasm(template: string | undefined): boolean {
    for (const one of this.#templates()) {
      const isWasm = recordOf(recordOf(one)["plugin"])["wasm"] !== undefined;
      const isInline = template === undefined || template === "";
      if (isWasm && one["name"] === template) return true;
      if (isInline && JSON.stringify(one).includes('"wasm"')) return true;
    }
    return false;
  }

  /** The name of a node, if that is known yet. */
  async nodeName(id: string): Promise<string | undefined> {
    this.#nodes ??= nodesOf(this.#status);
    return textOf(recordOf((await this.#nodes)?.[id])["name"]);
  }

  /** Whether the steps that run a template of this name are items of loops; undefined when some are, or nobody knows. */
  loops(template: string): boolean | undefined {
    const calls = [...this.#calls()].filter(({ name }) => name === template);
    const loops = calls.filter(({ loop }) => loop).length;
    if (loops > 0) return loops === calls.length ? true : undefined;
    return calls.length > 0 || this.#spec["entrypoint"] === template ? false : undefined;
  }

  *#calls(): Generator<{ readonly name: string; readonly loop: boolean }> {
    for (const template of this.#templates()) yield* callsOf(template);
  }

  #templates(): readonly Readonly<Record<string, unknown>>[] {
    return [
      ...listOf(recordOf(this.#object["spec"])["templates"]),
      ...listOf(recordOf(this.#status["storedWorkflowTemplateSpec"])["templates"]),
      ...Object.values(recordOf(this.#status["storedTemplates"])),
    ].map(recordOf);
  }

  /** What `{{workflow.NAME}}` is; undefined for what is not known. */
  variable(name: string): string | undefined {
    const metadata = recordOf(this.#object["metadata"]);
    const [, word = "", key] = /^([a-zA-Z]+)(?:\.(.+))?$/s.exec(name) ?? [];
    if (key === undefined) {
      if (word === "name" || word === "namespace" || word === "uid") return textOf(metadata[word]);
      if (word === "serviceAccountName") return this.serviceAccount({});
      if (word === "mainEntrypoint") return textOf(this.#spec["entrypoint"]);
      if (word === "priority") return scalar(this.#spec["priority"]) ?? "0";
      if (word === "creationTimestamp") return textOf(metadata["creationTimestamp"]);
      return undefined;
    }
    if (word === "labels" || word === "annotations") return scalar(recordOf(metadata[word])[key]);
    if (word === "creationTimestamp") return timeOf(textOf(metadata["creationTimestamp"]), key);
    if (word !== "parameters") return undefined;
    for (const spec of [recordOf(this.#object["spec"]), this.#spec]) {
      for (const item of listOf(recordOf(spec["arguments"])["parameters"])) {
        const value = scalar(recordOf(item)["value"]);
        if (recordOf(item)["name"] === key && value !== undefined) return value;
      }
    }
    return undefined;
  }

  get #status(): Readonly<Record<string, unknown>> {
    return recordOf(this.#object["status"]);
  }

  /** What is executed: with the template that the workflow refers to merged in, where it refers to one. */
  get #spec(): Readonly<Record<string, unknown>> {
    const stored = this.#status["storedWorkflowTemplateSpec"];
    return isRecord(stored) ? stored : recordOf(this.#object["spec"]);
  }
}

function* callsOf(
  template: Readonly<Record<string, unknown>>,
): Generator<{ readonly name: string; readonly loop: boolean }> {
  const steps = [
    ...listOf(template["steps"]).flatMap((group) =>
      Array.isArray(group) ? group : listOf(recordOf(group)["steps"]),
    ),
    ...listOf(recordOf(template["dag"])["tasks"]),
  ];
  for (const written of steps) {
    const step = recordOf(written);
    const name = textOf(step["template"]) ?? textOf(recordOf(step["templateRef"])["template"]);
    const loop = ["withItems", "withParam", "withSequence"].some((key) => step[key] !== undefined);
    if (name !== undefined) yield { name, loop };
    if (isRecord(step["inline"])) yield* callsOf(step["inline"]);
  }
}

function scalar(value: unknown): string | undefined {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return typeof value === "string" ? value : undefined;
}

/** Letters of strftime, as `{{workflow.creationTimestamp.Y}}`, and the two names. */
function timeOf(timestamp: string | undefined, key: string): string | undefined {
  const time = new Date(timestamp ?? "");
  if (Number.isNaN(time.getTime())) return undefined;
  const two = (value: number): string => String(value).padStart(2, "0");
  const parts: Readonly<Record<string, string>> = {
    Y: String(time.getUTCFullYear()),
    m: two(time.getUTCMonth() + 1),
    d: two(time.getUTCDate()),
    H: two(time.getUTCHours()),
    M: two(time.getUTCMinutes()),
    S: two(time.getUTCSeconds()),
    s: String(Math.floor(time.getTime() / 1000)),
    RFC3339: timestamp ?? "",
  };
  return Object.hasOwn(parts, key) ? parts[key] : undefined;
}

/** Fills the tags of a key: `{{workflow.…}}` and `{{pod.name}}`, which is the node's. Throws for what is not known. */
export function fillKey(text: string, facts: WorkflowFacts, nodeId: string): string {
  return text.replaceAll(/\{\{([^{}]*)\}\}/g, (tag, inner: string) => {
    const name = inner.trim();
    const value =
      name === "pod.name"
        ? nodeId
        : name.startsWith("workflow.")
          ? facts.variable(name.slice("workflow.".length))
          : undefined;
    if (value !== undefined) return value;
    throw new Failure(
      "workflow-invalid",
      `The key format of the artifact repository has ${tag}, which is not known here`,
      {
        hint: "Use {{workflow.name}}, {{workflow.namespace}}, {{workflow.uid}}, {{workflow.creationTimestamp.Y}}, {{workflow.labels.NAME}}, {{workflow.parameters.NAME}} and {{pod.name}}.",
      },
    );
  });
}

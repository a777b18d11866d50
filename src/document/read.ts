import { dirname } from "node:path";
import type { Failure, Place } from "../errors/mod.ts";
import { hostLimits, type Limits } from "../limits/mod.ts";
import { reportDoubles } from "./calls.ts";
import { Check, missingLibrary, stepsOf, type Holder } from "./check.ts";
import { kinds, listShape } from "./keys.ts";
import type { SecretCheck } from "./locations.ts";
import { mergeOver } from "./merge.ts";
import type { Bundle, Reading } from "./mod.ts";
import type { Template, Workflow, WorkflowSpec, WorkflowTemplate } from "./model.ts";
import { rewriteTemplate } from "./rewrite.ts";
import { build, checkShape, Origins } from "./shape.ts";
import { Report, Source, type Spot } from "./source.ts";
import { meant } from "./suggest.ts";
import {
  child,
  madeMapping,
  madeText,
  textOf,
  withEntries,
  type Mapping,
  type Tree,
} from "./tree.ts";
import type { ConfigMaps } from "./texts.ts";
import { readYaml } from "./yaml.ts";

/** A file as it was read. */
export interface SourceFile {
  /** Its name, for messages. */
  readonly file: string;
  readonly text: string;
}

export interface ReadOptions {
  /** Folder that `wasm.module` paths are relative to; the one of the workflow's file when absent. */
  readonly folder?: string;
  /**
   * Which Workflow, when there are several. When no Workflow has this name, a WorkflowTemplate or ClusterWorkflowTemplate with an
   * entrypoint is run, as `submit --from` does; so is the only one that there is when nothing is named.
   */
  readonly name?: string;
  /** Names of parameters that are given at the start, beside those of the document. */
  readonly parameters?: readonly string[];
  /** The highest limits that a step may ask for; absent: those that this machinery is built for. */
  readonly limits?: Limits;
  /** Looks at the secrets that stores would get; absent: they are looked at when they are used. */
  readonly secrets?: SecretCheck;
}

type LibraryKind = "WorkflowTemplate" | "ClusterWorkflowTemplate";

/** Reads the files of one workflow with its templates and ConfigMaps, and finds every mistake in one pass. Never throws for what is in them. */
export function readBundle(files: readonly SourceFile[], options: ReadOptions = {}): Reading {
  const reader = new Reader(options);
  for (const { file, text } of files) reader.file(file, text);
  const names = files.map(({ file }) => file);
  const bundle = reader.bundle();
  const problems = reader.report.problems(names);
  const warnings = reader.report.warnings(names);
  return problems.length === 0 && bundle ? { bundle, problems, warnings } : { problems, warnings };
}

/** Finds every mistake of files that may hold several workflows, or only templates. */
export function checkFiles(
  files: readonly SourceFile[],
  options: Pick<ReadOptions, "parameters" | "limits" | "secrets"> = {},
): { readonly problems: readonly Failure[]; readonly warnings: readonly Failure[] } {
  const reader = new Reader(options);
  for (const { file, text } of files) reader.file(file, text);
  reader.checkAll();
  const names = files.map(({ file }) => file);
  return { problems: reader.report.problems(names), warnings: reader.report.warnings(names) };
}

class Reader {
  readonly report = new Report();
  readonly #origins = new Origins();
  readonly #options: ReadOptions;
  readonly #workflows: Mapping[] = [];
  /** Documents by `KIND/NAME`. */
  readonly #library = new Map<string, Mapping>();
  readonly #configMaps: Record<string, Readonly<Record<string, string>>> = Object.create(null);
  /** The library as it is with some `templateDefaults`. */
  readonly #views = new Map<Mapping | undefined, Map<string, Holder>>();
  readonly #reached = new Set<string>();
  #start: Spot = { source: new Source("", ""), at: 0 };

  constructor(options: ReadOptions) {
    this.#options = options;
  }

  file(file: string, text: string): void {
    const before = this.report.problemCount;
    const trees = readYaml(file, text, this.report);
    const start = { source: trees[0]?.source ?? new Source(file, ""), at: 0 };
    if (this.#start.source.file === "") this.#start = start;
    if (trees.length === 0 && this.report.problemCount === before) {
      this.report.problem(
        start,
        `"${file}" holds nothing`,
        "Write a document with apiVersion, kind and spec.",
      );
    }
    for (const tree of trees) this.#document(tree);
  }

  #document(tree: Tree): void {
    if (tree.kind !== "mapping") {
      return this.report.problem(
        tree,
        "The document is no mapping",
        "Begin it with apiVersion, kind, metadata and spec.",
      );
    }
    const kind = textOf(tree, "kind");
    if (kind === undefined) {
      return this.report.problem(
        tree,
        'The document lacks "kind"',
        'Add "kind: Workflow" and "apiVersion: argoproj.io/v1alpha1".',
      );
    }
    if (kind === "List") {
      checkShape(tree, listShape, this.report);
      const items = child(tree, "items");
      if (items?.kind === "sequence") for (const item of items.items) this.#document(item);
      return;
    }
    const shape = kinds.get(kind);
    if (!shape) return this.#otherKind(kind, child(tree, "kind") ?? tree);
    checkShape(tree, shape, this.report);
    if (kind === "Workflow") this.#workflows.push(tree);
    else this.#named(kind, tree);
  }

  #otherKind(kind: string, spot: Spot): void {
    if (kind === "CronWorkflow") {
      return this.report.problem(
        spot,
        "A CronWorkflow is not run here: nothing starts workflows at times",
        "Write its workflowSpec as the spec of a Workflow, and start that with cron.",
        "workflow-unsupported",
      );
    }
    const hint = meant(kind, [...kinds.keys(), "List"]);
    this.report.problem(
      spot,
      `The kind "${kind}" is not supported here`,
      hint,
      "workflow-unsupported",
    );
  }

  #named(kind: string, tree: Mapping): void {
    const metadata = child(tree, "metadata");
    const name = textOf(metadata, "name");
    if (name === undefined) {
      this.report.problem(
        metadata ?? tree,
        `The ${kind} has no name`,
        'Add "metadata: {name: …}".',
      );
      return;
    }
    const key = `${kind}/${name}`;
    const spot = child(metadata, "name") ?? tree;
    const twice =
      kind === "ConfigMap" ? this.#configMaps[name] !== undefined : this.#library.has(key);
    if (twice)
      return this.report.problem(
        spot,
        `The ${kind} "${name}" is there twice`,
        "Remove one of them.",
      );
    if (kind !== "ConfigMap") {
      this.#library.set(key, tree);
      return;
    }
    const data: Record<string, string> = Object.create(null);
    const written = child(tree, "data");
    if (written?.kind === "mapping") {
      for (const [word, { value }] of written.entries)
        if (value.kind === "scalar") data[word] = value.text;
    }
    this.#configMaps[name] = data;
  }

  /** The workflow that is to be run, with all it needs. Everything else is checked, too. */
  bundle(): Bundle | undefined {
    const chosen = this.#choose();
    for (const other of this.#workflows) if (other !== chosen) this.#checkWorkflow(other);
    const made = chosen && this.#checkWorkflow(chosen);
    this.#checkRest();
    if (!made) return undefined;
    const { holder, reached } = made;
    const library: Record<string, WorkflowTemplate> = Object.create(null);
    const places: Record<string, Place> = Object.create(null);
    this.#places(holder, "", places);
    for (const other of reached) {
      const document = plainSpec(other.document);
      if (document.kind === "Workflow") continue;
      library[other.key] = document;
      this.#places(other, `${document.metadata.name}/`, places);
    }
    const workflow = plainSpec(holder.document);
    if (workflow.kind !== "Workflow") return undefined;
    const configMaps: ConfigMaps = this.#configMaps;
    const folder = this.#options.folder ?? dirname(holder.tree.source.file);
    return { workflow, library, configMaps, places, folder };
  }

  checkAll(): void {
    for (const workflow of this.#workflows) this.#checkWorkflow(workflow);
    this.#checkRest();
  }

  #choose(): Mapping | undefined {
    const { name } = this.#options;
    const named = (tree: Mapping): string => {
      const metadata = child(tree, "metadata");
      return textOf(metadata, "name") ?? textOf(metadata, "generateName") ?? "";
    };
    const list =
      name === undefined ? this.#workflows : this.#workflows.filter((tree) => named(tree) === name);
    const [only, second] = list;
    if (only && !second) return only;
    if (only && second) {
      const names = this.#workflows.map(named).filter((word) => word !== "");
      this.report.problem(
        second,
        `There are ${list.length} Workflows in the files`,
        `Say which one to run: ${names.join(", ")}.`,
      );
      return undefined;
    }
    const templates = [...this.#library].filter(
      ([key, tree]) =>
        textOf(child(tree, "spec"), "entrypoint") !== undefined &&
        (name === undefined || key.endsWith(`/${name}`)),
    );
    const [template, another] = templates;
    if (template && !another) return this.#fromTemplate(template[1]);
    if (this.report.problemCount > 0 && name === undefined) return undefined; // there may well be one in what cannot be read
    const known = [
      ...this.#workflows.map(named),
      ...[...this.#library.keys()].map((key) => key.slice(key.indexOf("/") + 1)),
    ];
    if (template)
      this.report.problem(
        this.#start,
        "There are several WorkflowTemplates and no Workflow",
        `Say which one to run: ${known.join(", ")}.`,
      );
    else if (name === undefined)
      this.report.problem(
        this.#start,
        "There is no Workflow in the files",
        "Give a file with one, or a WorkflowTemplate with an entrypoint.",
      );
    else
      this.report.problem(
        this.#start,
        `There is no Workflow "${name}" in the files`,
        meant(name, known),
      );
    return undefined;
  }

  /** A workflow that runs a template, as `submit --from` makes it. */
  #fromTemplate(template: Mapping): Mapping {
    const name = child(child(template, "metadata"), "name");
    const word = name?.kind === "scalar" ? name.text : "";
    const cluster = textOf(template, "kind") === "ClusterWorkflowTemplate";
    const label = cluster
      ? "workflows.argoproj.io/cluster-workflow-template"
      : "workflows.argoproj.io/workflow-template";
    return madeMapping(template, {
      apiVersion: madeText(template, "argoproj.io/v1alpha1"),
      kind: madeText(template, "Workflow"),
      metadata: madeMapping(template, {
        generateName: madeText(template, `${word.slice(0, 57)}-`),
        labels: madeMapping(template, { [label]: madeText(template, word) }),
      }),
      spec: madeMapping(template, {
        workflowTemplateRef: madeMapping(template, {
          name,
          clusterScope: cluster ? { ...madeText(template, "true"), value: true } : undefined,
        }),
      }),
    });
  }

  #checkWorkflow(
    tree: Mapping,
  ): { readonly holder: Holder; readonly reached: readonly Holder[] } | undefined {
    const spec = child(tree, "spec");
    if (spec?.kind !== "mapping") return undefined; // `checkShape` has said so
    const joined = this.#join(spec);
    if (!joined) return undefined;
    const defaults = child(joined, "templateDefaults");
    const view = this.#view(defaults?.kind === "mapping" ? defaults : undefined);
    const holder = this.#holder("", withEntries(tree, { spec: joined }), defaults);
    const check = new Check({
      report: this.report,
      origins: this.#origins,
      library: { find: view, names: () => this.#library.keys() },
      parameters: this.#options.parameters ?? [],
      configMaps: this.#configMaps,
      limits: this.#options.limits ?? hostLimits(),
      secrets: this.#options.secrets,
    });
    const reached = check.workflow(holder);
    for (const { key } of reached) this.#reached.add(key);
    return { holder, reached };
  }

  /** What a workflow says, and what the WorkflowTemplate that it refers to says beside that. */
  #join(spec: Mapping): Mapping | undefined {
    const ref = child(spec, "workflowTemplateRef");
    if (!ref) return spec;
    const name = textOf(ref, "name");
    if (name === undefined) return undefined;
    const cluster = child(ref, "clusterScope");
    const kind: LibraryKind =
      cluster?.kind === "scalar" && cluster.value === true
        ? "ClusterWorkflowTemplate"
        : "WorkflowTemplate";
    const key = `${kind}/${name}`;
    const templates = spec.entries.get("templates");
    if (templates && child(spec, "templates")) {
      this.report.problem(
        templates.key,
        "A workflow with workflowTemplateRef has no templates of its own",
        "Move them to the WorkflowTemplate, or refer to its templates with templateRef.",
      );
    }
    const base = this.#library.get(key);
    if (!base) {
      const known = [...this.#library.keys()];
      this.report.problem(
        child(ref, "name") ?? ref,
        `There is no ${kind} "${name}" among the files`,
        missingLibrary(name, kind, known),
      );
      return undefined;
    }
    this.#reached.add(key);
    const inner = child(base, "spec");
    if (inner?.kind !== "mapping") return undefined;
    const further = child(inner, "workflowTemplateRef");
    if (further)
      this.report.problem(
        further,
        "A WorkflowTemplate that a workflow runs refers to no other one",
        "Refer to its templates with templateRef.",
      );
    return withEntries(mergeOver(withEntries(spec, { templates: undefined }), inner), {
      workflowTemplateRef: ref,
    });
  }

  #view(defaults: Mapping | undefined): (key: string) => Holder | undefined {
    const known = this.#views.get(defaults) ?? new Map<string, Holder>();
    this.#views.set(defaults, known);
    return (key) => {
      const made = known.get(key);
      if (made) return made;
      const tree = this.#library.get(key);
      if (!tree) return undefined;
      const holder = this.#holder(key, tree, defaults);
      known.set(key, holder);
      return holder;
    };
  }

  #holder(key: string, tree: Mapping, defaults: Tree | undefined): Holder {
    const spec = child(tree, "spec");
    const templates = child(spec, "templates");
    let complete = tree;
    if (spec?.kind === "mapping") {
      const rewritten = templates?.kind === "sequence" && {
        ...templates,
        items: templates.items.map((item) =>
          item.kind === "mapping"
            ? rewriteTemplate(
                item,
                defaults?.kind === "mapping" ? defaults : undefined,
                this.report,
              )
            : item,
        ),
      };
      complete = withEntries(complete, {
        spec: rewritten ? withEntries(spec, { templates: rewritten }) : spec,
      });
    }
    const metadata = child(tree, "metadata");
    const named = metadata?.kind === "mapping" ? metadata : madeMapping(tree, {});
    complete = withEntries(complete, {
      metadata: labelled(named, child(spec, "workflowMetadata")),
    });
    const shape = kinds.get(textOf(tree, "kind") ?? "") ?? listShape;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `build` gives what the table of keys says, and that has this type
    const document = build(complete, shape, this.#origins) as Workflow | WorkflowTemplate;
    const list = document.spec.templates ?? [];
    reportDoubles(list, "template", this.report, this.#origins);
    const byName = new Map<string, Template>();
    for (const template of list)
      if (!byName.has(template.name)) byName.set(template.name, template);
    return { key, tree: complete, document, templates: byName };
  }

  #checkRest(): void {
    const find = this.#view(undefined);
    for (const key of this.#library.keys()) {
      const holder = this.#reached.has(key) ? undefined : find(key);
      if (!holder) continue;
      new Check({
        report: this.report,
        origins: this.#origins,
        library: { find, names: () => this.#library.keys() },
        parameters: [],
        configMaps: this.#configMaps,
        limits: this.#options.limits ?? hostLimits(),
        secrets: this.#options.secrets,
      }).alone(holder);
    }
  }

  #places(holder: Holder, before: string, places: Record<string, Place>): void {
    for (const template of holder.templates.values())
      this.#place(template, `${before}${template.name}`, places);
  }

  #place(template: Omit<Template, "name">, name: string, places: Record<string, Place>): void {
    const { source, at } = this.#origins.spot(template);
    places[name] = source.place(at);
    for (const step of stepsOf(template))
      if (step.inline) this.#place(step.inline, `${name}/${step.name}`, places);
  }
}

/** What was merged in is not said again. */
function plainSpec<T extends Workflow | WorkflowTemplate>(document: T): T {
  const spec: WorkflowSpec = Object.fromEntries(
    Object.entries(document.spec).filter(([key]) => !mergedKeys.has(key)),
  );
  return { ...document, spec };
}

const mergedKeys: ReadonlySet<string> = new Set([
  "templateDefaults",
  "workflowTemplateRef",
  "workflowMetadata",
]);

/** Labels and annotations of `workflowMetadata` are the workflow's own. */
function labelled(metadata: Mapping, more: Tree | undefined): Mapping {
  if (more?.kind !== "mapping") return metadata;
  const both = (key: string): Tree | undefined => {
    const own = child(metadata, key);
    const other = child(more, key);
    return own?.kind === "mapping" && other?.kind === "mapping"
      ? mergeOver(other, own)
      : (other ?? own);
  };
  return withEntries(metadata, { labels: both("labels"), annotations: both("annotations") });
}

import type { Report } from "./source.ts";
import { mergeOver } from "./merge.ts";
import {
  child,
  madeMapping,
  madeText,
  textOf,
  withEntries,
  type Mapping,
  type Sequence,
  type Tree,
} from "./tree.ts";

/** The keys that say what a template runs. */
const templateTypes: readonly string[] = [
  "wasm",
  "plugin",
  "container",
  "script",
  "steps",
  "dag",
  "suspend",
];
/** Those that are known and refused: with one of them a template has a type. */
const refusedTypes: readonly string[] = ["containerSet", "resource", "data", "http"];

/** The annotation that runs a `container:` or `script:` template as Wasm. */
export const runtimeAnnotation = "atalanta.dev/runtime";

/** Where a script lies in the sandbox: Argo's own path. */
export const scriptPath = "/argo/staging/script";

/**
 * Makes a template complete and plain: what `templateDefaults` adds is in it, and everything that runs as Wasm is a `wasm` template.
 * Works on trees, so that each part still knows where it stands.
 */
export function rewriteTemplate(
  written: Mapping,
  defaults: Mapping | undefined,
  report: Report,
): Mapping {
  const type = typeOf(written, report);
  if (type === undefined) return written;
  let template = defaults ? mergeOver(written, applicable(defaults, type)) : written;
  if (type === "plugin") template = fromPlugin(template, report);
  const runtime = runtimeOf(template, report);
  if (runtime === "wasm" && (type === "container" || type === "script"))
    template = fromContainer(template, type, report);
  const rewriteInline = (step: Tree): Tree => {
    const inline = child(step, "inline");
    if (step.kind !== "mapping" || inline?.kind !== "mapping") return step;
    return withEntries(step, { inline: rewriteTemplate(inline, defaults, report) });
  };
  const steps = child(template, "steps");
  if (steps?.kind === "sequence") {
    const groups = steps.items.map((group) =>
      group.kind === "sequence" ? eachItem(group, rewriteInline) : group,
    );
    template = withEntries(template, { steps: { ...steps, items: groups } });
  }
  const dag = child(template, "dag");
  const tasks = child(dag, "tasks");
  if (dag?.kind === "mapping" && tasks?.kind === "sequence") {
    template = withEntries(template, {
      dag: withEntries(dag, { tasks: eachItem(tasks, rewriteInline) }),
    });
  }
  return template;
}

function eachItem(list: Sequence, change: (item: Tree) => Tree): Sequence {
  return { ...list, items: list.items.map(change) };
}

function typeOf(template: Mapping, report: Report): string | undefined {
  const types = [...templateTypes, ...refusedTypes].filter(
    (key) => child(template, key) !== undefined,
  );
  if (types.length === 1) return types[0];
  const name = textOf(template, "name");
  const label = name === undefined ? "The template" : `Template "${name}"`;
  const found = types.length === 0 ? "has no type" : `has the types ${types.join(" and ")}`;
  // `suspend: {}` and `suspend:` look alike; the second is nothing
  const hint = `Give it exactly one of ${templateTypes.join(", ")}.`;
  report.problem(
    template,
    `${label} ${found}`,
    template.entries.has("suspend") ? `${hint} Write "suspend: {}" to wait for resume.` : hint,
  );
  return undefined;
}

const whole: ReadonlySet<string> = new Set(["name", ...templateTypes]);
const leafOnly: ReadonlySet<string> = new Set(["timeout", "activeDeadlineSeconds"]);
const innerOnly: ReadonlySet<string> = new Set(["parallelism", "failFast"]);

/** Of the defaults, what a template of this type may say. */
function applicable(defaults: Mapping, type: string): Mapping {
  const inner = type === "steps" || type === "dag";
  const entries = [...defaults.entries].filter(([key]) => {
    if (whole.has(key)) return key === type;
    return !(inner ? leafOnly : innerOnly).has(key);
  });
  return { ...defaults, entries: new Map(entries) };
}

function fromPlugin(template: Mapping, report: Report): Mapping {
  const plugin = child(template, "plugin");
  const wasm = child(plugin, "wasm");
  if (wasm?.kind !== "mapping") {
    if (plugin?.kind === "mapping" && plugin.entries.size === 0)
      report.problem(plugin, "The plugin has no name", 'Write "wasm:" below it.');
    return template;
  }
  const module = child(wasm, "module");
  const oci = child(module, "oci");
  // Who the step is says nothing to the module.
  const spelled = withEntries(withAllowedHosts(wasm), { node: undefined, attempt: undefined });
  const named =
    module?.kind === "mapping"
      ? withEntries(spelled, { module: undefined, image: oci ?? child(wasm, "image") })
      : spelled;
  return withEntries(template, { plugin: undefined, wasm: named });
}

/** The prototype's `allowed_hosts`, in our spelling. */
function withAllowedHosts(wasm: Mapping): Mapping {
  const permissions = child(wasm, "permissions");
  const http = child(permissions, "http");
  const hosts = child(http, "allowed_hosts");
  if (!hosts || permissions?.kind !== "mapping" || http?.kind !== "mapping") return wasm;
  const allowedHosts = child(http, "allowedHosts") ?? hosts;
  const rewritten = withEntries(http, { allowed_hosts: undefined, allowedHosts });
  return withEntries(wasm, { permissions: withEntries(permissions, { http: rewritten }) });
}

function runtimeOf(template: Mapping, report: Report): string | undefined {
  for (const holder of [template, child(template, "metadata")]) {
    const runtime = child(child(holder, "annotations"), runtimeAnnotation);
    if (runtime?.kind !== "scalar") continue;
    if (runtime.text !== "wasm" && runtime.text !== "container") {
      report.problem(
        runtime,
        `There is no runtime "${runtime.text}"`,
        'Write "wasm" or "container".',
      );
    }
    return runtime.text;
  }
  return undefined;
}

/** Keys of a container that mean nothing to a module, and whose absence a program may notice. */
export const containerOnly: readonly string[] = [
  "workingDir",
  "ports",
  "stdin",
  "stdinOnce",
  "tty",
];

/**
 * A container runs as a module: `command` replaces the entry point, so its first word is the program, which the module is; what
 * follows are arguments. A script lies in a file, and its path is the last argument, as Argo has it.
 */
function fromContainer(template: Mapping, type: "container" | "script", report: Report): Mapping {
  const container = child(template, type);
  if (container?.kind !== "mapping") return template;
  for (const key of containerOnly) {
    const entry = container.entries.get(key);
    if (entry)
      report.problem(
        entry.key,
        `"${key}" has no meaning for a module that runs as Wasm`,
        "Remove it, or the annotation.",
        "workflow-unsupported",
      );
  }
  const command = child(container, "command");
  const args = child(container, "args");
  const resources = child(container, "resources");
  for (const kind of ["limits", "requests"]) {
    const cpu = child(child(resources, kind), "cpu");
    if (cpu)
      report.warning(
        cpu,
        "A module has one processor at most",
        "Remove it, or leave it for a cluster.",
      );
  }
  const memory = child(child(resources, "limits"), "memory");
  let wasm = madeMapping(container, {
    image: child(container, "image"),
    imagePullPolicy: child(container, "imagePullPolicy"),
    command:
      command?.kind === "sequence" ? { ...command, items: command.items.slice(1) } : undefined,
    args,
    env: child(container, "env"),
    limits: memory ? madeMapping(memory, { memory }) : undefined,
  });
  const source = child(container, "source");
  if (type === "container" || source === undefined)
    return withEntries(template, { [type]: undefined, wasm });
  const path = madeText(source, scriptPath);
  const given = args?.kind === "sequence" ? args.items : [];
  wasm = withEntries(wasm, { args: madeList(source, [...given, path]) });
  const file = madeMapping(source, {
    name: madeText(source, "script-source"),
    path,
    raw: madeMapping(source, { data: source }),
  });
  const inputs = child(template, "inputs");
  const artifacts = child(inputs, "artifacts");
  const all = madeList(source, [...(artifacts?.kind === "sequence" ? artifacts.items : []), file]);
  const completed =
    inputs?.kind === "mapping"
      ? withEntries(inputs, { artifacts: all })
      : madeMapping(source, { artifacts: all });
  return withEntries(template, { script: undefined, inputs: completed, wasm });
}

function madeList({ source, at }: Tree, items: readonly Tree[]): Sequence {
  return { kind: "sequence", source, at, items };
}

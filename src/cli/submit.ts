import type { Command } from "commander";
import { parseAllDocuments } from "yaml";
import { Failure } from "../errors/mod.ts";
import type { Cluster, Kind, KubeObject } from "../kubernetes/mod.ts";
import { clusterOptions, openCluster, type ClusterFlags } from "./cluster.ts";
import { interrupted } from "./interrupt.ts";
import { collect, pair } from "./options.ts";
import { readRewritten } from "./rewritten.ts";
import { escaped, printable } from "./text.ts";

interface Options extends ClusterFlags {
  readonly namespace?: string;
  readonly parameter: readonly string[];
  readonly name?: string;
  readonly watch?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const group = { group: "argoproj.io", version: "v1alpha1" };
const workflows: Kind = { ...group, plural: "workflows", namespaced: true };
const kinds: ReadonlyMap<string, Kind> = new Map([
  ["Workflow", workflows],
  ["WorkflowTemplate", { ...group, plural: "workflowtemplates", namespaced: true }],
  ["ClusterWorkflowTemplate", { ...group, plural: "clusterworkflowtemplates", namespaced: false }],
  ["CronWorkflow", { ...group, plural: "cronworkflows", namespaced: true }],
  ["ConfigMap", { group: "", version: "v1", plural: "configmaps", namespaced: true }],
]);

/** `atalanta submit FILE…` */
export function addSubmit(program: Command): void {
  clusterOptions(program.command("submit"))
    .description("Start workflows on a cluster with Argo; wasm: steps are rewritten on the way")
    .argument("<file...>", "workflows and templates; - for stdin")
    .option("-n, --namespace <name>", "default: that of the context")
    .option("-p, --parameter <name=value>", "a parameter of the workflow (repeatable)", collect, [])
    .option("--name <name>", "of the workflow, instead of its own")
    .option("-w, --watch", "show its steps until it is over; the exit code tells how")
    .option("--dry-run", "let the cluster look at it, and start nothing")
    .option("--json", "the objects, and with --watch each change of a step, as a line of JSON each")
    .addHelpText(
      "after",
      `
Examples:
  atalanta submit workflow.yaml -p size=3 --watch
  atalanta submit templates.yaml workflow.yaml -n team

Exit codes: 0 submitted, or succeeded with --watch; 1 it failed; 2 there are mistakes; 130 interrupted (the workflow goes on).`,
    )
    .action(submit);
}

async function submit(files: readonly string[], options: Options): Promise<void> {
  const { json = false } = options;
  const rewritten = await readRewritten(files, { json });
  if (!rewritten) return;
  const { recordOf } = await import("../kubernetes/mod.ts");
  const objects = rewritten.texts.flatMap((text) =>
    parseAllDocuments(text, { version: "1.1", merge: true }).flatMap((document): KubeObject[] => {
      const object: unknown = document.toJSON();
      const metadata = recordOf(recordOf(object)["metadata"]);
      return object === null ? [] : [{ ...recordOf(object), metadata }];
    }),
  );
  for (const { kind = "" } of objects) {
    if (kinds.has(kind)) continue;
    throw new Failure("invalid-argument", `An object of the kind "${kind}" is not submitted`, {
      hint: `Use kubectl for it; here go: ${[...kinds.keys()].join(", ")}.`,
    });
  }
  await using cluster = await openCluster(options);
  const started: KubeObject[] = [];
  for (const written of objects) {
    const object = written.kind === "Workflow" ? adapted(written, options, recordOf) : written;
    const made = await put(cluster, object, options);
    const { name = "", namespace } = made.metadata;
    const line = json
      ? escaped(JSON.stringify({ kind: object.kind, name, namespace, uid: made.metadata.uid }))
      : `${object.kind} ${namespace === undefined ? "" : `${namespace}/`}${name}${options.dryRun ? " would be taken" : ""}`;
    process.stdout.write(`${line}\n`);
    if (object.kind === "Workflow" && !options.dryRun) started.push(made);
  }
  if (!options.watch) return;
  for (const workflow of started) await watch(cluster, workflow, json);
}

function adapted(
  workflow: KubeObject,
  { parameter, name }: Options,
  recordOf: (value: unknown) => Readonly<Record<string, unknown>>,
): KubeObject {
  const { generateName: _generated, ...metadata } = workflow.metadata;
  const spec = recordOf(workflow["spec"]);
  const given = recordOf(spec["arguments"]);
  const before: unknown = given["parameters"];
  const values = new Map(parameter.map((text) => pair("--parameter", text)));
  const parameters = [
    ...(Array.isArray(before) ? before : [])
      .map(recordOf)
      .filter((item) => !values.has(String(item["name"]))),
    ...[...values].map(([key, value]) => ({ name: key, value })),
  ];
  return {
    ...workflow,
    metadata: name === undefined ? workflow.metadata : { ...metadata, name },
    spec: parameters.length === 0 ? spec : { ...spec, arguments: { ...given, parameters } },
  };
}

/** Workflows are made; templates and config maps are made or changed to what they should be. */
async function put(cluster: Cluster, object: KubeObject, options: Options): Promise<KubeObject> {
  const kind = kinds.get(object.kind ?? "") ?? workflows;
  const namespace = options.namespace ?? object.metadata.namespace ?? cluster.namespace;
  const at = { ...(kind.namespaced ? { namespace } : {}), signal: interrupted };
  const { dryRun = false } = options;
  if (object.kind === "Workflow" || dryRun) return cluster.create(kind, object, { ...at, dryRun });
  const { name = "" } = object.metadata;
  const applied = { type: "apply", fieldManager: "atalanta", force: true } as const;
  return cluster.patch(kind, name, object, { ...at, ...applied });
}

/** Prints each change of a step, and sets the exit code when it is over. */
async function watch(cluster: Cluster, workflow: KubeObject, json: boolean): Promise<void> {
  const { recordOf, textOf } = await import("../kubernetes/mod.ts");
  const { name = "", namespace = "" } = workflow.metadata;
  const shown = new Map<string, string>();
  const over = Promise.withResolvers<void>();
  const show = (object: KubeObject): void => {
    const status = recordOf(object["status"]);
    for (const node of Object.values(recordOf(status["nodes"])).map(recordOf)) {
      const id = textOf(node["id"]) ?? "";
      const phase = textOf(node["phase"]) ?? "";
      if (shown.get(id) === phase) continue;
      shown.set(id, phase);
      print({ step: textOf(node["name"]) ?? id, phase, message: textOf(node["message"]) }, json);
    }
    const phase = textOf(status["phase"]) ?? "";
    if (phase !== "Succeeded" && phase !== "Failed" && phase !== "Error") return;
    print({ workflow: name, phase, message: textOf(status["message"]) }, json);
    if (phase !== "Succeeded") process.exitCode = 1;
    over.resolve();
  };
  await using following = cluster.follow(workflows, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
    signal: interrupted,
    onChange: (now) => {
      if (now && now.metadata.uid === workflow.metadata.uid) show(now);
      else if (!now) {
        print({ workflow: name, phase: "Deleted", message: undefined }, json);
        process.exitCode = 1;
        over.resolve();
      }
    },
  });
  const stop = (): void => over.resolve();
  interrupted.addEventListener("abort", stop, { once: true });
  await following.ready.catch(() => undefined);
  await over.promise;
}

function print(
  {
    phase,
    message,
    ...what
  }: {
    readonly step?: string;
    readonly workflow?: string;
    readonly phase: string;
    readonly message: string | undefined;
  },
  json: boolean,
): void {
  if (json) {
    process.stdout.write(`${escaped(JSON.stringify({ ...what, phase, message }))}\n`);
    return;
  }
  const name = what.step ?? what.workflow ?? "";
  const why = message === undefined ? "" : `: ${message}`;
  process.stdout.write(`${phase.padEnd(9)} ${printable(`${name}${why}`)}\n`);
}

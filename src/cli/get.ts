import { Option, type Command } from "commander";
import { usageSum, workflowJson, getRun, type RunNode, type RunState } from "../workflow/mod.ts";
import { age, duration } from "./format.ts";
import { openHome, runName, statusOf } from "./journal.ts";
import { storeOptions, type StoreOptions } from "./storeoptions.ts";
import { NodeTree } from "./nodetree.ts";
import { rowMessage, rowName, rowTime } from "./phase.ts";
import { described } from "./report.ts";
import { nodeSelector } from "./select.ts";
import { paintFor, type Paint } from "./style.ts";
import { escaped, oneLine, table } from "./text.ts";
import { usageText } from "./usage.ts";
import { follow } from "./watch.ts";

interface Options extends StoreOptions {
  readonly output?: "wide" | "short" | "name" | "json" | "yaml";
  readonly status?: string;
  readonly nodeFieldSelector?: string;
  readonly watch?: boolean;
  readonly outputDir?: string;
}

/** `atalanta get NAME…` */
export function addGet(program: Command): void {
  const command = program
    .command("get")
    .description("Show a run: its tree with times and messages, and its outputs")
    .argument("<name...>", "names of runs; @latest is the one that began last")
    .addOption(
      new Option("-o, --output <form>", "how to show it").choices([
        "wide",
        "short",
        "name",
        "json",
        "yaml",
      ]),
    )
    .option("--status <phase>", "only nodes in this phase")
    .option("--node-field-selector <conditions>", "only nodes such as displayName=split")
    .option("--no-color", "no colours")
    .option("-w, --watch", "until the run has ended")
    .option("--output-dir <folder>", "write the run's output artifacts there");
  storeOptions(command)
    .addHelpText(
      "after",
      `
Loops of more than 20 items are one line with counts; -o wide shows each item.

Examples:
  atalanta get @latest
  atalanta get @latest -o json
  atalanta get my-run --output-dir out`,
    )
    .action(async (names: readonly string[], options: Options) => {
      using journal = openHome();
      for (const word of names) {
        const name = runName(journal, word);
        if (options.watch) await follow(journal, name, {});
        const state = getRun(journal, name);
        const live = journal.list().some((run) => run.name === name && run.live);
        process.stdout.write(await shown(state, live, options));
        if (options.outputDir !== undefined) await exportOutputs(state, options.outputDir, options);
      }
    });
}

/** Where they are goes to stderr: stdout may be JSON. */
async function exportOutputs(state: RunState, folder: string, options: Options): Promise<void> {
  const { prepareFolder, writeOutputs } = await import("./outputs.ts");
  const { openKept } = await import("./kept.ts");
  await prepareFolder(folder);
  await using kept = await openKept(options);
  for (const path of (await writeOutputs(state, kept, folder)).values())
    process.stderr.write(`wrote ${path}\n`);
}

async function shown(state: RunState, live: boolean, options: Options): Promise<string> {
  const { output } = options;
  if (output === "name") return `${state.begin.name}\n`;
  if (output === "json") return `${escaped(JSON.stringify(workflowJson(state), undefined, 2))}\n`;
  if (output === "yaml") {
    const { stringify } = await import("yaml");
    // Through JSON, which leaves out what is undefined.
    return escaped(stringify(JSON.parse(JSON.stringify(workflowJson(state))), { lineWidth: 0 }));
  }
  const paint = paintFor(process.stdout);
  const head = output === "short" ? [] : [...headLines(state, live), ""];
  return `${[...head, ...treeLines(state, paint, options)].join("\n")}\n`;
}

function headLines(state: RunState, live: boolean): string[] {
  const { begin, startedAt, finishedAt, suspended, phase } = state;
  const now = Date.now();
  const line = (key: string, value: string): string => `${`${key}:`.padEnd(20)} ${value}`;
  const lines = [
    line("Name", begin.name),
    line("Namespace", begin.namespace),
    line(
      "Status",
      statusOf({ phase, suspended, live, ...(finishedAt === undefined ? {} : { finishedAt }) }),
    ),
  ];
  if (state.message !== undefined) lines.push(line("Message", oneLine(state.message)));
  lines.push(line("Started", stamp(startedAt, now)));
  if (finishedAt !== undefined) lines.push(line("Finished", stamp(finishedAt, now)));
  lines.push(line("Duration", duration((finishedAt ?? now) - startedAt)));
  lines.push(line("Progress", `${state.progress.done}/${state.progress.total}`));
  const usage = usageSum(state.nodes.values());
  if (usage) lines.push(line("Usage", usageText(usage)));
  const asked = begin.bundle.workflow.spec.arguments?.parameters ?? [];
  const parameters = asked.flatMap(({ name, value, default: other }) => {
    const used = state.parameters[name] ?? value ?? other;
    return used === undefined ? [] : [line(`  ${name}`, oneLine(String(used)))];
  });
  if (parameters.length > 0) lines.push("Parameters:", ...parameters);
  const { parameters: values, artifacts } = state.outputs;
  if (values.length > 0) lines.push("Output Parameters:");
  for (const { name, value } of values) lines.push(line(`  ${name}`, oneLine(value)));
  if (artifacts.length > 0) lines.push("Output Artifacts:");
  for (const { name, artifact } of artifacts) lines.push(line(`  ${name}`, described(artifact)));
  return lines;
}

function stamp(ms: number, now: number): string {
  return `${new Date(ms)
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, " UTC")} (${age(now - ms)} ago)`;
}

function treeLines(state: RunState, paint: Paint, options: Options): string[] {
  const wide = options.output === "wide";
  const conditions = [
    ...(options.status === undefined ? [] : [`phase=${options.status}`]),
    ...(options.nodeFieldSelector === undefined ? [] : [options.nodeFieldSelector]),
  ];
  const selected = nodeSelector(conditions.join(","));
  const all = wide || conditions.length > 0;
  const now = state.finishedAt ?? Date.now();
  const rows = new NodeTree(state.nodes.values()).rows(all).flatMap((row) => {
    const node = row.kind === "node" ? row.node : undefined;
    if (node && !selected(node)) return [];
    return [
      [
        rowName(row, paint),
        node?.template ?? "",
        rowTime(row, now),
        ...(wide
          ? [
              node?.usage ? usageText(node.usage) : "",
              node ? artifactsOf(node) : "",
              node?.id ?? "",
            ]
          : []),
        rowMessage(row, paint),
      ],
    ];
  });
  const head = [
    "STEP",
    "TEMPLATE",
    "DURATION",
    ...(wide ? ["USAGE", "ARTIFACTS", "ID"] : []),
    "MESSAGE",
  ];
  return table([head, ...rows]);
}

function artifactsOf(node: RunNode): string {
  return (node.outputs?.artifacts ?? []).map(({ name }) => name).join(",");
}

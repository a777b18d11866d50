import { Option, type Command } from "commander";
import { detectRuntime, hasContainers } from "./containers.ts";
import { planOf } from "./graph.ts";
import { readHostLimits } from "./limits.ts";
import { collect, configHelp, limitHelp } from "./options.ts";
import { mermaid } from "./mermaid.ts";
import { planLines } from "./plantree.ts";
import { readWorkflow } from "./read.ts";
import { paintFor } from "./style.ts";
import { escaped } from "./text.ts";

interface Options {
  readonly graph: "tree" | "mermaid" | "json";
  readonly json?: boolean;
  readonly limit: readonly string[];
  readonly config?: string;
}

/** `atalanta plan FILE…` */
export function addPlan(program: Command): void {
  program
    .command("plan")
    .description("Show the graph of a workflow; nothing is run")
    .argument("<file...>", "a workflow, and files with what it refers to; - for stdin")
    .addOption(
      new Option("--graph <form>", "how to show it")
        .choices(["tree", "mermaid", "json"])
        .default("tree"),
    )
    .option("--config <file>", configHelp)
    .option("--limit <key=value>", limitHelp, collect, [])
    .option("--json", "the same as --graph json; errors are JSON too")
    .addHelpText(
      "after",
      `
In the tree, steps below one another follow each other; those that hang on a ┬ run together.

Examples:
  atalanta plan examples/words/workflow.yaml
  atalanta plan examples/words/workflow.yaml --graph mermaid

Exit codes: 0 done, 2 the workflow is wrong.`,
    )
    .action(async (files: readonly string[], options: Options) => {
      const json = options.json ?? false;
      const bundle = await readWorkflow(files, { json, limits: await readHostLimits(options) });
      if (!bundle) return;
      const plan = planOf(bundle);
      const form = json ? "json" : options.graph;
      if (form === "mermaid") process.stdout.write(mermaid(plan));
      else {
        const runtime = hasContainers(plan) ? await runtimeName() : undefined;
        process.stdout.write(
          form === "json"
            ? `${escaped(JSON.stringify({ ...plan, containerRuntime: runtime ?? null }, undefined, 2))}\n`
            : `${planLines(plan, { paint: paintFor(process.stdout), runtime }).join("\n")}\n`,
        );
      }
    });
}

async function runtimeName(): Promise<string | undefined> {
  const runtime = await detectRuntime();
  return "missing" in runtime ? undefined : `${runtime.kind} ${runtime.version}`;
}

import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { parse } from "yaml";
import { openArtifactStore, type ArtifactStore, type StoredArtifact } from "../artifacts/mod.ts";
import { createLocalDispatcher } from "../dispatch/mod.ts";
import { createEngine } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import { createTaskRunner } from "../task/mod.ts";
import {
  parseWorkflow,
  runWorkflow,
  type NodeStatus,
  type Parsed,
  type WorkflowResult,
} from "../workflow/mod.ts";
import { interrupted } from "./interrupt.ts";
import { printFailure } from "./print.ts";
import { readText } from "./read.ts";

interface Options {
  readonly parameter: readonly string[];
  readonly artifact: readonly string[];
  readonly image: readonly string[];
  readonly outputDir?: string;
  readonly name?: string;
  readonly json?: boolean;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** `atalanta run FILE`: a workflow on this machine, from its arguments to its outputs. */
export function addRun(program: Command): void {
  program
    .command("run")
    .description("Run a workflow on this machine")
    .argument("<file>", "a workflow (apiVersion argoproj.io/v1alpha1)")
    .option("-p, --parameter <name=value>", "give a parameter (repeatable)", collect, [])
    .option(
      "-a, --artifact <name=path>",
      "give an artifact: a file or folder (repeatable)",
      collect,
      [],
    )
    .option("--image <reference=file>", "use a module file for an image (repeatable)", collect, [])
    .option("--output-dir <folder>", "write the workflow's output artifacts there")
    .option("--name <name>", "name of this run")
    .option("--json", "events as one line of JSON each")
    .addHelpText(
      "after",
      "\nExample:\n  atalanta run examples/words/workflow.yaml -a doc=LICENSE --output-dir out",
    )
    .action(async (file: string, options: Options) => {
      const parsed = parseWorkflow(file, await readText(file));
      if (!parsed.workflow) {
        for (const problem of parsed.problems) printFailure(problem, options.json ?? false);
        process.exitCode = 2;
        return;
      }
      const home =
        process.env["ATALANTA_HOME"] ??
        join(process.env["XDG_DATA_HOME"] ?? join(homedir(), ".local/share"), "atalanta");
      const artifacts = await openArtifactStore({ folder: join(home, "artifacts") });
      const given = new Map<string, StoredArtifact>();
      for (const [name, path] of options.artifact.map(pair)) {
        given.set(name, await artifacts.putPath(path));
      }
      await using runner = createTaskRunner({
        engine: createEngine({ stagingFolder: await artifacts.stagingFolder() }),
        artifacts,
        images: new Map([...imagesBeside(file), ...options.image.map(pair)]),
      });
      await using dispatcher = createLocalDispatcher({ runner });
      const started = performance.now();
      const result = await runWorkflow({
        workflow: parsed.workflow,
        ...(options.name === undefined ? {} : { name: options.name }),
        folder: dirname(resolve(file)),
        parameters: new Map(options.parameter.map(pair)),
        artifacts: given,
        dispatcher,
        signal: interrupted,
        onNode: (node) => report(node, options.json ?? false),
      });
      const took = performance.now() - started;
      await finish({ result, parsed, artifacts, options, took });
    });
}

/** One line when a node has ended. */
function report(node: NodeStatus, json: boolean): void {
  if (json) {
    const { children: _children, ...plain } = node;
    process.stdout.write(`${JSON.stringify({ ...plain, type: "node", kind: node.type })}\n`);
  } else if (node.finishedAt !== undefined) {
    const mark = { Succeeded: "✔", Failed: "✖", Error: "⚠", Omitted: "○", Running: "●" }[
      node.phase
    ];
    const time = `${node.finishedAt - node.startedAt} ms`;
    process.stdout.write(
      `${mark} ${node.name}  ${node.phase}  ${time}${node.message ? `  ${node.message}` : ""}\n`,
    );
  }
}

async function finish(run: {
  readonly result: WorkflowResult;
  readonly parsed: Parsed;
  readonly artifacts: ArtifactStore;
  readonly options: Options;
  readonly took: number;
}): Promise<void> {
  const { result, options, took } = run;
  const { root, outputs } = result;
  const files: string[] = [];
  if (options.outputDir !== undefined) {
    for (const [name, artifact] of outputs.artifacts) {
      const path = join(options.outputDir, name);
      await run.artifacts.exportTo(artifact, path);
      files.push(path);
    }
  }
  if (options.json) {
    const parameters = Object.fromEntries(outputs.parameters);
    const artifacts = Object.fromEntries(outputs.artifacts);
    const line = {
      type: "workflow",
      name: result.name,
      phase: root.phase,
      message: root.message,
      tookMs: took,
      parameters,
      artifacts,
      files,
    };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  } else {
    const times = leaves(root).map((node) => node.result?.timings);
    const sum = (key: "compileMs" | "instantiateMs" | "runMs" | "artifactsMs"): string =>
      times.reduce((total, item) => total + (item?.[key] ?? 0), 0).toFixed(1);
    process.stdout.write(
      `\n${result.name}: ${root.phase} in ${took.toFixed(0)} ms, ${times.length} steps\n`,
    );
    process.stdout.write(
      `time in steps: compile ${sum("compileMs")}, instantiate ${sum("instantiateMs")}, run ${sum("runMs")}, artifacts ${sum("artifactsMs")} ms\n`,
    );
    for (const [name, value] of outputs.parameters)
      process.stdout.write(`parameter ${name}: ${value.slice(0, 200)}\n`);
    for (const [name, artifact] of outputs.artifacts)
      process.stdout.write(`artifact ${name}: ${artifact.size} bytes, ${artifact.digest}\n`);
    for (const path of files) process.stdout.write(`wrote ${path}\n`);
  }
  if (root.phase === "Succeeded") return;
  process.exitCode = 1;
  for (const node of leaves(root).filter(
    (leaf) => leaf.phase === "Failed" || leaf.phase === "Error",
  ))
    explain(node, run.parsed);
}

/** What failed, where it is written, and what the guest last said. */
function explain(node: NodeStatus, parsed: Parsed): void {
  const at = parsed.workflow?.spec.templates.findIndex((item) => item.name === node.template) ?? 0;
  const { file, line } = parsed.placeOf(["spec", "templates", at]);
  const out = process.stderr;
  out.write(
    `\n${node.name} (template "${node.template}" at ${file}:${line}): ${node.message ?? node.phase}\n`,
  );
  for (const name of node.result?.stack ?? []) out.write(`  at ${name}\n`);
  if (node.result?.stderrTail)
    out.write(`  stderr:\n${node.result.stderrTail.replace(/^/gm, "  | ")}\n`);
  if (node.result?.failure?.hint) out.write(`  hint: ${node.result.failure.hint}\n`);
}

function leaves(node: NodeStatus): NodeStatus[] {
  return node.children.length === 0 ? [node] : node.children.flatMap(leaves);
}

function pair(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new Failure("invalid-argument", `"${text}" has no name`, { hint: "Write NAME=VALUE." });
}

/** `images:` of the file atalanta.yaml beside the workflow: a module file for each image reference. */
function imagesBeside(file: string): readonly (readonly [string, string])[] {
  const folder = dirname(resolve(file));
  const path = join(folder, "atalanta.yaml");
  if (!existsSync(path)) return [];
  const value: unknown = parse(readFileSync(path, "utf8"));
  const images: unknown =
    typeof value === "object" && value !== null && "images" in value ? value.images : undefined;
  if (typeof images !== "object" || images === null) {
    throw new Failure("invalid-argument", `"${path}" has no mapping "images"`, {
      hint: "Write images: with REFERENCE: FILE below it.",
    });
  }
  return Object.entries(images).map(([reference, module]) => [
    reference,
    resolve(folder, String(module)),
  ]);
}

import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { parse } from "yaml";
import { openArtifactStore, type ArtifactStore, type StoredArtifact } from "../artifacts/mod.ts";
import { createLocalDispatcher } from "../dispatch/mod.ts";
import { readBundle } from "../document/mod.ts";
import { createEngine } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import { createTaskRunner } from "../task/mod.ts";
import {
  beginRun,
  openJournal,
  runWorkflow,
  type RunNode,
  type RunState,
} from "../workflow/mod.ts";
import { interrupted } from "./interrupt.ts";
import { printReading, readSources } from "./read.ts";

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
      const json = options.json ?? false;
      const sources = await readSources([file]);
      const reading = readBundle(sources);
      printReading(reading, sources, { json, strict: false });
      const { bundle } = reading;
      if (!bundle) {
        process.exitCode = 2;
        return;
      }
      const home =
        process.env["ATALANTA_HOME"] ??
        join(process.env["XDG_DATA_HOME"] ?? join(homedir(), ".local/share"), "atalanta");
      using journal = openJournal({ folder: home });
      const artifacts = await openArtifactStore({ folder: join(home, "artifacts") });
      const given: Record<string, StoredArtifact> = {};
      for (const [name, path] of options.artifact.map(pair)) {
        given[name] = await artifacts.putPath(path);
      }
      await using runner = createTaskRunner({
        engine: createEngine({ stagingFolder: await artifacts.stagingFolder() }),
        artifacts,
        images: new Map([...imagesBeside(file), ...options.image.map(pair)]),
      });
      await using dispatcher = createLocalDispatcher({ runner });
      using claim = beginRun({
        journal,
        bundle,
        ...(options.name === undefined ? {} : { name: options.name }),
        parameters: Object.fromEntries(options.parameter.map(pair)),
        artifacts: given,
      });
      const state = await runWorkflow({
        claim,
        dispatcher,
        signal: interrupted,
        onChange: (nodes) => nodes.forEach((node) => report(node, json)),
        onNotice: (message) => process.stderr.write(`note: ${message}\n`),
      });
      await finish(state, artifacts, options);
    });
}

/** One line when a node has ended. */
function report(node: RunNode, json: boolean): void {
  const { id, name, displayName, type, template, phase, message, startedAt, finishedAt } = node;
  if (json) {
    const { outputs, timings } = node;
    const shown = { id, name, displayName, template, phase, message, startedAt, finishedAt };
    process.stdout.write(
      `${JSON.stringify({ ...shown, type: "node", kind: type, result: { outputs, timings } })}\n`,
    );
  } else if (finishedAt !== undefined) {
    const mark = { Succeeded: "✔", Failed: "✖", Error: "⚠", Omitted: "○", Skipped: "○" };
    const sign = phase === "Pending" || phase === "Running" ? "●" : mark[phase];
    const time = `${finishedAt - startedAt} ms`;
    process.stdout.write(`${sign} ${name}  ${phase}  ${time}${message ? `  ${message}` : ""}\n`);
  }
}

async function finish(state: RunState, artifacts: ArtifactStore, options: Options): Promise<void> {
  const { outputs, phase } = state;
  const { name } = state.begin;
  const tookMs = (state.finishedAt ?? state.startedAt) - state.startedAt;
  const stored = outputs.artifacts.flatMap(({ name: artifactName, artifact }) =>
    artifact.kind === "stored" ? [{ name: artifactName, artifact: artifact.artifact }] : [],
  );
  const files: string[] = [];
  if (options.outputDir !== undefined) {
    for (const item of stored) {
      const path = join(options.outputDir, item.name);
      await artifacts.exportTo(item.artifact, path);
      files.push(path);
    }
  }
  if (options.json) {
    const line = {
      type: "workflow",
      name,
      phase,
      message: state.message,
      tookMs,
      parameters: Object.fromEntries(outputs.parameters.map((item) => [item.name, item.value])),
      artifacts: Object.fromEntries(stored.map((item) => [item.name, item.artifact])),
      files,
    };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  } else {
    process.stdout.write(`\n${name}: ${phase} in ${tookMs} ms, ${state.progress.done} steps\n`);
    for (const item of outputs.parameters)
      process.stdout.write(`parameter ${item.name}: ${item.value.slice(0, 200)}\n`);
    for (const item of stored)
      process.stdout.write(
        `artifact ${item.name}: ${item.artifact.size} bytes, ${item.artifact.digest}\n`,
      );
    for (const path of files) process.stdout.write(`wrote ${path}\n`);
  }
  if (phase === "Succeeded") return;
  process.exitCode = 1;
  for (const node of state.nodes.values()) {
    const failed = node.phase === "Failed" || node.phase === "Error";
    if (failed && (node.type === "Plugin" || node.type === "Pod")) explain(node, state);
  }
}

/** What failed, where it is written, and what the guest last said. */
function explain(node: RunNode, state: RunState): void {
  const place = state.begin.bundle.places[node.template ?? ""];
  const where = place ? ` at ${place.file}:${place.line}` : "";
  const out = process.stderr;
  out.write(
    `\n${node.name} (template "${node.template}"${where}): ${node.message ?? node.phase}\n`,
  );
  for (const name of node.stack ?? []) out.write(`  at ${name}\n`);
  if (node.stderrTail) out.write(`  stderr:\n${node.stderrTail.replace(/^/gm, "  | ")}\n`);
  if (node.failure?.hint) out.write(`  hint: ${node.failure.hint}\n`);
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

import { join } from "node:path";
import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { getRun } from "../workflow/mod.ts";
import { openHome, runName } from "./journal.ts";
import { openKept } from "./kept.ts";
import { makeFolder } from "./make-folder.ts";
import { shortName } from "./output.ts";
import { exportSource, fileName, prepareFolder } from "./outputs.ts";
import { storeOptions, type StoreOptions } from "./storeoptions.ts";

interface Options extends StoreOptions {
  readonly nodeId?: string;
  readonly artifactName?: string;
}

/** `atalanta cp NAME FOLDER` */
export function addCp(program: Command): void {
  const command = program
    .command("cp")
    .description("Write the artifacts that the steps of a run handed on")
    .argument("<name>", "name of a run; @latest is the one that began last")
    .argument("<folder>", "each goes to FOLDER/NODE/ARTIFACT")
    .option("--node-id <node>", "of this node only: its id, name or display name")
    .option("--artifact-name <name>", "only artifacts of this name");
  storeOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  atalanta cp @latest out
  atalanta cp my-run out --node-id split`,
    )
    .action(async (word: string, folder: string, options: Options) => {
      using journal = openHome();
      const name = runName(journal, word);
      const state = getRun(journal, name);
      const { nodeId, artifactName } = options;
      const nodes = [...state.nodes.values()].filter(
        (node) =>
          nodeId === undefined ||
          [node.id, node.name, node.displayName, shortName(node, name)].includes(nodeId),
      );
      if (nodes.length === 0) {
        throw new Failure("not-found", `The run "${name}" has no node "${nodeId ?? ""}"`, {
          hint: `See what there is with: atalanta get ${name} -o wide`,
        });
      }
      await prepareFolder(folder);
      await using kept = await openKept(options);
      for (const node of nodes) {
        for (const { name: artifact, artifact: source } of node.outputs?.artifacts ?? []) {
          if (artifactName !== undefined && artifact !== artifactName) continue;
          const place = join(folder, fileName(node.id));
          makeFolder(place);
          const path = join(place, fileName(artifact));
          await exportSource(kept, source, path);
          process.stderr.write(`wrote ${path}\n`);
        }
      }
    });
}

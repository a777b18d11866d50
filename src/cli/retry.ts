import type { Command } from "commander";
import { retryRun } from "../workflow/mod.ts";
import { carryOut, runOptions, type RunOptions } from "./carry.ts";
import { openHome, runName } from "./journal.ts";
import { collect, pair } from "./options.ts";
import { nodeSelector } from "./select.ts";

interface Options extends RunOptions {
  readonly restartSuccessful?: boolean;
  readonly nodeFieldSelector?: string;
  readonly parameter: readonly string[];
}

/** `atalanta retry NAME…` */
export function addRetry(program: Command): void {
  const command = program
    .command("retry")
    .description("Run the failed steps of runs that have ended once more; what succeeded is kept")
    .argument("<name...>", "names of runs; @latest is the one that began last")
    .option("--restart-successful", "also successful nodes that match --node-field-selector")
    .option(
      "--node-field-selector <conditions>",
      "nodes to run again, such as id=5 or displayName=split",
    )
    .option("-p, --parameter <name=value>", "a new value of a parameter (repeatable)", collect, []);
  runOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  atalanta retry @latest
  atalanta retry my-run --restart-successful --node-field-selector displayName=split

Exit codes: 0 succeeded, 1 failed, 2 wrong input, 130 interrupted.`,
    )
    .action(async (words: readonly string[], options: Options) => {
      using journal = openHome(options.durability);
      const { nodeFieldSelector, restartSuccessful = false, parameter } = options;
      const asked = {
        restartSuccessful,
        parameters: Object.fromEntries(parameter.map((text) => pair("-p", text))),
        ...(nodeFieldSelector === undefined ? {} : { select: nodeSelector(nodeFieldSelector) }),
      };
      for (const word of words) {
        const name = runName(journal, word);
        const { bundle } = journal.read(name).begin;
        await carryOut({ bundle, options }, (_session, how) =>
          retryRun({ journal, name, ...how }, asked),
        );
      }
    });
}

import type { Command } from "commander";
import { resumeRun } from "../workflow/mod.ts";
import { carryOut, runOptions, type RunOptions } from "./carry.ts";
import { openHome, runName } from "./journal.ts";
import { collect, pair } from "./options.ts";
import { nodeSelector } from "./select.ts";

interface Options extends RunOptions {
  readonly nodeFieldSelector?: string;
  readonly parameter: readonly string[];
}

/** `atalanta resume NAME…` */
export function addResume(program: Command): void {
  const command = program
    .command("resume")
    .description("Go on with runs that are suspended, or whose process was stopped or died")
    .argument("<name...>", "names of runs; @latest is the one that began last")
    .option(
      "--node-field-selector <conditions>",
      "only suspended nodes such as displayName=approve",
    )
    .option(
      "-p, --parameter <name=value>",
      "a value that the suspended node asks for (repeatable)",
      collect,
      [],
    );
  runOptions(command)
    .addHelpText(
      "after",
      `
A run that another process carries out is told to go on there.
Steps whose result was accepted are not run again. Give --image as for run.

Examples:
  atalanta resume @latest
  atalanta resume my-run --node-field-selector displayName=approve -p approved=yes

Exit codes: 0 succeeded or told, 1 failed, 2 wrong input, 130 interrupted.`,
    )
    .action(async (words: readonly string[], options: Options) => {
      using journal = openHome(options.durability);
      const { nodeFieldSelector, parameter } = options;
      for (const word of words) {
        const name = runName(journal, word);
        const { bundle } = journal.read(name).begin;
        await carryOut({ bundle, options }, async (_session, how) => {
          const outcome = await resumeRun(
            { journal, name, ...how },
            {
              ...(nodeFieldSelector === undefined
                ? {}
                : { select: nodeSelector(nodeFieldSelector) }),
              ...(parameter.length === 0
                ? {}
                : { parameters: Object.fromEntries(parameter.map((text) => pair("-p", text))) }),
            },
          );
          return outcome.kind === "done" ? outcome.state : told(name, options);
        });
      }
    });
}

/** Another process has the run; there is nothing of it to report here. */
function told(name: string, { json, quiet }: RunOptions): undefined {
  if (!json && !quiet) process.stdout.write(`workflow ${name} resumed\n`);
  return undefined;
}

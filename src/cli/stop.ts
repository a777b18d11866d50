import type { Command } from "commander";
import { stopRun, suspendRun, terminateRun, type Outcome, type Target } from "../workflow/mod.ts";
import { carryOut, runOptions, type RunOptions } from "./carry.ts";
import { openHome, runName } from "./journal.ts";

interface Options extends RunOptions {
  readonly message?: string;
  readonly dryRun?: boolean;
}

interface Verb {
  readonly name: string;
  readonly past: string;
  readonly description: string;
  readonly note: string;
  readonly message: boolean;
  readonly act: (target: Target, options: { readonly message?: string }) => Promise<Outcome>;
}

/** `atalanta stop NAME…` */
export const addStop = (program: Command): void =>
  add(program, {
    name: "stop",
    past: "stopped",
    description: "Stop runs, but let their exit handlers run",
    note: "Steps that run now end by themselves; no other begins but exit handlers. Those of an interrupted run are run here.",
    message: true,
    act: stopRun,
  });

/** `atalanta terminate NAME…` */
export const addTerminate = (program: Command): void =>
  add(program, {
    name: "terminate",
    past: "terminated",
    description: "Stop runs at once, without their exit handlers",
    note: "Steps that run now are stopped.",
    message: false,
    act: terminateRun,
  });

/** `atalanta suspend NAME…` */
export const addSuspend = (program: Command): void =>
  add(program, {
    name: "suspend",
    past: "suspended",
    description: "Let runs begin no other step until they are resumed",
    note: "Steps that run now end by themselves. Go on with: atalanta resume NAME",
    message: false,
    act: suspendRun,
  });

function add(program: Command, verb: Verb): void {
  const command = program
    .command(verb.name)
    .description(verb.description)
    .argument("<name...>", "names of runs; @latest is the one that began last")
    .option("--dry-run", "only say what would be done");
  if (verb.message) command.option("--message <text>", "message of the nodes that are stopped");
  runOptions(command)
    .addHelpText("after", `\n${verb.note}\n\nExample:\n  atalanta ${verb.name} my-run`)
    .action(async (words: readonly string[], options: Options) => {
      using journal = openHome(options.durability);
      const { message } = options;
      for (const word of words) {
        const name = runName(journal, word);
        const { bundle } = journal.read(name).begin;
        if (!options.dryRun) {
          // The run ends here when no other process has it, so its exit handlers may need a session.
          const quiet = { ...options, quiet: true, json: false };
          await carryOut({ bundle, options: quiet }, async (_session, how) => {
            await verb.act({ journal, name, ...how }, message === undefined ? {} : { message });
          });
        }
        if (options.json) process.stdout.write(`${JSON.stringify({ type: verb.past, name })}\n`);
        else if (!options.quiet) {
          const dry = options.dryRun ? " (dry run)" : "";
          process.stdout.write(`workflow ${name} ${verb.past}${dry}\n`);
        }
      }
    });
}

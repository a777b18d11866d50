import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { deleteRun, listRuns } from "../workflow/mod.ts";
import { openHome, runName } from "./journal.ts";
import { filterOf, type Filter } from "./list.ts";

interface Options extends Filter {
  readonly all?: boolean;
  readonly dryRun?: boolean;
}

/** `atalanta delete NAME…` */
export function addDelete(program: Command): void {
  program
    .command("delete")
    .description("Forget runs; their artifacts stay in the artifact folder")
    .argument("[name...]", "names of runs; @latest is the one that began last")
    .option("--all", "every run")
    .option("--completed", "runs that have ended")
    .option("--older <duration>", "runs that ended longer ago, such as 10m, 3h, 7d")
    .option("--status <phases>", "runs in these phases, separated by commas")
    .option("--prefix <prefix>", "runs whose name begins with it")
    .option("--dry-run", "only say what would be deleted")
    .addHelpText(
      "after",
      `
A run that a process carries out is not deleted: terminate it first.

Examples:
  atalanta delete my-run
  atalanta delete --completed --older 7d`,
    )
    .action((words: readonly string[], options: Options) => {
      using journal = openHome();
      const filtered = [options.completed, options.older, options.status, options.prefix].some(
        (value) => value !== undefined,
      );
      if (words.length === 0 && !filtered && !options.all) {
        throw new Failure("invalid-argument", "Nothing is named to delete", {
          hint: "Give names of runs, or --all, --completed, --older, --status or --prefix.",
        });
      }
      const named = words.map((word) => runName(journal, word));
      const found =
        filtered || options.all ? listRuns(journal).filter(filterOf(options, Date.now())) : [];
      for (const name of new Set([...named, ...found.map((run) => run.name)])) {
        // Reading it says that there is none of this name.
        if (options.dryRun) journal.read(name);
        else deleteRun(journal, name);
        process.stdout.write(`workflow ${name} deleted${options.dryRun ? " (dry run)" : ""}\n`);
      }
    });
}

import { join } from "node:path";
import type { Command } from "commander";
import { openArtifactStore } from "../artifacts/mod.ts";
import { Failure } from "../errors/mod.ts";
import { deleteRun, listRuns, liveArtifacts } from "../workflow/mod.ts";
import { bytes } from "./format.ts";
import { interrupted } from "./interrupt.ts";
import { homeFolder } from "./home.ts";
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
    .description("Forget runs, and remove artifacts that no run needs any more")
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
A run that a process carries out is not deleted: terminate it first. Artifacts under a key of the repository (s3:) and those
stored within the last hour stay; the next delete removes what is older then.

Examples:
  atalanta delete my-run
  atalanta delete --completed --older 7d`,
    )
    .action(async (words: readonly string[], options: Options) => {
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
      if (options.dryRun) return;
      const artifacts = await openArtifactStore({ folder: join(homeFolder(), "artifacts") });
      const freed = await artifacts.prune(liveArtifacts(journal), { signal: interrupted });
      if (freed.files > 0) process.stdout.write(`${bytes(freed.bytes)} of artifacts removed\n`);
    });
}

import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import {
  collectArtifacts,
  deleteRun,
  listRuns,
  liveArtifacts,
  type Journal,
} from "../workflow/mod.ts";
import { bytes, counted } from "./format.ts";
import { interrupted } from "./interrupt.ts";
import { openHome, runName } from "./journal.ts";
import { openKept } from "./kept.ts";
import { filterOf, type Filter } from "./list.ts";
import type { Kept } from "./outputs.ts";
import { printFailure } from "./print.ts";
import { storeOptions, type StoreOptions } from "./storeoptions.ts";

interface Options extends Filter, StoreOptions {
  readonly force?: boolean;
  readonly all?: boolean;
  readonly dryRun?: boolean;
}

/** `atalanta delete NAME…` */
export function addDelete(program: Command): void {
  const command = program
    .command("delete")
    .description("Forget runs, and remove artifacts that no run needs any more")
    .argument("[name...]", "names of runs; @latest is the one that began last")
    .option("--all", "every run")
    .option("--completed", "runs that have ended")
    .option("--older <duration>", "runs that ended longer ago, such as 10m, 3h, 7d")
    .option("--status <phases>", "runs in these phases, separated by commas")
    .option("--prefix <prefix>", "runs whose name begins with it")
    .option("--force", "also runs whose artifacts in stores cannot be deleted")
    .option("--dry-run", "only say what would be deleted");
  storeOptions(command)
    .addHelpText(
      "after",
      `
A run that a process carries out is not deleted: terminate it first. What a run sent to a store is deleted there
if its artifactGC says so, with the secrets of --config; where that fails, the run is kept. Artifacts under a key of the repository (s3:) and those
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
      await using kept = await openKept(options);
      for (const name of new Set([...named, ...found.map((run) => run.name)])) {
        // Reading it says that there is none of this name.
        if (options.dryRun) journal.read(name);
        else if (!(await letGo(journal, name, kept, options.force ?? false))) {
          process.exitCode = 1;
          continue;
        } else deleteRun(journal, name);
        process.stdout.write(`workflow ${name} deleted${options.dryRun ? " (dry run)" : ""}\n`);
      }
      if (options.dryRun) return;
      const freed = await kept.artifacts.prune(liveArtifacts(journal), { signal: interrupted });
      if (freed.files > 0) process.stdout.write(`${bytes(freed.bytes)} of artifacts removed\n`);
    });
}

/** Whether the run may be forgotten: nothing is left in a store of which only the run knows. */
async function letGo(
  journal: Journal,
  name: string,
  { depot }: Kept,
  force: boolean,
): Promise<boolean> {
  const { deleted, failures } = await collectArtifacts({
    journal,
    name,
    deletion: true,
    remove: (copy, artifact) => depot.remove(copy, artifact, { signal: interrupted }),
  });
  if (deleted > 0)
    process.stdout.write(`${counted(deleted, "artifact")} of ${name} deleted in stores\n`);
  for (const failure of failures) printFailure(failure, { json: false });
  if (failures.length > 0 && !force) {
    process.stderr.write(
      `${name} is kept: ${counted(failures.length, "artifact")} could not be deleted. Try again, or give --force.\n`,
    );
  }
  return failures.length === 0 || force;
}

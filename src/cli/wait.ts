import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { openHome, runName } from "./journal.ts";
import { untilEnded } from "./watch.ts";

/** `atalanta wait NAME…` */
export function addWait(program: Command): void {
  program
    .command("wait")
    .description("Wait until runs have ended that other processes carry out")
    .argument("<name...>", "names of runs; @latest is the one that began last")
    .option("--ignore-not-found", "go on when there is no such run")
    .addHelpText(
      "after",
      `
Example:
  atalanta wait @latest

Exit codes: 0 all succeeded, 1 one failed, 2 no such run, or no process has it.`,
    )
    .action(async (words: readonly string[], options: { readonly ignoreNotFound?: boolean }) => {
      using journal = openHome();
      for (const word of words) {
        try {
          const { begin, phase } = await untilEnded(journal, runName(journal, word));
          process.stdout.write(`${begin.name} ${phase}\n`);
          if (phase !== "Succeeded") process.exitCode = 1;
        } catch (thrown) {
          const missing = thrown instanceof Failure && thrown.code === "not-found";
          if (!(missing && options.ignoreNotFound)) throw thrown;
        }
      }
    });
}

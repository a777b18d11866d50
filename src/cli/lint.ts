import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { parseWorkflow, type Parsed } from "../workflow/mod.ts";
import { printFailure } from "./print.ts";

/** `atalanta lint FILE…` */
export function addLint(program: Command): void {
  program
    .command("lint")
    .description("Find every mistake in workflow files; nothing is run")
    .argument("<file...>", "workflow files")
    .option("--json", "problems as one line of JSON each")
    .addHelpText("after", "\nExample:\n  atalanta lint examples/words/workflow.yaml")
    .action((files: readonly string[], options: { readonly json?: boolean }) => {
      let count = 0;
      for (const file of files) {
        const { problems } = readWorkflow(file);
        count += problems.length;
        for (const problem of problems) printFailure(problem, options.json ?? false);
      }
      if (count > 0) process.exitCode = 2;
      else if (!options.json) process.stdout.write(`${files.join(", ")}: no problems\n`);
    });
}

/** Reads and checks a workflow file. */
export function readWorkflow(file: string): Parsed {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("not-found", `Cannot read "${file}": ${reason}`, {
      cause,
      hint: "Check the path.",
    });
  }
  return parseWorkflow(file, text);
}

import type { Command } from "commander";
import { checkFiles } from "../document/mod.ts";
import { counted } from "./format.ts";
import { readHostLimits } from "./limits.ts";
import { collect, configHelp, limitHelp } from "./options.ts";
import { readOperatorFile } from "./configuration.ts";
import { printReading, readSources } from "./read.ts";
import { storeSecrets } from "./secrets.ts";

interface Options {
  readonly json?: boolean;
  readonly limit: readonly string[];
  readonly config?: string;
  readonly strict?: boolean;
}

/** `atalanta lint FILE…` */
export function addLint(program: Command): void {
  program
    .command("lint")
    .description("Find every mistake in workflow files; nothing is run")
    .argument("<file...>", "workflows, and files with what they refer to; - for stdin")
    .option("--strict", "warnings are errors: keys that change nothing on one machine")
    .option("--config <file>", configHelp)
    .option("--limit <key=value>", limitHelp, collect, [])
    .option("--json", "problems as one line of JSON each")
    .addHelpText(
      "after",
      `
Examples:
  atalanta lint examples/words/workflow.yaml
  atalanta lint --strict --json examples/first/workflow.yaml

Exit codes: 0 nothing is wrong, 2 there are mistakes.`,
    )
    .action(async (files: readonly string[], options: Options) => {
      const { json = false, strict = false } = options;
      const sources = await readSources(files);
      // Whoever does not say which secrets there are is not told that one is missing.
      const secrets =
        options.config === undefined
          ? {}
          : { secrets: storeSecrets(await readOperatorFile(options.config)).check };
      const found = checkFiles(sources, { limits: await readHostLimits(options), ...secrets });
      printReading(found, sources, { json, strict });
      const errors = found.problems.length + (strict ? found.warnings.length : 0);
      if (errors > 0) process.exitCode = 2;
      if (json) return;
      if (errors > 0) process.stderr.write(`${counted(errors, "error")}\n`);
      else process.stdout.write(`${files.join(", ")}: no problems\n`);
    });
}

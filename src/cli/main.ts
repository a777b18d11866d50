import { Command, CommanderError } from "commander";
import { addExec } from "./exec.ts";
import { addLint } from "./lint.ts";
import { addRun } from "./run.ts";
import { interrupted } from "./interrupt.ts";
import { printFailure } from "./print.ts";
import { toFailure } from "../errors/mod.ts";

/** Exit codes: 0 done, 1 the workflow or guest failed, 2 wrong input or usage, 124 time limit, 130 interrupted, 134 trap. */
const program = new Command("atalanta")
  .description("Run WebAssembly modules as steps of Argo workflows, without pods")
  .version("0.1.0")
  .exitOverride()
  .addHelpText(
    "after",
    `
Exit codes: 0 done, 1 a workflow or step failed, 2 wrong input or usage, 124 time limit, 130 interrupted, 134 trap.
Examples:
  atalanta run examples/words/workflow.yaml -a doc=LICENSE --output-dir out
  atalanta exec guest.wasm --dir ./in:/in:ro --env A=b -- arg1 arg2
  atalanta lint workflow.yaml`,
  );
addRun(program);
addExec(program);
addLint(program);

try {
  await program.parseAsync();
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? 0 : 2;
  else {
    printFailure(toFailure(thrown), process.argv.includes("--json"));
    process.exitCode = 2;
  }
}
if (interrupted.aborted) process.exitCode = 130;

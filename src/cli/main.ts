import { Command, CommanderError, Help } from "commander";
import { Failure, toFailure } from "../errors/mod.ts";
import { asCalled, calledAs } from "./called.ts";
import { commands } from "./commands.ts";
import { printFailure, usageFailure } from "./print.ts";

const words = process.argv.slice(2);
const ours = words.includes("--") ? words.slice(0, words.indexOf("--")) : words;
const json = ours.includes("--json");

// The reader of a pipe went away (`| head`): end as other tools do, without a word. 141 is what a shell shows for SIGPIPE.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(141);
    const failure = new Failure("storage", `Cannot write the output: ${error.message}`, {
      cause: error,
      hint: "Make room where the output goes, or write it somewhere else.",
    });
    // Not for stderr itself: there is nowhere left to say it.
    if (stream === process.stdout) printFailure(failure, json);
    process.exit(1);
  });
}
if (ours.includes("--no-color")) process.env["NO_COLOR"] = "1";

const name = calledAs(process.env);
const program = new Command(name)
  .description("Run WebAssembly modules as steps of Argo workflows, without pods")
  .option("--no-color", "no colours, also with NO_COLOR=1")
  .exitOverride()
  .configureOutput({
    writeOut: (text) => void process.stdout.write(asCalled(text, name, commands.keys())),
    outputError: (text) => printFailure(usageFailure(text), json),
  })
  // Options that may be given again begin with an empty list, which is nothing to tell.
  .configureHelp({
    optionDescription: (option) =>
      new Help().optionDescription(option).replace(" (default: [])", ""),
  })
  .addHelpText(
    "after",
    `
Exit codes: 0 done, 1 a workflow or step failed, 2 wrong input or usage, 124 time limit, 130 interrupted, 134 trap.

Examples:
  atalanta run examples/words/workflow.yaml -a doc=LICENSE --output-dir out
  atalanta plan examples/words/workflow.yaml
  atalanta lint examples/words/workflow.yaml
  atalanta exec test/guests/hello/hello.wasm`,
  );

// Only the command that is asked for is loaded: the others are their names and summaries.
const asked = words.find((word) => !word.startsWith("-"));
for (const [word, { summary, load }] of commands) {
  if (word === asked) (await load())(program);
  else program.command(word).description(summary);
}

// What the scripts of `completion` ask; nobody types it.
if (asked === "complete") (await import("./complete.ts")).addComplete(program);

/** What is no mistake in what was given, or cannot be told from it. */
const notTheInput = new Set([
  "internal",
  "aborted",
  "storage",
  "runner-lost",
  "image-signature",
  "image-policy",
  "registry-unavailable",
  "registry-refused",
  "network-failed",
  "broker-unavailable",
  "unauthenticated",
  "forbidden",
  "rate-limited",
  "queue-full",
  "circuit-open",
  "shutting-down",
]);
try {
  await program.parseAsync();
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? 0 : 2;
  else {
    const failure = toFailure(thrown);
    printFailure(failure, json);
    process.exitCode = notTheInput.has(failure.code) ? 1 : 2;
  }
}

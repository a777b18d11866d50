import type { Command } from "commander";
import { counted } from "./format.ts";
import { readRewritten } from "./rewritten.ts";

interface Options {
  readonly check?: boolean;
  readonly json?: boolean;
}

/** `atalanta rewrite [FILE…]` */
export function addRewrite(program: Command): void {
  program
    .command("rewrite")
    .description("Write workflows with wasm: steps as a cluster takes them, with plugin: {wasm: …}")
    .argument("[file...]", "workflows and templates; stdin when there is none")
    .option("--check", "write nothing, and fail when something would change")
    .option("--json", "problems as one line of JSON each")
    .addHelpText(
      "after",
      `
Also what a KRM function is given (a ResourceList) goes through; comments stay, and other documents are not touched. Its output is for
\`kubectl create -f -\` and the like.

Examples:
  atalanta rewrite examples/argo/hello.yaml

Exit codes: 0 done, 1 --check found something to change, 2 there are mistakes.`,
    )
    .action(async (files: readonly string[], { check = false, json = false }: Options) => {
      const rewritten = await readRewritten(files.length === 0 ? ["-"] : files, { json });
      if (!rewritten) return;
      const { texts, changed } = rewritten;
      if (check) {
        if (changed > 0) process.exitCode = 1;
        if (!json) process.stdout.write(`${counted(changed, "template")} to rewrite\n`);
        return;
      }
      process.stdout.write(joined(texts));
    });
}

/** Several files as the documents of one. */
function joined(texts: readonly string[]): string {
  return texts
    .map((text, index) => (index === 0 || text.startsWith("---") ? text : `---\n${text}`))
    .map((text) => (text === "" || text.endsWith("\n") ? text : `${text}\n`))
    .join("");
}

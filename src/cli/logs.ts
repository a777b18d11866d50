import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { logArtifact } from "../places/mod.ts";
import { getRun, logsOf, type NodeLog, type RunState } from "../workflow/mod.ts";
import { openHome, runName } from "./journal.ts";
import { openKept } from "./kept.ts";
import { prefix, shortName } from "./output.ts";
import { nonNegative } from "./options.ts";
import { here, type Kept } from "./outputs.ts";
import { storeOptions, type StoreOptions } from "./storeoptions.ts";
import { paintFor } from "./style.ts";
import { printable } from "./text.ts";
import { untilEnded } from "./watch.ts";

interface Options extends StoreOptions {
  readonly follow?: boolean;
  readonly tail?: number;
  readonly grep?: string;
}

/** `atalanta logs NAME [NODE]` */
export function addLogs(program: Command): void {
  const command = program
    .command("logs")
    .description("Print what the steps of a run printed")
    .argument("<name>", "name of a run; @latest is the one that began last")
    .argument(
      "[node]",
      "only this node: its id, name or display name; that of a loop is all of its items",
    )
    .option("-f, --follow", "until the run has ended; a step's log comes when the step has ended")
    .option("--tail <lines>", "only so many of the last lines of each step", nonNegative("--tail"))
    .option("--grep <expression>", "only lines that match this regular expression")
    .option("--no-color", "no colours");
  storeOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  atalanta logs @latest
  atalanta logs @latest split --tail 20`,
    )
    .action(async (word: string, node: string | undefined, options: Options) => {
      using journal = openHome();
      const name = runName(journal, word);
      await using kept = await openKept(options);
      const told = new Set<string>();
      const matches = matcher(options.grep);
      const tell = async (state: RunState): Promise<void> => {
        for (const item of logsOf(state, nodeName(state, node))) {
          // A node that was retried by hand has a new log.
          const key = `${item.node.id} ${item.log.digest}`;
          if (told.has(key)) continue;
          told.add(key);
          await print(item, { kept, state, options, matches });
        }
      };
      if (!options.follow) return tell(getRun(journal, name));
      let last = Promise.resolve();
      await untilEnded(journal, name, (state) => {
        last = last.then(() => tell(state));
      });
      await last;
    });
}

/** What `atalanta run --log` shows as a node's name is one, too. */
function nodeName(state: RunState, node: string | undefined): string | undefined {
  if (node === undefined) return undefined;
  const run = state.begin.name;
  const full = [...state.nodes.values()].find((item) => shortName(item, run) === node);
  return full?.name ?? node;
}

async function print(
  { node, log }: NodeLog,
  given: {
    readonly kept: Kept;
    readonly state: RunState;
    readonly options: Options;
    readonly matches: (line: string) => boolean;
  },
): Promise<void> {
  const { kept, state, options, matches } = given;
  const sent = node.outputs?.artifacts.find(({ name }) => name === logArtifact)?.artifact;
  const copy = sent?.kind === "stored" ? sent.copy : undefined;
  const found = await here({ artifact: log, ...(copy ? { copy } : {}) }, kept);
  const text = Buffer.from(await kept.artifacts.read(found)).toString();
  const lines = text.replace(/\n$/, "").split("\n").filter(matches);
  const { tail } = options;
  const last = tail === undefined ? lines : tail === 0 ? [] : lines.slice(-tail);
  const before = prefix(shortName(node, state.begin.name), paintFor(process.stdout));
  // A pipe gets what the step wrote; a terminal nothing that could move its cursor.
  const clean = process.stdout.isTTY ? printable : (line: string): string => line;
  process.stdout.write(last.map((line) => `${before}${clean(line)}\n`).join(""));
}

function matcher(expression: string | undefined): (line: string) => boolean {
  if (expression === undefined) return () => true;
  try {
    const pattern = new RegExp(expression, "u");
    return (line) => pattern.test(line);
  } catch (cause) {
    throw new Failure("invalid-argument", `--grep "${expression}" is no regular expression`, {
      cause,
    });
  }
}

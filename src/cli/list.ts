import { Option, type Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { parseDurationMs } from "../limits/mod.ts";
import { summaryJson, listRuns, type Journal, type RunSummary } from "../workflow/mod.ts";
import { age, duration } from "./format.ts";
import { openHome, statusOf } from "./journal.ts";
import { mark } from "./phase.ts";
import { paintFor } from "./style.ts";
import { escaped, oneLine, table } from "./text.ts";

/** Which runs a command is about. */
export interface Filter {
  readonly running?: boolean;
  readonly completed?: boolean;
  readonly status?: string;
  readonly since?: string;
  readonly older?: string;
  readonly prefix?: string;
}

interface Options extends Filter {
  readonly output?: "wide" | "json" | "yaml" | "name";
  readonly headers: boolean;
}

const statuses = ["Pending", "Running", "Succeeded", "Failed", "Error"];

/** `atalanta list` */
export function addList(program: Command): void {
  program
    .command("list")
    .description("List runs, the newest first")
    .option("--running", "only runs that have not ended")
    .option("--completed", "only runs that have ended")
    .option("--status <phases>", `only these, separated by commas: ${statuses.join(", ")}`)
    .option("--since <duration>", "only runs that began within it, such as 10m, 3h, 1d")
    .option("--older <duration>", "only runs that ended longer ago")
    .option("--prefix <prefix>", "only runs whose name begins with it")
    .option("--no-headers", "without the line of headings")
    .addOption(
      new Option("-o, --output <form>", "how to show them").choices([
        "wide",
        "name",
        "json",
        "yaml",
      ]),
    )
    .addHelpText(
      "after",
      `
A run is Interrupted when it has not ended and no process has it: go on with atalanta resume NAME.

Examples:
  atalanta list
  atalanta list --status Failed,Error --since 1h -o name`,
    )
    .action(async (options: Options) => {
      using journal = openHome();
      const runs = listRuns(journal).filter(filterOf(options, Date.now()));
      process.stdout.write(await shown(runs, journal, options));
    });
}

async function shown(
  runs: readonly RunSummary[],
  journal: Journal,
  options: Options,
): Promise<string> {
  const { output } = options;
  if (output === "name") return runs.map(({ name }) => `${name}\n`).join("");
  if (output === "json") return `${escaped(JSON.stringify(runs.map(summaryJson), undefined, 2))}\n`;
  if (output === "yaml") {
    const { stringify } = await import("yaml");
    // Through JSON, which leaves out what is undefined.
    return escaped(stringify(JSON.parse(JSON.stringify(runs.map(summaryJson)))));
  }
  if (runs.length === 0) return "No workflows found\n";
  const wide = output === "wide";
  const paint = paintFor(process.stdout);
  const now = Date.now();
  const head = [
    "  NAME",
    "STATUS",
    "AGE",
    "DURATION",
    ...(wide ? ["PROGRESS", "PARAMETERS"] : []),
    "MESSAGE",
  ];
  const rows = runs.map((run) => [
    `${mark(run.phase, paint)} ${run.name}`,
    statusOf(run),
    age(now - run.startedAt),
    duration((run.finishedAt ?? now) - run.startedAt),
    ...(wide
      ? [`${run.progress.done}/${run.progress.total}`, parametersOf(journal, run.name)]
      : []),
    oneLine(run.message ?? ""),
  ]);
  const lines = table(options.headers ? [head, ...rows] : rows);
  return `${lines.join("\n")}\n`;
}

function parametersOf(journal: Journal, name: string): string {
  const { parameters } = journal.read(name).begin;
  const texts = Object.entries(parameters).map(([key, value]) => {
    const text = oneLine(value);
    return `${key}=${text.length > 50 ? `${text.slice(0, 32)}...${text.slice(-15)}` : text}`;
  });
  return texts.join(",");
}

/** Throws for a filter that is none. */
export function filterOf(options: Filter, now: number): (run: RunSummary) => boolean {
  const wanted = options.status?.split(",").map((text) => text.trim());
  const unknown = wanted?.find((phase) => !statuses.includes(phase));
  if (unknown !== undefined) {
    throw new Failure("invalid-argument", `--status "${unknown}" is no phase of a run`, {
      hint: `They are: ${statuses.join(", ")}.`,
    });
  }
  if (options.running && options.completed) {
    throw new Failure("invalid-argument", "--running and --completed exclude each other");
  }
  const since = options.since === undefined ? undefined : now - parseDurationMs(options.since);
  const older = options.older === undefined ? undefined : now - parseDurationMs(options.older);
  return ({ name, phase, startedAt, finishedAt }) =>
    !(options.running && finishedAt !== undefined) &&
    !(options.completed && finishedAt === undefined) &&
    !(wanted && !wanted.includes(phase)) &&
    !(since !== undefined && startedAt < since) &&
    !(older !== undefined && !(finishedAt !== undefined && finishedAt < older)) &&
    name.startsWith(options.prefix ?? "");
}

import { Command, type Option } from "commander";
import { listRuns } from "../workflow/mod.ts";
import { commands } from "./commands.ts";
import { openHome } from "./journal.ts";

const takesRun = new Set([
  "get",
  "logs",
  "cp",
  "watch",
  "wait",
  "resume",
  "retry",
  "suspend",
  "stop",
  "terminate",
  "delete",
]);

/** `atalanta complete -- INDEX WORD…`, for the scripts of `completion`: what the word at the index may be, a line each; nothing for a file. */
export function addComplete(program: Command): void {
  program
    .command("complete", { hidden: true })
    .argument("<words...>")
    .action(async ([index = "", ...words]: readonly string[]) => {
      const word = words[Number(index)] ?? "";
      const candidates = await found(words.slice(1, Number(index)), word);
      const lines = candidates.filter((text) => text.startsWith(word));
      process.stdout.write(lines.map((text) => `${text}\n`).join(""));
    });
}

async function found(before: readonly string[], word: string): Promise<readonly string[]> {
  const [name, ...rest] = before.filter((item, at) => at > 0 || !item.startsWith("-"));
  if (name === undefined)
    return word.startsWith("-") ? ["--help", "--no-color"] : [...commands.keys()];
  const entry = commands.get(name);
  if (!entry) return [];
  const holder = new Command();
  (await entry.load())(holder);
  const [first] = holder.commands;
  if (!first) return [];
  const inner = first.commands;
  const command = inner.find((item) => item.name() === rest[0]) ?? first;
  if (inner.length > 0 && command === first && !word.startsWith("-")) {
    return inner.map((item) => item.name());
  }
  const last = rest.at(-1) ?? "";
  const open = command.options.find(
    (option) => [option.short, option.long].includes(last) && (option.required || option.optional),
  );
  if (open) return open.argChoices ?? [];
  if (word.startsWith("-")) return command.options.flatMap(flags).concat("--help");
  const choices = command.registeredArguments.flatMap((argument) => argument.argChoices ?? []);
  if (choices.length > 0) return choices;
  if (!takesRun.has(name)) return [];
  using journal = openHome();
  return ["@latest", ...listRuns(journal).map((run) => run.name)];
}

function flags({ long }: Option): readonly string[] {
  return long ? [long] : [];
}

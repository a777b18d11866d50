import type { Command } from "commander";
import { interrupted } from "./interrupt.ts";
import { ask, serverOptions, type ServerOptions } from "./served.ts";

interface Options extends ServerOptions {
  readonly json?: boolean;
}

interface View {
  readonly name: string;
  readonly version: string;
  readonly deployedAt: string;
  readonly functions?: readonly string[];
  readonly program: { readonly module: { readonly image: string; readonly digest?: string } };
}

/** `atalanta functions` */
export function addFunctions(program: Command): void {
  const command = serverOptions(program.command("functions"))
    .description("List, show and remove what is deployed on a server")
    .argument("[name]", "show this one alone")
    .option("--json", "as JSON")
    .option("--remove", "take the name away; calls that run go on")
    .addHelpText(
      "after",
      "\nExamples:\n  atalanta functions\n  atalanta functions resize --json\n  atalanta functions resize --remove",
    );
  command.action(
    async (name: string | undefined, options: Options & { readonly remove?: boolean }) => {
      if (name === undefined) return list(options);
      const path = `/functions/${encodeURIComponent(name)}`;
      if (options.remove) {
        await ask(options, path, { method: "DELETE", signal: interrupted });
        process.stdout.write(`Removed ${options.namespace}/${name}\n`);
        return undefined;
      }
      const text = await (await ask(options, path, { signal: interrupted })).text();
      process.stdout.write(`${options.json ? text : JSON.stringify(JSON.parse(text), null, 2)}\n`);
      return undefined;
    },
  );
}

async function list(options: Options): Promise<void> {
  const response = await ask(options, "/functions", { signal: interrupted });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the server's own form
  const { items } = (await response.json()) as { readonly items: readonly View[] };
  if (options.json) {
    process.stdout.write(`${JSON.stringify(items)}\n`);
    return;
  }
  const rows = items.map(({ name, program: { module }, functions, deployedAt }) => [
    name,
    module.image,
    module.digest?.slice(0, 19) ?? "-",
    functions?.join(",") ?? "-",
    deployedAt,
  ]);
  const table = [["NAME", "IMAGE", "DIGEST", "FUNCTIONS", "DEPLOYED"], ...rows];
  const widths =
    table[0]?.map((_, at) => Math.max(...table.map((row) => row[at]?.length ?? 0))) ?? [];
  for (const row of table) {
    process.stdout.write(
      `${row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join("  ")
        .trimEnd()}\n`,
    );
  }
}

import { readFile, rename, writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { makeToken } from "../server/mod.ts";
import { collect } from "./options.ts";

interface Options {
  readonly scope: readonly string[];
  readonly file: string;
  readonly expires?: string;
}

/** `atalanta token NAME` */
export function addToken(program: Command): void {
  program
    .command("token")
    .description("Make a bearer token for atalanta serve and add its digest to a file of tokens")
    .argument("<name>", "whose it is")
    .option(
      "--scope <scope>",
      "NAMESPACE:SCOPE, where NAMESPACE may be * and SCOPE is call, deploy, read, workflows or admin (repeatable)",
      collect,
      [],
    )
    .requiredOption("--file <file>", "the file of tokens, made when it is not there")
    .option("--expires <time>", "when its time is over, such as 2027-01-01")
    .addHelpText(
      "after",
      "\nThe token is printed once, and kept nowhere.\n\nExamples:\n  atalanta token ci --scope default:call --scope default:read --file tokens.json",
    )
    .action(async (name: string, { scope, file, expires }: Options) => {
      if (scope.length === 0)
        throw new Failure("invalid-argument", "A token without --scope may do nothing", {
          hint: "Write --scope default:call, for example.",
        });
      if (expires !== undefined && Number.isNaN(Date.parse(expires)))
        throw new Failure("invalid-argument", `--expires "${expires}" is no time`, {
          hint: "Write one such as 2027-01-01.",
        });
      const tokens = await readTokens(file);
      if (tokens.some((entry) => Reflect.get(entry, "name") === name)) {
        throw new Failure("invalid-argument", `"${file}" has a token named "${name}" already`, {
          hint: "Give another name, or take that one out first.",
        });
      }
      const { token, entry } = makeToken({
        name,
        scopes: scope,
        ...(expires === undefined ? {} : { expires: new Date(expires).toISOString() }),
      });
      const text = `${JSON.stringify({ tokens: [...tokens, entry] }, null, 2)}\n`;
      // A server that reads it meanwhile sees the one or the other.
      await writeFile(`${file}.new`, text, { mode: 0o600 });
      await rename(`${file}.new`, file);
      process.stdout.write(`${token}\n`);
    });
}

async function readTokens(file: string): Promise<readonly object[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return [];
    throw cause;
  }
  try {
    const said: unknown = JSON.parse(text);
    const list: unknown =
      typeof said === "object" && said !== null ? Reflect.get(said, "tokens") : undefined;
    if (Array.isArray(list))
      return list.filter((item): item is object => typeof item === "object" && item !== null);
  } catch {
    // Told below.
  }
  throw new Failure("invalid-argument", `"${file}" is there and is no file of tokens`, {
    hint: "Name another file.",
  });
}

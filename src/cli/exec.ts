import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { createEngine } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import { resolveLimits } from "../limits/mod.ts";
import { mountOf, shareFolder, writeBack } from "./folder.ts";
import { interrupted } from "./interrupt.ts";
import { printFailure } from "./print.ts";

interface Options {
  readonly dir: readonly string[];
  readonly env: readonly string[];
  readonly stdin?: string;
  readonly time?: string;
  readonly memory?: string;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** `atalanta exec MODULE -- ARGS…`: one module, like a local command. */
export function addExec(program: Command): void {
  program
    .command("exec")
    .description("Run one module in a sandbox, like a local command")
    .argument("<module>", "a .wasm file built for wasip1")
    .argument("[args...]", "its arguments, after --")
    .option(
      "--dir <host:guest[:ro]>",
      "give a folder; what the guest changes is written back when it has ended (repeatable)",
      collect,
      [],
    )
    .option("--env <name=value>", "set a variable; none is inherited (repeatable)", collect, [])
    .option("--stdin <file>", "file to read as stdin; - for this command's own")
    .option("--time <duration>", "time limit, such as 30s (default 5m)")
    .option("--memory <size>", "memory limit, such as 64Mi (default 256Mi)")
    .addHelpText(
      "after",
      "\nExample:\n  atalanta exec guest.wasm --dir ./in:/in:ro --env A=b -- arg1 arg2",
    )
    .action(async (path: string, args: readonly string[], options: Options) => {
      await using engine = createEngine({ threads: 1 });
      const limits = resolveLimits({
        ...(options.time === undefined ? {} : { time: options.time }),
        ...(options.memory === undefined ? {} : { memory: options.memory }),
      });
      const module = await engine.load({ path }, { limits });
      const folders = options.dir.map(shareFolder);
      const writable = folders.filter((folder) => !folder.readOnly);
      const result = await engine.run(
        module,
        {
          arguments: [module.name, ...args],
          environment: new Map(options.env.map(variable)),
          mounts: folders.map(mountOf),
          preopens: folders.map((folder) => folder.path),
          collect: writable.map((folder) => folder.path),
          limits,
          ...(options.stdin === undefined ? {} : { stdin: readStdin(options.stdin) }),
        },
        { signal: interrupted, onOutput: (stream, bytes) => process[stream].write(bytes) },
      );
      const left = new Map(result.collected.map((item) => [item.path, item]));
      for (const folder of writable) {
        const collected = left.get(folder.path);
        if (collected) await writeBack(folder, collected, folders);
        // A guest that had to be stopped takes its tree with it; half a write is worse than none.
        else process.stderr.write(`warning: "${folder.host}" is as it was before\n`);
      }
      if (result.kind === "exited") process.exitCode = result.exitCode;
      else if (result.kind === "trapped") {
        process.stderr.write(`error: the guest trapped: ${result.message}\n`);
        for (const name of result.stack) process.stderr.write(`  at ${name}\n`);
        process.exitCode = 134;
      } else {
        const { code, message, hint } = result.failure;
        printFailure(new Failure(code, message, hint === undefined ? {} : { hint }), false);
        process.exitCode = code === "limit-time" ? 124 : 1;
      }
    });
}

function variable(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new Failure("invalid-argument", `--env "${text}" has no name`, {
    hint: "Write --env NAME=VALUE.",
  });
}

function readStdin(path: string): Uint8Array {
  return readable("--stdin", path, () => readFileSync(path === "-" ? 0 : path));
}

function readable<Value>(option: string, path: string, read: () => Value): Value {
  try {
    return read();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `${option}: cannot read "${path}": ${reason}`, {
      cause,
      hint: "Check the path; it is relative to the folder you are in.",
    });
  }
}

import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { createEngine, type Mount, type TreeEntry } from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";
import { resolveLimits } from "../limits/mod.ts";
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
    .option("--dir <host:guest:ro>", "show a copy of a folder, read-only (repeatable)", collect, [])
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
      const mounts = options.dir.map(mountOf);
      const result = await engine.run(
        module,
        {
          arguments: [module.name, ...args],
          environment: new Map(options.env.map(variable)),
          mounts,
          preopens: mounts.map((mount) => mount.path),
          collect: [],
          limits,
          ...(options.stdin === undefined ? {} : { stdin: readStdin(options.stdin) }),
        },
        { signal: interrupted, onOutput: (stream, bytes) => process[stream].write(bytes) },
      );
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

function mountOf(text: string): Mount {
  const [host = "", guest = "", mode] = text.split(":");
  if (!guest.startsWith("/") || mode !== "ro") {
    throw new Failure("invalid-argument", `--dir "${text}" is not HOST:/GUEST:ro`, {
      hint: "Folders are shown read-only; use a workflow's output artifacts to take files out.",
    });
  }
  const entries: TreeEntry[] = [];
  readable("--dir", host, () => scan(resolve(host), "", entries));
  return { path: guest, readOnly: true, content: { kind: "directory", entries } };
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

function scan(folder: string, prefix: string, into: TreeEntry[]): void {
  for (const item of readdirSync(folder, { withFileTypes: true })) {
    const path = prefix + item.name;
    const host = join(folder, item.name);
    if (item.isDirectory()) {
      into.push({ kind: "directory", path, mode: 0o755 });
      scan(host, `${path}/`, into);
    } else if (item.isFile()) {
      const { size, mode } = lstatSync(host);
      into.push({
        kind: "file",
        path,
        mode: mode & 0o777,
        content: { kind: "slice", path: host, offset: 0, size },
      });
    }
  }
}

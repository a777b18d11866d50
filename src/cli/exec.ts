import { createReadStream } from "node:fs";
import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { createGate } from "../network/mod.ts";
import {
  hostLimits,
  reachedLimit,
  resolveLimits,
  type AskedHostLimits,
  type Limits,
} from "../limits/mod.ts";
import { createRunners, parseTrust } from "../runner/mod.ts";
import { makeReady } from "../task/mod.ts";
import { trustHelp } from "./carry.ts";
import { mountOf, shareFolder, writeBack } from "./folder.ts";
import { readOperatorFile } from "./configuration.ts";
import { isImage, openUserImages } from "./images.ts";
import { interrupted } from "./interrupt.ts";
import { askedLimits, checkLimit } from "./limits.ts";
import { printFailure } from "./print.ts";
import { allowAddressHelp, collect, configHelp, pair } from "./options.ts";
import { printable } from "./text.ts";

interface Options {
  readonly dir: readonly string[];
  readonly env: readonly string[];
  readonly allowHost: readonly string[];
  readonly allowAddress: readonly string[];
  readonly config?: string;
  readonly trust?: string;
  readonly stdin?: string;
  readonly limit: readonly string[];
  readonly time?: string;
  readonly memory?: string;
}

/** A guest's stdin lies in memory, twice while it crosses to the thread. */
const stdinBytes = 512 * 1024 * 1024;

/** `atalanta exec MODULE -- ARGS…`: one module, like a local command. */
export function addExec(program: Command): void {
  program
    .command("exec")
    .description("Run one module in a sandbox, like a local command")
    .argument(
      "<module>",
      "a .wasm file built for wasip1, or an image such as ghcr.io/acme/step:1.2",
    )
    .argument("[args...]", "its arguments, after --")
    .option(
      "--dir <host:guest[:ro]>",
      "give a folder; what the guest changes is written back when it has ended (repeatable)",
      collect,
      [],
    )
    .option("--env <name=value>", "set a variable; none is inherited (repeatable)", collect, [])
    .option("--allow-host <host>", "let it send HTTP requests there (repeatable)", collect, [])
    .option("--allow-address <range>", allowAddressHelp, collect, [])
    .option("--config <file>", configHelp)
    .option("--trust <class>", trustHelp)
    .option("--stdin <file>", "file to read as stdin; - for this command's own")
    .option("--limit <key=value>", "a limit, such as cpuTime=10s (repeatable)", collect, [])
    .option("--time <duration>", "time limit, such as 30s (default 5m)")
    .option("--memory <size>", "memory limit, such as 64Mi (default 256Mi)")
    .addHelpText(
      "after",
      "\nExamples:\n  atalanta exec guest.wasm --dir ./in:/in:ro --env A=b -- arg1 arg2\n  atalanta exec ghcr.io/acme/step:1.2 -- arg1",
    )
    .action(async (path: string, args: readonly string[], options: Options) => {
      await using runners = createRunners({ threads: 1, spares: 0 });
      const trust = options.trust === undefined ? "thread" : parseTrust(options.trust, "--trust");
      const engine = runners.engine({ trust, owner: "local" });
      const operator = await readOperatorFile(options.config);
      const limits = limitsOfCommand(options, operator.limits);
      await using images = isImage(path)
        ? await openUserImages(operator, { limits, allowAddresses: options.allowAddress })
        : undefined;
      using program = await makeReady(
        images
          ? { module: { image: path }, arguments: args, afterEntrypoint: true }
          : { module: { path }, arguments: args },
        {
          engine,
          limits,
          signal: interrupted,
          ...(images ? { images: () => Promise.resolve(images) } : {}),
        },
      );
      const folders = options.dir.map(shareFolder);
      // Whoever runs a module by hand is both sides.
      const allowedHosts = options.allowHost;
      const gate = createGate({
        permissions: {
          allowedHosts,
          allowedAddresses: [
            ...(operator.permissions.allowedAddresses ?? []),
            ...options.allowAddress,
          ],
        },
        authorities: operator.authorities,
      });
      using passage = await gate.open({ allowedHosts, secrets: [], limits });
      const writable = folders.filter((folder) => !folder.readOnly);
      const result = await engine.run(
        program.module,
        {
          arguments: program.arguments,
          environment: new Map([
            ...program.environment,
            ...options.env.map((text) => pair("--env", text)),
          ]),
          mounts: [...program.mounts, ...folders.map(mountOf)],
          preopens: [
            // An image's own files are seen as in a container; without them there is nothing but the folders given.
            ...(program.mounts.length > 0 ? ["/"] : []),
            ...folders.map((folder) => folder.path),
          ],
          collect: writable.map((folder) => folder.path),
          limits,
          ...(options.stdin === undefined
            ? {}
            : { stdin: await readStdin(options.stdin, stdinBytes) }),
        },
        {
          signal: interrupted,
          onOutput: (stream, bytes) => process[stream].write(bytes),
          http: passage.http,
        },
      );
      const left = new Map(result.collected.map((item) => [item.path, item]));
      for (const folder of writable) {
        const collected = left.get(folder.path);
        if (collected) await writeBack(folder, collected, folders);
        // A guest that had to be stopped takes its tree with it; half a write is worse than none.
        else process.stderr.write(`warning: "${folder.host}" is as it was before\n`);
      }
      if (result.kind !== "exited" || result.exitCode !== 0) {
        for (const key of result.limitsReached) {
          const { message, hint } = reachedLimit(key, limits);
          process.stderr.write(`note: ${message}. ${hint}\n`);
        }
      }
      if (result.kind === "exited") process.exitCode = result.exitCode;
      else if (result.kind === "trapped") {
        process.stderr.write(`error: the guest trapped: ${printable(result.message)}\n`);
        for (const name of result.stack) process.stderr.write(`  at ${printable(name)}\n`);
        process.exitCode = 134;
      } else {
        const { code, message, hint } = result.failure;
        printFailure(new Failure(code, message, hint === undefined ? {} : { hint }), false);
        process.exitCode = code === "limit-time" ? 124 : 1;
      }
    });
}

/** There is one step here, so what is asked for is its own; what only a host says is said, too, and comes before what the operator's file has. */
function limitsOfCommand({ limit, time, memory }: Options, configured: AskedHostLimits): Limits {
  if (time !== undefined) checkLimit("--time", "time", time);
  if (memory !== undefined) checkLimit("--memory", "memory", memory);
  const named = askedLimits(limit);
  for (const [key, option] of [
    ["time", time],
    ["memory", memory],
  ] as const) {
    if (option === undefined || named[key] === undefined) continue;
    throw new Failure("invalid-argument", `--${key} and --limit ${key} were both given`, {
      hint: "Give one of them.",
    });
  }
  if (named.logLines !== undefined) {
    throw new Failure(
      "invalid-argument",
      "--limit logLines says nothing to exec: it keeps no log",
      {
        hint: "All that the guest writes is printed, up to limits.output.",
      },
    );
  }
  const asked = {
    ...named,
    ...(time === undefined ? {} : { time }),
    ...(memory === undefined ? {} : { memory }),
  };
  return resolveLimits(asked, hostLimits({ ...configured, ...asked }));
}

/** Read whole, because a guest may come back to it; so it has a ceiling. */
async function readStdin(path: string, ceiling: number): Promise<Uint8Array> {
  const blocks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const block of path === "-" ? process.stdin : createReadStream(path)) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no encoding was set, so both give bytes
      const bytes = block as Uint8Array;
      size += bytes.length;
      if (size > ceiling) throw stdinTooLarge(path, ceiling);
      blocks.push(bytes);
    }
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `--stdin: cannot read "${path}": ${reason}`, {
      cause,
      hint: "Check the path; it is relative to the folder you are in.",
    });
  }
  return Buffer.concat(blocks, size);
}

function stdinTooLarge(path: string, ceiling: number): Failure {
  return new Failure("invalid-argument", `--stdin: "${path}" has more than ${ceiling} bytes`, {
    hint: "Give its folder with --dir, and let the program open the file.",
  });
}

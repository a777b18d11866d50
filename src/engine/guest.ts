import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Failure, toFailure, type FailureRecord } from "../errors/mod.ts";
import type { Limits } from "../limits/mod.ts";
import { Output } from "./output.ts";
import { collectPath, Exit, preview1, Tree, type Collected, type Mount } from "../wasi/mod.ts";
import { guestStack, keptFrames } from "./stack.ts";

/** An invocation as it crosses to the thread. */
export interface GuestRequest {
  readonly arguments: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  readonly stdin: Uint8Array;
  readonly mounts: readonly Mount[];
  readonly preopens: readonly string[];
  readonly collect: readonly string[];
  readonly limits: Limits;
  /** Whether output is sent while the guest runs. */
  readonly live: boolean;
}

export interface GuestOutcome {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly collected: readonly Collected[];
  readonly instantiateMs: number;
  readonly runMs: number;
  readonly memoryBytes: number;
  readonly filesBytesWritten: number;
  readonly end:
    | { readonly kind: "exited"; readonly exitCode: number }
    | { readonly kind: "trapped"; readonly message: string; readonly stack: readonly string[] }
    | { readonly kind: "stopped" | "failed"; readonly failure: FailureRecord };
}

export interface GuestPlace {
  readonly stagingFolder: string;
  readonly staging: string;
  readonly onOutput: ((stream: "stdout" | "stderr", bytes: Uint8Array) => void) | undefined;
}

Error.stackTraceLimit = keptFrames;

/** Instantiates the module afresh, runs `_start` to its end and collects what it left. */
export function runGuest(
  module: WebAssembly.Module,
  request: GuestRequest,
  place: GuestPlace,
): GuestOutcome {
  const { limits } = request;
  let folder: string | undefined;
  const tree = new Tree(limits, () => {
    if (folder === undefined) {
      folder = join(place.stagingFolder, place.staging);
      mkdirSync(folder);
    }
    return folder;
  });
  const output = new Output(place.onOutput);
  const start = performance.now();
  let started = start;
  let memory: WebAssembly.Memory | undefined;
  let collected: readonly Collected[] = [];
  let end: GuestOutcome["end"];
  try {
    for (const mount of request.mounts) tree.mount(mount);
    const wasi = preview1({
      arguments: request.arguments,
      environment: request.environment,
      stdin: request.stdin,
      tree,
      preopens: request.preopens,
      descriptors: limits.descriptors,
      output(stream, bytes) {
        const room = limits.outputBytes - output.size(stream);
        output.write(stream, bytes.subarray(0, room));
        if (bytes.length > room) {
          throw new Failure(
            "limit-output",
            `The guest wrote more than ${limits.outputBytes} bytes to ${stream}`,
            {
              hint: "Write large data to a file and hand it out as an artifact, or raise limits.output.",
            },
          );
        }
      },
    });
    checkImports(module, wasi.imports);
    end = attempt(module, () => {
      // A start function runs here already, so what it does counts as the guest's.
      const instance = new WebAssembly.Instance(module, { wasi_snapshot_preview1: wasi.imports });
      if (instance.exports["memory"] instanceof WebAssembly.Memory) {
        memory = instance.exports["memory"];
        wasi.attach(memory);
      }
      started = performance.now();
      const entry = instance.exports["_start"];
      if (typeof entry !== "function" || entry.length > 0) {
        throw noEntry("_initialize" in instance.exports, typeof entry === "function");
      }
      entry();
    });
  } catch (thrown) {
    end = { kind: "failed", failure: toFailure(thrown).toJSON() };
  }
  const ended = performance.now();
  output.flush();
  try {
    collected = request.collect.map((path) => collectPath(tree, path));
  } catch (thrown) {
    end = { kind: "failed", failure: toFailure(thrown).toJSON() };
  }
  const { bytesWritten } = tree;
  tree.close();
  const handedOut = collected.some((item) => item.kind !== "missing");
  if (folder !== undefined && !handedOut) rmSync(folder, { recursive: true, force: true });
  return {
    stdout: output.take("stdout"),
    stderr: output.take("stderr"),
    collected,
    instantiateMs: started - start,
    runMs: ended - started,
    memoryBytes: memory?.buffer.byteLength ?? 0,
    filesBytesWritten: bytesWritten,
    end,
  };
}

function noEntry(reactor: boolean, present: boolean): Failure {
  const what = reactor
    ? 'The module is a reactor: it exports "_initialize" and no "_start"'
    : present
      ? 'The module\'s function "_start" wants parameters'
      : 'The module exports no function "_start"';
  return new Failure("module-entry", what, {
    hint: "Build it as a command (a program with main), not as a library (without -mexec-model=reactor, --no-entry or -buildmode=c-shared).",
  });
}

function attempt(module: WebAssembly.Module, run: () => void): GuestOutcome["end"] {
  try {
    run();
    return { kind: "exited", exitCode: 0 };
  } catch (thrown) {
    if (thrown instanceof Exit) return { kind: "exited", exitCode: thrown.exitCode };
    if (thrown instanceof Failure) {
      const kind = thrown.code.startsWith("limit-") ? "stopped" : "failed";
      return { kind, failure: thrown.toJSON() };
    }
    if (thrown instanceof RangeError && thrown.message.includes("Out of memory")) {
      const failure = new Failure(
        "limit-memory",
        `The host has no memory left: ${thrown.message}`,
        {
          hint: "Lower limits.memory of the steps, or run fewer of them at once.",
        },
      );
      return { kind: "failed", failure: failure.toJSON() };
    }
    if (thrown instanceof WebAssembly.RuntimeError || thrown instanceof RangeError) {
      return {
        kind: "trapped",
        message: thrown.message,
        stack: guestStack(thrown.stack ?? "", module),
      };
    }
    throw thrown;
  }
}

function checkImports(module: WebAssembly.Module, offered: object): void {
  const missing = WebAssembly.Module.imports(module).find(
    (wanted) =>
      wanted.module !== "wasi_snapshot_preview1" ||
      wanted.kind !== "function" ||
      !Object.hasOwn(offered, wanted.name),
  );
  if (!missing) return;
  throw new Failure(
    "module-import",
    `The module imports the ${missing.kind} "${missing.module}.${missing.name}", which the sandbox does not offer`,
    {
      hint: "Build it for wasip1; only wasi_snapshot_preview1 functions can be imported.",
    },
  );
}

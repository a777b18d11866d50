import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { connect, RemoteError, type CallOptions } from "../client/mod.ts";
import { Failure } from "../errors/mod.ts";
import { openLocal } from "../local/mod.ts";
import { interrupted } from "./interrupt.ts";
import { collect } from "./options.ts";
import { printFailure } from "./print.ts";
import { isCode, serverOptions, tokenOf, type ServerOptions } from "./served.ts";
import { printable } from "./text.ts";

interface Options extends ServerOptions {
  readonly arg: readonly string[];
  readonly text: readonly string[];
  readonly input?: string;
  readonly key?: string;
  readonly timeout?: string;
  readonly json?: boolean;
}

/** `atalanta call MODULE FUNCTION` */
export function addCall(program: Command): void {
  serverOptions(program.command("call"))
    .description("Call a function of a module: a file here, a deployment or an image on a server")
    .argument(
      "<module>",
      "a .wasm file, which runs here; else the name of a deployment, or an image",
    )
    .argument("<function>", "its function")
    .option(
      "--arg <json>",
      "an argument, as JSON; anything else is text (repeatable, in their order)",
      collect,
      [],
    )
    .option("--input <file>", "file for the argument of bytes; - for this command's own stdin")
    .option("--key <key>", "idempotency key: however often it is sent, the call is answered once")
    .option("--timeout <seconds>", "how long to wait")
    .option("--json", "the outcome as one line of JSON")
    .addHelpText(
      "after",
      `
What it returns goes to stdout: JSON as text, bytes as they are, pieces as they come. Exit code 1 when the function throws.

Examples:
  atalanta call greet.wasm greet --arg Ada
  atalanta call resize.wasm resize --input photo.jpg --arg '{"width": 200}'
  atalanta call ghcr.io/acme/resize:1 resize --server http://functions.example.com --input photo.jpg`,
    )
    .action(call);
}

async function call(module: string, called: string, options: Options): Promise<void> {
  const isFile = module.endsWith(".wasm") || module.startsWith("./") || module.startsWith("/");
  const token = await tokenOf(options);
  // A file needs no server.
  const local = isFile ? await openLocal() : undefined;
  const connection = connect(local ? "local:" : options.server, {
    namespace: options.namespace,
    ...(token === undefined ? {} : { token }),
    ...(local ? { fetch: local.fetch } : {}),
  });
  const timeoutMs = options.timeout === undefined ? undefined : secondsOf(options.timeout);
  const callOptions: CallOptions = {
    signal: interrupted,
    ...(options.key === undefined ? {} : { idempotencyKey: options.key }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  const given: unknown[] = options.arg.map(argument);
  if (options.input !== undefined)
    given.unshift(options.input === "-" ? process.stdin : createReadStream(options.input));
  const started = performance.now();
  try {
    const found = connection.module(isFile ? resolve(module) : module);
    const pieces = found[called]?.(...given, callOptions);
    if (!pieces) throw new Failure("invalid-argument", `"${called}" is no name of a function`);
    if (options.json) {
      const value: unknown = await pieces;
      const shown =
        value instanceof Uint8Array ? { base64: Buffer.from(value).toString("base64") } : { value };
      process.stdout.write(
        `${JSON.stringify({ ok: true, ...shown, ms: Math.round(performance.now() - started) })}\n`,
      );
      return;
    }
    await print(pieces);
  } catch (thrown) {
    if (!(thrown instanceof RemoteError)) throw thrown;
    told(thrown, options.json ?? false);
    process.exitCode = thrown.code === "deadline" || thrown.code === "limit-time" ? 124 : 1;
  } finally {
    await connection.close();
    await local?.close();
  }
}

/** Bytes as they are, values as JSON: one on its own for people, many as lines. */
async function print(pieces: AsyncIterable<unknown>): Promise<void> {
  for await (const piece of pieces) {
    const bytes = piece instanceof Uint8Array ? piece : `${JSON.stringify(piece)}\n`;
    if (!process.stdout.write(bytes)) {
      await new Promise((done) => {
        process.stdout.once("drain", done);
      });
    }
  }
}

function told(error: RemoteError, json: boolean): void {
  const { code, message, name, data, hint, guestStack, retryable } = error;
  if (json) {
    const said = { ok: false, code, name, message, retryable, data, hint, stack: guestStack };
    process.stdout.write(`${JSON.stringify(said)}\n`);
    return;
  }
  if (code !== "function-threw") {
    const shown = isCode(code) ? code : "network-failed";
    printFailure(new Failure(shown, message, hint === undefined ? {} : { hint }), false);
    return;
  }
  process.stderr.write(`error: the function threw ${printable(name)}: ${printable(message)}\n`);
  if (data !== undefined) process.stderr.write(`  data: ${printable(JSON.stringify(data))}\n`);
  for (const line of guestStack) process.stderr.write(`  at ${printable(line)}\n`);
}

/** JSON, or a text that is none. */
function argument(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (seconds > 0) return seconds * 1000;
  throw new Failure("invalid-argument", `--timeout "${text}" is no number of seconds`);
}

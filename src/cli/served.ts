import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { Failure, codes, type Code } from "../errors/mod.ts";

export interface ServerOptions {
  readonly server: string;
  readonly namespace: string;
  readonly tokenFile?: string;
}

/** Options of every command that asks a server of `atalanta serve`. */
export function serverOptions(command: Command): Command {
  return command
    .option(
      "--server <url>",
      "the HTTP API of atalanta serve (default ATALANTA_SERVER, or this machine's)",
      process.env["ATALANTA_SERVER"] ?? "http://127.0.0.1:4780",
    )
    .option(
      "--namespace <name>",
      "whose functions they are",
      process.env["ATALANTA_NAMESPACE"] ?? "default",
    )
    .option(
      "--token-file <file>",
      "file with the bearer token (default: the variable ATALANTA_TOKEN)",
    );
}

/** The token to send, if there is one. */
export async function tokenOf({
  tokenFile,
}: Pick<ServerOptions, "tokenFile">): Promise<string | undefined> {
  if (tokenFile === undefined) return process.env["ATALANTA_TOKEN"];
  try {
    return (await readFile(tokenFile, "utf8")).trim();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `--token-file: cannot read "${tokenFile}": ${reason}`, {
      cause,
    });
  }
}

/** Asks the server; `path` is below the namespace, or /metrics. Throws the failure that it answered. */
export async function ask(
  options: ServerOptions,
  path: string,
  init: {
    readonly method?: string;
    readonly body?: unknown;
    readonly headers?: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal;
  } = {},
): Promise<Response> {
  const token = await tokenOf(options);
  const base = options.server.replace(/\/+$/, "");
  const url =
    path === "/metrics"
      ? `${base}${path}`
      : `${base}/v1/namespaces/${encodeURIComponent(options.namespace)}${path}`;
  const { body, headers, ...rest } = init;
  let response: Response;
  try {
    response = await fetch(url, {
      ...rest,
      headers: {
        ...headers,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (cause) {
    if (init.signal?.aborted)
      throw new Failure("aborted", "The command was interrupted", { cause });
    const why =
      cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
    throw new Failure("network-failed", `Cannot reach ${options.server}: ${why}`, {
      cause,
      hint: "Start it with atalanta serve, or name another one with --server.",
    });
  }
  if (response.ok) return response;
  throw failureOf(response.status, await response.text());
}

/** What a server answered, as a failure of ours. */
function failureOf(status: number, text: string): Failure {
  try {
    const said: unknown = JSON.parse(text);
    if (typeof said === "object" && said !== null) {
      const code: unknown = Reflect.get(said, "code");
      const hint: unknown = Reflect.get(said, "hint");
      return new Failure(
        isCode(code) ? code : "internal",
        String(Reflect.get(said, "detail")),
        typeof hint === "string" ? { hint } : {},
      );
    }
  } catch {
    // A proxy's page.
  }
  return new Failure("network-failed", `The server answered ${status}: ${text.slice(0, 200)}`);
}

export function isCode(code: unknown): code is Code {
  return typeof code === "string" && Object.hasOwn(codes, code);
}

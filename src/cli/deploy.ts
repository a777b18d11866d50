import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { Failure } from "../errors/mod.ts";
import { interrupted } from "./interrupt.ts";
import { collect, pair, positive } from "./options.ts";
import { ask, serverOptions, type ServerOptions } from "./served.ts";

interface Options extends ServerOptions {
  readonly limit: readonly string[];
  readonly env: readonly string[];
  readonly allowHost: readonly string[];
  readonly allowCall: readonly string[];
  readonly trust?: string;
  readonly pure: readonly string[];
  readonly attempts?: number;
  readonly concurrency?: number;
  readonly file?: string;
  readonly json?: boolean;
}

/** `atalanta deploy NAME IMAGE` */
export function addDeploy(program: Command): void {
  serverOptions(program.command("deploy"))
    .description("Give a module a name on a server, with its limits and permissions")
    .argument("<name>", "small letters, digits and -")
    .argument("<image>", "its image, such as ghcr.io/acme/resize:1; the digest of now is what runs")
    .option(
      "--limit <key=value>",
      "a limit of each call, such as memory=64Mi (repeatable)",
      collect,
      [],
    )
    .option("--env <name=value>", "a variable (repeatable)", collect, [])
    .option(
      "--allow-host <host>",
      "let it send HTTP requests there, where the server does, too (repeatable)",
      collect,
      [],
    )
    .option(
      "--allow-call <name>",
      "let it call another deployment of its namespace (repeatable)",
      collect,
      [],
    )
    .option("--trust <class>", "thread or process; a server may have a stronger one for all")
    .option(
      "--pure <function>",
      "a function without effects on the world (repeatable)",
      collect,
      [],
    )
    .option(
      "--attempts <number>",
      "attempts of a call, the first included (default 3)",
      positive("--attempts"),
    )
    .option(
      "--concurrency <number>",
      "calls that run at once on each machine",
      positive("--concurrency"),
    )
    .option(
      "--file <file>",
      "JSON with all of this, as the HTTP API takes it; the image given here counts",
    )
    .option("--json", "what the server has then, as JSON")
    .addHelpText(
      "after",
      `
Examples:
  atalanta deploy resize ghcr.io/acme/resize:1 --limit memory=128Mi --limit time=5s
  atalanta deploy mail ghcr.io/acme/mail:2 --allow-host https://api.example.com --attempts 1`,
    )
    .action(deploy);
}

async function deploy(name: string, image: string, options: Options): Promise<void> {
  const file = options.file === undefined ? {} : await readRecord(options.file);
  const { limit, env, allowHost, allowCall, trust, pure, attempts, concurrency } = options;
  const permissions = {
    ...(allowHost.length === 0 ? {} : { http: { allowedHosts: allowHost } }),
    ...(allowCall.length === 0 ? {} : { call: { functions: allowCall } }),
  };
  const body = {
    ...file,
    image,
    ...(limit.length === 0
      ? {}
      : { limits: Object.fromEntries(limit.map((text) => pair("--limit", text))) }),
    ...(env.length === 0
      ? {}
      : { environment: Object.fromEntries(env.map((text) => pair("--env", text))) }),
    ...(Object.keys(permissions).length === 0 ? {} : { permissions }),
    ...(trust === undefined ? {} : { trust }),
    ...(pure.length === 0 ? {} : { pure }),
    ...(attempts === undefined ? {} : { retry: { attempts } }),
    ...(concurrency === undefined ? {} : { concurrency }),
  };
  const response = await ask(options, `/functions/${encodeURIComponent(name)}`, {
    method: "PUT",
    body,
    signal: interrupted,
  });
  const text = await response.text();
  if (options.json) {
    process.stdout.write(`${text}\n`);
    return;
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the server's own form
  const { version, functions, program } = JSON.parse(text) as {
    readonly version: string;
    readonly functions?: readonly string[];
    readonly program: { readonly module: { readonly digest?: string } };
  };
  const which = functions ? `, with ${functions.join(", ")}` : "";
  process.stdout.write(
    `${response.status === 201 ? "Deployed" : "Changed"} ${options.namespace}/${name}: version ${version}, ${program.module.digest ?? image}${which}\n`,
  );
}

async function readRecord(path: string): Promise<object> {
  try {
    const said: unknown = JSON.parse(await readFile(path, "utf8"));
    if (typeof said === "object" && said !== null) return said;
    throw new Error("it is no object");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `--file: cannot read "${path}": ${reason}`, { cause });
  }
}

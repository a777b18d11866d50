import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { NatsCalls, NatsRunner, openBroker, openNatsDeployments } from "../broker/mod.ts";
import { EmbeddedCalls, Onward, type CallDispatcher } from "../dispatch/mod.ts";
import { Failure } from "../errors/mod.ts";
import { openDeployments } from "../functions/mod.ts";
import { parseDurationMs } from "../limits/mod.ts";
import {
  createApi,
  listen,
  Metrics,
  openAccess,
  openOidc,
  Tokens,
  Runs,
  workflowRoutes,
} from "../server/mod.ts";
import { AgentLog, type Level } from "./agent-log.ts";
import { openFunctions } from "./functions-session.ts";
import { homeFolder } from "./home.ts";
import { toldToEnd } from "./interrupt.ts";
import { natsOf, natsOptions, type NatsFlags } from "./nats.ts";
import {
  address as addressOf,
  allowAddressHelp,
  collect,
  configHelp,
  limitHelp,
  positive,
} from "./options.ts";
import { callTraces } from "./call-traces.ts";
import { trustHelp } from "./carry.ts";

interface Options extends NatsFlags {
  readonly listen: string;
  readonly image: readonly string[];
  readonly allowHost: readonly string[];
  readonly allowAddress: readonly string[];
  readonly limit: readonly string[];
  readonly config?: string;
  readonly trust?: string;
  readonly tokens?: string;
  readonly oidcIssuer?: string;
  readonly oidcAudience?: string;
  readonly oidcClaim?: string;
  readonly rate?: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly keep: string;
  readonly drain: string;
  readonly run: boolean;
  readonly maxCalls: number;
  readonly maxNamespaceCalls: number;
  readonly logLevel: Level;
}

/** `atalanta serve` */
export function addServe(program: Command): void {
  natsOptions(program.command("serve"))
    .description(
      "Serve functions of Wasm modules over HTTP: in this process, or joined with others through NATS",
    )
    .option("--listen <address>", "host and port of the HTTP API", "127.0.0.1:4780")
    .option("--image <reference=file>", "use a module file for an image (repeatable)", collect, [])
    .option(
      "--allow-host <host>",
      "let functions that ask for it reach a host (repeatable)",
      collect,
      [],
    )
    .option("--allow-address <range>", allowAddressHelp, collect, [])
    .option("--limit <key=value>", limitHelp, collect, [])
    .option("--config <file>", configHelp)
    .option("--trust <class>", trustHelp)
    .option(
      "--tokens <file>",
      "bearer tokens and what they may do (atalanta token); without them nothing but loopback is listened on",
    )
    .option("--oidc-issuer <url>", "take tokens of this OpenID Connect issuer, too")
    .option("--oidc-audience <name>", "whom its tokens must be for")
    .option("--oidc-claim <name>", "the claim with the scopes (default scope)")
    .option(
      "--rate <number>",
      "requests in a second that one token, and one namespace, may send",
      positive("--rate"),
    )
    .option("--tls-cert <file>", "certificate chain (PEM): serve HTTPS")
    .option("--tls-key <file>", "its key (PEM)")
    .option(
      "--keep <duration>",
      "how long outcomes of calls with a key, or that nobody waits for, are kept",
      "24h",
    )
    .option("--drain <duration>", "on SIGTERM, how long calls that run may go on", "30s")
    .option(
      "--max-calls <number>",
      "calls that wait and run at once",
      positive("--max-calls"),
      20_000,
    )
    .option(
      "--max-namespace-calls <number>",
      "of one namespace",
      positive("--max-namespace-calls"),
      2000,
    )
    .option("--no-run", "with --nats: take requests alone, and leave all calls to runners")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .addHelpText(
      "after",
      `
Examples:
  atalanta serve
  atalanta serve --listen 127.0.0.1:8080 --image greet=./greet.wasm
  atalanta serve --nats nats://localhost:4222`,
    )
    .action(serve);
}

async function serve(options: Options): Promise<void> {
  const { host, port } = addressOf("--listen", options.listen);
  const tls = await tlsOf(options);
  const log = new AgentLog(options.logLevel);
  const access = openAccess({
    host,
    ...(options.tokens === undefined
      ? {}
      : {
          tokens: new Tokens(options.tokens, ({ message }) =>
            log.write("warn", "The file of tokens is wrong; the one before stays in force", {
              reason: message,
            }),
          ),
        }),
    ...oidcOf(options),
    ...(options.rate === undefined ? {} : { limits: { perSecond: options.rate } }),
  });
  const folder = join(homeFolder(), "serve");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  await using stack = new AsyncDisposableStack();
  const session = await openFunctions(
    { ...options, strangers: options.tokens !== undefined || options.oidcIssuer !== undefined },
    stack,
  );
  const { performer, isLocal, limits, resolveImage } = session;
  const metrics = new Metrics(() => dispatcher);
  const keptMs = parseDurationMs(options.keep);
  const broker =
    options.nats.length === 0
      ? undefined
      : stack.use(await openBroker(natsOf(options, keptMs, options.maxNamespaceCalls)));
  const deployments = stack.use(
    broker ? await openNatsDeployments(broker) : openDeployments(join(folder, "deployments.db")),
  );
  const local = stack.use(
    new EmbeddedCalls({
      performer,
      ...(broker ? {} : { file: join(folder, "calls.db") }),
      keptMs,
      mostOfAll: options.maxCalls,
      mostOfOwner: options.maxNamespaceCalls,
      onAttempt: metrics.count,
      ...(await callTraces(log, stack)),
      onward: new Onward(deployments),
    }),
  );
  const front = broker
    ? stack.use(
        new NatsCalls({
          broker,
          mostOfAll: options.maxCalls,
          mostOfOwner: options.maxNamespaceCalls,
          onHedge: metrics.hedged,
        }),
      )
    : undefined;
  const dispatcher: CallDispatcher = front ?? local;
  const runner =
    broker && options.run
      ? stack.use(
          await NatsRunner.start({
            broker,
            local,
            onTrouble: ({ code, message }) =>
              log.write("warn", "Trouble with the broker; goes on", { code, reason: message }),
          }),
        )
      : undefined;
  const { artifacts, dispatcher: tasks } = await session.openTasks();
  const runs = stack.use(
    new Runs({
      folder: join(folder, "workflows"),
      dispatcher: tasks,
      limits,
      resolveImage,
      read: (artifact) => artifacts.read(artifact),
      onTrouble: ({ code, message }) =>
        log.write("warn", "A workflow cannot go on here", { code, reason: message }),
    }),
  );
  runs.recover();
  let isReady = true;
  const api = createApi({
    dispatcher,
    deployments,
    performer,
    access,
    metrics,
    isLocal,
    routes: workflowRoutes(runs),
    isReady: () => isReady,
    onBug: (thrown) =>
      log.write("error", "A bug", {
        error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
      }),
  });
  const listening = await listen({ api, host, port, ...(tls ? { tls } : {}) });
  process.stdout.write(`Listens on ${listening.url}\n`);
  await toldToEnd();
  isReady = false;
  log.write("info", "Ends when what runs has ended", {});
  const closed = listening.close();
  const drainMs = parseDurationMs(options.drain);
  await Promise.all([dispatcher.drain(drainMs), runner?.drain(drainMs)]);
  listening.server.closeAllConnections();
  await closed;
}

function oidcOf({ oidcIssuer: issuer, oidcAudience: audience, oidcClaim: claim }: Options): {
  readonly oidc?: ReturnType<typeof openOidc>;
} {
  if (issuer === undefined) return {};
  if (audience === undefined) {
    throw new Failure("invalid-argument", "--oidc-issuer needs --oidc-audience", {
      hint: "Without it, a token for any other service of the issuer would do.",
    });
  }
  return { oidc: openOidc({ issuer, audience, ...(claim === undefined ? {} : { claim }) }) };
}

async function tlsOf({
  tlsCert,
  tlsKey,
}: Options): Promise<{ readonly cert: Buffer; readonly key: Buffer } | undefined> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new Failure("invalid-argument", "--tls-cert and --tls-key go together");
  }
  const read = async (option: string, path: string): Promise<Buffer> => {
    try {
      return await readFile(path);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Failure("invalid-argument", `${option}: cannot read "${path}": ${reason}`, {
        cause,
      });
    }
  };
  return { cert: await read("--tls-cert", tlsCert), key: await read("--tls-key", tlsKey) };
}

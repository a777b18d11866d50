import { createServer } from "node:http";
import { once } from "node:events";
import type { Command } from "commander";
import { createTaskServer, NatsRunner, openBroker, openNatsDeployments } from "../broker/mod.ts";
import { EmbeddedCalls, Onward } from "../dispatch/mod.ts";
import { Failure } from "../errors/mod.ts";
import { parseDurationMs } from "../limits/mod.ts";
import { Metrics } from "../server/mod.ts";
import { AgentLog, type Level } from "./agent-log.ts";
import { callTraces } from "./call-traces.ts";
import { trustHelp } from "./carry.ts";
import { openFunctions } from "./functions-session.ts";
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

interface Options extends NatsFlags {
  readonly image: readonly string[];
  readonly allowHost: readonly string[];
  readonly allowAddress: readonly string[];
  readonly limit: readonly string[];
  readonly config?: string;
  readonly trust?: string;
  readonly capacity: number;
  readonly drain: string;
  readonly listen: string;
  readonly logLevel: Level;
}

/** `atalanta runner` */
export function addRunner(program: Command): void {
  natsOptions(program.command("runner"))
    .description("Run functions that front ends have put into a broker; start as many as you like")
    .option(
      "--capacity <number>",
      "calls that run at once in this process",
      positive("--capacity"),
      64,
    )
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
    .option("--drain <duration>", "on SIGTERM, how long calls that run may go on", "30s")
    .option("--listen <address>", "for /healthz, /readyz and /metrics; empty for none", "")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .addHelpText(
      "after",
      "\nExamples:\n  atalanta runner --nats nats://localhost:4222\n  atalanta runner --nats nats://nats:4222 --capacity 16 --listen 0.0.0.0:9465",
    )
    .action(runner);
}

async function runner(options: Options): Promise<void> {
  if (options.nats.length === 0) {
    throw new Failure("invalid-argument", "A runner without --nats would never get a call", {
      hint: "Write --nats nats://HOST:4222, or use atalanta serve, which needs no broker.",
    });
  }
  const log = new AgentLog(options.logLevel);
  await using stack = new AsyncDisposableStack();
  const broker = stack.use(await openBroker(natsOf(options)));
  const session = await openFunctions(options, stack);
  const { performer } = session;
  const { artifacts, runner: tasks } = await session.openTasks();
  const deployments = stack.use(await openNatsDeployments(broker));
  const metrics = new Metrics(() => local);
  const local = stack.use(
    new EmbeddedCalls({
      performer,
      onAttempt: metrics.count,
      ...(await callTraces(log, stack)),
      onward: new Onward(deployments),
    }),
  );
  const taker = stack.use(
    await NatsRunner.start({
      broker,
      local,
      tasks: createTaskServer({ broker, runner: tasks, artifacts }),
      capacity: options.capacity,
      onTrouble: ({ code, message }) =>
        log.write("warn", "Trouble with the broker; goes on", { code, reason: message }),
    }),
  );
  let isReady = true;
  if (options.listen !== "") {
    const { host, port } = addressOf("--listen", options.listen);
    const server = createServer((request, response) => {
      void (async () => {
        const path = request.url ?? "";
        if (path === "/metrics") {
          response
            .writeHead(200, { "content-type": metrics.contentType })
            .end(await metrics.text());
        } else if (path === "/healthz" || path === "/readyz") {
          const isWell = path === "/healthz" || (isReady && !broker.connection.isClosed());
          response.writeHead(isWell ? 200 : 503).end();
        } else response.writeHead(404).end();
      })();
    });
    server.listen(port, host);
    await once(server, "listening");
    stack.defer(() => void server.close());
    stack.defer(() => server.closeAllConnections());
  }
  log.write("info", "Takes calls", {
    capacity: options.capacity,
    server: broker.connection.getServer(),
  });
  await Promise.race([toldToEnd(), broker.connection.closed()]);
  isReady = false;
  log.write("info", "Ends when what runs has ended", { calls: taker.busy });
  await taker.drain(parseDurationMs(options.drain));
}

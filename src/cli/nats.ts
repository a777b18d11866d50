import type { Command } from "commander";
import type { NatsOptions } from "../broker/mod.ts";
import { parseDurationMs } from "../limits/mod.ts";
import { collect, positive } from "./options.ts";

/** How a process finds its broker. */
export interface NatsFlags {
  readonly nats: readonly string[];
  readonly natsCreds?: string;
  readonly natsCa?: string;
  readonly natsReplicas?: number;
  readonly silence: string;
  readonly deliveries: number;
}

/** Options of every command that may be joined with others through NATS. */
export function natsOptions(command: Command): Command {
  return command
    .option(
      "--nats <url>",
      "a NATS server with JetStream, such as nats://localhost:4222 (repeatable)",
      collect,
      [],
    )
    .option("--nats-creds <file>", "credentials for it (a user's JWT and seed)")
    .option("--nats-ca <file>", "authorities to trust for tls:// instead of Node's own (PEM)")
    .option(
      "--nats-replicas <number>",
      "copies of each message (default 1)",
      positive("--nats-replicas"),
    )
    .option(
      "--silence <duration>",
      "how long a runner may say nothing of a call before another one gets it",
      "30s",
    )
    .option(
      "--deliveries <number>",
      "runners that a call may be lost with before it is a dead letter, at least 3",
      positive("--deliveries"),
      5,
    );
}

/** What the broker is opened with. */
export function natsOf(flags: NatsFlags, keptMs?: number, mostWaiting?: number): NatsOptions {
  return {
    servers: flags.nats,
    silentMs: parseDurationMs(flags.silence),
    deliveries: flags.deliveries,
    ...(flags.natsCreds === undefined ? {} : { credentials: flags.natsCreds }),
    ...(flags.natsCa === undefined ? {} : { authorities: flags.natsCa }),
    ...(flags.natsReplicas === undefined ? {} : { replicas: flags.natsReplicas }),
    ...(keptMs === undefined ? {} : { keptMs }),
    ...(mostWaiting === undefined ? {} : { mostWaiting }),
  };
}

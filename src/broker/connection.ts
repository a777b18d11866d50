import {
  jetstream,
  jetstreamManager,
  type JetStreamClient,
  type JetStreamManager,
  type StreamConfig,
} from "@nats-io/jetstream";
import { connect, credsAuthenticator, nanos, type NatsConnection } from "@nats-io/transport-node";
import { Objm, type ObjectStore } from "@nats-io/obj";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../errors/mod.ts";

export interface NatsOptions {
  /** `nats://host:port` or `tls://…`, with user and password or a token in it where these are wanted; any number. */
  readonly servers: readonly string[];
  /** File with a user's JWT and seed. */
  readonly credentials?: string;
  /** Authorities (PEM file) to trust instead of Node's own. */
  readonly authorities?: string;
  /** Copies of each message; default 1. */
  readonly replicas?: number;
  /** How long outcomes are kept; default a day. */
  readonly keptMs?: number;
  /** Calls of one namespace that may wait; default 10,000. */
  readonly mostWaiting?: number;
  /** How long a runner may say nothing of a call before another one gets it; default 30 s. */
  readonly silentMs?: number;
  /** Runners that a call may end with before it counts as poison; default 5, at least 3. */
  readonly deliveries?: number;
}

/** A connection with what all of ours share: streams of outcomes and of dead letters, and large bodies. */
export interface Broker extends AsyncDisposable {
  readonly connection: NatsConnection;
  readonly stream: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly bodies: ObjectStore;
  readonly options: Required<
    Pick<NatsOptions, "keptMs" | "mostWaiting" | "silentMs" | "deliveries" | "replicas">
  >;
  /** The stream and consumer of a namespace's calls are there after this; with `rules` as this process has its settings. */
  ensureOwner(owner: string, rules?: boolean): Promise<void>;
}

export const answersStream = "ATALANTA-ANSWERS";
const deadStream = "ATALANTA-DEAD";
export const consumerName = "runners";
const bodiesBucket = "atalanta-bodies";
/** Dead letters; the oldest go. */
const mostDead = 10_000;
const dayMs = 24 * 60 * 60 * 1000;
/** Sending a call a second time is found out for so long by its id alone; after that, by its outcome. */
const duplicateMs = 120_000;

export function callsStream(owner: string): string {
  return `ATALANTA-CALLS-${owner}`;
}

export function callSubject(owner: string, id: string): string {
  return `atalanta.calls.${owner}.${id}`;
}

export function answerSubject(owner: string, id: string): string {
  return `atalanta.answers.${owner}.${id}`;
}

/** Told, beside the stream, when a call with a key has an outcome. */
export function noticeSubject(owner: string, id: string): string {
  return `atalanta.notice.${owner}.${id}`;
}

/** Connects, and makes what is not there yet. Throws `broker-unavailable`. */
export async function openBroker(options: NatsOptions): Promise<Broker> {
  const { servers, credentials, authorities } = options;
  let connection: NatsConnection;
  try {
    connection = await connect({
      servers: [...servers],
      name: "atalanta",
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 100,
      pingInterval: 5000,
      maxPingOut: 2,
      noEcho: false,
      timeout: 5000,
      ...(credentials === undefined
        ? {}
        : { authenticator: credsAuthenticator(await readFile(credentials)) }),
      ...(authorities === undefined ? {} : { tls: { caFile: authorities } }),
    });
  } catch (cause) {
    throw unavailable(`Cannot connect to ${servers.map(withoutPassword).join(", ")}`, cause);
  }
  // A cluster that has just been started has no leader yet.
  for (const until = performance.now() + openMs; ;) {
    try {
      return await prepared(connection, options);
    } catch (cause) {
      if (performance.now() > until || !mayPass(cause)) {
        await connection.close();
        throw unavailable("The NATS server has no JetStream, or refuses its streams", cause);
      }
      await sleep(500);
    }
  }
}

const openMs = 30_000;

/** Whether the same question may be answered later: nobody has answered, or the servers have not agreed on a leader. */
function mayPass(cause: unknown): boolean {
  const code = codeOf(cause);
  if (code === undefined) return !(cause instanceof Error && cause.name === "JetStreamNotEnabled");
  return code === 503 || code === 10008 || code === 10009;
}

/** Makes what all share. */
async function prepared(connection: NatsConnection, options: NatsOptions): Promise<Broker> {
  const manager = await jetstreamManager(connection, { timeout: 5000 });
  const replicas = options.replicas ?? 1;
  const kept = options.keptMs ?? dayMs;
  const common = { num_replicas: replicas, storage: "file" as const };
  await ensure(manager, {
    ...common,
    name: answersStream,
    subjects: ["atalanta.answers.>"],
    max_age: nanos(kept),
    max_msgs_per_subject: 1,
    discard: "new",
    discard_new_per_subject: true,
    allow_msg_ttl: true,
    duplicate_window: nanos(Math.min(duplicateMs, kept)),
  });
  await ensure(manager, {
    ...common,
    name: deadStream,
    subjects: ["atalanta.dead.>"],
    max_age: nanos(Math.max(kept, 7 * dayMs)),
    max_msgs: mostDead,
    duplicate_window: nanos(duplicateMs),
  });
  const bodies = await new Objm(jetstream(connection)).create(bodiesBucket, {
    replicas,
    ttl: nanos(kept + dayMs),
  });
  const settings = {
    keptMs: kept,
    mostWaiting: options.mostWaiting ?? 10_000,
    silentMs: options.silentMs ?? 30_000,
    deliveries: options.deliveries ?? 5,
    replicas,
  };
  const owners = new Map<string, Promise<void>>();
  return {
    connection,
    manager,
    bodies,
    stream: jetstream(connection, { timeout: 5000 }),
    options: settings,
    ensureOwner(owner, rules = false) {
      let made = owners.get(owner);
      if (!made) {
        made = makeOwner(manager, owner, settings, rules);
        owners.set(owner, made);
        made.catch(() => owners.delete(owner));
      }
      return made;
    },
    async [Symbol.asyncDispose]() {
      await connection.close();
    },
  };
}

async function makeOwner(
  manager: JetStreamManager,
  owner: string,
  settings: Broker["options"],
  rules: boolean,
): Promise<void> {
  const name = callsStream(owner);
  await ensure(manager, {
    name,
    subjects: [`atalanta.calls.${owner}.>`],
    retention: "workqueue",
    storage: "file",
    num_replicas: settings.replicas,
    max_msgs: settings.mostWaiting,
    // One call is there once, however often it is sent.
    max_msgs_per_subject: 1,
    discard: "new",
    discard_new_per_subject: true,
    duplicate_window: nanos(duplicateMs),
    allow_msg_ttl: true,
  });
  const consumer = {
    durable_name: consumerName,
    ack_policy: "explicit" as const,
    ack_wait: nanos(settings.silentMs),
    // How often a call may be lost with its runner is counted by the runners; it comes back for other reasons, too.
    max_deliver: -1,
    max_ack_pending: 100_000,
    deliver_policy: "all" as const,
  };
  try {
    await manager.consumers.add(name, consumer);
  } catch (thrown) {
    // Another process made it, which thinks otherwise of how long a runner may be silent: a runner knows best.
    if (codeOf(thrown) !== consumerExists) throw thrown;
    if (rules) await manager.consumers.update(name, consumerName, { ack_wait: consumer.ack_wait });
  }
}

const consumerExists = 10148;

/** Makes a stream, or takes the one that another process made. */
async function ensure(
  manager: JetStreamManager,
  config: Partial<StreamConfig> & { readonly name: string },
): Promise<void> {
  try {
    await manager.streams.add(config);
  } catch (thrown) {
    // It is there with other settings: an operator may have changed them.
    if (codeOf(thrown) !== 10058) throw thrown;
  }
}

/** The code of an error of JetStream's API. */
export function codeOf(thrown: unknown): number | undefined {
  if (typeof thrown !== "object" || thrown === null || !("code" in thrown)) return undefined;
  return typeof thrown.code === "number" ? thrown.code : undefined;
}

export function unavailable(what: string, cause: unknown): Failure {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new Failure("broker-unavailable", `${what}: ${reason}`, {
    cause,
    hint: "Check that nats-server runs with JetStream (-js), and what --nats says.",
  });
}

function withoutPassword(server: string): string {
  return server.replace(/\/\/[^@/]*@/, "//…@");
}

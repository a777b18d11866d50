import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, toFailure } from "../../errors/mod.ts";
import type { Cluster } from "../../kubernetes/mod.ts";
import { listening, readAll } from "../../network/mod.ts";
import type { Keys } from "./keys.ts";
import { allowWasmKey } from "./definitions.ts";
import { Keeper } from "./keeper.ts";
import { review, type Reviewed } from "./review.ts";

interface WebhookObserver {
  /** A request was answered. */
  readonly reviewed?: (
    outcome: Reviewed["outcome"],
    how: "mutate" | "validate",
    ms: number,
  ) => void;
  /** Certificates or configurations cannot be kept; it goes on with those that it has. */
  readonly trouble?: (failure: Error) => void;
  /** It serves with new certificates. */
  readonly renewed?: () => void;
  /** Definitions have got the key. */
  readonly allowed?: (names: readonly string[]) => void;
}

export interface WebhookOptions {
  readonly cluster: Cluster;
  readonly namespace: string;
  /** Of the Secret with the certificates, and of both webhook configurations. */
  readonly name: string;
  /** Names under which API servers ask, such as `atalanta-webhook.atalanta.svc`. */
  readonly names: readonly string[];
  readonly host: string;
  readonly port: number;
  /** Whether Argo's definitions get the key `wasm`, and again when an upgrade of Argo has dropped it. */
  readonly definitions: boolean;
  /** How often all of that is looked after; default a minute. */
  readonly lookEveryMs?: number;
  /** Default: the clock. */
  readonly now?: () => number;
  readonly observer?: WebhookObserver;
}

export interface Webhook extends AsyncDisposable {
  readonly port: number;
}

/** Objects of Kubernetes have at most 1.5 MiB, and a review has an old one as well. */
const bodyBytes = 8 * 1024 * 1024;
const usualLookMs = 60_000;
const requestMs = 10_000;

/** Serves API servers. Rejects when there are no certificates to be had, or the port cannot be. */
export async function createWebhook(options: WebhookOptions): Promise<Webhook> {
  const webhook = new AdmissionWebhook(options);
  await webhook.start();
  return webhook;
}

class AdmissionWebhook implements Webhook {
  readonly #options: WebhookOptions;
  readonly #keeper: Keeper;
  readonly #server: Server;
  readonly #stop = new AbortController();
  #keys: Keys | undefined;
  #looking: Promise<void> = Promise.resolve();

  constructor(options: WebhookOptions) {
    this.#options = options;
    const { cluster, namespace, name, names, now = () => Date.now() } = options;
    this.#keeper = new Keeper({ cluster, namespace, name, names, now });
    this.#server = createServer((request, response) => void this.#handle(request, response));
    this.#server.requestTimeout = requestMs;
    this.#server.headersTimeout = requestMs;
    this.#server.maxConnections = 512;
  }

  get port(): number {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens at a port has one
    return (this.#server.address() as AddressInfo).port;
  }

  async start(): Promise<void> {
    await this.#takeKeys();
    const { host, port } = this.#options;
    await listening(this.#server, { host, port, hint: "Name another address with --listen." });
    this.#looking = this.#lookAfter();
  }

  async #takeKeys(): Promise<void> {
    const keys = await this.#keeper.keys(this.#stop.signal);
    if (keys.certificate !== this.#keys?.certificate) {
      this.#server.setSecureContext({
        cert: keys.certificate,
        key: keys.key,
        minVersion: "TLSv1.2",
      });
      if (this.#keys) this.#options.observer?.renewed?.();
    }
    this.#keys = keys;
  }

  async #lookAfter(): Promise<void> {
    const { signal } = this.#stop;
    const { cluster, definitions, lookEveryMs = usualLookMs, observer = {} } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#takeKeys();
        if (this.#keys) await this.#keeper.trust(this.#keys, signal);
        const names = definitions ? await allowWasmKey(cluster, { signal }) : [];
        if (names.length > 0) observer.allowed?.(names);
      } catch (thrown) {
        const failure = toFailure(thrown);
        // Another replica did the same at the same time.
        if (!signal.aborted && failure.code !== "cluster-conflict") observer.trouble?.(failure);
      }
      await sleep(lookEveryMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const say = (status: number, body: string, type = "text/plain"): void => {
      response.writeHead(status, { "content-type": type }).end(body);
    };
    const begun = performance.now();
    const how = /^\/(mutate|validate)(?:\?|$)/.exec(request.url ?? "")?.[1];
    try {
      if (request.method === "GET" && /^\/(?:healthz|readyz)$/.test(request.url ?? "")) {
        say(200, "ok");
        return;
      }
      if (request.method !== "POST" || (how !== "mutate" && how !== "validate")) {
        request.resume();
        say(404, "");
        return;
      }
      const body = await readAll(
        request,
        bodyBytes,
        () => new Failure("invalid-argument", `The review has more than ${bodyBytes} bytes`),
      );
      const reviewed = review(JSON.parse(body.toString()), how);
      if (!reviewed) {
        say(400, "this is no AdmissionReview");
        return;
      }
      say(200, JSON.stringify(reviewed.answer), "application/json");
      this.#options.observer?.reviewed?.(reviewed.outcome, how, performance.now() - begun);
    } catch (thrown) {
      // By its failure policy the API server goes on without us.
      if (!response.headersSent) say(400, toFailure(thrown).message);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#looking;
    this.#server.closeIdleConnections();
    this.#server.close();
    const late = setTimeout(() => this.#server.closeAllConnections(), requestMs);
    late.unref();
  }
}

import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, toFailure } from "../../errors/mod.ts";
import { recordOf, textOf } from "../../kubernetes/mod.ts";
import { listening, readAll } from "../../network/mod.ts";
import type { NodeResult, Step, StepExecutor } from "../model.ts";

export interface PluginServerOptions {
  readonly executors: readonly StepExecutor[];
  /** What Argo's agent sends as a bearer token; read at each request. */
  readonly token: () => Promise<string>;
  readonly port: number;
  /** Default 127.0.0.1: Argo's agent is in the same pod. */
  readonly host?: string;
  /** Argo's agent gives up after 30 s, and asks again; default 15 s. */
  readonly answerAfterMs?: number;
  readonly observer?: {
    readonly ended?: (step: Step, result: NodeResult) => void;
  };
}

export interface PluginServer extends AsyncDisposable {
  readonly port: number;
  /** Takes nothing new, and resolves when what runs has ended, at the latest when the signal comes. */
  drain(signal: AbortSignal): Promise<void>;
}

const path = "/api/v1/template.execute";
const bodyBytes = 8 * 1024 * 1024;
/** Steps that run or have a result which nobody has taken. */
const mostSteps = 2000;
const requeue = "1s";
/** A result whose answer did not arrive is kept for whoever asks again. */
const keptMs = 300_000;

interface Work {
  readonly done: Promise<NodeResult>;
  readonly stop: AbortController;
  result: NodeResult | undefined;
}

/** Serves Argo's agent. Rejects when the port cannot be had. */
export async function createPluginServer(options: PluginServerOptions): Promise<PluginServer> {
  const server = new Plugin(options);
  await server.listen();
  return server;
}

class Plugin implements PluginServer {
  readonly #options: PluginServerOptions;
  readonly #server: Server;
  /** By what was asked. */
  readonly #work = new Map<string, Work>();
  #draining = false;

  constructor(options: PluginServerOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => void this.#handle(request, response));
    this.#server.requestTimeout = 30_000;
    this.#server.headersTimeout = 10_000;
    this.#server.maxConnections = 256;
  }

  get port(): number {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens at a port has one
    return (this.#server.address() as AddressInfo).port;
  }

  async listen(): Promise<void> {
    const { port, host = "127.0.0.1" } = this.#options;
    await listening(this.#server, { host, port, hint: "Name another port." });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const say = (status: number, body: string): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(body);
    };
    try {
      if (request.method !== "POST" || request.url !== path) {
        request.resume();
        say(404, "");
        return;
      }
      if (!sameText(request.headers.authorization ?? "", `Bearer ${await this.#options.token()}`)) {
        request.resume();
        say(403, "the token is not Argo's");
        return;
      }
      const body = await readAll(
        request,
        bodyBytes,
        () => new Failure("invalid-argument", `The request has more than ${bodyBytes} bytes`),
      );
      const step = stepOf(body.toString());
      const executor = this.#options.executors.find((one) => one.accepts(step.template));
      if (!executor) {
        say(200, "{}");
        return;
      }
      const work = this.#work.get(step.nodeId) ?? this.#begin(step, executor);
      if (!work) {
        say(503, this.#draining ? "the plugin ends" : "too many steps at once");
        return;
      }
      await Promise.race([
        work.done,
        sleep(this.#options.answerAfterMs ?? 15_000, undefined, { ref: false }),
      ]);
      const { result } = work;
      if (!result) {
        say(200, JSON.stringify({ node: { phase: "Running" }, requeue }));
        return;
      }
      response.once("finish", () => {
        // Taken; the same words again are another step.
        if (this.#work.get(step.nodeId) === work) this.#work.delete(step.nodeId);
      });
      say(200, JSON.stringify({ node: result }));
    } catch (thrown) {
      const { message, code } = toFailure(thrown);
      if (!response.headersSent) say(code === "invalid-argument" ? 400 : 500, message);
    }
  }

  #begin(step: Step, executor: StepExecutor): Work | undefined {
    if (this.#draining || this.#work.size >= mostSteps) return undefined;
    const stop = new AbortController();
    const work: Work = {
      stop,
      result: undefined,
      done: executor.execute(step, { signal: stop.signal }).then((result) => {
        work.result = result;
        this.#options.observer?.ended?.(step, result);
        setTimeout(() => {
          if (this.#work.get(step.nodeId) === work) this.#work.delete(step.nodeId);
        }, keptMs).unref();
        return result;
      }),
    };
    this.#work.set(step.nodeId, work);
    return work;
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#draining = true;
    while (!signal.aborted && [...this.#work.values()].some(({ result }) => !result)) {
      await sleep(20, undefined, { signal }).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    for (const { stop } of this.#work.values())
      stop.abort(new Failure("aborted", "The plugin ends"));
    this.#server.closeAllConnections();
    await new Promise<void>((done) => void this.#server.close(() => done()));
    await Promise.allSettled([...this.#work.values()].map(({ done }) => done));
  }
}

/** The request says no node's name, so a step is who asks in these words: the rewriter can put the node's name among them. */
function stepOf(body: string): Step {
  let asked: unknown;
  try {
    asked = JSON.parse(body);
  } catch (cause) {
    throw new Failure("invalid-argument", "The request's body is no JSON", { cause });
  }
  const metadata = recordOf(recordOf(recordOf(asked)["workflow"])["metadata"]);
  const template = recordOf(recordOf(asked)["template"]);
  const namespace = textOf(metadata["namespace"]);
  const name = textOf(metadata["name"]);
  const uid = textOf(metadata["uid"]);
  if (namespace === undefined || name === undefined || uid === undefined) {
    throw new Failure("invalid-argument", "The request does not say which workflow it is of");
  }
  const digest = createHash("sha256")
    .update(`${uid}\n${JSON.stringify(template)}`)
    .digest("hex");
  return { workflow: { namespace, name, uid }, nodeId: `${name}-${digest.slice(0, 20)}`, template };
}

function sameText(one: string, other: string): boolean {
  const [left, right] = [one, other].map((text) => createHash("sha256").update(text).digest());
  return left !== undefined && right !== undefined && timingSafeEqual(left, right);
}

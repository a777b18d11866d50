import {
  Agent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from "node:http";
import { Agent as SecureAgent, request as httpsRequest } from "node:https";
import { Failure } from "../errors/mod.ts";
import { connectionProblem, readAll } from "../network/mod.ts";
import { refusal } from "./failures.ts";

/** How a server is reached, and who we are there. */
export interface Access {
  readonly server: URL;
  readonly namespace: string;
  readonly tls: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly servername?: string;
    readonly rejectUnauthorized?: boolean;
  };
  /** Headers of a request; asked each time, as tokens expire. */
  readonly authorization: (signal: AbortSignal) => Promise<string | undefined>;
  /** A token was refused: the next one must be another. */
  readonly forget?: () => void;
}

/** Connections for requests; each watch has one of its own besides. */
const sockets = 32;
const connectMs = 10_000;
/** An answer that does not begin by then never will. */
const answerMs = 60_000;
/** A connection that the server closed without a word is found out by the next request; an old one is not tried. */
const idleMs = 30_000;
const answerBytes = 256 * 1024 * 1024;
const userAgent = "atalanta";

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query?: URLSearchParams;
  readonly contentType?: string;
  readonly accept?: string;
  readonly body?: string;
  readonly signal: AbortSignal;
}

/** The way to one API server. */
export class Connection implements AsyncDisposable {
  readonly access: Access;
  readonly #agent: Agent;
  readonly #watchAgent: Agent;

  constructor(access: Access) {
    this.access = access;
    const secure = access.server.protocol === "https:";
    const usual = { keepAlive: true, timeout: idleMs, scheduling: "lifo" } as const;
    this.#agent = secure
      ? new SecureAgent({ ...usual, maxSockets: sockets, ...access.tls })
      : new Agent({ ...usual, maxSockets: sockets });
    this.#watchAgent = secure ? new SecureAgent({ keepAlive: false, ...access.tls }) : new Agent();
  }

  /** The JSON of an answer. Throws the server's refusal. */
  async json(
    asked: Asked,
    authorization: Access["authorization"] = this.access.authorization,
  ): Promise<unknown> {
    const response = await this.#send(asked, authorization, this.#agent);
    const text = await this.#text(response, asked);
    if (!isGood(response)) throw this.#refused(response, text, asked);
    try {
      return text === "" ? undefined : JSON.parse(text);
    } catch (cause) {
      throw new Failure("cluster-unavailable", `${this.#label(asked)}: the answer is no JSON`, {
        cause,
        hint: "Is that the address of a Kubernetes API server?",
      });
    }
  }

  /** An answer that goes on. Whoever has it ends it by its signal. */
  async stream(
    asked: Asked,
    authorization: Access["authorization"] = this.access.authorization,
  ): Promise<AsyncIterable<Buffer>> {
    const response = await this.#send(asked, authorization, this.#watchAgent);
    if (isGood(response)) return response;
    let text = "";
    for await (const chunk of response as AsyncIterable<Buffer>) {
      text += chunk.toString();
      if (text.length > 64 * 1024) break;
    }
    throw this.#refused(response, text, asked);
  }

  async #text(response: IncomingMessage, asked: Asked): Promise<string> {
    try {
      const bytes = await readAll(response, answerBytes, () => {
        const message = `${this.#label(asked)}: the answer has more than ${answerBytes} bytes`;
        return new Failure("cluster-invalid", message);
      });
      return bytes.toString();
    } catch (thrown) {
      throw this.#trouble(thrown, asked);
    }
  }

  async #send(
    asked: Asked,
    authorization: Access["authorization"],
    agent: Agent,
  ): Promise<IncomingMessage> {
    const { method, path, query, body, contentType = "application/json", signal } = asked;
    signal.throwIfAborted();
    const { server } = this.access;
    const header = await authorization(signal);
    const search = query && query.size > 0 ? `?${query.toString()}` : "";
    const bytes = body === undefined ? undefined : Buffer.from(body);
    const options: RequestOptions = {
      method,
      agent,
      signal,
      host: server.hostname.replace(/^\[|\]$/g, ""),
      port: server.port || (server.protocol === "https:" ? 443 : 80),
      path: `${server.pathname.replace(/\/$/, "")}${path}${search}`,
      headers: {
        accept: asked.accept ?? "application/json",
        "user-agent": userAgent,
        ...(bytes ? { "content-type": contentType, "content-length": bytes.length } : {}),
        ...(header === undefined ? {} : { authorization: header }),
      },
    };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = (server.protocol === "https:" ? httpsRequest : httpRequest)(options, resolve);
    request.on("error", reject);
    request.on("socket", (socket) => {
      if (!socket.connecting) return;
      const late = setTimeout(
        () => socket.destroy(Object.assign(new Error("connect"), { code: "ETIMEDOUT" })),
        connectMs,
      );
      socket.once(server.protocol === "https:" ? "secureConnect" : "connect", () =>
        clearTimeout(late),
      );
      socket.once("close", () => clearTimeout(late));
    });
    const late = setTimeout(
      () => request.destroy(Object.assign(new Error("answer"), { code: "ETIMEDOUT" })),
      answerMs,
    );
    request.end(bytes);
    try {
      return await promise;
    } catch (thrown) {
      throw this.#trouble(thrown, asked, request.reusedSocket);
    } finally {
      clearTimeout(late);
    }
  }

  #refused(response: IncomingMessage, text: string, asked: Asked): Failure {
    if (response.statusCode === 401) this.access.forget?.();
    return refusal({
      status: response.statusCode ?? 0,
      retryAfter: response.headers["retry-after"],
      text,
      label: this.#label(asked),
    });
  }

  #trouble(thrown: unknown, asked: Asked, reused = false): unknown {
    if (asked.signal.aborted) return asked.signal.reason ?? thrown;
    if (thrown instanceof Failure) return thrown;
    const { reason, untrusted } = connectionProblem(thrown);
    return new Unreached(
      `${this.#label(asked)}: ${reason}`,
      untrusted ? "Check certificate-authority-data of the cluster in the kubeconfig." : undefined,
      reused,
      thrown,
    );
  }

  #label({ method, path }: Asked): string {
    return `${method} ${this.access.server.origin}${path}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    this.#watchAgent.destroy();
  }
}

/** The server was not reached, or broke off: nobody knows what it has done. */
export class Unreached extends Failure {
  /** A kept connection was closed in the same moment; a new one may well do. */
  readonly stale: boolean;

  constructor(message: string, hint: string | undefined, stale: boolean, cause: unknown) {
    super("cluster-unavailable", message, { cause, ...(hint === undefined ? {} : { hint }) });
    this.stale = stale;
  }
}

function isGood({ statusCode = 0 }: IncomingMessage): boolean {
  return statusCode >= 200 && statusCode < 300;
}

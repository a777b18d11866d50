// A front between a client and a server, real or a stand-in, that goes wrong by rule: it passes requests on as they are, with their host, so that signatures hold, and spoils what a rule says.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  createServer,
  request as plainRequest,
  type ClientRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createSecureServer, request as secureRequest } from "node:https";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { corruptAt, endAfter, slowed, swapped, unspoilt, type Spoil } from "./spoil.ts";

/** What goes wrong with one request. `answer` faults spoil what comes back, `request` faults what goes there. */
export type Fault =
  /** The server is not asked. */
  | {
      readonly kind: "status";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The connection is cut: before the server is asked, or after so many bytes of a body. */
  | { readonly kind: "refuse" }
  | { readonly kind: "cut"; readonly of: "answer" | "request"; readonly afterBytes: number }
  /** The server did it, and its answer is lost. */
  | { readonly kind: "lose" }
  /** Nothing more goes on after so many bytes of the answer's body; the connection stays open. */
  | { readonly kind: "stall"; readonly afterBytes: number }
  | { readonly kind: "silence" }
  | { readonly kind: "slow"; readonly bytesPerSecond: number }
  /** One bit of a body is another one. */
  | { readonly kind: "corrupt"; readonly of: "answer" | "request"; readonly atByte: number }
  /** Two blocks of the answer's body change their places, or the second comes in place of the first as well. */
  | { readonly kind: "reorder" | "duplicate"; readonly blockBytes: number }
  /** The body ends early and in good order: in chunks, without a length. */
  | { readonly kind: "shorten"; readonly afterBytes: number }
  /** The request is made twice, and the second answer counts. */
  | { readonly kind: "twice" }
  /** Everything is sent though a range was asked for, as servers may. */
  | { readonly kind: "whole" }
  /** The server does not get the login. */
  | { readonly kind: "no-login" }
  /** The connection is closed as soon as it is idle, without a word before. */
  | { readonly kind: "close" };

export interface Passing {
  readonly method: string;
  /** With its query. */
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  /** How many requests came before. */
  readonly count: number;
}

export interface FrontOptions {
  /** The server: `http://127.0.0.1:5000`. Its certificate may be anyone's. */
  readonly target: string;
  /** HTTPS with the certificate of the tests, for 127.0.0.1. */
  readonly tls?: boolean;
  readonly fault?: (passing: Passing) => Fault | undefined;
}

export interface Passed {
  readonly method: string;
  readonly url: string;
  /** Of the answer that was sent on; 0 without one. */
  status: number;
  readonly fault?: Fault["kind"];
}

const tls = resolve(import.meta.dirname, "../network/tls");

export class FaultyFront implements AsyncDisposable {
  readonly passed: Passed[] = [];
  /** May be changed at any time. */
  fault: FrontOptions["fault"];
  readonly #target: URL;
  readonly #server: Server;
  readonly #secure: boolean;

  private constructor({ target, fault, tls: secure = false }: FrontOptions) {
    this.#target = new URL(target);
    this.#secure = secure;
    this.fault = fault;
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      this.#pass(request, response).catch(() => response.destroy());
    };
    this.#server = secure
      ? createSecureServer(
          { key: readFileSync(join(tls, "host.key")), cert: readFileSync(join(tls, "host.pem")) },
          listener,
        )
      : createServer(listener);
    // A client that is cut off in the middle of its request is no fault of the front.
    this.#server.on("clientError", (_error, socket) => socket.destroy());
  }

  static async start(options: FrontOptions): Promise<FaultyFront> {
    const front = new FaultyFront(options);
    front.#server.listen(0, "127.0.0.1");
    await once(front.#server, "listening");
    return front;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get origin(): string {
    return `${this.#secure ? "https" : "http"}://${this.host}`;
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url = "/", headers } = request;
    const fault = this.fault?.({ method, url, headers, count: this.passed.length });
    const passed: Passed = { method, url, status: 0, ...(fault ? { fault: fault.kind } : {}) };
    this.passed.push(passed);
    request.on("error", () => response.destroy());
    response.on("error", () => request.destroy());
    if (fault?.kind === "silence") return;
    if (fault?.kind === "refuse") {
      request.socket.destroy();
      return;
    }
    if (fault?.kind === "status") {
      passed.status = fault.status;
      request.resume();
      if (method === "HEAD") response.writeHead(fault.status, fault.headers).end();
      else response.writeHead(fault.status, fault.headers).end("wrong on purpose");
      return;
    }
    if (fault?.kind === "twice") {
      const body: Buffer[] = [];
      for await (const piece of request) body.push(piece as Buffer);
      for (let time = 1; ; time += 1) {
        const sent = this.#send(request, fault);
        sent.end(Buffer.concat(body));
        const answer = await answered(sent);
        if (time === 2) {
          await this.#answer(answer, { request, response, passed, fault });
          return;
        }
        answer.resume();
        await once(answer, "end");
      }
    }
    const sent = this.#send(request, fault);
    // Whoever waits no longer does not make the server work on.
    response.once("close", () => sent.destroy());
    // Who answers early, as with 401, may leave a part of the request unread.
    pipeline(request, spoilsRequest(fault, response), sent).catch(() => undefined);
    const answer = await answered(sent);
    await this.#answer(answer, { request, response, passed, fault });
  }

  #send(request: IncomingMessage, fault: Fault | undefined): ClientRequest {
    const headers = request.rawHeaders.slice();
    const without = (name: string): void => {
      for (let at = headers.length - 2; at >= 0; at -= 2) {
        if (headers[at]?.toLowerCase() === name) headers.splice(at, 2);
      }
    };
    // Each request has a connection of its own to the server.
    without("connection");
    if (fault?.kind === "whole") without("range");
    if (fault?.kind === "no-login") without("authorization");
    const { protocol, hostname, port } = this.#target;
    const options = {
      hostname,
      port,
      method: request.method,
      path: request.url,
      headers,
      agent: false as const,
      setHost: false,
    };
    return protocol === "https:"
      ? secureRequest({ ...options, rejectUnauthorized: false })
      : plainRequest(options);
  }

  async #answer(
    answer: IncomingMessage,
    ends: {
      readonly request: IncomingMessage;
      readonly response: ServerResponse;
      readonly passed: Passed;
      readonly fault: Fault | undefined;
    },
  ): Promise<void> {
    const { request, response, passed, fault } = ends;
    const status = answer.statusCode ?? 502;
    const { socket } = request;
    answer.on("error", () => socket.destroy());
    if (fault?.kind === "lose") {
      answer.resume().once("end", () => socket.destroy());
      return;
    }
    const headers: string[] = [];
    for (let at = 0; at < answer.rawHeaders.length; at += 2) {
      const [name = "", value = ""] = answer.rawHeaders.slice(at, at + 2);
      const length = name.toLowerCase() === "content-length";
      const hop = /^(?:connection|keep-alive|transfer-encoding)$/i.test(name);
      if (!hop && !(length && fault?.kind === "shorten")) headers.push(name, value);
    }
    passed.status = status;
    response.writeHead(status, headers);
    // The length of a body that never comes is told all the same.
    response.flushHeaders();
    if (fault?.kind === "close") response.once("finish", () => socket.destroySoon());
    await pipeline(answer, spoilsAnswer(fault, response), response);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

async function answered(sent: ClientRequest): Promise<IncomingMessage> {
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  // A request that is cut later on must not end the process.
  sent.on("error", () => undefined);
  return answer;
}

/** What becomes of the answer's body. */
function spoilsAnswer(fault: Fault | undefined, response: ServerResponse): Spoil {
  if (fault?.kind === "cut" && fault.of === "answer") {
    return endAfter(fault.afterBytes, () => cut(response));
  }
  if (fault?.kind === "corrupt" && fault.of === "answer") return corruptAt(fault.atByte);
  if (fault?.kind === "shorten") return endAfter(fault.afterBytes, () => undefined);
  if (fault?.kind === "slow") return slowed(fault.bytesPerSecond);
  if (fault?.kind === "reorder" || fault?.kind === "duplicate") {
    return swapped(fault.blockBytes, fault.kind === "duplicate");
  }
  if (fault?.kind === "stall") {
    return endAfter(fault.afterBytes, async () => void (await once(response, "close")));
  }
  return unspoilt;
}

/** What becomes of the request's body. */
function spoilsRequest(fault: Fault | undefined, response: ServerResponse): Spoil {
  if (fault?.kind === "cut" && fault.of === "request") {
    return endAfter(fault.afterBytes, () => cut(response));
  }
  if (fault?.kind === "corrupt" && fault.of === "request") return corruptAt(fault.atByte);
  return unspoilt;
}

/** What was passed is to arrive before the connection goes. */
async function cut(response: ServerResponse): Promise<void> {
  await sleep(5);
  response.destroy();
}

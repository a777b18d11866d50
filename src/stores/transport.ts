import {
  Agent as PlainAgent,
  request as plainRequest,
  type ClientRequest,
  type IncomingMessage,
} from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { isIP } from "node:net";
import { Failure } from "../errors/mod.ts";
import { connectionProblem, type AddressRules, type ProxyFor } from "../network/mod.ts";
import type { StoreTimeouts } from "./mod.ts";
import { Trouble } from "./trouble.ts";

/** How a host is met: which addresses it may have, and whose certificates it may show. */
export interface Manner {
  readonly rules: AddressRules;
  /** Certificates (PEM) of authorities to trust instead of Node's own. */
  readonly authorities?: readonly string[] | undefined;
  /** What we show of ourselves. */
  readonly certificate?: { readonly certificate: string; readonly key: string } | undefined;
  /** Past any proxy. */
  readonly direct?: true;
}

/** One request, one connection, one answer. */
export interface Call {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly manner: Manner;
  /** The body's pieces, of 256 KiB or less; its length stands among the headers, or it goes in chunks. */
  readonly body?: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** From the end of the request to the headers of its answer, where that takes longer than usual. */
  readonly headersMs?: number | undefined;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** Where the answer came from. */
  readonly url: URL;
  readonly message: IncomingMessage;
}

export const defaultTimeouts: Required<StoreTimeouts> = {
  connectMs: 10_000,
  headersMs: 60_000,
  idleMs: 30_000,
};

/** What must come in `idleMs`, or the other side holds us with a drop now and then. */
const leastBytes = 1024;
const headerBytes = 64 * 1024;
const keptMs = 30_000;
const keptConnections = 16;

/** Makes requests by node:http; keeps connections for the next one. Shared by all stores. */
export class Transport implements Disposable {
  readonly #agents = new Map<string, PlainAgent | SecureAgent>();
  readonly #proxyFor: ProxyFor;
  readonly #timeouts: Required<StoreTimeouts>;
  readonly #manners = new Map<AddressRules, number>();

  constructor(proxyFor: ProxyFor, timeouts: Required<StoreTimeouts>) {
    this.#proxyFor = proxyFor;
    this.#timeouts = timeouts;
  }

  /**
   * Sends a request and waits for the headers of the answer, whose body somebody must read or drop. Fails with `store-unavailable` where another
   * try may help, `store-refused` or `network-denied` where it does not, or the signal's reason. Redirects are answers as others.
   */
  async call(call: Call): Promise<Answer> {
    const { url, manner, signal } = call;
    signal.throwIfAborted();
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const refusal = manner.rules.refusal(host);
    if (refusal !== undefined) throw refused(url, `its address is ${refusal}`);
    for (;;) {
      const answer = await this.#try(call, host);
      if (answer) return answer;
    }
  }

  /** Undefined when a connection that was kept turned out to be closed at the other end (RFC 9112, 9.3.1). */
  #try(call: Call, host: string): Promise<Answer | undefined> {
    const { url, body, signal } = call;
    const { connectMs, idleMs } = this.#timeouts;
    const { headersMs = this.#timeouts.headersMs } = call;
    return new Promise((resolve, reject) => {
      const request = this.#request(call, host);
      let timer: NodeJS.Timeout | undefined;
      let settled = false;
      const within = (ms: number, what: string): void => {
        clearTimeout(timer);
        if (!settled) timer = setTimeout(() => request.destroy(timedOut(url, what, ms)), ms);
      };
      const stop = (): void => void request.destroy(asError(signal.reason));
      const settle = (): void => {
        settled = true;
        clearTimeout(timer);
        signal.removeEventListener("abort", stop);
      };
      const fail = (cause: unknown): void => {
        if (settled) return;
        settle();
        request.destroy();
        const cut = cause instanceof Error && "code" in cause && cause.code === "ECONNRESET";
        if (signal.aborted) reject(asError(signal.reason));
        else if (cut && request.reusedSocket && body === undefined) resolve(undefined);
        else reject(toTrouble(cause, url));
      };
      within(connectMs, "to connect");
      signal.addEventListener("abort", stop, { once: true });
      request.on("socket", (socket) => {
        const ready = (): void => {
          clearTimeout(timer);
          if (body) within(idleMs, "to take the next piece");
        };
        const event = url.protocol === "https:" ? "secureConnect" : "connect";
        if (socket.connecting) socket.once(event, ready);
        else ready();
      });
      request.on("finish", () => within(headersMs, "to answer"));
      request.on("error", fail);
      request.on("close", () => fail(Object.assign(new Error("cut"), { code: "ECONNRESET" })));
      request.on("upgrade", (_response, socket) => {
        socket.destroy();
        fail(new Error("it changed the protocol"));
      });
      request.on("response", (message) => {
        settle();
        // What goes wrong from here on, the reader of the body meets.
        message.on("error", () => undefined);
        // Answered before it heard all: its connection is of no more use.
        if (!request.writableFinished) message.once("close", () => request.destroy());
        resolve({ status: message.statusCode ?? 0, headers: message.headers, url, message });
      });
      if (body) {
        const onPiece = (): boolean => {
          if (!request.writableFinished) within(idleMs, "to take the next piece");
          return !settled && !request.destroyed;
        };
        write(request, body, onPiece).catch(fail);
      } else request.end();
    });
  }

  get timeouts(): Required<StoreTimeouts> {
    return this.#timeouts;
  }

  /** The body of an answer, piece by piece. A body that stops coming, or ends before its time, fails with `store-unavailable`. */
  async *pieces(
    { message, url }: Answer,
    signal: AbortSignal,
    least: number = leastBytes,
  ): AsyncGenerator<Uint8Array> {
    const { idleMs } = this.#timeouts;
    let stalled: Trouble | undefined;
    let since = 0;
    const look = setInterval(() => {
      // One that waits for our disk is not slow.
      if (since < least && message.readableLength === 0) {
        stalled = timedOut(url, "for the next piece", idleMs);
        message.destroy(stalled);
      }
      since = 0;
    }, idleMs);
    const stop = (): void => void message.destroy(asError(signal.reason));
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      for await (const piece of message) {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a message without an encoding gives bytes
        const bytes = piece as Uint8Array;
        since += bytes.length;
        yield bytes;
      }
    } catch (thrown) {
      signal.throwIfAborted();
      throw stalled ?? toTrouble(thrown, url);
    } finally {
      clearInterval(look);
      signal.removeEventListener("abort", stop);
      message.destroy();
    }
    signal.throwIfAborted();
    if (!message.complete)
      throw toTrouble(Object.assign(new Error("cut"), { code: "ECONNRESET" }), url);
  }

  /** The whole of a small body, of which a byte must come now and then. One with more bytes fails with `store-refused`. */
  async small(answer: Answer, mostBytes: number, signal: AbortSignal): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const piece of this.pieces(answer, signal, 1)) {
      size += piece.length;
      if (size > mostBytes) {
        throw new Trouble(
          "store-refused",
          `${answer.url.host} answered with more than ${mostBytes} bytes`,
        );
      }
      parts.push(piece);
    }
    return Buffer.concat(parts);
  }

  #request({ method, url, headers, manner }: Call, host: string): ClientRequest {
    const secure = url.protocol === "https:";
    const options = {
      hostname: host,
      port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
      method,
      path: `${url.pathname}${url.search}`,
      headers,
      maxHeaderSize: headerBytes,
      insecureHTTPParser: false,
    };
    const agent = this.#agent(url, manner);
    return agent instanceof SecureAgent
      ? secureRequest({ ...options, agent, servername: isIP(host) === 0 ? host : "" })
      : plainRequest({ ...options, agent });
  }

  /** Connections that were made in one manner are not used in another. */
  #agent(url: URL, { rules, authorities, certificate, direct }: Manner): PlainAgent | SecureAgent {
    const proxy = direct === true ? undefined : this.#proxyFor(url);
    const number = this.#manners.get(rules) ?? this.#manners.size;
    this.#manners.set(rules, number);
    const name = JSON.stringify([url.protocol, proxy, number, authorities, certificate]);
    const known = this.#agents.get(name);
    if (known) return known;
    const options = {
      keepAlive: true,
      timeout: keptMs,
      maxFreeSockets: keptConnections,
      lookup: rules.lookup,
      ...(proxy === undefined ? {} : { proxyEnv: { http_proxy: proxy, https_proxy: proxy } }),
    };
    const agent =
      url.protocol === "https:"
        ? new SecureAgent({
            ...options,
            minVersion: "TLSv1.2",
            rejectUnauthorized: true,
            ...(authorities ? { ca: [...authorities] } : {}),
            ...(certificate ? { cert: certificate.certificate, key: certificate.key } : {}),
          })
        : new PlainAgent(options);
    this.#agents.set(name, agent);
    return agent;
  }

  [Symbol.dispose](): void {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }
}

async function write(
  request: ClientRequest,
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  onPiece: () => boolean,
): Promise<void> {
  for await (const piece of body) {
    // Answered before it heard all, or gone; what that means is said elsewhere.
    if (!onPiece()) return;
    if (!request.write(piece)) {
      await new Promise<void>((resolve) => {
        const go = (): void => {
          for (const event of ["drain", "close", "response"]) request.off(event, go);
          resolve();
        };
        for (const event of ["drain", "close", "response"]) request.once(event, go);
      });
    }
  }
  if (onPiece()) request.end();
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

function timedOut({ host }: URL, what: string, ms: number): Trouble {
  const wait = ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`;
  return new Trouble("store-unavailable", `${host} took longer than ${wait} ${what}`, {
    againMs: 0,
  });
}

function refused({ host }: URL, why: string): Failure {
  return new Failure("network-denied", `${host} may not be connected to: ${why}`, {
    hint: "If it is to be trusted, allow its address with --allow-address, or name it in the artifactRepository of the file for --config.",
  });
}

function toTrouble(thrown: unknown, url: URL): Failure {
  if (thrown instanceof Trouble) return thrown;
  if (thrown instanceof Failure) {
    return thrown.code === "network-denied" ? refused(url, thrown.message) : thrown;
  }
  const { reason, tls, untrusted } = connectionProblem(thrown);
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  const message = `${url.host}: ${reason}`;
  if (tls) {
    return new Trouble("store-refused", message, {
      cause: thrown,
      hint: untrusted
        ? "If it has an authority of its own, name a secret with its certificate as caSecret."
        : code.includes("CERT")
          ? "Is the endpoint written as it stands in the certificate?"
          : "If it speaks plain HTTP, write insecure: true.",
    });
  }
  return new Trouble("store-unavailable", message, {
    cause: thrown,
    ...(code === "ENOTFOUND" ? { hint: "Is its name written right?" } : { againMs: 0 }),
  });
}

import { Agent as PlainAgent, request as plainRequest, type IncomingMessage } from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { isIP } from "node:net";
import { pipeline, Readable } from "node:stream";
import { createSecureContext, getCACertificates } from "node:tls";
import { Failure } from "../errors/mod.ts";
import { connectionProblem, type AddressRules, type ProxyFor } from "../network/mod.ts";
import { Trouble } from "./failures.ts";

/** How a host is met: which addresses it may have, and whose certificates it may show. */
export interface Manner {
  /** Tells manners apart; connections of one are not used for another. */
  readonly key: string;
  readonly rules: AddressRules;
  /** Certificates (PEM) of authorities to trust besides Node's own. */
  readonly authorities?: readonly string[];
  /** Takes any certificate. */
  readonly anyCertificate?: boolean;
}

/** One request, one connection, one answer. */
export interface Call {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly manner: Manner;
  /** Pieces of the body; `Content-Length` stands among the headers. */
  readonly body?: AsyncIterable<Uint8Array>;
  /** Not on a connection that was kept: where a server closes them without a word, what cannot simply go again would always meet a closed one. */
  readonly fresh?: boolean;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** Of a header that may be there several times. */
  readonly all: (name: string) => readonly string[];
  /** Where the answer came from. */
  readonly url: URL;
  readonly message: IncomingMessage;
}

export interface TimeoutOptions {
  /** To connect, with TLS; default 10 s. */
  readonly connectMs?: number;
  /** From the end of a request to the headers of its answer; default 30 s. */
  readonly headersMs?: number;
  /** In which some of a body must come or go; default 30 s. */
  readonly idleMs?: number;
}

export const defaultTimeouts: Required<TimeoutOptions> = {
  connectMs: 10_000,
  headersMs: 30_000,
  idleMs: 30_000,
};

/** Headers of every request. */
export const common: Readonly<Record<string, string>> = {
  "user-agent": "atalanta",
  // Bytes as they are stored: their digest is what counts.
  "accept-encoding": "identity",
};

/** What must come in `idleMs`, or the other side holds us with a drop now and then. */
const leastBytes = 1024;
const headerBytes = 64 * 1024;
/** A look-up that a proxy does again. */
const namesMs = 1000;
const keptMs = 30_000;
const keptConnections = 8;

/** Makes requests by node:http; keeps connections for the next one. */
export class Transport implements Disposable {
  readonly #agents = new Map<string, PlainAgent | SecureAgent>();
  readonly #proxyFor: ProxyFor;
  /** What kept names from being looked up, where a proxy does it as well. */
  readonly #looked = new Map<string, Promise<Error | null>>();
  readonly timeouts: Required<TimeoutOptions>;

  constructor(proxyFor: ProxyFor, timeouts: Required<TimeoutOptions>) {
    this.#proxyFor = proxyFor;
    this.timeouts = timeouts;
  }

  /**
   * Sends a request and waits for the headers of the answer, whose body somebody must read or drop. Fails with `registry-unavailable` where another
   * try may help, `registry-refused` or `network-denied` where it does not, or the signal's reason.
   */
  async call(call: Call): Promise<Answer> {
    const { url, manner, signal } = call;
    signal.throwIfAborted();
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const refusal = manner.rules.refusal(host);
    if (refusal !== undefined) throw refused(url, `its address is ${refusal}`);
    const proxy = this.#proxyFor(url);
    if (proxy !== undefined) await this.#leadsInside(host, manner.rules, url);
    for (;;) {
      const answer = await this.#try(call, { host, proxy });
      if (answer) return answer;
    }
  }

  /**
   * A proxy finds the addresses of a name itself, and we may not be able to. What we know to lead inside is refused all the same; the look-up is done once, and not
   * waited for where there is nobody to ask.
   */
  async #leadsInside(host: string, rules: AddressRules, url: URL): Promise<void> {
    const looking = new Promise<Error | null>((resolve) => {
      rules.lookup(host, { all: true }, resolve);
    });
    const enough = new Promise<null>((resolve) => {
      setTimeout(() => resolve(null), namesMs).unref();
    });
    let known = this.#looked.get(host);
    if (!known) {
      known = Promise.race([looking, enough]);
      this.#looked.set(host, known);
      if (this.#looked.size > 1000) this.#looked.delete(this.#looked.keys().next().value ?? "");
    }
    const problem = await known;
    if (problem instanceof Failure) throw refused(url, problem.message);
  }

  /** Undefined when a connection that was kept turned out to be closed at the other end (RFC 9112, 9.3.1). */
  #try(
    { method, url, headers, manner, body, fresh, signal }: Call,
    { host, proxy }: { readonly host: string; readonly proxy: string | undefined },
  ): Promise<Answer | undefined> {
    const secure = url.protocol === "https:";
    const { connectMs, headersMs, idleMs } = this.timeouts;
    return new Promise((resolve, reject) => {
      const options = {
        hostname: host,
        port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
        method,
        path: `${url.pathname}${url.search}`,
        headers,
        maxHeaderSize: headerBytes,
        insecureHTTPParser: false,
      };
      const agent = this.#agent(url, manner, proxy);
      if (fresh === true) {
        for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
      }
      const request =
        agent instanceof SecureAgent
          ? secureRequest({ ...options, agent, servername: isIP(host) === 0 ? host : "" })
          : plainRequest({ ...options, agent });
      let timer: NodeJS.Timeout | undefined;
      let settled = false;
      const within = (ms: number, what: string): void => {
        clearTimeout(timer);
        if (settled) return;
        // The request itself would tell of its end only when it has a connection.
        timer = setTimeout(() => fail(timedOut(url, what, ms)), ms);
      };
      const stop = (): void => fail(signal.reason);
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
        else if (cut && request.reusedSocket && (method === "GET" || method === "HEAD"))
          resolve(undefined);
        else reject(toTrouble(cause, url, proxy));
      };
      within(connectMs, "to connect");
      signal.addEventListener("abort", stop, { once: true });
      request.on("socket", (socket) => {
        // A request without a body has gone out with that, or goes out when the TLS of a tunnel is made.
        const ready = (): void =>
          body === undefined ? within(headersMs, "to answer") : within(idleMs, "to take a request");
        if (socket.connecting) socket.once(secure ? "secureConnect" : "connect", ready);
        else ready();
      });
      request.on("finish", () => within(headersMs, "to answer"));
      request.on("error", fail);
      request.on("close", () => fail(new Error("the connection was closed")));
      request.on("upgrade", (_response, socket) => {
        socket.destroy();
        fail(new Error("it changed the protocol"));
      });
      request.on("response", (message) => {
        settle();
        // What goes wrong from here on, the reader of the body meets.
        request.off("error", fail);
        request.on("error", () => undefined);
        // An answer that came before all was sent: the rest of a large body is not wanted.
        message.once("close", () => {
          if (!request.writableFinished) request.destroy();
        });
        resolve({
          status: message.statusCode ?? 0,
          headers: message.headers,
          all: (name) => message.headersDistinct[name] ?? [],
          url,
          message,
        });
      });
      if (body === undefined) {
        request.end();
        return;
      }
      async function* watched(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
        for await (const piece of pieces) {
          within(idleMs, "to take the next piece");
          yield piece;
        }
      }
      pipeline(Readable.from(watched(body)), request, (thrown) => {
        if (thrown) fail(thrown);
      });
    });
  }

  /** The body of an answer, piece by piece. A body that stops coming is cut off. */
  async *pieces({ message, url }: Answer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { idleMs } = this.timeouts;
    let stalled: Trouble | undefined;
    let since = 0;
    const look = setInterval(() => {
      if (since < leastBytes && !message.readableEnded) {
        stalled = timedOut(url, "for the next piece", idleMs);
        message.destroy(stalled);
      }
      since = 0;
    }, idleMs);
    const stop = (): void => void message.destroy(asError(signal.reason));
    signal.addEventListener("abort", stop, { once: true });
    try {
      signal.throwIfAborted();
      for await (const piece of message as AsyncIterable<Uint8Array>) {
        since += piece.length;
        yield piece;
      }
    } catch (thrown) {
      signal.throwIfAborted();
      throw stalled ?? toTrouble(thrown, url);
    } finally {
      clearInterval(look);
      signal.removeEventListener("abort", stop);
      message.destroy();
    }
  }

  /** The beginning of a small body; what is larger is dropped together with its connection. */
  async beginning(answer: Answer, mostBytes: number, signal: AbortSignal): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    let size = 0;
    try {
      for await (const piece of this.pieces(answer, signal)) {
        parts.push(piece);
        size += piece.length;
        if (size > mostBytes) break;
      }
    } catch (thrown) {
      signal.throwIfAborted();
      // Its status is known; that the explanation broke off changes nothing.
      if (!(thrown instanceof Trouble)) throw thrown;
    }
    return Buffer.concat(parts).subarray(0, mostBytes);
  }

  #agent(
    url: URL,
    { key, rules, authorities, anyCertificate }: Manner,
    proxy: string | undefined,
  ): PlainAgent | SecureAgent {
    const name = `${url.protocol} ${proxy ?? ""} ${key}`;
    const known = this.#agents.get(name);
    if (known) return known;
    const options = {
      keepAlive: true,
      timeout: keptMs,
      maxFreeSockets: keptConnections,
      ...(proxy === undefined ? {} : { proxyEnv: { http_proxy: proxy, https_proxy: proxy } }),
    };
    const agent =
      url.protocol === "https:"
        ? new SecureAgent({
            ...options,
            lookup: rules.lookup,
            minVersion: "TLSv1.2",
            rejectUnauthorized: anyCertificate !== true,
            // Made once: all certificates that Node knows are read for it.
            ...(authorities
              ? {
                  secureContext: createSecureContext({
                    ca: [...getCACertificates("default"), ...authorities],
                    minVersion: "TLSv1.2",
                  }),
                }
              : {}),
          })
        : new PlainAgent({ ...options, lookup: rules.lookup });
    this.#agents.set(name, agent);
    return agent;
  }

  [Symbol.dispose](): void {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

function timedOut({ host }: URL, what: string, ms: number): Trouble {
  const wait = ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`;
  return new Trouble("registry-unavailable", `${host} took longer than ${wait} ${what}`, {
    againMs: 0,
  });
}

function refused({ host }: URL, why: string): Failure {
  return new Failure("network-denied", `${host} may not be connected to: ${why}`, {
    hint: "If it is to be trusted, name it under registries: of the file for --config, or its address with --allow-address.",
  });
}

function toTrouble(thrown: unknown, url: URL, proxy?: string): Failure {
  if (thrown instanceof Trouble) return thrown;
  if (thrown instanceof Failure)
    return thrown.code === "network-denied" ? refused(url, thrown.message) : thrown;
  const { reason, tls, untrusted } = connectionProblem(thrown);
  if (tls) {
    return new Trouble("registry-refused", `${url.host}: ${reason}`, {
      cause: thrown,
      hint: tlsHint(thrown, url, untrusted),
    });
  }
  const by = proxy === undefined ? "" : `, by the proxy ${URL.parse(proxy)?.host ?? "that is set"}`;
  // What it answered when it was asked for the way.
  const answered =
    thrown instanceof Error ? /HTTP\/1\.\d (\d{3}[^\r\n]*)/.exec(thrown.message)?.[1] : undefined;
  const said = proxy === undefined || answered === undefined ? reason : `it answered ${answered}`;
  const gone = thrown instanceof Error && "code" in thrown && thrown.code === "ENOTFOUND";
  return new Trouble("registry-unavailable", `${url.host}${by}: ${said}`, {
    cause: thrown,
    ...(gone ? { hint: "Is its name written right?" } : {}),
    ...(gone || answered?.startsWith("4") === true ? {} : { againMs: 0 }),
  });
}

function tlsHint(thrown: unknown, { host }: URL, untrusted: boolean): string {
  const where = `under registries: "${host}": of the file for --config`;
  if (untrusted) return `If it has an authority of its own, write caFile: FILE ${where}.`;
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return "Its certificate is for another name.";
  if (code === "CERT_HAS_EXPIRED") return "Its certificate has ended. Is the clock here right?";
  return `If it speaks plain HTTP, write plainHttp: true ${where}.`;
}

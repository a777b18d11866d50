import {
  Agent as PlainAgent,
  request as plainRequest,
  type ClientRequest,
  type IncomingMessage,
} from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { isIP } from "node:net";
import {
  interimHeads,
  responseHeaderBytes,
  responseHeaderCount,
  toNetworkFailure,
} from "./problems.ts";
import type { Target } from "./target.ts";

type Header = readonly [name: string, value: string];

/** One request to addresses that were checked. */
export interface Hop {
  readonly target: Target;
  readonly addresses: readonly string[];
  readonly headers: readonly Header[];
  readonly body: Uint8Array;
  readonly signal: AbortSignal;
}

export interface HopResponse {
  readonly status: number;
  readonly headers: readonly Header[];
  readonly message: IncomingMessage;
}

/** Connections that one step keeps for its next request. */
const keptConnections = 4;
const keptMs = 5000;

/** The connections of one step; another step never gets one of them, whatever is left on it. */
export class Connections implements Disposable {
  readonly #plain = new PlainAgent({
    keepAlive: true,
    maxFreeSockets: keptConnections,
    timeout: keptMs,
  });
  readonly #secure: SecureAgent;

  constructor(authorities: readonly string[] | undefined) {
    this.#secure = new SecureAgent({
      keepAlive: true,
      maxFreeSockets: keptConnections,
      timeout: keptMs,
      minVersion: "TLSv1.2",
      rejectUnauthorized: true,
      ...(authorities ? { ca: [...authorities] } : {}),
    });
  }

  /** Sends a request and waits for the headers of its response. The signal's reason is the failure when it stops that. */
  async send(hop: Hop): Promise<HopResponse> {
    for (;;) {
      const response = await this.#try(hop);
      if (response) return response;
    }
  }

  /**
   * Undefined when a connection that was kept turned out to be closed at the other end, and the request may go again (RFC 9112, 9.3.1).
   * Each time there is one such connection less.
   */
  #try(hop: Hop): Promise<HopResponse | undefined> {
    const { target, signal } = hop;
    return new Promise((resolve, reject) => {
      const request = this.#request(hop);
      const stop = (): void => void request.destroy(signal.reason);
      const settle = (): void => {
        signal.removeEventListener("abort", stop);
      };
      const fail = (cause: unknown): void => {
        settle();
        const cut = cause instanceof Error && "code" in cause && cause.code === "ECONNRESET";
        if (cut && request.reusedSocket && ["GET", "HEAD", "OPTIONS"].includes(target.method)) {
          resolve(undefined);
        } else reject(toNetworkFailure(cause, target));
      };
      signal.addEventListener("abort", stop);
      if (signal.aborted) stop();
      request.on("error", fail);
      request.on("close", () => fail(new Error("the connection was closed")));
      // Nobody asked for another protocol.
      request.on("upgrade", (_response, socket) => {
        socket.destroy();
        fail(new Error("the host changed the protocol"));
      });
      let interim = 0;
      request.on("information", () => {
        interim++;
        if (interim > interimHeads) {
          request.destroy(new Error(`it sent more than ${interimHeads} heads before its response`));
        }
      });
      request.on("response", (message) => {
        settle();
        // What goes wrong from here on, the reader of the body meets.
        request.off("error", fail);
        request.on("error", () => undefined);
        const headers = pairs(message.rawHeaders);
        if (headers.length > responseHeaderCount) {
          message.destroy();
          fail(new Error(`its response has more than ${responseHeaderCount} headers`));
        } else resolve({ status: message.statusCode ?? 0, headers, message });
      });
      request.end(hop.body);
    });
  }

  #request({ target, addresses, headers, body }: Hop): ClientRequest {
    const { scheme, host, port, method } = target;
    const secure = scheme === "https";
    const all = addresses.map((address) => ({ address, family: isIP(address) }));
    const sent = withOwn(headers, target, body);
    const options = {
      hostname: host,
      port,
      method,
      path: `${target.path}${target.query}`,
      // A list is sent as it stands, with nothing merged and nothing added.
      headers: sent.flat(),
      maxHeaderSize: responseHeaderBytes,
      insecureHTTPParser: false,
      // Whatever a name server says now, the connection goes to where was checked.
      lookup: (
        _name: string,
        _options: object,
        done: (error: null, found: { address: string; family: number }[]) => void,
      ): void => done(null, all),
      autoSelectFamily: true,
    };
    return secure
      ? secureRequest({ ...options, agent: this.#secure, servername: isIP(host) === 0 ? host : "" })
      : plainRequest({ ...options, agent: this.#plain });
  }

  [Symbol.dispose](): void {
    this.#plain.destroy();
    this.#secure.destroy();
  }
}

/** The headers that say where a request goes and how long it is are ours alone. */
function withOwn(
  headers: readonly Header[],
  { scheme, host, port, method }: Target,
  body: Uint8Array,
): readonly Header[] {
  const named = host.includes(":") ? `[${host}]` : host;
  const place = port === (scheme === "https" ? 443 : 80) ? named : `${named}:${port}`;
  const bare = body.length === 0 && !["POST", "PUT", "PATCH"].includes(method);
  return [
    ["Host", place],
    ...headers,
    ...(bare ? [] : ([["Content-Length", String(body.length)]] as const)),
  ];
}

function pairs(raw: readonly string[]): readonly Header[] {
  return Array.from({ length: raw.length / 2 }, (_, index) => [
    (raw[index * 2] ?? "").toLowerCase(),
    raw[index * 2 + 1] ?? "",
  ]);
}

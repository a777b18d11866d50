import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createSecureServer } from "node:https";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { totalmem } from "node:os";
import { Failure, toFailure } from "../errors/mod.ts";
import { bodyTooLarge } from "./body.ts";
import type { Api, ApiResponse } from "./mod.ts";

export interface ListenOptions {
  readonly api: Api;
  readonly host: string;
  readonly port: number;
  readonly tls?: {
    readonly cert: string | Buffer;
    readonly key: string | Buffer;
    readonly ca?: string | Buffer;
  };
  /** Connections at once; default 10,000. */
  readonly connections?: number;
}

export interface Listening {
  readonly url: string;
  readonly server: Server;
  /** Takes no new connection; those that are idle are closed, the others when their response has been sent. */
  close(): Promise<void>;
}

/** A head that has not come by then never will. */
const headMs = 30_000;
const headBytes = 32 * 1024;
const idleMs = 75_000;

/** Serves the API over HTTP/1.1. */
export async function listen(options: ListenOptions): Promise<Listening> {
  const { api, host, port, tls } = options;
  const listener: RequestListener = (incoming, outgoing) => void serve(api, incoming, outgoing);
  const settings = {
    maxHeaderSize: headBytes,
    headersTimeout: headMs,
    requestTimeout: 0,
    keepAliveTimeout: idleMs,
  };
  const server = tls
    ? createSecureServer(
        {
          ...settings,
          minVersion: "TLSv1.2",
          ...tls,
          ...(tls.ca === undefined ? {} : { requestCert: true }),
        },
        listener,
      )
    : createServer(settings, listener);
  server.maxConnections = options.connections ?? 10_000;
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `Cannot listen on ${host}:${port}: ${reason}`, {
      cause,
      hint: "Another process may have the port; give another one with --listen.",
    });
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it listens on a port
  const at = server.address() as AddressInfo;
  const name = at.family === "IPv6" ? `[${at.address}]` : at.address;
  return {
    url: `${tls ? "https" : "http"}://${name}:${at.port}`,
    server,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeIdleConnections();
      await closed;
    },
  };
}

async function serve(api: Api, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const gone = new AbortController();
  outgoing.on("close", () => {
    if (!outgoing.writableEnded) gone.abort(new Failure("aborted", "The caller has left"));
  });
  const url = incoming.url ?? "/";
  const mark = url.indexOf("?");
  const { headers } = incoming;
  const response = await api.handle({
    method: incoming.method ?? "GET",
    path: mark < 0 ? url : url.slice(0, mark),
    query: mark < 0 ? "" : url.slice(mark + 1),
    header: (name) => {
      const value = headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    },
    read: (most) => whole(incoming, outgoing, most),
    pieces: () => incoming[Symbol.asyncIterator](),
    signal: gone.signal,
  });
  if (outgoing.destroyed) return;
  if (response.stream) await pour(response, outgoing);
  else send(response, incoming, outgoing);
  // What nobody read must not lie in front of the next request.
  if (!incoming.readableEnded) incoming.resume();
}

/** The body, by its events: an iterator costs a small request more than all else. */
function whole(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  most: number,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let own = 0;
    outgoing.once("close", () => (heldBytes -= own));
    const length = Number(incoming.headers["content-length"] ?? 0);
    if (length > most) return reject(bodyTooLarge(length, most));
    const pieces: Uint8Array[] = [];
    let size = 0;
    incoming.on("data", (piece: Uint8Array) => {
      size += piece.length;
      if (size > most) return reject(bodyTooLarge(size, most));
      own += piece.length;
      heldBytes += piece.length;
      if (heldBytes > mostHeldBytes) return reject(tooManyBytes());
      pieces.push(piece);
      return undefined;
    });
    incoming.on("end", () => {
      const [only] = pieces;
      resolve(pieces.length === 1 && only ? only : Buffer.concat(pieces, size));
    });
    incoming.on("error", reject);
    incoming.on("close", () => reject(new Failure("aborted", "The caller has left")));
    return undefined;
  });
}

/** Bodies of all requests that are being answered: no number of callers may fill the memory with them. */
let heldBytes = 0;
const mostHeldBytes = Math.min(1024 ** 3, (process.constrainedMemory() || totalmem()) / 4);

function tooManyBytes(): Failure {
  return new Failure(
    "queue-full",
    "The requests that are being answered have more bytes than this process may hold",
    {
      hint: "Send it again in a second; let large bytes come in pieces.",
    },
  );
}

/** A small body that is written in one piece with its head. */
const joinedBytes = 16 * 1024;

function send(
  { status, headers, body }: ApiResponse,
  { method }: IncomingMessage,
  outgoing: ServerResponse,
): void {
  const size =
    body === undefined ? 0 : typeof body === "string" ? Buffer.byteLength(body) : body.length;
  const isEmpty = status === 204 || status === 304;
  const length = isEmpty ? [] : ["content-length", String(size)];
  outgoing.writeHead(status, [...headers, ...length]);
  if (body === undefined || isEmpty || method === "HEAD") outgoing.end();
  else if (typeof body === "string" || size > joinedBytes) outgoing.end(body);
  else {
    const view = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    outgoing.end(view.toString("latin1"), "latin1");
  }
}

async function pour(
  { status, headers, stream }: ApiResponse,
  outgoing: ServerResponse,
): Promise<void> {
  outgoing.writeHead(status, [...headers]);
  try {
    await stream?.((bytes) => {
      if (outgoing.destroyed) throw new Failure("aborted", "The caller has left");
      if (outgoing.write(bytes)) return undefined;
      return drained(outgoing);
    });
    outgoing.end();
  } catch (thrown) {
    toFailure(thrown);
    // A response that ends as if it were whole would be taken for whole.
    outgoing.destroy();
  }
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      outgoing.off("drain", done);
      outgoing.off("close", done);
      if (outgoing.destroyed) reject(new Failure("aborted", "The caller has left"));
      else resolve();
    };
    outgoing.once("drain", done);
    outgoing.once("close", done);
  });
}

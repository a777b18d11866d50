import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { defaultLimits, type Limits } from "../../src/limits/mod.ts";
import {
  createGate,
  type AskedHost,
  type GateOptions,
  type Passage,
  type SecretReference,
} from "../../src/network/mod.ts";
import { Failure } from "../../src/errors/mod.ts";

/** A host that answers each request with what a function gives, byte for byte, and keeps what came. */
export class Host implements AsyncDisposable {
  readonly requests: string[] = [];
  connections = 0;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** `answer` gets a request as text (Latin-1) and gives the response; undefined: none, the connection stays open; null: it is closed. */
  static async start(
    answer: (request: string) => string | undefined | null | Promise<string | undefined | null>,
  ): Promise<Host> {
    const server = createServer((socket) => {
      host.connections++;
      let text = "";
      socket.on("error", () => undefined);
      socket.on("data", (bytes) => {
        text += bytes.toString("latin1");
        void take();
      });
      const take = async (): Promise<void> => {
        const head = text.indexOf("\r\n\r\n");
        if (head < 0) return;
        const size = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(text)?.[1] ?? 0);
        if (text.length < head + 4 + size) return;
        const request = text.slice(0, head + 4 + size);
        text = text.slice(request.length);
        host.requests.push(request);
        const response = await answer(request);
        if (response === null) socket.destroy();
        else if (response !== undefined) socket.write(response, "latin1");
      };
    });
    const host = new Host(server);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return host;
  }

  get port(): number {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server on a port has such an address
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((done) => this.#server.close(done));
  }
}

export function ok(body: string, headers = ""): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${headers}\r\n${body}`;
}

export interface Asked extends Partial<Omit<GateOptions, "permissions">> {
  readonly operator?: readonly AskedHost[];
  readonly step?: readonly AskedHost[];
  readonly addresses?: readonly string[];
  readonly wanted?: readonly SecretReference[];
  readonly limits?: Partial<Limits>;
}

/** A gate that finds every name at 127.0.0.1, and lets everything there, unless it is said otherwise. */
export async function open(asked: Asked = {}): Promise<Passage> {
  const { operator, step, addresses, wanted = [], limits, ...options } = asked;
  const all = ["http://*:*", "https://*:*"];
  const gate = createGate({
    resolve: async () => ["127.0.0.1"],
    ...options,
    permissions: {
      allowedHosts: operator ?? all,
      allowedAddresses: addresses ?? ["127.0.0.1"],
    },
  });
  return gate.open({
    allowedHosts: step ?? all,
    secrets: wanted,
    limits: { ...defaultLimits, ...limits },
  });
}

export interface Sent {
  readonly method?: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: string;
  readonly redirects?: number;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const never = new AbortController().signal;

/** Sends a request and reads the whole answer, as text (Latin-1). */
export async function fetchText(
  passage: Passage,
  url: string,
  sent: Sent = {},
): Promise<{
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}> {
  const {
    method = "GET",
    headers = [],
    body = "",
    redirects = 0,
    timeoutMs = 5000,
    signal = never,
  } = sent;
  const response = await passage.http(
    { method, url, headers, body: Buffer.from(body, "latin1"), redirects, timeoutMs },
    { signal },
  );
  const pieces: Uint8Array[] = [];
  for (;;) {
    const piece = await response.body.next();
    if (piece.done) break;
    pieces.push(piece.value);
  }
  return {
    status: response.status,
    headers: new Map(response.headers),
    body: Buffer.concat(pieces).toString("latin1"),
  };
}

/** The failure that something ends with. */
export async function failureOf(running: Promise<unknown>): Promise<Failure> {
  try {
    await running;
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown;
    throw thrown;
  }
  throw new Error("It did not fail");
}

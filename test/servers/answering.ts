// A server of the tests by a function, with everything that it was asked.
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

export interface Asked {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

export interface Given {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

export interface AnsweringServer extends AsyncDisposable {
  readonly url: string;
  readonly asked: Asked[];
}

export async function startAnswering(
  answer: (asked: Asked, url: string) => Given,
): Promise<AnsweringServer> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    buffer(request).then(
      (body) => {
        const one = {
          method: request.method ?? "",
          url: new URL(request.url ?? "/", url),
          headers: request.headers,
          body,
        };
        asked.push(one);
        const { status, headers = {}, body: bytes = "" } = answer(one, url);
        const length = String(Buffer.byteLength(bytes));
        const own = status === 204 || status === 308 ? {} : { "content-length": length };
        response.writeHead(status, { ...own, ...headers });
        response.end(request.method === "HEAD" ? undefined : bytes);
      },
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** An answer with bytes, or with the range that was asked for. */
export function ranged(
  { headers }: Asked,
  bytes: Buffer,
  of: { readonly whole?: Given["headers"]; readonly part?: Given["headers"] },
): Given | undefined {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "") ?? [];
  if (from === undefined) return { status: 200, headers: { ...of.whole }, body: bytes };
  if (Number(from) >= bytes.length) return undefined;
  const end = to === undefined || to === "" ? bytes.length : Math.min(Number(to) + 1, bytes.length);
  return {
    status: 206,
    headers: { ...of.part, "content-range": `bytes ${from}-${end - 1}/${bytes.length}` },
    body: bytes.subarray(Number(from), end),
  };
}

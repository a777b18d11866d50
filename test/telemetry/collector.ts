// A collector for tests: OTLP over HTTP with protobuf, read by the numbers of opentelemetry-proto's trace.proto.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";

export interface SeenSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: ReadonlyMap<string, string>;
  /** 2 is an error. */
  readonly status: number;
  readonly message: string;
}

export class Collector implements AsyncDisposable {
  readonly spans: SeenSpan[] = [];
  readonly headers: Record<string, string | string[] | undefined>[] = [];
  /** Of the resource. */
  resource: ReadonlyMap<string, string> = new Map();
  requests = 0;
  /** What is answered instead; undefined hangs. */
  answer: { readonly status: number } | undefined = { status: 200 };
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#handle(request, response));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests += 1;
    this.headers.push(request.headers);
    const body = await buffer(request);
    const bytes = request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
    if (!this.answer) return;
    if (this.answer.status === 200) this.#take(bytes);
    response.writeHead(this.answer.status, { "content-type": "application/x-protobuf" }).end();
  }

  static async start(): Promise<Collector> {
    const made = new Collector();
    await new Promise<void>((done) => void made.#server.listen(0, "127.0.0.1", done));
    return made;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #take(bytes: Uint8Array): void {
    for (const resourceSpans of messages(bytes, 1)) {
      for (const resource of messages(resourceSpans, 1)) this.resource = attributesOf(resource, 1);
      for (const scopeSpans of messages(resourceSpans, 2))
        for (const span of messages(scopeSpans, 2)) this.spans.push(spanOf(span));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

interface Field {
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly value: bigint;
}

function* fields(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at] ?? 0;
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const wire = tag & 7;
    const empty = new Uint8Array();
    if (wire === 0) yield { number: tag >> 3, bytes: empty, value: varint() };
    else {
      const length = wire === 2 ? Number(varint()) : wire === 1 ? 8 : 4;
      const inner = bytes.subarray(at, at + length);
      at += length;
      const view = Buffer.from(inner);
      yield { number: tag >> 3, bytes: inner, value: wire === 1 ? view.readBigUInt64LE() : 0n };
    }
  }
}

function messages(bytes: Uint8Array, number: number): readonly Uint8Array[] {
  return [...fields(bytes)].filter((field) => field.number === number).map((field) => field.bytes);
}

function attributesOf(bytes: Uint8Array, number: number): ReadonlyMap<string, string> {
  return new Map(
    messages(bytes, number).map((pair) => {
      const [key = new Uint8Array()] = messages(pair, 1);
      const [value] = messages(pair, 2).flatMap((any) => [...fields(any)]);
      const text =
        value?.number === 1 ? Buffer.from(value.bytes).toString() : String(value?.value ?? "");
      return [Buffer.from(key).toString(), text] as const;
    }),
  );
}

function spanOf(bytes: Uint8Array): SeenSpan {
  const all = [...fields(bytes)];
  const of = (number: number): Field | undefined => all.find((field) => field.number === number);
  const hex = (number: number): string => Buffer.from(of(number)?.bytes ?? []).toString("hex");
  const status = [...fields(of(15)?.bytes ?? new Uint8Array())];
  return {
    name: Buffer.from(of(5)?.bytes ?? []).toString(),
    traceId: hex(1),
    spanId: hex(2),
    parentId: hex(4),
    startNs: of(7)?.value ?? 0n,
    endNs: of(8)?.value ?? 0n,
    attributes: attributesOf(bytes, 9),
    status: Number(status.find(({ number }) => number === 3)?.value ?? 0n),
    message: Buffer.from(status.find(({ number }) => number === 2)?.bytes ?? []).toString(),
  };
}

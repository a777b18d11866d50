import { limitFailure, type Limits } from "../limits/mod.ts";
import { errno } from "./errno.ts";

/** A request as the guest made it. Names and values of headers hold one byte in each character. */
export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
  /** Longest wait for the response's headers and for each piece of its body; absent: the host's own. */
  readonly timeoutMs?: number;
  /** Redirects that the host may follow. */
  readonly redirects: number;
}

/** What the guest gets. Pieces of the body are asked for one by one; `return()` says that no more are wanted. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: AsyncIterator<Uint8Array, unknown, undefined>;
}

/** What the guest's thread asks of whoever answers its requests. */
export type HttpAsk =
  | { readonly kind: "send"; readonly request: HttpRequest }
  /** Handle 0 is stdin, where it comes in pieces. */
  | { readonly kind: "read"; readonly handle: number }
  /** To be told when what was written has been taken. */
  | { readonly kind: "drain" };

export type HttpAnswer =
  | {
      readonly kind: "response";
      readonly handle: number;
      readonly status: number;
      readonly headers: HttpResponse["headers"];
    }
  /** A piece of a body; none at its end. */
  | { readonly kind: "piece"; readonly bytes: Uint8Array | undefined }
  | { readonly kind: "drained" }
  | { readonly kind: "refused"; readonly reason: HttpRefusal; readonly message: string };

/** Why a request came to nothing, with the error number that the guest sees. */
export type HttpRefusal = "denied" | "invalid" | "handle" | "busy" | "timeout" | "failed";
const refusals: Readonly<Record<HttpRefusal, number>> = {
  denied: errno.acces,
  invalid: errno.inval,
  handle: errno.badf,
  busy: errno.mfile,
  timeout: errno.timedout,
  failed: errno.io,
};

export interface HttpWorld {
  readonly memory: () => WebAssembly.Memory | undefined;
  /** What ended the guest already; it gets no further call. */
  readonly ended: () => { readonly thrown: unknown } | undefined;
  /** Parks the guest until the answer is there; absent: HTTP is not allowed. */
  readonly ask: ((ask: HttpAsk) => Promise<HttpAnswer>) | undefined;
  readonly close: (handle: number) => void;
  readonly limits: Limits;
}

interface Response {
  readonly headers: Uint8Array;
  /** The rest of the piece that was read last. */
  piece: Uint8Array;
  atEnd: boolean;
}

/** Longest method, URL and headers that are looked at; whoever answers has ceilings of its own. */
const methodBytes = 32;
const urlBytes = 16 * 1024;
const headerBytes = 64 * 1024;
const headerCount = 200;
const mostRedirects = 10;
/** A body lies in memory whole, here and on its way. */
const bodyBytes = 64 * 1024 * 1024;
/** Responses that were not closed, read to their end or not: their headers lie in this thread's heap. */
const openResponses = 64;

const nothing = new Uint8Array(0);

/** Thrown inside a call and answered to the guest. */
class Refused extends Error {
  readonly number: number;
  constructor(number: number, message: string) {
    const kept = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(message);
    Error.stackTraceLimit = kept;
    this.number = number;
  }
}

/** The imports `atalanta_http` of one sandbox, as docs/http.md describes them. */
export function http(world: HttpWorld): Record<string, WebAssembly.ImportValue> {
  const responses = new Map<number, Response>();
  let failure: Uint8Array = nothing;

  const slice = (pointer: number, length: number): Uint8Array => {
    const memory = world.memory();
    const start = pointer >>> 0;
    if (!memory || start + (length >>> 0) > memory.buffer.byteLength)
      throw new Refused(errno.fault, "a pointer leads outside the memory");
    return new Uint8Array(memory.buffer, start, length >>> 0);
  };
  const view = (pointer: number, length: number): DataView => {
    const bytes = slice(pointer, length);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  const put = (pointer: number, value: number): void => view(pointer, 4).setUint32(0, value, true);
  const latin1 = (pointer: number, length: number, ceiling: number): string => {
    if (length >>> 0 > ceiling)
      throw new Refused(errno.nametoolong, `a text has ${length >>> 0} bytes; ${ceiling} may be`);
    return Buffer.from(slice(pointer, length)).toString("latin1");
  };
  const find = (handle: number): Response => {
    const found = responses.get(handle >>> 0);
    if (!found) throw new Refused(errno.badf, `there is no response ${handle >>> 0}`);
    return found;
  };
  const headerList = (pointer: number, count: number): [string, string][] => {
    const total = count >>> 0;
    if (total > headerCount)
      throw new Refused(errno.inval, `${total} headers; ${headerCount} may be`);
    const table = view(pointer, total * 16);
    let room = headerBytes;
    const take = (at: number): string => {
      const length = table.getUint32(at + 4, true);
      const text = latin1(table.getUint32(at, true), length, room);
      room -= length;
      return text;
    };
    return Array.from({ length: total }, (_, index) => [take(index * 16), take(index * 16 + 8)]);
  };
  /** Copies as much as there is room for and says how much there is. */
  const hand = (from: Uint8Array, pointer: number, length: number, size: number): void => {
    const into = slice(pointer, length);
    put(size, from.length);
    if (from.length > into.length) throw new Refused(errno.overflow, "the buffer is too small");
    into.set(from);
  };
  const ask = (asked: HttpAsk): Promise<HttpAnswer> => {
    if (!world.ask)
      throw new Refused(
        errno.acces,
        "no host is allowed; a step lists them under permissions.http.allowedHosts",
      );
    return world.ask(asked);
  };
  const answered = (answer: HttpAnswer): Exclude<HttpAnswer, { readonly kind: "refused" }> => {
    if (answer.kind !== "refused") return answer;
    throw new Refused(refusals[answer.reason], answer.message);
  };

  /** Every call answers an error number; what is behind it can be read with `error`. */
  const call = <Parameters extends readonly number[]>(
    body: (...parameters: Parameters) => void | Promise<void>,
  ) => {
    const refuse = (thrown: unknown): number => {
      if (!(thrown instanceof Refused)) throw thrown;
      failure = Buffer.from(thrown.message);
      return thrown.number;
    };
    return (...parameters: Parameters): number | Promise<number> => {
      const ended = world.ended();
      if (ended) throw ended.thrown;
      try {
        const running = body(...parameters);
        return running ? running.then(() => errno.success, refuse) : errno.success;
      } catch (thrown) {
        return refuse(thrown);
      }
    };
  };

  const send = call(
    (
      method: number,
      methodLength: number,
      url: number,
      urlLength: number,
      headers: number,
      headersCount: number,
      body: number,
      bodyLength: number,
      timeoutMs: number,
      redirects: number,
      out: number,
    ) => {
      slice(out, 8);
      if (responses.size >= openResponses)
        throw new Refused(
          errno.mfile,
          `${openResponses} responses are open; close those that are read`,
        );
      const sent = slice(body, bodyLength);
      if (sent.length > bodyBytes)
        throw new Refused(errno.msgsize, `a body has ${sent.length} bytes; ${bodyBytes} may be`);
      // Whoever answers counts all bytes; this one is so that a copy of more is never made.
      if (sent.length > world.limits.httpBytes) {
        const what = `A request's body of ${sent.length} bytes is too large`;
        throw limitFailure("httpBytes", world.limits, what);
      }
      const request: HttpRequest = {
        method: latin1(method, methodLength, methodBytes),
        // Percent-encoded by whoever reads it; a URL is text, so it is UTF-8.
        url: Buffer.from(latin1(url, urlLength, urlBytes), "latin1").toString(),
        headers: headerList(headers, headersCount),
        // A copy it must be: it goes to another thread.
        body: sent.slice(),
        ...(timeoutMs === 0 ? {} : { timeoutMs: timeoutMs >>> 0 }),
        redirects: Math.min(mostRedirects, redirects >>> 0),
      };
      return ask({ kind: "send", request }).then((answer) => {
        const response = answered(answer);
        if (response.kind !== "response") return;
        const text = response.headers.map(([name, value]) => `${name}: ${value}\n`).join("");
        responses.set(response.handle, {
          headers: Buffer.from(text, "latin1"),
          piece: nothing,
          atEnd: false,
        });
        put(out, response.handle);
        put(out + 4, response.status);
      });
    },
  );
  const read = call((handle: number, pointer: number, length: number, size: number) => {
    const response = find(handle);
    slice(pointer, length);
    put(size, 0);
    const take = (): void => {
      const into = slice(pointer, length);
      const part = response.piece.subarray(0, into.length);
      into.set(part);
      response.piece = response.piece.subarray(part.length);
      put(size, part.length);
    };
    if (response.piece.length > 0 || response.atEnd || length === 0) return take();
    return ask({ kind: "read", handle: handle >>> 0 }).then((answer) => {
      const piece = answered(answer);
      if (piece.kind !== "piece") return;
      response.atEnd = piece.bytes === undefined;
      response.piece = piece.bytes ?? nothing;
      take();
    });
  });

  const imports: Record<string, WebAssembly.ImportValue> = Object.create(null);
  imports["send"] = world.ask ? new WebAssembly.Suspending(send) : send;
  imports["read"] = world.ask ? new WebAssembly.Suspending(read) : read;
  imports["headers"] = call((handle: number, pointer: number, length: number, size: number) =>
    hand(find(handle).headers, pointer, length, size),
  );
  imports["close"] = call((handle: number) => {
    find(handle);
    responses.delete(handle >>> 0);
    world.close(handle >>> 0);
  });
  imports["error"] = call((pointer: number, length: number, size: number) =>
    hand(failure, pointer, length, size),
  );
  return imports;
}

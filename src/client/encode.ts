import type { BytesInput, CallOptions } from "./mod.ts";

/** A call as it goes over HTTP. */
export interface Encoded {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: NonNullable<RequestInit["body"]>;
  /** Whether the body can be sent but once. */
  readonly once: boolean;
}

const optionNames: ReadonlySet<string> = new Set(["signal", "idempotencyKey", "timeoutMs"]);

/** Tells a call's options from its last argument: an object that has nothing but these. */
export function splitOptions(given: readonly unknown[]): {
  readonly given: readonly unknown[];
  readonly options: CallOptions;
} {
  const last = given.at(-1);
  if (given.length === 0 || typeof last !== "object" || last === null)
    return { given, options: {} };
  const names = Object.keys(last);
  const isOptions =
    Object.getPrototypeOf(last) === Object.prototype &&
    names.length > 0 &&
    names.every((name) => optionNames.has(name));
  return isOptions ? { given: given.slice(0, -1), options: last } : { given, options: {} };
}

/** Writes arguments as the HTTP API takes them: JSON in the body, or bytes there and the rest in a header. */
export function encode(given: readonly unknown[]): Encoded {
  const at = given.findIndex(isBytes);
  if (at < 0) {
    const body = JSON.stringify(given);
    return { headers: { "content-type": "application/json" }, body, once: false };
  }
  if (given.slice(at + 1).some(isBytes)) {
    throw new TypeError("A function takes bytes in one argument, and two are given");
  }
  const words = JSON.stringify(given.map((value, index) => (index === at ? null : value)));
  const headers = {
    "content-type": "application/octet-stream",
    // Headers hold ASCII, and JSON can write everything in it.
    "atalanta-arguments": words.replaceAll(
      /[\u007f-\uffff]/g,
      (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`,
    ),
  };
  const bytes = given[at];
  if (!isBytes(bytes)) throw new TypeError("An argument has changed");
  if (bytes instanceof Uint8Array) return { headers, body: new Uint8Array(bytes), once: false };
  if (bytes instanceof ArrayBuffer || bytes instanceof Blob)
    return { headers, body: bytes, once: false };
  return { headers, body: bytes instanceof ReadableStream ? bytes : streamOf(bytes), once: true };
}

function isBytes(value: unknown): value is BytesInput {
  return (
    value instanceof Uint8Array ||
    value instanceof ArrayBuffer ||
    value instanceof ReadableStream ||
    (typeof Blob === "function" && value instanceof Blob) ||
    (typeof value === "object" && value !== null && Symbol.asyncIterator in value)
  );
}

/** Is asked for the next piece only when there is room for it. */
function streamOf(pieces: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = pieces[Symbol.asyncIterator]();
  return new ReadableStream(
    {
      async pull(controller) {
        const step = await iterator.next();
        if (step.done) controller.close();
        else controller.enqueue(step.value);
      },
      async cancel() {
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

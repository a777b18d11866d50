/**
 * Calls functions of Wasm modules as if they were in this program. It needs nothing but `fetch` and streams, so it runs in Node, Deno, Bun,
 * browsers and workers. docs/functions.md says what a module must do for it.
 *
 * ```ts
 * const images = connect("http://localhost:4780").module<typeof import("./resize.d.ts")>("ghcr.io/acme/resize:1");
 * const small = await images.resize(photo, { width: 200 });
 * ```
 */
export { connect } from "./connect.ts";
export { RemoteError } from "./errors.ts";

export interface ConnectOptions {
  /** Sent as a bearer token; asked anew for each call when it is a function. */
  readonly token?: string | (() => string | Promise<string>);
  /** Default: `default`. */
  readonly namespace?: string;
  /** How long a call may take, in milliseconds; default: as long as the function's limits let it. */
  readonly timeoutMs?: number;
  /** Attempts of a call that could not be delivered, the first included; default 4. */
  readonly attempts?: number;
  /** Instead of the global one. */
  readonly fetch?: typeof fetch;
}

/** The last argument of each call, beside those of the function. */
export interface CallOptions {
  /** Aborting it cancels the call, also on the other side. */
  readonly signal?: AbortSignal;
  /** Calls with one key are answered once, however often they are sent. */
  readonly idempotencyKey?: string;
  readonly timeoutMs?: number;
}

export interface MapOptions extends Omit<CallOptions, "idempotencyKey"> {
  /** Calls at once; default 16. */
  readonly concurrency?: number;
}

/** Bytes as an argument; what comes in pieces is sent as it comes. */
export type BytesInput =
  | Uint8Array
  | ArrayBuffer
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>;

/** One result, or many: it can be awaited, and iterated where the function gives its result in pieces. */
export type Call<Value, Item> = Promise<Value> & AsyncIterable<Item>;

/** A function of a module, as it is called: its own arguments, then options. */
export type RemoteFunction<Declared> = Declared extends (...given: infer Given) => infer Returned
  ? ((...given: [...Given, options?: CallOptions]) => Whole<Returned>) & {
      /** Calls it for each item, many at once; results come in the order of the items. */
      map: (
        items: Iterable<Given[0]> | AsyncIterable<Given[0]>,
        options?: MapOptions,
      ) => Promise<Awaited<Returned>[]>;
    }
  : never;

/** Pieces can be awaited, too: all of them at once. */
type Whole<Returned> =
  Returned extends AsyncIterable<infer Item>
    ? Returned & Promise<Item extends Uint8Array ? Uint8Array : Item[]>
    : Returned;

/** What a module is called through: `typeof import("./x.d.ts")` says which functions it has. */
export type RemoteModule<Declared> = {
  readonly [Name in keyof Declared]: RemoteFunction<Declared[Name]>;
};

/** A function of which nothing is known. */
// oxlint-disable-next-line typescript/no-explicit-any -- nothing is known of what goes in and comes out
type Anything = Record<string, (...given: any[]) => Call<any, any>>;

export interface Connection {
  /** A deployment of the namespace by its name (`resize`), or an image (anything with `/`, `:` or `.` in it). */
  module<Declared extends object = Anything>(name: string): RemoteModule<Declared>;
  /** Lets go of what a connection to `local:` holds. */
  close(): Promise<void>;
}

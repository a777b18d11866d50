import { callFunction } from "./call.ts";
import { mapCalls } from "./map.ts";
import type { CallOptions, Connection, ConnectOptions, MapOptions, RemoteModule } from "./mod.ts";

/** Where calls go, and how. */
export interface Target {
  readonly base: string;
  readonly options: ConnectOptions;
  readonly fetch: typeof fetch;
}

/**
 * Connects to a server (`http://…`, `https://…`); nothing is sent before the first call. `local:` runs modules in this process, with the same
 * limits and the same errors.
 */
export function connect(url: string, options: ConnectOptions = {}): Connection {
  const namespace = encodeURIComponent(options.namespace ?? "default");
  const isLocal = url === "local:" || url.startsWith("local:");
  let opened: Promise<Local> | undefined;
  const local = (): Promise<Local> => (opened ??= openLocal());
  const target: Target = {
    base: isLocal
      ? `local:/v1/namespaces/${namespace}`
      : `${url.replace(/\/+$/, "")}/v1/namespaces/${namespace}`,
    options,
    fetch:
      isLocal && !options.fetch
        ? async (input, init) => (await local()).fetch(input, init ?? {})
        : (options.fetch ?? ((input, init) => fetch(input, init))),
  };
  return {
    module: <Declared extends object>(name: string) => moduleOf<Declared>(target, name),
    async close() {
      await (await opened?.catch(() => undefined))?.close();
    },
  };
}

interface Local {
  readonly fetch: (url: Parameters<typeof fetch>[0], init: RequestInit) => Promise<Response>;
  readonly close: () => Promise<void>;
}

/** Not a word that a bundler could follow: in a browser there is nothing to run modules with. */
async function openLocal(): Promise<Local> {
  const name = ["atalanta", "local"].join("/");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is ours
  const { openLocal: open } = (await import(name)) as { readonly openLocal: () => Promise<Local> };
  return open();
}

/** An image has a `/`, `:`, `.` or `@` in it, and a path of a file too; a deployment's name has none. */
function pathOf(name: string): (called: string) => string {
  if (/^[a-z0-9-]+$/.test(name)) {
    return (called) => `/functions/${name}/call/${encodeURIComponent(called)}`;
  }
  const query = `?module=${encodeURIComponent(name)}`;
  return (called) => `/call/${encodeURIComponent(called)}${query}`;
}

function moduleOf<Declared extends object>(target: Target, name: string): RemoteModule<Declared> {
  const path = pathOf(name);
  const known = new Map<string, unknown>();
  const functionOf = (called: string): unknown => {
    const at = path(called);
    const call = (...given: readonly unknown[]): unknown => callFunction(target, at, given);
    return Object.assign(call, {
      map: (items: Iterable<unknown> | AsyncIterable<unknown>, options: MapOptions = {}) => {
        const { concurrency = 16, signal, ...rest } = options;
        return mapCalls(items, { concurrency, ...(signal ? { signal } : {}) }, (item, stop) =>
          Promise.resolve(
            callFunction(target, at, [item, { ...rest, signal: stop } satisfies CallOptions]),
          ),
        );
      },
    });
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the proxy has every function that may be declared
  return new Proxy(Object.create(null) as RemoteModule<Declared>, {
    get(_target, called) {
      // What is awaited is asked whether it is a promise.
      if (typeof called !== "string" || called === "then") return undefined;
      const found = known.get(called) ?? functionOf(called);
      known.set(called, found);
      return found;
    },
  });
}

// The HTTP API as a server has it, in this process and over a socket of its own.
import { resolve } from "node:path";
import { EmbeddedCalls, Onward, type Attempt } from "../../src/dispatch/mod.ts";
import { createPerformer, openDeployments } from "../../src/functions/mod.ts";
import { createRunners, type Trust } from "../../src/runner/mod.ts";
import {
  allRoutes,
  createApi,
  listen,
  Metrics,
  openAccess,
  type Access,
  type Route,
} from "../../src/server/mod.ts";

export const guest: string = resolve(import.meta.dirname, "../guests/functions/functions.wasm");

export interface TestApi extends AsyncDisposable {
  readonly url: string;
  readonly attempts: readonly Attempt[];
  readonly dispatcher: EmbeddedCalls;
  readonly routes: readonly Route[];
  /** Of the namespace `default`. */
  readonly at: (path: string) => string;
}

export async function startApi(
  options: Partial<ConstructorParameters<typeof EmbeddedCalls>[0]> & {
    readonly access?: Access;
    readonly trust?: Trust;
    readonly requestBytes?: number;
    readonly overrides?: ReadonlyMap<string, string>;
    readonly deployments?: string;
    readonly routes?: readonly Route[];
  } = {},
): Promise<TestApi> {
  const stack = new AsyncDisposableStack();
  const overrides = options.overrides ?? new Map([["f", guest]]);
  const runners = stack.use(createRunners({ spares: 0 }));
  const performer = stack.use(
    createPerformer({ runners, overrides, ...(options.trust ? { trust: options.trust } : {}) }),
  );
  const deployments = stack.use(openDeployments(options.deployments ?? ":memory:"));
  const attempts: Attempt[] = [];
  const metrics = new Metrics(() => dispatcher);
  const dispatcher = stack.use(
    new EmbeddedCalls({
      performer,
      onward: new Onward(deployments),
      ...options,
      onAttempt(attempt) {
        attempts.push(attempt);
        metrics.count(attempt);
      },
    }),
  );
  const settings = {
    dispatcher,
    deployments,
    performer,
    metrics,
    access: options.access ?? openAccess({ host: "127.0.0.1" }),
    isLocal: (image: string) => overrides.has(image),
    ...(options.requestBytes === undefined ? {} : { requestBytes: options.requestBytes }),
    ...(options.routes ? { routes: options.routes } : {}),
  };
  const api = createApi(settings);
  const listening = await listen({ api, host: "127.0.0.1", port: 0 });
  stack.defer(async () => {
    const closed = listening.close();
    listening.server.closeAllConnections();
    await closed;
  });
  return {
    url: listening.url,
    attempts,
    dispatcher,
    routes: allRoutes(settings),
    at: (path) => `${listening.url}/v1/namespaces/default${path}`,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Deploys the guest as `f`, or another image under another name. */
export async function deploy(api: TestApi, name = "f", record: object = {}): Promise<Response> {
  return fetch(api.at(`/functions/${name}`), {
    method: "PUT",
    body: JSON.stringify({ image: "f", ...record }),
  });
}

export async function call(
  api: TestApi,
  path: string,
  given: readonly unknown[] = [],
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  return fetch(api.at(path), {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(given),
  });
}

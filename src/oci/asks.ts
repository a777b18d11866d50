import { Failure } from "../errors/mod.ts";
import type { Endpoint } from "./endpoints.ts";
import type { Ask } from "./exchange.ts";
import { formatReference, type Reference } from "./reference.ts";

/** A repository at one of the hosts that have it. */
export interface Place {
  readonly endpoint: Endpoint;
  readonly repository: string;
  readonly signal: AbortSignal;
}

/** A request for something below a repository. */
export function askFor(
  { endpoint, repository, signal }: Place,
  method: Ask["method"],
  rest: string,
): Ask {
  const name = `${endpoint.prefix}${repository}`;
  const reading = method === "GET" || method === "HEAD";
  return {
    endpoint,
    repository,
    scopes: [`repository:${name}:${reading ? "pull" : "pull,push"}`],
    method,
    url: new URL(`v2/${name}/${rest}`, endpoint.base),
    signal,
  };
}

/** Puts before a failure what could not be done. */
export async function told<Value>(what: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (thrown) {
    if (!(thrown instanceof Failure) || thrown.code === "aborted") throw thrown;
    throw new Failure(thrown.code, `${what}: ${thrown.message}`, {
      cause: thrown,
      ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
    });
  }
}

/** How a reference is shown. */
export function shownReference(reference: Reference): string {
  return `"${formatReference(reference)}"`;
}

import { isIP } from "node:net";
import { orAborted, Slots } from "./waiting.ts";

/** Finds the addresses of a name. */
export type Resolve = (name: string) => Promise<readonly string[]>;

/** The system's own way, which reads `/etc/hosts` and asks name servers. */
export const systemResolve: Resolve = async (name) => {
  const { lookup } = await import("node:dns/promises");
  return (await lookup(name, { all: true, order: "verbatim" })).map(({ address }) => address);
};

/** Each look-up of the system holds one of the few threads that also read and write files. */
const atOnce = 2;
const addressCount = 32;

/** Looks names up, few at once, each only once at a time. */
export class Names {
  readonly #resolve: Resolve;
  readonly #running = new Map<string, Promise<readonly string[]>>();
  readonly #slots = new Slots(atOnce);

  constructor(resolve: Resolve) {
    this.#resolve = resolve;
  }

  /** The addresses of a name or an address. The caller stops waiting when the signal says so; the look-up itself cannot be stopped. */
  async find(host: string, signal: AbortSignal): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    let running = this.#running.get(host);
    if (!running) {
      running = this.#ask(host).finally(() => this.#running.delete(host));
      running.catch(() => undefined);
      this.#running.set(host, running);
    }
    return orAborted(running, signal);
  }

  async #ask(host: string): Promise<readonly string[]> {
    const free = await this.#slots.take(never);
    try {
      return (await this.#resolve(host)).slice(0, addressCount);
    } finally {
      free();
    }
  }
}

/** Whoever asked first may go away, and others wait for the same answer. */
const never = new AbortController().signal;

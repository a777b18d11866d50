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

/** A look-up under way, or one that waits for its turn. */
interface Looking {
  readonly found: Promise<readonly string[]>;
  readonly leave: AbortController;
  users: number;
}

/** Looks names up, few at once, each only once at a time. */
export class Names {
  readonly #resolve: Resolve;
  readonly #running = new Map<string, Looking>();
  readonly #slots = new Slots(atOnce);

  constructor(resolve: Resolve) {
    this.#resolve = resolve;
  }

  /**
   * The addresses of a name or an address. The caller stops waiting when the signal says so; a look-up that has begun cannot be
   * stopped, and one that nobody waits for any more does not begin: a guest that leaves names of its own behind must
   * not fill the line for all others.
   */
  async find(host: string, signal: AbortSignal): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    const known = this.#running.get(host);
    const looking = known ?? this.#look(host);
    looking.users++;
    try {
      return await orAborted(looking.found, signal);
    } finally {
      looking.users--;
      if (looking.users === 0) looking.leave.abort(new Error("nobody waits for it"));
    }
  }

  #look(host: string): Looking {
    const leave = new AbortController();
    const begun = this.#slots.take(leave.signal);
    const looking: Looking = { found: this.#ask(host, begun), leave, users: 0 };
    const forget = (): void => {
      if (this.#running.get(host) === looking) this.#running.delete(host);
    };
    // One that has begun is there for whoever comes next, and one that was left in the line is not.
    let waits = true;
    begun.then(
      () => (waits = false),
      () => undefined,
    );
    leave.signal.addEventListener("abort", () => {
      if (waits) forget();
    });
    looking.found.then(forget, forget);
    this.#running.set(host, looking);
    return looking;
  }

  async #ask(host: string, begun: Promise<() => void>): Promise<readonly string[]> {
    const free = await begun;
    try {
      return (await this.#resolve(host)).slice(0, addressCount);
    } finally {
      free();
    }
  }
}

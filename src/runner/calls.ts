import type { HttpHandler, HttpResponse, RunOptions } from "../engine/mod.ts";
import { Failure, toFailure } from "../errors/mod.ts";
import type { FromRunner } from "./parse.ts";
import { pouredBytes, type Answer } from "./wire.ts";

type Asked = Extract<FromRunner, { readonly type: "send" | "read" | "close" | "drain" }>;

/** A guest waits for each answer before it asks on. */
const atOnce = 4;
/** Responses that it may name without having them: ended, closed before, or never there. */
const mostStrays = 1000;
/** Responses that one guest may have open; the gate has a ceiling for all. */
const openResponses = 256;

/** Each of its guests' writes may be large, and one is on its way while the question is. */
const mostPoured = 16 * pouredBytes + 64 * 1024 * 1024;

/** HTTP requests of one guest in a runner process, answered here. Disposing ends all that are under way. */
export class Calls implements Disposable {
  readonly #handler: HttpHandler | undefined;
  readonly #reply: (call: number, answer: Answer, parts: readonly Uint8Array[]) => void;
  readonly #stop = new AbortController();
  readonly #bodies = new Map<number, HttpResponse["body"]>();
  readonly #sink: RunOptions["pour"];
  #pouring: Promise<void> = Promise.resolve();
  #poured = 0;
  #nextHandle = 1;
  #underWay = 0;
  #strays = 0;

  constructor(
    { http, input, pour }: RunOptions,
    reply: (call: number, answer: Answer, parts: readonly Uint8Array[]) => void,
  ) {
    this.#handler = http;
    this.#sink = pour;
    if (input) this.#bodies.set(0, input);
    this.#reply = reply;
  }

  /** Throws for what no engine would ask. */
  take(asked: Asked): void {
    if (asked.type === "drain") return this.#drain(asked.call);
    if (asked.type !== "send" && !this.#bodies.has(asked.handle)) {
      this.#strays++;
      if (this.#strays > mostStrays)
        throw new Error("too much about responses that it does not have");
    }
    if (asked.type === "close") {
      this.#close(asked.handle);
      return;
    }
    if (asked.type === "send" && !this.#handler)
      throw new Error("a request, which it may not make");
    if (this.#underWay >= atOnce) throw new Error("requests before others were answered");
    void this.#answer(asked);
  }

  async #answer(asked: Exclude<Asked, { readonly type: "close" | "drain" }>): Promise<void> {
    this.#underWay++;
    try {
      if (asked.type === "read") await this.#read(asked.call, asked.handle);
      else {
        if (this.#bodies.size >= openResponses) {
          throw new Failure("network-busy", `${openResponses} responses are open already`);
        }
        const { signal } = this.#stop;
        const handler = this.#handler;
        if (!handler) throw new Failure("network-denied", "No host is allowed");
        const { status, headers, body } = await handler(asked.request, { signal });
        if (signal.aborted) {
          letGo(body);
          throw new Failure("aborted", "The guest has ended");
        }
        const handle = this.#nextHandle++;
        this.#bodies.set(handle, body);
        this.#reply(asked.call, { kind: "response", handle, status, headers }, []);
      }
    } catch (thrown) {
      const failure = toFailure(thrown).toJSON();
      this.#reply(asked.call, { kind: "failure", failure }, []);
    } finally {
      this.#underWay--;
    }
  }

  async #read(call: number, handle: number): Promise<void> {
    const body = this.#bodies.get(handle);
    if (!body) throw new Failure("network-failed", "The response is closed");
    const piece = await body.next();
    if (piece.done) this.#reply(call, { kind: "end" }, []);
    else this.#reply(call, { kind: "piece" }, [piece.value]);
  }

  /** Takes a piece of stdout. Throws when more of it lies here than a guest that waits its turn could have sent. */
  pour(bytes: Uint8Array): void {
    this.#poured += bytes.length;
    if (this.#poured > mostPoured) throw new Error("stdout that nobody was ready to take");
    this.#pouring = this.#pouring.then(() => this.#sink?.(bytes));
    this.#pouring.catch(() => undefined);
  }

  /** When all of stdout is taken; rejects when nobody takes it. */
  get poured(): Promise<void> {
    return this.#pouring;
  }

  #drain(call: number): void {
    if (!this.#sink) throw new Error("a question about stdout, which nobody takes in pieces");
    // What came until now is counted anew once it is taken.
    const sent = this.#poured;
    this.#pouring.then(
      () => {
        this.#poured -= sent;
        this.#reply(call, { kind: "end" }, []);
      },
      (thrown: unknown) =>
        this.#reply(call, { kind: "failure", failure: toFailure(thrown).toJSON() }, []),
    );
  }

  #close(handle: number): void {
    const body = this.#bodies.get(handle);
    this.#bodies.delete(handle);
    if (body) letGo(body);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const handle of this.#bodies.keys()) this.#close(handle);
  }
}

/** What goes wrong on closing changes nothing for a guest that wants no more of it. */
function letGo(body: HttpResponse["body"]): void {
  body.return?.().catch(() => undefined);
}

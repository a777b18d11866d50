import { Failure, toFailure } from "../errors/mod.ts";
import type { HttpAnswer, HttpAsk, HttpRefusal } from "../wasi/mod.ts";
import type { HttpHandler, HttpResponse, RunOptions } from "./mod.ts";

/** HTTP requests of one guest, on the side that answers them. Disposing ends all that are under way. */
export class Requests implements Disposable {
  readonly #handler: HttpHandler | undefined;
  readonly #pour: RunOptions["pour"];
  readonly #stop = new AbortController();
  readonly #bodies = new Map<number, HttpResponse["body"]>();
  #nextHandle = 1;

  /** Pieces of stdout that are being taken. */
  #pouring: Promise<void> | undefined;

  private constructor({ http, input, pour }: RunOptions) {
    this.#handler = http;
    this.#pour = pour;
    if (input) this.#bodies.set(0, input);
  }

  /** Nothing for a guest that nobody answers. */
  static of(options: RunOptions): Requests | undefined {
    return options.http || options.input || options.pour ? new Requests(options) : undefined;
  }

  /** Hands a piece of stdout on, after those before it. */
  pour(bytes: Uint8Array): void {
    this.#pouring = (this.#pouring ?? Promise.resolve()).then(() => this.#pour?.(bytes));
    this.#pouring.catch(() => undefined);
  }

  get isPouring(): boolean {
    return this.#pouring !== undefined;
  }

  /** When all that was handed on is taken; a failure when nobody takes it. */
  async poured(): Promise<Failure | undefined> {
    const pouring = this.#pouring;
    try {
      await pouring;
      if (this.#pouring === pouring) this.#pouring = undefined;
      return undefined;
    } catch (thrown) {
      return toFailure(thrown);
    }
  }

  /** Never rejects; a failure that is a ceiling's ends the guest instead of being answered. */
  async answer(ask: HttpAsk): Promise<HttpAnswer | Failure> {
    try {
      if (ask.kind === "drain") return await this.#drain();
      return await (ask.kind === "send" ? this.#send(ask) : this.#read(ask.handle));
    } catch (thrown) {
      const failure = toFailure(thrown);
      if (failure.code.startsWith("limit-")) return failure;
      const hint = failure.hint === undefined ? "" : ` ${failure.hint}`;
      const message = `${failure.code}: ${failure.message}.${hint}`;
      return { kind: "refused", reason: reasons.get(failure.code) ?? "failed", message };
    }
  }

  async #drain(): Promise<HttpAnswer | Failure> {
    return (await this.poured()) ?? { kind: "drained" };
  }

  async #send({ request }: Extract<HttpAsk, { readonly kind: "send" }>): Promise<HttpAnswer> {
    if (!this.#handler) throw new Failure("network-denied", "No host is allowed");
    const { status, headers, body } = await this.#handler(request, { signal: this.#stop.signal });
    if (this.#stop.signal.aborted) letGo(body);
    const handle = this.#nextHandle++;
    this.#bodies.set(handle, body);
    return { kind: "response", handle, status, headers };
  }

  async #read(handle: number): Promise<HttpAnswer> {
    const body = this.#bodies.get(handle);
    if (!body) return { kind: "refused", reason: "handle", message: "The response is closed." };
    let piece = await body.next();
    // For the guest, nothing is the end.
    while (!piece.done && piece.value.length === 0) piece = await body.next();
    // It may be a view of something larger, and all of that would cross to the thread.
    return { kind: "piece", bytes: piece.done ? undefined : new Uint8Array(piece.value) };
  }

  close(handle: number): void {
    const body = this.#bodies.get(handle);
    this.#bodies.delete(handle);
    if (body) letGo(body);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const handle of this.#bodies.keys()) this.close(handle);
    this.#pouring = undefined;
  }
}

const reasons: ReadonlyMap<string, HttpRefusal> = new Map([
  ["network-denied", "denied"],
  ["network-invalid", "invalid"],
  ["network-busy", "busy"],
  ["network-timeout", "timeout"],
]);

/** What goes wrong on closing changes nothing for a guest that wants no more of it. */
function letGo(body: HttpResponse["body"]): void {
  body.return?.().catch(() => undefined);
}

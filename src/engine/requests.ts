import { toFailure, type Failure } from "../errors/mod.ts";
import type { HttpAnswer, HttpAsk, HttpRefusal } from "../wasi/mod.ts";
import type { HttpHandler, HttpResponse } from "./mod.ts";

/** HTTP requests of one guest, on the side that answers them. Disposing ends all that are under way. */
export class Requests implements Disposable {
  readonly #handler: HttpHandler;
  readonly #stop = new AbortController();
  readonly #bodies = new Map<number, HttpResponse["body"]>();
  #nextHandle = 1;

  constructor(handler: HttpHandler) {
    this.#handler = handler;
  }

  /** Never rejects; a failure that is a ceiling's ends the guest instead of being answered. */
  async answer(ask: HttpAsk): Promise<HttpAnswer | Failure> {
    try {
      return await (ask.kind === "send" ? this.#send(ask) : this.#read(ask.handle));
    } catch (thrown) {
      const failure = toFailure(thrown);
      if (failure.code.startsWith("limit-")) return failure;
      const hint = failure.hint === undefined ? "" : ` ${failure.hint}`;
      const message = `${failure.code}: ${failure.message}.${hint}`;
      return { kind: "refused", reason: reasons.get(failure.code) ?? "failed", message };
    }
  }

  async #send({ request }: Extract<HttpAsk, { readonly kind: "send" }>): Promise<HttpAnswer> {
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

import type { Target } from "./connect.ts";
import { encode, splitOptions } from "./encode.ts";
import { problemOf, RemoteError } from "./errors.ts";
import type { Call, CallOptions } from "./mod.ts";

const defaultAttempts = 4;
const firstWaitMs = 100;
const longestWaitMs = 30_000;

/**
 * Calls a function. Nothing is sent before the call is awaited or iterated, or the current turn has ended: awaited it is one value, iterated its pieces
 * as they come.
 */
export function callFunction(
  target: Target,
  path: string,
  all: readonly unknown[],
): Call<unknown, unknown> {
  const { given, options } = splitOptions(all);
  let sent: Promise<Answer> | undefined;
  const send = (): Promise<Answer> => (sent ??= exchange(target, path, given, options));
  let value: Promise<unknown> | undefined;
  const whole = (): Promise<unknown> => (value ??= send().then(wholeOf));
  // A call that nobody waits for is made all the same.
  queueMicrotask(() => void send().catch(() => undefined));
  const call = {
    // oxlint-disable-next-line unicorn/no-thenable -- a call is a promise, which is not kept before somebody asks for it
    then: (kept?: never, broken?: never) => whole().then(kept, broken),
    catch: (broken?: never) => whole().catch(broken),
    finally: (done?: never) => whole().finally(done),
    [Symbol.toStringTag]: "Promise",
    async *[Symbol.asyncIterator]() {
      yield* piecesOf(await send(), target);
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it has what a promise and an iterable have
  return call as unknown as Call<unknown, unknown>;
}

interface Answer {
  readonly response: Response;
  readonly id: string | undefined;
  /** Asks why a response broke off. */
  readonly options: CallOptions;
}

/** Sends a call until it is answered; again only when it was not taken, or cannot be run twice. */
async function exchange(
  target: Target,
  path: string,
  given: readonly unknown[],
  options: CallOptions,
): Promise<Answer> {
  const { signal, timeoutMs = target.options.timeoutMs } = options;
  const { headers, body, once } = encode(given);
  const key = options.idempotencyKey;
  const attempts = once ? 1 : (target.options.attempts ?? defaultAttempts);
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted();
    let response: Response;
    try {
      response = await target.fetch(`${target.base}${path}`, {
        method: "POST",
        headers: {
          ...headers,
          ...(await authorization(target)),
          ...(key === undefined ? {} : { "idempotency-key": `"${key}"` }),
          ...(timeoutMs === undefined ? {} : { "request-timeout": String(timeoutMs / 1000) }),
        },
        body,
        ...(signal ? { signal } : {}),
        // What comes in pieces goes out while the response may come in already.
        ...(once ? { duplex: "half" } : {}),
      });
    } catch (thrown) {
      signal?.throwIfAborted();
      // Whether it has arrived is not known: only a call with a key may go again.
      if (key === undefined || attempt >= attempts) throw unreachable(target, thrown);
      await wait(attempt, undefined, signal);
      continue;
    }
    const id = response.headers.get("atalanta-call") ?? undefined;
    if (response.ok) return { response, id, options };
    const text = await response.text();
    signal?.throwIfAborted();
    const problem = problemOf(response.status, text);
    // 429 and 503 say that it was not run; anything else is the call's outcome, which the server has tried to better already.
    const refused = response.status === 429 || response.status === 503;
    if (!refused || !problem.retryable || attempt >= attempts) throw new RemoteError(problem, id);
    await wait(attempt, response.headers.get("retry-after") ?? undefined, signal);
  }
}

async function authorization({ options: { token } }: Target): Promise<Record<string, string>> {
  if (token === undefined) return {};
  return { authorization: `Bearer ${typeof token === "string" ? token : await token()}` };
}

async function wholeOf({ response, id, options }: Answer): Promise<unknown> {
  if (response.status === 204) return undefined;
  try {
    const type = typeOf(response);
    if (type === "application/json") return await response.json();
    if (type === "application/jsonl") {
      const text = await response.text();
      return text
        .split("\n")
        .filter((line) => line !== "")
        .map((line): unknown => JSON.parse(line));
    }
    return new Uint8Array(await response.arrayBuffer());
  } catch (thrown) {
    options.signal?.throwIfAborted();
    throw brokenOff(thrown, id);
  }
}

/** Values of JSON Lines, or bytes as they come. */
async function* piecesOf(answer: Answer, target: Target): AsyncGenerator<unknown, void> {
  const { response, id, options } = answer;
  const type = typeOf(response);
  if (type === "application/json" || response.status === 204) {
    const value = await wholeOf(answer);
    if (Array.isArray(value)) yield* value;
    else if (value !== undefined) yield value;
    return;
  }
  if (!response.body) return;
  const reader = response.body.getReader();
  try {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read().catch(async (thrown: unknown) => {
        options.signal?.throwIfAborted();
        throw (await why(target, id)) ?? brokenOff(thrown, id);
      });
      if (type !== "application/jsonl") {
        if (done) return;
        yield value;
        continue;
      }
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const lines = rest.split("\n");
      rest = done ? "" : (lines.pop() ?? "");
      for (const line of lines) if (line !== "") yield JSON.parse(line) as unknown;
      if (done) return;
    }
  } finally {
    // Whoever leaves the loop wants no more, and the guest is stopped.
    await reader.cancel().catch(() => undefined);
  }
}

/** A response that broke off cannot say why; the server is asked. */
async function why(target: Target, id: string | undefined): Promise<RemoteError | undefined> {
  if (id === undefined) return undefined;
  try {
    const url = `${target.base}/calls/${encodeURIComponent(id)}/result`;
    const response = await target.fetch(url, { headers: await authorization(target) });
    if (response.ok) return undefined;
    const problem = problemOf(response.status, await response.text());
    return problem.code === "call-unknown" ? undefined : new RemoteError(problem, id);
  } catch {
    return undefined;
  }
}

function typeOf(response: Response): string {
  return (response.headers.get("content-type") ?? "").split(";")[0]?.trim() ?? "";
}

function unreachable({ base }: Target, cause: unknown): RemoteError {
  const reason = reasonOf(cause);
  const error = new RemoteError({
    code: "unreachable",
    detail: `Cannot reach ${base}: ${reason}`,
    status: 0,
    retryable: true,
    hint: "Whether the call was run is not known; give it an idempotencyKey, and it is sent again by itself.",
  });
  error.cause = cause;
  return error;
}

function brokenOff(cause: unknown, id: string | undefined): RemoteError {
  const error = new RemoteError(
    {
      code: "broken-off",
      detail: `The result broke off: ${reasonOf(cause)}`,
      status: 0,
      retryable: true,
    },
    id,
  );
  error.cause = cause;
  return error;
}

function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  // `fetch failed` says nothing; what is behind it does.
  return thrown.cause instanceof Error ? thrown.cause.message : thrown.message;
}

/** As long as the server says; else twice as long each time, and by chance between half of it and all of it. */
async function wait(
  attempt: number,
  said: string | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const seconds = Number(said ?? Number.NaN);
  const own = Math.min(longestWaitMs, firstWaitMs * 2 ** (attempt - 1));
  const jittered = own / 2 + (Math.random() * own) / 2;
  const ms =
    seconds >= 0 ? Math.min(longestWaitMs, seconds * 1000 + Math.random() * firstWaitMs) : jittered;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", stop, { once: true });
  });
}

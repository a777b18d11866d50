import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../errors/mod.ts";
import { Refusal } from "./failures.ts";
import { isObject, recordOf, textOf } from "./json.ts";
import { jsonLines } from "./lines.ts";
import type { Follower, FollowOptions, KubeObject, ObjectMeta } from "./mod.ts";
import { pages } from "./pages.ts";

/** How the server is asked. */
export interface Source {
  list(query: URLSearchParams, signal: AbortSignal): Promise<unknown>;
  watch(query: URLSearchParams, signal: AbortSignal): Promise<AsyncIterable<Buffer>>;
  selection(): URLSearchParams;
}

const firstWaitMs = 100;
const longestWaitMs = 3000;
/** The server ends a watch by then, by itself; a bookmark comes at least every minute. */
const watchSeconds = 290;
/** A connection that says nothing for so long is dead, whatever the other side thinks of it. */
const silenceMs = 150_000;

interface Kept<T> {
  readonly version: string;
  readonly value: T;
}

/** A list that stays true: what was missed while there was no connection is found by the next list, and told as changes. */
export class Following<T> implements Follower<T> {
  readonly #source: Source;
  readonly #options: FollowOptions<T>;
  readonly #objects = new Map<string, Kept<T>>();
  readonly #stop = new AbortController();
  readonly #ready = Promise.withResolvers<void>();
  readonly #done: Promise<void>;

  constructor(source: Source, options: FollowOptions<T>) {
    this.#source = source;
    this.#options = options;
    this.#ready.promise.catch(() => undefined);
    const { signal } = options;
    const stop = (): void => this.#stop.abort(signal?.reason);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    this.#done = this.#run().finally(() => signal?.removeEventListener("abort", stop));
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  *all(): IterableIterator<T> {
    for (const { value } of this.#objects.values()) yield value;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let waitMs = firstWaitMs;
    let version: string | undefined;
    while (!signal.aborted) {
      const begun = performance.now();
      let asked = 0;
      try {
        version ??= await this.#list(signal);
        this.#ready.resolve();
        version = await this.#watch(version, signal);
        // It ended as watches do.
        if (performance.now() - begun > firstWaitMs * 10) {
          waitMs = firstWaitMs;
          continue;
        }
      } catch (thrown) {
        if (signal.aborted) break;
        if (thrown instanceof Cut) version = thrown.version;
        // What is before the watch is gone: the list tells.
        else if (isExpired(thrown)) version = undefined;
        if (!(thrown instanceof Cut) && !isExpired(thrown)) this.#tell(thrown);
        if (thrown instanceof Refusal) asked = thrown.afterMs ?? 0;
        if (performance.now() - begun > longestWaitMs) waitMs = firstWaitMs;
        if (isExpired(thrown)) continue;
      }
      // By chance, so that all who were cut off together do not come back together.
      const wait = Math.max(asked, waitMs * (0.5 + Math.random()));
      waitMs = Math.min(longestWaitMs, waitMs * 2);
      await sleep(wait, undefined, { signal }).catch(() => undefined);
    }
    this.#ready.reject(signal.reason);
  }

  /** Whoever looks at changes must not end them. */
  #tell(thrown: unknown): void {
    const { onTrouble } = this.#options;
    onTrouble?.(thrown instanceof Error ? thrown : new Error(String(thrown)));
  }

  async #list(signal: AbortSignal): Promise<string> {
    const seen = new Set<string>();
    let version = "";
    const ask = (query: URLSearchParams): Promise<unknown> => this.#source.list(query, signal);
    for await (const page of pages(ask, () => this.#source.selection())) {
      for (const object of page.items) {
        seen.add(keyOf(object.metadata));
        this.#have(object);
      }
      version = page.resourceVersion;
    }
    for (const key of this.#objects.keys()) if (!seen.has(key)) this.#lost(key);
    return version;
  }

  /** Ends with the version to go on from. */
  async #watch(from: string, signal: AbortSignal): Promise<string> {
    let version = from;
    const query = this.#source.selection();
    query.set("watch", "true");
    query.set("allowWatchBookmarks", "true");
    query.set("resourceVersion", from);
    query.set("timeoutSeconds", String(watchSeconds));
    const silent = new AbortController();
    const either = AbortSignal.any([signal, silent.signal]);
    const timer = setTimeout(() => silent.abort(new Cut(version)), silenceMs);
    try {
      const stream = await this.#source.watch(query, either);
      for await (const line of jsonLines(stream)) {
        timer.refresh();
        const { type, object } = recordOf(line);
        if (type === "ERROR" || !isObject(object)) throw errorOf(object);
        version = object.metadata.resourceVersion ?? version;
        if (type === "DELETED") this.#lost(keyOf(object.metadata));
        else if (type !== "BOOKMARK") this.#have(object);
      }
      return version;
    } catch (thrown) {
      if (signal.aborted || thrown instanceof Refusal || thrown instanceof Failure) throw thrown;
      // Half an event is no event: what it was about comes again.
      throw new Cut(version);
    } finally {
      clearTimeout(timer);
    }
  }

  #have(object: KubeObject): void {
    const { metadata } = object;
    const key = keyOf(metadata);
    const version = metadata.resourceVersion ?? "";
    const before = this.#objects.get(key);
    if (before?.version === version) return;
    const { keep, onChange } = this.#options;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- without `keep` what is kept is the object
    const value = keep ? keep(object) : (object as T);
    this.#objects.set(key, { version, value });
    this.#change(() => onChange(value, before?.value));
  }

  #lost(key: string): void {
    const before = this.#objects.get(key);
    if (!before) return;
    this.#objects.delete(key);
    this.#change(() => this.#options.onChange(undefined, before.value));
  }

  #change(tell: () => void): void {
    try {
      tell();
    } catch (thrown) {
      this.#tell(thrown);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Failure("aborted", "Nobody follows any more"));
    await this.#done;
  }
}

/** The connection is gone; everything up to a version has come. */
class Cut extends Error {
  readonly version: string;

  constructor(version: string) {
    super("The watch was cut off");
    this.version = version;
  }
}

function isExpired(thrown: unknown): boolean {
  return thrown instanceof Refusal && (thrown.status === 410 || thrown.reason === "Expired");
}

function errorOf(object: unknown): Refusal {
  const { code, reason, message } = recordOf(object);
  return new Refusal(
    "cluster-unavailable",
    `The watch ended: ${textOf(message) ?? "no reason given"}`,
    {
      status: typeof code === "number" ? code : 0,
      reason: textOf(reason) ?? "",
      afterMs: undefined,
    },
  );
}

function keyOf({ namespace = "", name = "" }: ObjectMeta): string {
  return `${namespace}/${name}`;
}

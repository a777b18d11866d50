import type { HostBytes } from "../../wasi/mod.ts";
import type { ListedObject } from "../mod.ts";
import type { Attempts } from "../retries.ts";
import type { StoreContext } from "../stores.ts";
import type { Answer } from "../transport.ts";
import type { UploadOptions } from "./source.ts";

export interface Part {
  /** The value of a `Range` header. */
  readonly range?: string;
  /** That version of the object and no other. */
  readonly version?: string;
}

/** A bucket or a container: what a store of objects has to be able to do, one object at a time. Keys have been looked at. */
export interface Objects {
  readonly context: StoreContext;
  /** Nobody on the way can change what comes and goes. */
  readonly secure: boolean;
  /** Throws `artifact-path` for a key that the store does not take, or that something on the way may read as another. */
  checkKey(key: string): void;
  /** Says what was wanted, and where, around what kept it from being done. */
  named<Value>(what: string, work: () => Promise<Value>): Promise<Value>;
  retried<Value>(signal: AbortSignal, work: (attempts: Attempts) => Promise<Value>): Promise<Value>;
  /**
   * One attempt at an object or a part of it. Fails with `artifact-missing`, or for the reasons `InvalidRange` (there are no such bytes) and `PreconditionFailed` (it
   * is another version now).
   */
  get(key: string, part: Part, signal: AbortSignal): Promise<Answer>;
  /** What `get` can be told to get more of the same; undefined when there is nothing that could be told. */
  versionIn(answer: Answer): string | undefined;
  /** The MD5 of the whole object in hex, where the answer tells it. */
  md5In(answer: Answer): string | undefined;
  /** Undefined: there is no such object. */
  head(key: string, signal: AbortSignal): Promise<ListedObject | undefined>;
  list(prefix: string, signal: AbortSignal): AsyncIterable<ListedObject>;
  upload(key: string, content: HostBytes, options: UploadOptions): Promise<void>;
  /** Tells how many bytes there were. */
  uploadStream(
    key: string,
    bytes: () => AsyncIterable<Uint8Array>,
    options: UploadOptions,
  ): Promise<number>;
  /** That there is no such object is fine. */
  remove(key: string, signal: AbortSignal): Promise<void>;
  removeAll(keys: readonly string[], signal: AbortSignal): Promise<void>;
}

/** The entity tag of an answer. A weak one says nothing of single bytes (RFC 9110, 8.8.1). */
export function strongTag({ headers: { etag } }: Answer): string | undefined {
  return etag === undefined || etag.startsWith("W/") ? undefined : etag;
}

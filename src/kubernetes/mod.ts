/** A small client of the Kubernetes API: requests, following lists, and leases. */
export { clusterFrom } from "./configuration.ts";
/** For JSON that others wrote. */
export { isRecord, listOf, recordOf, textOf } from "./json.ts";
export { joinReplicas, ownerAmong } from "./replicas.ts";

/** A kind of object, as it stands in paths. */
export interface Kind {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

export interface ObjectMeta {
  readonly name?: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly {
    readonly apiVersion: string;
    readonly kind: string;
    readonly name: string;
    readonly uid: string;
  }[];
}

export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly [key: string]: unknown;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface AtOptions extends CallOptions {
  /** Default: that of the configuration, for kinds that have one. */
  readonly namespace?: string;
}

export interface SelectOptions extends CallOptions {
  /** Absent: all of them. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface PatchOptions extends AtOptions {
  /** Default `merge` (RFC 7386). `apply` is a server-side apply, and needs a field manager. */
  readonly type?: "merge" | "json" | "apply";
  readonly subresource?: string;
  readonly fieldManager?: string;
  readonly force?: boolean;
  /** Only the metadata of the object comes back. */
  readonly metadataOnly?: boolean;
}

export interface FollowOptions<T> extends SelectOptions {
  /** Of each object, what is kept and told; default: all of it. */
  readonly keep?: (object: KubeObject) => T;
  /** Each change once, in order: an object is new without `before`, and gone without `now`. */
  readonly onChange: (now: T | undefined, before: T | undefined) => void;
  /** It goes on by itself after each. */
  readonly onTrouble?: (failure: Error) => void;
}

export interface Follower<T> extends AsyncDisposable {
  /** The first list is here. */
  readonly ready: Promise<void>;
  all(): IterableIterator<T>;
}

/**
 * An API server. Failures: `cluster-refused` (who we are may not), `cluster-missing`, `cluster-conflict`, `cluster-invalid` (it does not take the request) and
 * `cluster-unavailable`, which may be over in a moment. Requests that cannot do harm twice are made again before that is told.
 */
export interface Cluster extends AsyncDisposable {
  /** Its URL. */
  readonly server: string;
  readonly namespace: string;
  get(kind: Kind, name: string, at?: AtOptions): Promise<KubeObject>;
  list(
    kind: Kind,
    select?: SelectOptions,
  ): Promise<{ readonly items: readonly KubeObject[]; readonly resourceVersion: string }>;
  create(
    kind: Kind,
    object: KubeObject,
    at?: AtOptions & { readonly dryRun?: boolean },
  ): Promise<KubeObject>;
  patch(kind: Kind, name: string, patch: unknown, options?: PatchOptions): Promise<KubeObject>;
  /** That it is gone already is fine. */
  delete(
    kind: Kind,
    name: string,
    options?: AtOptions & {
      readonly propagation?: "Background" | "Foreground" | "Orphan";
      readonly uid?: string;
    },
  ): Promise<void>;
  /** Any other path. */
  raw(method: string, path: string, body?: unknown, options?: CallOptions): Promise<unknown>;
  /** A token of a service account, for `seconds` (default an hour). */
  token(
    serviceAccount: string,
    options: AtOptions & { readonly audiences?: readonly string[]; readonly seconds?: number },
  ): Promise<{ readonly token: string; readonly expires: Date }>;
  /** The same server with another bearer token, over the same connections. */
  as(token: (signal: AbortSignal) => Promise<string>): Cluster;
  /** Lists, watches, and keeps watching through cuts, restarts and compactions. */
  follow<T = KubeObject>(kind: Kind, options: FollowOptions<T>): Follower<T>;
}

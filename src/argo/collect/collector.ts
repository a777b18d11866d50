import { setTimeout as sleep } from "node:timers/promises";
import { Failure, toFailure } from "../../errors/mod.ts";
import {
  recordOf,
  textOf,
  type Cluster,
  type Follower,
  type KubeObject,
} from "../../kubernetes/mod.ts";
import { workflows } from "../kinds.ts";
import type { WorkflowIdentity } from "../model.ts";
import { remember } from "../remember.ts";
import type { Collected, CollectStrategy } from "../steps/collect.ts";

const finalizer = "atalanta.dev/artifact-gc";
/** By it the workflows are found that have artifacts to be deleted. Its value says how far that is. */
const label = "atalanta.dev/artifact-gc";
const labelOf = { due: "due", completed: "completed" } as const;
const attempts = 10;
/** A workflow is tried again so often, the last time after about a quarter of an hour; then it is let go. */
const mostTries = 8;
const firstWaitMs = 5000;
const usualLookMs = 10_000;
const remembered = 5000;

export interface CollectorOptions {
  readonly cluster: Cluster;
  /** Absent: all of them. */
  readonly namespaces?: readonly string[];
  /** Whether this replica does the work of a workflow now. */
  readonly isOurs: (workflowUid: string) => boolean;
  readonly collect: (
    workflow: KubeObject,
    strategies: readonly CollectStrategy[],
    signal: AbortSignal,
  ) => Promise<Collected>;
  readonly lookEveryMs?: number;
  readonly firstWaitMs?: number;
  readonly observer?: {
    readonly collected?: (workflow: WorkflowIdentity, deleted: number) => void;
    /** Some of it could not be deleted; `last`: it is not tried again. */
    readonly trouble?: (workflow: WorkflowIdentity, failure: Error, last: boolean) => void;
  };
}

export interface Collector extends AsyncDisposable {
  /** Before a result is written that names such artifacts: the workflow is kept until they are deleted. Never rejects. */
  mark(workflow: WorkflowIdentity): Promise<void>;
}

interface Seen extends WorkflowIdentity {
  readonly isDeleting: boolean;
  readonly isCompleted: boolean;
  readonly done: boolean;
}

interface Try {
  count: number;
  notBefore: number;
}

/** Starts to look after the artifacts of workflows. */
export function createCollector(options: CollectorOptions): Collector {
  return new ArtifactCollector(options);
}

class ArtifactCollector implements Collector {
  readonly #options: CollectorOptions;
  readonly #followers: readonly Follower<Seen>[];
  readonly #stop = new AbortController();
  readonly #marked = new Map<string, Promise<void>>();
  readonly #tries = new Map<string, Try>();
  readonly #working = new Map<string, Promise<void>>();
  readonly #looking: Promise<void>;

  constructor(options: CollectorOptions) {
    this.#options = options;
    const { cluster, namespaces = [undefined] } = options;
    this.#followers = namespaces.map((namespace) =>
      cluster.follow(workflows, {
        ...(namespace === undefined ? {} : { namespace }),
        labelSelector: label,
        keep: seen,
        onChange: (now) => {
          if (now) this.#consider(now);
        },
        onTrouble: () => undefined,
      }),
    );
    this.#looking = this.#lookAfter();
  }

  mark(workflow: WorkflowIdentity): Promise<void> {
    const known = this.#marked.get(workflow.uid);
    if (known) return known;
    const marking = changed(this.#options.cluster, workflow, this.#stop.signal, ({ metadata }) => {
      const { finalizers = [], deletionTimestamp } = metadata;
      // Nothing can be kept that is going already.
      if (finalizers.includes(finalizer) || deletionTimestamp !== undefined) return undefined;
      return { finalizers: [...finalizers, finalizer], labels: { [label]: labelOf.due } };
    }).catch((thrown: unknown) => {
      this.#marked.delete(workflow.uid);
      this.#options.observer?.trouble?.(workflow, toFailure(thrown), false);
    });
    remember(this.#marked, workflow.uid, marking, remembered);
    return marking;
  }

  async #lookAfter(): Promise<void> {
    const { signal } = this.#stop;
    const { lookEveryMs = usualLookMs } = this.#options;
    while (!signal.aborted) {
      await sleep(lookEveryMs, undefined, { signal, ref: false }).catch(() => undefined);
      for (const follower of this.#followers)
        for (const workflow of follower.all()) this.#consider(workflow);
    }
  }

  #consider(workflow: Seen): void {
    const { uid, isDeleting, isCompleted, done } = workflow;
    if (!isDeleting && (!isCompleted || done)) return;
    if (this.#stop.signal.aborted || this.#working.has(uid) || !this.#options.isOurs(uid)) return;
    if ((this.#tries.get(uid)?.notBefore ?? 0) > performance.now()) return;
    const work = this.#collect(workflow).finally(() => this.#working.delete(uid));
    this.#working.set(uid, work);
  }

  async #collect(workflow: Seen): Promise<void> {
    const { cluster, collect, observer = {} } = this.#options;
    const { signal } = this.#stop;
    const { namespace, name, uid } = workflow;
    const tried = this.#tries.get(uid) ?? { count: 0, notBefore: 0 };
    try {
      const object = await cluster.get(workflows, name, { namespace, signal });
      if (object.metadata.uid !== uid) return;
      const isDeleting = object.metadata.deletionTimestamp !== undefined;
      const { deleted, failures } = await collect(
        object,
        isDeleting ? ["OnWorkflowCompletion", "OnWorkflowDeletion"] : ["OnWorkflowCompletion"],
        signal,
      );
      if (deleted > 0) observer.collected?.(workflow, deleted);
      const [failure] = failures;
      const isLast = tried.count + 1 >= mostTries || forced(object);
      if (failure) {
        const more = failures.length === 1 ? "" : ` (and ${failures.length - 1} more)`;
        observer.trouble?.(workflow, new Failure(failure.code, failure.message + more), isLast);
        if (!isLast) return this.#later(uid, tried);
      }
      this.#tries.delete(uid);
      await changed(cluster, workflow, signal, ({ metadata }) => {
        const { finalizers = [] } = metadata;
        // Whatever is due at its deletion keeps it until then.
        if (metadata.deletionTimestamp === undefined)
          return { labels: { [label]: labelOf.completed } };
        if (!finalizers.includes(finalizer)) return undefined;
        return { finalizers: finalizers.filter((one) => one !== finalizer) };
      });
    } catch (thrown) {
      if (signal.aborted || toFailure(thrown).code === "cluster-missing") return;
      observer.trouble?.(workflow, toFailure(thrown), false);
      this.#later(uid, tried);
    }
  }

  #later(uid: string, tried: Try): void {
    const wait = (this.#options.firstWaitMs ?? firstWaitMs) * 2 ** tried.count;
    tried.count += 1;
    tried.notBefore = performance.now() + wait * (0.75 + Math.random() / 2);
    remember(this.#tries, uid, tried, remembered);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#looking;
    await Promise.all(this.#working.values());
    for (const follower of this.#followers) await follower[Symbol.asyncDispose]();
  }
}

/** Takes the agent's hand off all workflows, so that they can be deleted without it; artifacts that are still to be deleted stay. Gives how many it were. */
export async function releaseWorkflows(
  cluster: Cluster,
  {
    namespaces = [undefined],
    signal,
  }: { readonly namespaces?: readonly (string | undefined)[]; readonly signal: AbortSignal },
): Promise<number> {
  let count = 0;
  for (const namespace of namespaces) {
    const { items } = await cluster.list(workflows, {
      ...(namespace === undefined ? {} : { namespace }),
      labelSelector: label,
      signal,
    });
    for (const item of items) {
      await changed(cluster, seen(item), signal, ({ metadata: { finalizers = [] } }) =>
        finalizers.includes(finalizer)
          ? { finalizers: finalizers.filter((one) => one !== finalizer), labels: { [label]: null } }
          : undefined,
      );
      count += 1;
    }
  }
  return count;
}

function seen({ metadata, ...object }: KubeObject): Seen {
  const { namespace = "", name = "", uid = "", labels = {} } = metadata;
  const phase = textOf(recordOf(object["status"])["phase"]);
  return {
    namespace,
    name,
    uid,
    isDeleting: metadata.deletionTimestamp !== undefined,
    isCompleted: phase === "Succeeded" || phase === "Failed" || phase === "Error",
    done: labels[label] === labelOf.completed,
  };
}

/** Argo's word for: better gone than stuck. */
function forced(object: KubeObject): boolean {
  return recordOf(recordOf(object["spec"])["artifactGC"])["forceFinalizerRemoval"] === true;
}

/** Changes the metadata of a workflow against the version that was read; the engine writes to it all the time. What is gone needs no change. */
async function changed(
  cluster: Cluster,
  { namespace, name, uid }: WorkflowIdentity,
  signal: AbortSignal,
  change: (object: KubeObject) => object | undefined,
): Promise<void> {
  for (let left = attempts; ; left -= 1) {
    try {
      const object = await cluster.get(workflows, name, { namespace, signal });
      const made = object.metadata.uid === uid ? change(object) : undefined;
      if (!made) return;
      const { resourceVersion } = object.metadata;
      const patch = { metadata: { uid, resourceVersion, ...made } };
      await cluster.patch(workflows, name, patch, { namespace, metadataOnly: true, signal });
      return;
    } catch (thrown) {
      const { code } = toFailure(thrown);
      if (code === "cluster-missing") return;
      if (code !== "cluster-conflict" || left <= 1) throw thrown;
      await sleep(10 + Math.random() * 50, undefined, { signal });
    }
  }
}

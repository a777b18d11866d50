import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../errors/mod.ts";
import { recordOf, textOf } from "./json.ts";
import type { Cluster, Kind, KubeObject } from "./mod.ts";

const leases: Kind = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  namespaced: true,
};
const groupLabel = "atalanta.dev/replicas";
/** Renewals within the time that a lease is good. */
const renewals = 3;
/** A lease that nobody renews is removed after so many times that. */
const removedAfter = 20;

export interface ReplicasOptions {
  readonly namespace: string;
  /** Those who share the work. */
  readonly group: string;
  /** Of this process; unlike every other's, also of one that is started again. */
  readonly identity: string;
  /** How long a replica that says nothing counts as living; default 10. */
  readonly seconds?: number;
  readonly signal?: AbortSignal;
  readonly onChange: (living: readonly string[]) => void;
  readonly onTrouble?: (failure: Error) => void;
}

/** Who shares the work. Disposing leaves, and the others know at once. */
export interface Replicas extends AsyncDisposable {
  /** In order. Empty when we could not renew in time: others may count us out. */
  readonly living: readonly string[];
}

interface Seen {
  readonly renewed: string;
  /** By our own clock: what others' clocks say is not compared. */
  readonly silentMs: number;
}

/** Joins the replicas of a group: a Lease for each. Rejects when ours cannot be made. */
export async function joinReplicas(cluster: Cluster, options: ReplicasOptions): Promise<Replicas> {
  const member = new Member(cluster, options);
  await member.join();
  return member;
}

class Member implements Replicas {
  readonly #cluster: Cluster;
  readonly #options: ReplicasOptions;
  readonly #seen = new Map<string, Seen>();
  readonly #stop = new AbortController();
  readonly #ms: number;
  #living: readonly string[] = [];
  #renewedAt = 0;
  #lookedAt = 0;
  #running: Promise<void> = Promise.resolve();

  constructor(cluster: Cluster, options: ReplicasOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#ms = (options.seconds ?? 10) * 1000;
  }

  get living(): readonly string[] {
    return this.#living;
  }

  async join(): Promise<void> {
    const { signal } = this.#options;
    await this.#renew();
    await this.#look();
    signal?.addEventListener("abort", () => this.#stop.abort(signal.reason), { once: true });
    this.#running = this.#keep();
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      await sleep(this.#ms / renewals, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        await this.#renew();
        await this.#look();
      } catch (thrown) {
        if (signal.aborted) return;
        this.#options.onTrouble?.(thrown instanceof Error ? thrown : new Error(String(thrown)));
        // Others do not see us any more, and do our work.
        if (performance.now() - this.#renewedAt > this.#ms) this.#set([]);
      }
    }
  }

  async #renew(): Promise<void> {
    const { namespace, group, identity } = this.#options;
    const signal = AbortSignal.any([
      this.#stop.signal,
      AbortSignal.timeout(Math.ceil(this.#ms / renewals)),
    ]);
    const now = new Date().toISOString().replace("Z", "000Z");
    const spec = {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(this.#ms / 1000),
      renewTime: now,
    };
    const begun = performance.now();
    try {
      await this.#cluster.patch(leases, this.#name(identity), { spec }, { namespace, signal });
    } catch (thrown) {
      if (!(thrown instanceof Failure && thrown.code === "cluster-missing")) throw thrown;
      await this.#cluster.create(
        leases,
        {
          apiVersion: "coordination.k8s.io/v1",
          kind: "Lease",
          metadata: { name: this.#name(identity), namespace, labels: { [groupLabel]: group } },
          spec: { ...spec, acquireTime: now },
        },
        { namespace, signal },
      );
    }
    this.#renewedAt = begun;
  }

  async #look(): Promise<void> {
    const { namespace, group } = this.#options;
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(this.#ms)]);
    const { items } = await this.#cluster.list(leases, {
      namespace,
      labelSelector: `${groupLabel}=${group}`,
      signal,
    });
    const now = performance.now();
    // Nobody is silent while we hear nothing: when the server was away, all come back together, and none is dead for that.
    const sinceMs = now - this.#lookedAt;
    const usualMs = this.#ms / renewals;
    const heardMs = sinceMs > usualMs * 1.5 ? usualMs / 3 : sinceMs;
    this.#lookedAt = now;
    const here = new Set<string>();
    const living: string[] = [];
    for (const lease of items) {
      const { identity, renewed } = told(lease);
      if (identity === "") continue;
      here.add(identity);
      const before = this.#seen.get(identity);
      const silentMs = before?.renewed === renewed ? before.silentMs + heardMs : 0;
      this.#seen.set(identity, { renewed, silentMs });
      if (silentMs < this.#ms) living.push(identity);
      else if (silentMs > this.#ms * removedAfter) {
        await this.#cluster.delete(leases, lease.metadata.name ?? "", { namespace, signal });
      }
    }
    for (const identity of this.#seen.keys()) if (!here.has(identity)) this.#seen.delete(identity);
    this.#set(living.toSorted());
  }

  #set(living: readonly string[]): void {
    if (living.join("\n") === this.#living.join("\n")) return;
    this.#living = living;
    this.#options.onChange(living);
  }

  #name(identity: string): string {
    return `${this.#options.group}-${createHash("sha256").update(identity).digest("hex").slice(0, 16)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const { namespace, identity } = this.#options;
    const signal = AbortSignal.timeout(2000);
    await this.#cluster
      .delete(leases, this.#name(identity), { namespace, signal })
      .catch(() => undefined);
    this.#set([]);
  }
}

function told(lease: KubeObject): { readonly identity: string; readonly renewed: string } {
  const { holderIdentity, renewTime } = recordOf(lease["spec"]);
  return { identity: textOf(holderIdentity) ?? "", renewed: textOf(renewTime) ?? "" };
}

/**
 * Who of the living does a piece of work: the one for whom the hash of both is highest, so that all agree without a word, and who comes or goes takes or leaves
 * no more than a share. Undefined when nobody lives.
 */
export function ownerAmong(living: readonly string[], work: string): string | undefined {
  let owner: string | undefined;
  let highest = "";
  for (const identity of living) {
    const weight = createHash("sha256").update(`${identity}\n${work}`).digest("hex");
    if (weight <= highest) continue;
    highest = weight;
    owner = identity;
  }
  return owner;
}

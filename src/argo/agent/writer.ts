import { setTimeout as sleep } from "node:timers/promises";
import { toFailure, type Failure } from "../../errors/mod.ts";
import type { Cluster, ObjectMeta } from "../../kubernetes/mod.ts";
import { taskSets } from "../kinds.ts";
import type { NodeResult } from "../model.ts";
import type { Pace } from "./pace.ts";
import { bytesOf, isTerminal, viewOf, type TaskSetView } from "./view.ts";

/** Above it results wait until the engine has taken earlier ones: it copies them into its workflow, which has no more room. */
const statusBytes = 900 * 1024;
/** etcd takes requests of up to 1.5 MiB, and an object is one. */
const objectBytes = 1400 * 1024;
/** The server notes for each field who wrote it, in the object: about so much for each task and each result. */
const taskNoteBytes = 230;
const resultNoteBytes = 130;
/** A result that is no larger is not to blame when an object is too large. */
const smallBytes = 16 * 1024;
const firstWaitMs = 100;
const longestWaitMs = 10_000;

/** Whose results are written. */
export interface Outbox {
  readonly view: TaskSetView;
  /** Whether it is ours to write. */
  readonly mayWrite: boolean;
  /** Whether more results are about to come. */
  readonly expectsMore: boolean;
  /** What is to be written of a node; undefined for nothing. */
  entry(id: string): NodeResult | undefined;
  /** The server has them; the view is what the task set is with them. */
  accepted(
    entries: ReadonlyMap<string, NodeResult>,
    how: { readonly view: TaskSetView; readonly metadata: ObjectMeta; readonly patchMs: number },
  ): void;
  /** Somebody else has written a result, and that one counts. */
  superseded(id: string): void;
  /** The server does not take it. Whether there is something else to be written now. */
  refused(id: string, failure: Failure): boolean;
  see(view: TaskSetView): void;
  /** There is nothing to write to any more. */
  gone(reason: string): void;
  conflict(): void;
  trouble(failure: Error): void;
}

/** Writes results into one task set: one patch at a time, each against the version that was seen. */
export class ResultWriter {
  readonly #cluster: Cluster;
  readonly #outbox: Outbox;
  readonly #signal: AbortSignal;
  readonly #pace: Pace;
  readonly #unsent = new Set<string>();
  #writing: Promise<void> | undefined;
  /** Ends the wait for more results. */
  #gathered: (() => void) | undefined;
  /** Into one patch; less after a refusal, to find whom it is about. */
  #most = Infinity;
  /** What was refused for its size, by our own measure. */
  #ceiling = objectBytes;
  #taskBytes: { readonly tasks: TaskSetView["tasks"]; readonly bytes: number } | undefined;

  constructor(
    cluster: Cluster,
    outbox: Outbox,
    { pace, signal }: { readonly pace: Pace; readonly signal: AbortSignal },
  ) {
    this.#pace = pace;
    this.#cluster = cluster;
    this.#outbox = outbox;
    this.#signal = signal;
  }

  /** Whether nothing is left to be written. */
  get idle(): boolean {
    return this.#unsent.size === 0;
  }

  add(id: string): void {
    this.#unsent.add(id);
    if (!this.#outbox.expectsMore) this.#gathered?.();
    this.wake();
  }

  remove(id: string): void {
    this.#unsent.delete(id);
    if (!this.#outbox.expectsMore) this.#gathered?.();
  }

  wake(): void {
    if (this.#unsent.size === 0 || this.#signal.aborted) return;
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = undefined));
  }

  /** Resolves when it writes no more. */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  async #writeAll(): Promise<void> {
    const outbox = this.#outbox;
    let waitMs = firstWaitMs;
    let conflicts = 0;
    // What ends in the same moment goes along.
    await Promise.resolve();
    while (this.#unsent.size > 0 && !this.#signal.aborted && outbox.mayWrite) {
      await this.#gather();
      const entries = this.#batch();
      // Without room the engine takes what is there first; its next change wakes this.
      if (entries.size === 0) return;
      try {
        await this.#patch(entries);
        waitMs = firstWaitMs;
        conflicts = 0;
        this.#most *= 2;
        continue;
      } catch (thrown) {
        if (this.#signal.aborted) return;
        const failure = toFailure(thrown);
        if (failure.code === "cluster-missing") return outbox.gone("The task set is gone");
        if (failure.code === "cluster-conflict") {
          outbox.conflict();
          conflicts += 1;
          if (conflicts > 3) await sleep(Math.random() * Math.min(200, 2 ** conflicts));
          if (await this.#reread()) continue;
        } else if (this.#answered(entries, failure)) continue;
        outbox.trouble(failure);
      }
      await sleep(waitMs * (0.5 + Math.random()), undefined, { signal: this.#signal }).catch(
        () => undefined,
      );
      waitMs = Math.min(longestWaitMs, waitMs * 2);
      await this.#reread();
    }
  }

  /** Waits for results that are about to come, for a while. */
  async #gather(): Promise<void> {
    if (!this.#outbox.expectsMore) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gathered = resolve;
    const late = setTimeout(resolve, this.#pace.gatherMs);
    this.#signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    clearTimeout(late);
    this.#gathered = undefined;
  }

  /** What goes next: as much as there is room for. */
  #batch(): ReadonlyMap<string, NodeResult> {
    const { view } = this.#outbox;
    const batch = new Map<string, NodeResult>();
    let room = Math.min(statusBytes - view.statusBytes, this.#ceiling - this.#size(view));
    const hasResults = [...view.phases.values()].some(isTerminal);
    for (const id of this.#unsent) {
      if (batch.size >= this.#most) break;
      const entry = this.#outbox.entry(id);
      if (!entry || !view.tasks.has(id)) {
        this.#unsent.delete(id);
        continue;
      }
      const phase = view.phases.get(id);
      if (isTerminal(phase)) {
        this.#unsent.delete(id);
        this.#outbox.superseded(id);
        continue;
      }
      const bytes = entryBytes(id, entry);
      // When nothing of it is taken away by anybody, one is tried all the same.
      if (bytes > room && (batch.size > 0 || hasResults)) continue;
      room -= bytes;
      batch.set(id, entry);
    }
    return batch;
  }

  /** How large the object is, about. */
  #size(view: TaskSetView): number {
    if (this.#taskBytes?.tasks !== view.tasks) {
      this.#taskBytes = { tasks: view.tasks, bytes: bytesOf(Object.fromEntries(view.tasks)) };
    }
    const notes = view.tasks.size * taskNoteBytes + view.phases.size * resultNoteBytes;
    return this.#taskBytes.bytes + view.statusBytes + notes + 4096;
  }

  async #patch(entries: ReadonlyMap<string, NodeResult>): Promise<void> {
    const { view } = this.#outbox;
    const { namespace, name, uid, version } = view;
    const nodes = Object.fromEntries([...entries].map(([id, it]) => [id, written(it)]));
    const begun = performance.now();
    const { metadata } = await this.#cluster.patch(
      taskSets,
      name,
      { metadata: { uid, resourceVersion: version }, status: { nodes } },
      { namespace, subresource: "status", metadataOnly: true, signal: this.#signal },
    );
    const patchMs = performance.now() - begun;
    this.#pace.took(patchMs);
    for (const [id, entry] of entries) {
      // What has ended while it was told to run is told next.
      if (this.#outbox.entry(id) === entry) this.#unsent.delete(id);
    }
    this.#outbox.accepted(entries, {
      view: withEntries(this.#outbox.view, metadata, entries),
      metadata,
      patchMs,
    });
  }

  /** What can be done at once about a refusal, so that one result keeps no others back. False: nothing. */
  #answered(entries: ReadonlyMap<string, NodeResult>, failure: Failure): boolean {
    const isTooLarge = /too large|exceeds the (?:maximum|limit)|limit is \d+/i.test(
      failure.message,
    );
    if (!isTooLarge && failure.code !== "cluster-invalid") return false;
    if (entries.size > 1) {
      this.#most = Math.ceil(entries.size / 2);
      return true;
    }
    const [[id, entry] = []] = entries;
    if (id === undefined || !entry) return false;
    const bytes = entryBytes(id, entry);
    const { view } = this.#outbox;
    if (isTooLarge && bytes <= smallBytes) {
      if (![...view.phases.values()].some(isTerminal)) return false;
      // There is room when the engine has taken what is there.
      this.#ceiling = Math.min(this.#ceiling, this.#size(view) + bytes) - 1;
      return true;
    }
    if (this.#outbox.refused(id, failure)) return true;
    this.#unsent.delete(id);
    this.#unsent.add(id);
    return false;
  }

  /** Whether it could be read how the task set is now. */
  async #reread(): Promise<boolean> {
    const { namespace, name, uid } = this.#outbox.view;
    try {
      const signal = this.#signal;
      const view = viewOf(await this.#cluster.get(taskSets, name, { namespace, signal }));
      if (view.uid === uid) this.#outbox.see(view);
      else this.#outbox.gone("The task set was made anew");
      return true;
    } catch (thrown) {
      if (toFailure(thrown).code !== "cluster-missing") return false;
      this.#outbox.gone("The task set is gone");
      return true;
    }
  }
}

function entryBytes(id: string, entry: NodeResult): number {
  return bytesOf(entry) + id.length + resultNoteBytes + 16;
}

/** Explicit nulls, so that nothing of an earlier entry stays. */
function written({ phase, message, outputs }: NodeResult): Readonly<Record<string, unknown>> {
  return { phase, message: message ?? null, outputs: outputs ?? null, progress: null };
}

/** The view with what was written into it: the object itself comes as an event, and is not read twice. */
function withEntries(
  view: TaskSetView,
  { resourceVersion = "" }: ObjectMeta,
  entries: ReadonlyMap<string, NodeResult>,
): TaskSetView {
  if (Number(resourceVersion) <= Number(view.version)) return view;
  const phases = new Map(view.phases);
  let { statusBytes: bytes } = view;
  for (const [id, entry] of entries) {
    phases.set(id, entry.phase);
    bytes += bytesOf(entry) + id.length + 4;
  }
  return { ...view, version: resourceVersion, phases, statusBytes: bytes };
}

import { Failure, toFailure } from "../errors/mod.ts";
import type { Copy, StoredArtifact } from "../task/mod.ts";
import type { Journal, Recorded } from "./journal/mod.ts";
import type { RunEvent } from "./plan/mod.ts";

/** What a run sent to a store and has not deleted there. */
interface Sent {
  readonly node: string;
  readonly name: string;
  readonly copy: Copy;
  readonly artifact: StoredArtifact;
}

export interface CollectOptions {
  readonly journal: Journal;
  readonly name: string;
  /** Whether the run itself is about to be forgotten: then what waits for that goes, too. */
  readonly deletion: boolean;
  /** Deletes one; that it is not there any more is fine. */
  readonly remove: (copy: Copy, artifact: StoredArtifact) => Promise<void>;
  readonly now?: () => number;
}

export interface Collected {
  readonly deleted: number;
  readonly failures: readonly Failure[];
}

/** Deleted at once, and written down together. */
const together = 8;

/**
 * Deletes in stores what a run sent there and `artifactGC` lets go of: that and nothing else, as the journal has it. What could not be deleted
 * is deleted by the next call. Throws `journal-busy` while a process carries the run out.
 */
export async function collectArtifacts(options: CollectOptions): Promise<Collected> {
  const { journal, name, deletion, remove, now = Date.now } = options;
  // Most runs have nothing to delete, and those that others carry out are left alone.
  try {
    if (sentBy(journal.read(name), deletion).length === 0) return { deleted: 0, failures: [] };
  } catch (thrown) {
    // To delete a run is the way out of a damaged journal. What it had in stores, nobody knows any more.
    if (!(thrown instanceof Failure && thrown.code === "journal-format")) throw thrown;
    return { deleted: 0, failures: [] };
  }
  using claim = journal.claim(name);
  const all = sentBy(claim.recorded, deletion);
  const failures: Failure[] = [];
  let deleted = 0;
  let lastAt = 0;
  for (const event of claim.recorded.events) lastAt = event.at;
  for (let from = 0; from < all.length; from += together) {
    const group = all.slice(from, from + together);
    const gone: Sent[] = [];
    await Promise.all(
      group.map(async (sent) => {
        try {
          await remove(sent.copy, sent.artifact);
          gone.push(sent);
        } catch (thrown) {
          failures.push(toFailure(thrown));
        }
      }),
    );
    deleted += gone.length;
    if (gone.length === 0) continue;
    lastAt = Math.max(lastAt, Math.trunc(now()));
    const artifacts = gone.map(({ node, name: artifact, copy }) => ({
      node,
      name: artifact,
      place: copy.place,
    }));
    claim.append([{ type: "collected", at: lastAt, artifacts }], claim.summary);
  }
  return { deleted, failures };
}

/** A place that was written to once more is there again. What others made and this run only remembers is not its own. */
function sentBy({ events }: Recorded, deletion: boolean): readonly Sent[] {
  const found = new Map<string, Sent>();
  for (const event of events) {
    for (const sent of sentIn(event)) found.set(JSON.stringify(sent.copy.place), sent);
    if (event.type !== "collected") continue;
    for (const { place } of event.artifacts) found.delete(JSON.stringify(place));
  }
  return [...found.values()].filter(
    ({ copy: { collect } }) =>
      collect === "OnWorkflowCompletion" || (deletion && collect === "OnWorkflowDeletion"),
  );
}

function* sentIn(event: RunEvent): Generator<Sent> {
  if (event.type !== "ended") return;
  for (const { name, artifact, copy } of event.result.outputs.artifacts) {
    if (copy) yield { node: event.node, name, copy, artifact };
  }
}

import type { StoredArtifact } from "../task/mod.ts";
import type { Journal } from "./journal/mod.ts";

/**
 * Every artifact that a run of the journal or a memory refers to, so that what is left can be removed. Any record may name one, so all of
 * each record is looked at; throws at the first damaged one, because nobody knows what that needs.
 */
export function* liveArtifacts(journal: Journal): Generator<StoredArtifact> {
  for (const { name } of journal.list()) {
    const { begin, events } = journal.read(name);
    yield* artifactsIn(begin.artifacts);
    for (const event of events) yield* artifactsIn(event);
  }
  for (const outputs of journal.remembered()) yield* artifactsIn(outputs);
}

function* artifactsIn(record: unknown): Generator<StoredArtifact> {
  const todo: unknown[] = [record];
  while (todo.length > 0) {
    const value = todo.pop();
    if (typeof value !== "object" || value === null) continue;
    if (isArtifact(value)) yield value;
    for (const inner of Object.values(value)) todo.push(inner);
  }
}

function isArtifact(value: object): value is StoredArtifact {
  return (
    "kind" in value &&
    (value.kind === "file" || value.kind === "directory") &&
    "digest" in value &&
    typeof value.digest === "string" &&
    /^sha256:[0-9a-f]{64}$/.test(value.digest)
  );
}

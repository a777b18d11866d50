import { dependsReferences, ExpressionFailure, parseDepends } from "../expression/mod.ts";
import type { Step } from "./model.ts";
import type { Origins } from "./shape.ts";
import type { Report, Spot } from "./source.ts";
import { meant } from "./suggest.ts";
import { spotIn } from "./tree.ts";

interface Around {
  readonly place: ReadonlyMap<string, Step>;
  /** Whether any task of the DAG has `depends`. */
  readonly usesDepends: boolean;
  readonly report: Report;
  readonly origins: Origins;
}

/** The tasks that a task waits for. What it names and is not there is reported and left out. */
export function dependenciesOf(task: Step, around: Around): readonly string[] {
  const { report, origins, usesDepends } = around;
  const spotOf = (key: string): Spot => origins.part(task, key) ?? origins.spot(task);
  if (task.dependencies && usesDepends) {
    report.problem(
      spotOf("dependencies"),
      "A DAG has either depends or dependencies",
      "Write the dependencies as depends, joined by &&.",
    );
  }
  if (task.continueOn && usesDepends) {
    report.problem(
      spotOf("continueOn"),
      "A DAG with depends has no continueOn",
      'Write the ends that count, such as "a.Succeeded || a.Failed".',
    );
  }
  const found: string[] = [];
  for (const [index, name] of (task.dependencies ?? []).entries()) {
    const spot =
      (task.dependencies && origins.part(task.dependencies, index)) ?? spotOf("dependencies");
    if (known(name, spot, around)) found.push(name);
  }
  if (task.depends !== undefined) found.push(...inDepends(task.depends, task, around));
  return found;
}

function inDepends(text: string, task: Step, around: Around): readonly string[] {
  const { report, origins, place } = around;
  const tree = origins.part(task, "depends");
  const spotAt = (offset: number): Spot =>
    tree?.kind === "scalar" ? spotIn(tree, offset) : origins.spot(task);
  const found: string[] = [];
  try {
    for (const { name, offset, result } of dependsReferences(parseDepends(text))) {
      if (!known(name, spotAt(offset), around)) continue;
      found.push(name);
      const other = place.get(name);
      const looped = other?.withItems ?? other?.withParam ?? other?.withSequence;
      if ((result === "AnySucceeded" || result === "AllFailed") && looped === undefined) {
        report.problem(
          spotAt(offset),
          `"${name}.${result}" is about items, and task "${name}" has none`,
          `Write "${name}.${result === "AllFailed" ? "Failed" : "Succeeded"}".`,
        );
      }
    }
  } catch (thrown) {
    if (!(thrown instanceof ExpressionFailure)) throw thrown;
    report.problem(
      spotAt(thrown.offset),
      thrown.reason.slice(0, 1).toUpperCase() + thrown.reason.slice(1),
      thrown.hint,
    );
  }
  return found;
}

function known(name: string, spot: Spot, { place, report }: Around): boolean {
  if (place.has(name)) return true;
  report.problem(
    spot,
    `There is no task "${name}"`,
    report.crowded ? undefined : meant(name, place.keys()),
  );
  return false;
}

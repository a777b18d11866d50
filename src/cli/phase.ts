import type { Phase, RunNode } from "../workflow/mod.ts";
import { duration } from "./format.ts";
import type { Row } from "./nodetree.ts";
import type { Paint } from "./style.ts";
import { oneLine } from "./text.ts";

const marks: Readonly<Record<Phase, readonly [string, Parameters<Paint>[0]]>> = {
  Pending: ["◷", "yellow"],
  Running: ["●", "cyan"],
  Succeeded: ["✔", "green"],
  Skipped: ["○", "dim"],
  Omitted: ["○", "dim"],
  Failed: ["✖", "red"],
  Error: ["⚠", "red"],
};

/** Argo's mark for a phase. */
export function mark(phase: Phase, paint: Paint): string {
  const [sign, colour] = marks[phase];
  return paint(colour, sign);
}

/** The mark of a node: one that waits for `resume` has its own. */
export function nodeMark(node: RunNode, paint: Paint): string {
  return node.type === "Suspend" && node.phase === "Running"
    ? paint("cyan", "ǁ")
    : mark(node.phase, paint);
}

/** How long a row took, or has been at it. */
export function rowTime(row: Row, now: number): string {
  if (row.kind === "node") return nodeTime(row.node, now);
  return duration((row.finishedAt ?? now) - row.startedAt);
}

/** What is to be said beside a row. */
export function rowMessage(row: Row, paint: Paint): string {
  return row.kind === "node" ? nodeMessage(row.node) : loopText(row, paint);
}

/** How long a node took, or has been at it. */
export function nodeTime(node: RunNode, now: number): string {
  if (node.phase === "Skipped" || node.phase === "Omitted" || node.phase === "Pending") return "";
  return duration((node.finishedAt ?? now) - node.startedAt);
}

/** What is to be said beside a node: its message, what it waits for, that its outputs were remembered. */
export function nodeMessage(node: RunNode): string {
  if (node.message !== undefined) return oneLine(node.message);
  if (node.phase === "Pending" && node.waitingFor?.length) {
    return `waits for ${oneLine(node.waitingFor.join(", "))}`;
  }
  return node.memoized ? "remembered" : "";
}

/** The left part of a row: where it hangs, its mark and its name. */
export function rowName(row: Row, paint: Paint): string {
  if (row.kind === "node") {
    return `${row.lead}${nodeMark(row.node, paint)} ${oneLine(row.node.displayName)}`;
  }
  const { total, done, failed } = row.counts;
  const phase = done < total ? "Running" : failed > 0 ? "Failed" : "Succeeded";
  return `${row.lead}${mark(phase, paint)} ${oneLine(row.name)}`;
}

/** `12 of 40, 2 failed, 4 running`. */
function loopText(row: Extract<Row, { readonly kind: "loop" }>, paint: Paint): string {
  const { total, done, failed, running } = row.counts;
  const parts = [`${done.toLocaleString("en")} of ${total.toLocaleString("en")}`];
  if (failed > 0) parts.push(paint("red", `${failed.toLocaleString("en")} failed`));
  if (running > 0) parts.push(`${running.toLocaleString("en")} running`);
  return parts.join(", ");
}

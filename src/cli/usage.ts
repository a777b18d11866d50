import type { RunNode } from "../workflow/mod.ts";
import { bytes, counted, duration } from "./format.ts";

type Usage = NonNullable<RunNode["usage"]>;

/** What all modules of a run took together; the memory is that of the one with most. Nothing where no module ran. */
export function usageSum(nodes: Iterable<RunNode>): Usage | undefined {
  let sum: Usage | undefined;
  for (const { usage } of nodes) {
    if (!usage) continue;
    sum = sum ? added(sum, usage) : usage;
  }
  return sum;
}

function added(one: Usage, other: Usage): Usage {
  return {
    wallMs: one.wallMs + other.wallMs,
    memoryBytes: Math.max(one.memoryBytes, other.memoryBytes),
    filesCreated: one.filesCreated + other.filesCreated,
    filesBytesWritten: one.filesBytesWritten + other.filesBytesWritten,
  };
}

/** Usage for people; what is zero is left out. */
export function usageText(usage: Usage): string {
  const { wallMs, memoryBytes, filesCreated, filesBytesWritten } = usage;
  return [
    `${duration(wallMs)} wall`,
    `${bytes(memoryBytes)} memory`,
    ...(filesCreated === 0 ? [] : [counted(filesCreated, "file")]),
    ...(filesBytesWritten === 0 ? [] : [`${bytes(filesBytesWritten)} written`]),
  ].join(", ");
}

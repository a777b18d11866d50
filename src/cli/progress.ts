import { PlainProgress, NoProgress, JsonProgress } from "./events.ts";
import { LiveTree, type Progress } from "./live.ts";
import { canRedraw, paintFor } from "./style.ts";

export interface ProgressOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  /** False: lines instead of a tree also on a terminal. */
  readonly progress?: boolean;
}

/** How a run is shown while it goes on: a tree on a terminal that can be drawn over, lines elsewhere, or events. */
export function progressFor(options: ProgressOptions): Progress {
  if (options.json) return new JsonProgress();
  if (options.quiet) return new NoProgress();
  const paint = paintFor(process.stdout);
  return options.progress !== false && canRedraw(process.stdout)
    ? new LiveTree(process.stdout, paint)
    : new PlainProgress(paint);
}

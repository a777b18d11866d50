import { Failure } from "../errors/mod.ts";
import { openJournal, type Journal, type RunSummary } from "../workflow/mod.ts";
import { homeFolder } from "./home.ts";
import { makeFolder } from "./make-folder.ts";

/** Opens the journal of this user. */
export function openHome(durability?: "normal" | "full"): Journal {
  const folder = homeFolder();
  try {
    makeFolder(folder);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("storage", `Cannot make the folder "${folder}": ${reason}`, {
      cause,
      hint: "Set ATALANTA_HOME to a folder that may be written.",
    });
  }
  return openJournal({
    folder,
    ...(durability === undefined ? {} : { durability }),
  });
}

/** The name of a run as a user gives it; `@latest` is the one that began last. */
export function runName(journal: Journal, word: string): string {
  if (word !== "@latest") return word;
  const [latest] = journal.list();
  if (latest) return latest.name;
  throw new Failure("not-found", "There is no run yet", {
    hint: "Begin one with: atalanta run FILE",
  });
}

/** Argo's word for how a run is, with what is added where a phase alone would mislead. */
export function statusOf(
  run: Pick<RunSummary, "phase" | "suspended" | "finishedAt" | "live">,
): string {
  if (run.finishedAt !== undefined) return run.phase;
  // No process runs it: it was killed, or left with Ctrl-C.
  if (!run.live) return `${run.phase} (${run.suspended ? "Suspended" : "Interrupted"})`;
  return run.suspended ? `${run.phase} (Suspended)` : run.phase;
}

import { homedir } from "node:os";
import { join } from "node:path";

/** Folder of the journal and the artifacts: `ATALANTA_HOME`, or `atalanta` in `XDG_DATA_HOME` (default `~/.local/share`). */
export function homeFolder(): string {
  const own = process.env["ATALANTA_HOME"];
  if (own) return own;
  return join(process.env["XDG_DATA_HOME"] || join(homedir(), ".local/share"), "atalanta");
}

import {
  chmodSync,
  constants,
  copyFileSync,
  cpSync,
  linkSync,
  readdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join, resolve, sep } from "node:path";
import { removeLeftovers, temporaryFolder } from "../engine/mod.ts";

/** What a runner process is started from. */
export interface Program {
  readonly node: string;
  /** What it runs, and the folder of all that this reads. */
  readonly main: string;
  readonly code: string;
  /** Folders of ours to remove in the end. */
  readonly made: readonly string[];
}

/** Where this file lies: in its part, or with all others in the folder of the bundle. */
const here = basename(import.meta.dirname);
/** Folders that a runner process needs. */
const needed = here === "runner" ? ["errors", "limits", "wasi", "engine", "runner"] : [here];
const prefix = "atalanta-program-";

/**
 * Node and our code. A process with a user of its own cannot reach what lies in somebody's home; it gets a copy where everybody
 * may read, which only we may write.
 */
export function programFor(ownUser: boolean): Program {
  const node = process.execPath;
  const code = resolve(import.meta.dirname, "..");
  if (!ownUser || (everybodyReads(node) && everybodyReads(join(code, here)))) {
    return { node, main: mainIn(code), code, made: [] };
  }
  void removeLeftovers(tmpdir(), prefix);
  const folder = temporaryFolder(prefix);
  chmodSync(folder, 0o755);
  const ownNode = join(folder, "node");
  try {
    if ((statSync(node).mode & 0o005) !== 0o005) throw new Error("others may not run it");
    linkSync(node, ownNode);
  } catch {
    // Also where it lies on another file system.
    copyFileSync(node, ownNode, constants.COPYFILE_FICLONE);
    chmodSync(ownNode, 0o755);
  }
  const ownCode = join(folder, basename(code));
  for (const part of needed) cpSync(join(code, part), join(ownCode, part), { recursive: true });
  writeFileSync(join(folder, "package.json"), '{"type":"module"}\n');
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    // A second name of Node's has Node's own mode.
    if (name !== "node") chmodSync(join(folder, name), 0o755);
  }
  return { node: ownNode, main: mainIn(ownCode), code: ownCode, made: [folder] };
}

function mainIn(code: string): string {
  // Built code has the extension of its source's.
  return join(code, here, `child${extname(import.meta.url)}`);
}

/** Whether every user may come to it and read it. */
function everybodyReads(path: string): boolean {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false;
    if (folder === dirname(folder) || folder === sep) break;
  }
  return (statSync(path).mode & 0o005) === 0o005;
}

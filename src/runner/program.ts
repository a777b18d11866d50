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
import { basename, dirname, join, resolve, sep } from "node:path";
import { removeLeftovers, stagingFolder } from "../engine/mod.ts";

/** What a runner process is started from. */
export interface Program {
  readonly node: string;
  /** The folder of all parts. */
  readonly code: string;
  /** Folders of ours to remove in the end. */
  readonly made: readonly string[];
}

/** The parts that a runner process needs. */
const parts = ["errors", "limits", "wasi", "engine", "runner"];
const prefix = "atalanta-program-";

/**
 * Node and our code. A process with a user of its own cannot reach what lies in somebody's home; it gets a copy where everybody
 * may read, which only we may write.
 */
export function programFor(ownUser: boolean): Program {
  const node = process.execPath;
  const code = resolve(import.meta.dirname, "..");
  if (!ownUser || (everybodyReads(node) && everybodyReads(join(code, "runner")))) {
    return { node, code, made: [] };
  }
  void removeLeftovers(tmpdir(), prefix);
  const folder = stagingFolder(tmpdir(), prefix);
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
  for (const part of parts) cpSync(join(code, part), join(ownCode, part), { recursive: true });
  writeFileSync(join(folder, "package.json"), '{"type":"module"}\n');
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    // A second name of Node's has Node's own mode.
    if (name !== "node") chmodSync(join(folder, name), 0o755);
  }
  return { node: ownNode, code: ownCode, made: [folder] };
}

/** Whether every user may come to it and read it. */
function everybodyReads(path: string): boolean {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false;
    if (folder === dirname(folder) || folder === sep) break;
  }
  return (statSync(path).mode & 0o005) === 0o005;
}

import { mkdtempSync } from "node:fs";
import { lstat, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "../errors/mod.ts";

/** A folder that was not touched for so long is nobody's, when its process is not here any more either. */
const oldMs = 24 * 3_600_000;

/** Makes a new folder that names this process, so that `removeLeftovers` knows whose it is. */
export function stagingFolder(parent: string, prefix: string): string {
  return mkdtempSync(join(parent, `${prefix}${process.pid}-`));
}

/** One where the system has room for such. Throws a `storage` failure that says what to set. */
export function temporaryFolder(prefix: string): string {
  try {
    return stagingFolder(tmpdir(), prefix);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("storage", `Cannot make a folder for large files: ${reason}`, {
      cause,
      hint: "Set TMPDIR to a folder that may be written.",
    });
  }
}

/** Whether `stagingFolder` gives such names. */
export function isStaging(name: string, prefix: string): boolean {
  return ownerOf(name, prefix) !== undefined;
}

/**
 * Removes what killed processes have left: folders of ours by name, owner and age, whose process does not live. The age is
 * for processes of another container, which share the folder and have numbers of their own. Never throws.
 */
export async function removeLeftovers(parent: string, prefix: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    const owner = ownerOf(name, prefix);
    if (owner === undefined || lives(owner)) continue;
    const path = join(parent, name);
    const found = await lstat(path).catch(() => undefined);
    if (!found?.isDirectory() || found.uid !== process.getuid?.()) continue;
    if (Date.now() - found.mtimeMs < oldMs) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}

function ownerOf(name: string, prefix: string): number | undefined {
  const rest = name.startsWith(prefix) ? name.slice(prefix.length) : "";
  const number = /^(\d{1,10})-[A-Za-z0-9]{6}$/.exec(rest)?.[1];
  return number === undefined ? undefined : Number(number);
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    // Another user's process may not be asked, but it is there.
    return thrown instanceof Error && "code" in thrown && thrown.code === "EPERM";
  }
}

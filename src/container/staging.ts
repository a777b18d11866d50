import { constants, createReadStream, createWriteStream } from "node:fs";
import { chmod, copyFile, mkdir, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { Failure } from "../errors/mod.ts";
import type { ContainerRunner } from "../task/mod.ts";

export type ContainerRequest = Parameters<ContainerRunner["run"]>[0];
type Content = ContainerRequest["inputs"][number]["content"];
type HostBytes = Extract<Content, { readonly kind: "file" }>["content"];

/** Where Argo puts the source of a script template. */
export const scriptPath = "/argo/staging/script";

/** A file or folder of ours that is shown to the container at a path. */
export interface Staged {
  readonly host: string;
  readonly path: string;
  readonly input: boolean;
}

/**
 * Lays the inputs into a folder of ours, one below it for each. They are copies (shared blocks where the file system can):
 * the container may write to its inputs, and must not reach the artifacts they came from.
 */
export async function layIn(folder: string, request: ContainerRequest): Promise<Staged[]> {
  const staged: Staged[] = [];
  // A later input of one path covers the earlier one.
  const byPath = new Map(request.inputs.map((input) => [input.path, input.content]));
  for (const [path, content] of byPath) {
    const host = join(folder, `in-${staged.length}`);
    if (content.kind === "file") await layFile(host, content.mode, content.content);
    else await layFolder(host, content.entries);
    staged.push({ host, path, input: true });
  }
  if (request.script !== undefined) {
    const host = join(folder, "script");
    await writeFile(host, request.script, { mode: 0o755 });
    await chmod(host, 0o755);
    staged.push({ host, path: scriptPath, input: false });
  }
  return staged;
}

async function layFolder(
  host: string,
  entries: Extract<Content, { readonly kind: "directory" }>["entries"],
): Promise<void> {
  await makeFolder(host, 0o777);
  const folders = entries.filter((entry) => entry.kind === "directory");
  for (const { path } of folders) await makeFolder(inside(host, path), 0o755);
  for (const entry of entries) {
    if (entry.kind === "file") await layFile(inside(host, entry.path), entry.mode, entry.content);
  }
  // Links last: whatever they point to, nothing is written through them.
  for (const entry of entries) {
    if (entry.kind === "symlink") {
      const path = inside(host, entry.path);
      await makeFolder(dirname(path), 0o755);
      await symlink(entry.target, path);
    }
  }
  // Modes at the end and from the inside out, so that a read-only folder can be filled.
  for (const { path, mode } of folders.toReversed()) await chmod(inside(host, path), mode);
}

async function layFile(host: string, mode: number, content: HostBytes): Promise<void> {
  await makeFolder(dirname(host), 0o755);
  if (content.kind === "bytes") await writeFile(host, content.bytes, { flag: "wx" });
  else if (content.offset === 0 && (await stat(content.path)).size === content.size) {
    await copyFile(content.path, host, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    // The copy has the mode of the blob, which may be read-only, until the next line.
  } else if (content.size === 0) await writeFile(host, "", { flag: "wx" });
  else {
    const { path, offset: start, size } = content;
    const from = createReadStream(path, { start, end: start + size - 1 });
    await pipeline(from, createWriteStream(host, { flags: "wx" }));
  }
  // An explicit change, because creation takes the umask off.
  await chmod(host, mode & 0o7777 || 0o644);
}

async function makeFolder(path: string, mode: number): Promise<void> {
  const made = await mkdir(path, { recursive: true });
  if (made !== undefined) await chmod(path, mode);
}

/** Entries come from an index that a guest filled: no name leads out of the folder, and an empty one is the folder. */
function inside(host: string, path: string): string {
  if (path === "") return host;
  const parts = path.split("/");
  if (parts.some((part) => part === "" || part === "." || part === "..") || path.includes("\0")) {
    throw new Failure("artifact-path", `The artifact has an entry "${path}" that leads outside`);
  }
  return join(host, path);
}

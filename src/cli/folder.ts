import { createReadStream, createWriteStream, lstatSync, readdirSync, readlinkSync } from "node:fs";
import { lstat, mkdir, rename, rm, rmdir, symlink, writeFile } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import {
  isStaging,
  removeLeftovers,
  stagingFolder,
  type Collected,
  type Mount,
  type TreeEntry,
} from "../engine/mod.ts";
import { Failure } from "../errors/mod.ts";

/** Copies on their way into a shared folder lie in it, below a name with this beginning. */
const stagingPrefix = ".atalanta-";

/** A folder of the user's that a guest sees. */
export interface SharedFolder {
  readonly host: string;
  readonly path: string;
  readonly readOnly: boolean;
  /** What lay in it when it was shown. */
  readonly entries: readonly TreeEntry[];
}

/** Reads `HOST:/GUEST[:ro|:rw]` and looks what lies in the folder. */
export function shareFolder(text: string): SharedFolder {
  const [host = "", guest = "", mode = "rw", ...more] = text.split(":");
  const usable = guest.startsWith("/") && !guest.split("/").includes("..");
  if (host === "" || !usable || !["ro", "rw"].includes(mode) || more.length > 0) {
    throw new Failure("invalid-argument", `--dir "${text}" is not HOST:/GUEST[:ro|:rw]`, {
      hint: "Write for example --dir ./in:/in:ro, or --dir ./out:/out for one that may be changed.",
    });
  }
  const entries: TreeEntry[] = [];
  try {
    scan(resolve(host), "", entries);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("invalid-argument", `--dir: cannot read "${host}": ${reason}`, {
      cause,
      hint: "Check the path; it is relative to the folder you are in.",
    });
  }
  const path = `/${guest
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/")}`;
  return { host: resolve(host), path, readOnly: mode === "ro", entries };
}

export function mountOf({ path, readOnly, entries }: SharedFolder): Mount {
  return { path, readOnly, content: { kind: "directory", entries } };
}

function scan(folder: string, prefix: string, into: TreeEntry[]): void {
  for (const item of readdirSync(folder, { withFileTypes: true })) {
    // Another process writes back, or was killed while it did.
    if (isStaging(item.name, stagingPrefix)) continue;
    const path = prefix + item.name;
    const host = join(folder, item.name);
    if (item.isDirectory()) {
      into.push({ kind: "directory", path, mode: lstatSync(host).mode & 0o777 });
      scan(host, `${path}/`, into);
    } else if (item.isSymbolicLink()) {
      into.push({ kind: "symlink", path, target: readlinkSync(host) });
    } else if (item.isFile()) {
      const { size, mode } = lstatSync(host);
      const content = { kind: "slice", path: host, offset: 0, size } as const;
      into.push({ kind: "file", path, mode: mode & 0o777, content });
    }
  }
}

/**
 * Writes what the guest changed back to the folder: removed, new and changed files, folders and links. All content is
 * copied beside its place before anything is removed, so a full disk leaves the folder as it was. Names came from a
 * guest: nothing is written through a link, and no link is made that leads out of the folder.
 */
export async function writeBack(
  folder: SharedFolder,
  collected: Collected,
  others: readonly SharedFolder[],
): Promise<void> {
  if (collected.kind !== "directory") return;
  // What other folders show below this one is theirs.
  const inner = others
    .filter((other) => other !== folder && other.path.startsWith(`${folder.path}/`))
    .map((other) => other.path.slice(folder.path.length + 1));
  const isInner = (path: string): boolean =>
    inner.some((at) => path === at || path.startsWith(`${at}/`) || at.startsWith(`${path}/`));
  const after = collected.entries.filter((entry) => !isInner(entry.path));
  const before = new Map(folder.entries.map((entry) => [entry.path, entry]));
  const now = new Map(after.map((entry) => [entry.path, entry]));
  const changed = after.filter((entry) => !same(before.get(entry.path), entry));
  if (
    changed.length === 0 &&
    before.size <= now.size &&
    [...before.keys()].every((path) => now.has(path))
  )
    return;

  await removeLeftovers(folder.host, stagingPrefix);
  let staging: string | undefined;
  await storing(folder.host, async () => {
    try {
      const copies = new Map<string, string>();
      for (const entry of changed) {
        if (entry.kind !== "file") continue;
        staging ??= stagingFolder(folder.host, stagingPrefix);
        const copy = join(staging, String(copies.size));
        await copyOf(entry, copy);
        copies.set(entry.path, copy);
      }
      const gone = [...before.values()].filter(
        (entry) => !isInner(entry.path) && now.get(entry.path)?.kind !== entry.kind,
      );
      // The longest first: what lies in a folder goes before it.
      for (const entry of gone.toSorted((left, right) => right.path.length - left.path.length)) {
        await removeOne(folder.host, entry);
      }
      const links = linksOf(folder.host, before, now);
      for (const entry of changed) {
        if (entry.kind !== "symlink" || links.mayMake(entry)) {
          await place(folder.host, entry, copies.get(entry.path));
        } else {
          const shown = `${JSON.stringify(entry.path)} leads out, to ${JSON.stringify(entry.target)}`;
          process.stderr.write(`warning: not made: ${shown}\n`);
        }
      }
    } finally {
      if (staging !== undefined) await rm(staging, { recursive: true, force: true });
    }
  });
}

function same(before: TreeEntry | undefined, after: TreeEntry): boolean {
  if (before?.kind !== after.kind) return false;
  if (before.kind === "symlink") return after.kind === "symlink" && before.target === after.target;
  if (before.kind === "directory" || after.kind !== "file") return true;
  // Copy on write: what the guest left alone still lies where we found it.
  const [was, is] = [before.content, after.content];
  return (
    was.kind === "slice" && is.kind === "slice" && was.path === is.path && was.size === is.size
  );
}

async function copyOf(
  { content, mode }: Extract<TreeEntry, { readonly kind: "file" }>,
  to: string,
): Promise<void> {
  if (content.kind === "bytes") await writeFile(to, content.bytes, { mode });
  else if (content.size === 0) await writeFile(to, "", { mode });
  else {
    const { path, offset: start, size } = content;
    const from = createReadStream(path, { start, end: start + size - 1 });
    await pipeline(from, createWriteStream(to, { mode }));
  }
}

async function removeOne(host: string, entry: TreeEntry): Promise<void> {
  const path = await placeOf(host, entry.path);
  if (path === undefined) return;
  try {
    await (entry.kind === "directory" ? rmdir(path) : rm(path, { force: true }));
  } catch (thrown) {
    // A folder may hold what the guest never saw (a socket, a file of just now); then it stays.
    const code = thrown instanceof Error && "code" in thrown ? thrown.code : "";
    if (code !== "ENOTEMPTY" && code !== "ENOENT") throw thrown;
  }
}

async function place(host: string, entry: TreeEntry, copy: string | undefined): Promise<void> {
  const path = await placeOf(host, entry.path);
  if (path === undefined) return;
  if (entry.kind === "directory") await mkdir(path, { recursive: true, mode: entry.mode });
  else if (entry.kind === "file" && copy !== undefined) await rename(copy, path);
  else if (entry.kind === "symlink") {
    await rm(path, { force: true });
    await symlink(entry.target, path);
  }
}

type Link = Extract<TreeEntry, { readonly kind: "symlink" }>;
type Entries = ReadonlyMap<string, TreeEntry>;

/**
 * Which links the guest may make: such that stay in the folder, and those that the user had made, wherever they are now.
 * `..` after a name goes up from where that name leads, which may be a link now or later; so only a beginning of `..` is
 * understood, and what follows must not pass a link that leads out.
 */
function linksOf(host: string, before: Entries, now: Entries) {
  const linksBefore = [...before.values()].filter((entry) => entry.kind === "symlink");
  const leadsTo = (link: Link): string => resolve(dirname(join(host, link.path)), link.target);
  const known = new Set(linksBefore.map(leadsTo));
  const same = new Set(linksBefore.map(({ path, target }) => `${dirname(path)}\0${target}`));
  const staysIn = (link: Link, depth = 0): boolean => {
    const to = leadsTo(link);
    if (!isPlain(link.target) || !isWithin(host, to) || depth > 40) return false;
    let at = "";
    for (const part of relative(host, to).split(sep)) {
      at = at === "" ? part : `${at}/${part}`;
      const met = now.get(at);
      if (met?.kind === "symlink" && met !== link && !staysIn(met, depth + 1)) return false;
    }
    return true;
  };
  return {
    mayMake(link: Link): boolean {
      if (same.has(`${dirname(link.path)}\0${link.target}`)) return true;
      if (known.has(leadsTo(link)) && isPlain(link.target)) return true;
      return staysIn(link);
    },
  };
}

/** Whether no `..` comes after a name. A guest cannot make an absolute link, so such a one is the user's. */
function isPlain(target: string): boolean {
  if (isAbsolute(target)) return true;
  const parts = target.split("/").filter((part) => part !== "" && part !== ".");
  return (
    parts.lastIndexOf("..") < parts.findIndex((part) => part !== "..") ||
    parts.every((part) => part === "..")
  );
}

function isWithin(host: string, path: string): boolean {
  return path === host || path.startsWith(host + sep);
}

/** The place of an entry on the host; undefined when something on the way is no folder (any more). */
async function placeOf(host: string, path: string): Promise<string | undefined> {
  const parts = path.split("/");
  if (parts.some((part) => part === "" || part === "." || part === "..")) return undefined;
  let at = host;
  for (const part of parts.slice(0, -1)) {
    at = join(at, part);
    const found = await lstat(at).catch(() => undefined);
    if (!found?.isDirectory()) return undefined;
  }
  return join(at, parts.at(-1) ?? "");
}

async function storing(host: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("storage", `Cannot write the guest's changes to "${host}": ${reason}`, {
      cause,
      hint: "Check that the folder may be written and that the disk has room, or show it with :ro.",
    });
  }
}

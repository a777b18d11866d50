import { chmod, lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../errors/mod.ts";
import { defaultLimits } from "../limits/mod.ts";
import type { Collected, TreeEntry } from "../wasi/mod.ts";
import { ask, lastWords } from "./command.ts";
import type { ContainerRuntime } from "./detect.ts";
import type { Staged } from "./staging.ts";

/** Copying an artifact of gigabytes out of a container takes its time. */
const copyMs = 60 * 60_000;

export interface CollectOptions {
  readonly runtime: ContainerRuntime;
  /** Name of the stopped container. */
  readonly name: string;
  readonly staged: readonly Staged[];
  /** Folder of ours to copy into. */
  readonly folder: string;
  readonly signal: AbortSignal | undefined;
}

/**
 * Takes paths out of a stopped container: from our own folders where the path lies in an input, and else with the
 * runtime's `cp`, which reads what the image and the program left in the container's own layer.
 */
export async function collectOutputs(
  paths: readonly string[],
  options: CollectOptions,
): Promise<Collected[]> {
  const count: Count = { files: 0, bytes: 0 };
  const collected: Collected[] = [];
  for (const [index, path] of [...new Set(paths)].entries()) {
    const plain = path.replace(/\/+$/, "");
    const mount = options.staged
      .filter(({ path: at }) => plain === at || plain.startsWith(`${at}/`))
      .toSorted((left, right) => right.path.length - left.path.length)[0];
    const host = mount
      ? await below(mount.host, plain.slice(mount.path.length))
      : await copyOut(plain, join(options.folder, `out-${index}`), options);
    collected.push(await read(path, host, { count, plain, staged: options.staged }));
  }
  return collected;
}

interface Count {
  files: number;
  bytes: number;
}

async function read(
  path: string,
  host: string | undefined,
  scan: { readonly count: Count; readonly plain: string; readonly staged: readonly Staged[] },
): Promise<Collected> {
  const found = host === undefined ? undefined : await lstat(host).catch(() => undefined);
  if (host === undefined || !found) return { path, kind: "missing" };
  if (found.isFile()) {
    charge(scan.count, found.size);
    await readable(host, found.mode, 0o400);
    const content = { kind: "slice", path: host, offset: 0, size: found.size } as const;
    return { path, kind: "file", mode: found.mode & 0o777, content };
  }
  if (!found.isDirectory()) return { path, kind: "missing" };
  const entries: TreeEntry[] = [];
  await walk(host, "", entries, scan.count);
  // The runtime does not copy what is mounted below a folder: that is ours already.
  for (const mount of scan.staged) {
    if (!mount.input || !mount.path.startsWith(`${scan.plain}/`)) continue;
    const at = mount.path.slice(scan.plain.length + 1);
    const kept = entries.filter((entry) => entry.path !== at && !entry.path.startsWith(`${at}/`));
    const inner = await read(mount.path, mount.host, { ...scan, plain: mount.path });
    entries.length = 0;
    entries.push(...kept);
    if (inner.kind === "file") entries.push({ ...inner, path: at });
    if (inner.kind === "directory") {
      entries.push({ kind: "directory", path: at, mode: 0o755 });
      for (const entry of inner.entries) entries.push({ ...entry, path: `${at}/${entry.path}` });
    }
  }
  return { path, kind: "directory", entries };
}

async function walk(
  folder: string,
  prefix: string,
  into: TreeEntry[],
  count: Count,
): Promise<void> {
  await readable(folder, (await lstat(folder)).mode, 0o700);
  for (const name of await readdir(folder)) {
    const host = join(folder, name);
    const path = prefix + name;
    const { mode, size, ...found } = await kindOf(host);
    charge(count, found.kind === "file" ? size : 0);
    if (found.kind === "symlink")
      into.push({ kind: "symlink", path, target: await readlink(host) });
    else if (found.kind === "directory") {
      into.push({ kind: "directory", path, mode: mode & 0o777 });
      await walk(host, `${path}/`, into, count);
    } else if (found.kind === "file") {
      await readable(host, mode, 0o400);
      const content = { kind: "slice", path: host, offset: 0, size } as const;
      into.push({ kind: "file", path, mode: mode & 0o777, content });
    }
  }
}

async function kindOf(host: string) {
  const found = await lstat(host);
  // Devices, sockets and pipes are no data: they are left out, as Argo's tar leaves out sockets.
  const kind = found.isSymbolicLink()
    ? "symlink"
    : found.isDirectory()
      ? "directory"
      : found.isFile()
        ? "file"
        : "other";
  return { kind, mode: found.mode, size: found.size } as const;
}

/** What we copied is ours to read, whatever mode the program gave it. */
async function readable(host: string, mode: number, bits: number): Promise<void> {
  if ((mode & bits) !== bits) await chmod(host, (mode & 0o777) | bits);
}

function charge(count: Count, bytes: number): void {
  count.files += 1;
  count.bytes += bytes;
  const { fileCount, filesBytes } = defaultContainerFiles;
  if (count.files <= fileCount && count.bytes <= filesBytes) return;
  throw new Failure(
    "output-too-large",
    `The outputs of the container have more than ${fileCount} files or ${filesBytes} bytes`,
    { hint: "Hand out less, or pack many small files into one." },
  );
}

/** A container's outputs lie on the disk and not in memory, so more than a sandbox may hold is no harm. */
const defaultContainerFiles = {
  fileCount: defaultLimits.fileCount * 10,
  filesBytes: defaultLimits.filesBytes * 64,
};

/** Walks down a folder of ours without following a link that the container may have put there. */
async function below(host: string, rest: string): Promise<string | undefined> {
  let at = host;
  for (const part of rest.split("/").filter((name) => name !== "")) {
    const found = await lstat(at).catch(() => undefined);
    if (!found?.isDirectory()) return undefined;
    at = join(at, part);
  }
  return at;
}

async function copyOut(
  path: string,
  to: string,
  { runtime, name, signal }: CollectOptions,
): Promise<string | undefined> {
  // Podman follows a link at the path by itself; the others are asked to, as a guest's link is followed in a sandbox.
  const follow = runtime.kind === "podman" ? [] : ["--follow-link"];
  const answer = await ask(runtime.command, ["cp", ...follow, `${name}:${path}`, to], {
    timeoutMs: copyMs,
    signal,
  });
  if (answer.exitCode === 0) return to;
  if (/could not find the file|could not be found|no such file/i.test(answer.stderr)) {
    return undefined;
  }
  throw new Failure(
    "container-failed",
    `Cannot copy "${path}" out of the container: ${lastWords(answer.stderr)}`,
    { hint: "Check the path, and that the disk has room." },
  );
}

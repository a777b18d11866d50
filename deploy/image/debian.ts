// What a program of Node needs of an operating system, out of Debian's packages: the lock file says which, and with which digest.
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gunzipSync } from "node:zlib";
import xz from "xz-decompress";
import { readTar } from "../../src/archives/mod.ts";
import type { TreeEntry } from "../../src/engine/mod.ts";

export type Architecture = "amd64" | "arm64";

interface Package {
  readonly name: string;
  readonly version: string;
  /** Below the mirror. */
  readonly path: string;
  readonly sha256: string;
}

/** `packages.json`. */
interface Lock {
  readonly suite: string;
  readonly packages: Readonly<Record<Architecture, readonly Package[]>>;
}

/** The C library, what Node's own program is linked with, and what puts up the walls of runner processes. */
const wanted = [
  "coreutils",
  "gcc-14-base",
  "libatomic1",
  "libc6",
  "libcap-ng0",
  "libgcc-s1",
  "libsmartcols1",
  "libstdc++6",
  "util-linux",
];
/** Of their programs, those that the runner looks for (src/runner/walls.ts). There is no shell. */
const programs = new Set(["choom", "prlimit", "setpriv", "true", "unshare"]);
const lockFile = join(import.meta.dirname, "packages.json");
/** No package of these is larger. */
const packageBytes = 64 * 1024 * 1024;

/** Of documentation, only what a licence wants to come along; what is not a program's is left out. */
function isKept(path: string): boolean {
  if (path.startsWith("usr/share/doc/")) return path.endsWith("/copyright");
  if (path.startsWith("usr/bin/")) return programs.has(path.slice("usr/bin/".length));
  return !/^(?:etc|var|usr\/share|usr\/sbin|usr\/bin|sbin|bin|usr\/lib\/[^/]+\/gconv|usr\/libexec|usr\/lib\/locale)\//.test(
    `${path}/`,
  );
}

/** The files of the packages for one architecture. Throws when one is not what the lock file says. */
export async function systemFiles(
  architecture: Architecture,
  mirror: string,
): Promise<readonly TreeEntry[]> {
  const lock = JSON.parse(await readFile(lockFile, "utf8")) as Lock;
  const found = new Map<string, TreeEntry>();
  for (const { name, version, path, sha256 } of lock.packages[architecture]) {
    const bytes = await download(`${mirror}/${path}`);
    const digest = createHash("sha256").update(bytes).digest("hex");
    if (digest !== sha256)
      throw new Error(`${name} ${version} has the digest ${digest}; packages.json says ${sha256}`);
    for (const entry of await filesOf(bytes)) found.set(entry.path, entry);
  }
  return [...found.values()];
}

/** Writes down the packages of now. */
export async function updateLock(mirror: string, suite: string): Promise<void> {
  const of = async (architecture: Architecture): Promise<readonly Package[]> => {
    const index = gunzipSync(
      await download(`${mirror}/dists/${suite}/main/binary-${architecture}/Packages.gz`),
    ).toString();
    return wanted.map((name) => {
      const entry = index.split("\n\n").find((text) => text.startsWith(`Package: ${name}\n`)) ?? "";
      const field = (key: string): string =>
        new RegExp(`^${key}: (.*)$`, "m").exec(entry)?.[1] ?? "";
      if (entry === "") throw new Error(`${suite} has no package ${name} for ${architecture}`);
      return {
        name,
        version: field("Version"),
        path: field("Filename"),
        sha256: field("SHA256"),
      };
    });
  };
  const packages = { amd64: await of("amd64"), arm64: await of("arm64") };
  await writeFile(lockFile, `${JSON.stringify({ suite, packages }, undefined, 2)}\n`);
}

async function download(url: string): Promise<Buffer> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(120_000) });
  if (!answer.ok) {
    const hint = "A mirror keeps the newest versions alone: run it with --update, or with --mirror";
    throw new Error(`${url} answers ${answer.status}. ${hint}`);
  }
  const size = Number(answer.headers.get("content-length") ?? 0);
  if (size > packageBytes) throw new Error(`${url} has ${size} bytes; ${packageBytes} may be`);
  return Buffer.from(await answer.arrayBuffer());
}

/** A package is an `ar` archive with a tarball in it (deb(5)). */
async function filesOf(bytes: Buffer): Promise<readonly TreeEntry[]> {
  for (let at = 8; at + 60 <= bytes.length;) {
    const name = bytes.toString("latin1", at, at + 16).trim();
    const size = Number(bytes.toString("latin1", at + 48, at + 58).trim());
    const body = bytes.subarray(at + 60, at + 60 + size);
    if (name.startsWith("data.tar.xz")) {
      const packed = new Blob([Uint8Array.from(body)]).stream();
      return treeOf(await new Response(new xz.XzReadableStream(packed)).bytes());
    }
    at += 60 + size + (size % 2);
  }
  throw new Error("The package has no data.tar.xz");
}

async function treeOf(tar: Uint8Array): Promise<readonly TreeEntry[]> {
  const entries: TreeEntry[] = [];
  for await (const { kind, path: written, mode, target, read } of readTar(Readable.from([tar]))) {
    const path = written.replace(/^\.\//, "").replace(/\/$/, "");
    if (path === "" || !isKept(path)) continue;
    if (kind === "symlink") entries.push({ kind, path, target });
    else if (kind === "directory") entries.push({ kind, path, mode });
    else if (kind === "file") {
      const pieces: Uint8Array[] = [];
      for await (const piece of read()) pieces.push(Uint8Array.from(piece));
      entries.push({ kind, path, mode, content: { kind: "bytes", bytes: Buffer.concat(pieces) } });
    }
  }
  return entries;
}

// What a program of Node needs of an operating system, out of Debian's packages; lock.ts says which, and with which digest.
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { gunzipSync } from "node:zlib";
import xz from "xz-decompress";
import { readTar } from "../../src/archives/mod.ts";
import type { TreeEntry } from "../../src/engine/mod.ts";
import type { Architecture, DebianPackage } from "./lock.ts";

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
/** No package of these is larger. */
const packageBytes = 64 * 1024 * 1024;

/** The loader, libraries, a few programs, and what licences want to come along. */
function isKept(path: string): boolean {
  if (path.startsWith("usr/bin/")) return programs.has(path.slice("usr/bin/".length));
  return /^usr\/(?:share\/doc\/[^/]+\/copyright|lib(?:64)?\/(?:[^/]+-linux-gnu\/)?[^/]+\.so[.0-9]*)$/.test(
    path,
  );
}

/** Their files. Throws when one is not what it was. */
export async function systemFiles(
  packages: readonly DebianPackage[],
  mirror: string,
): Promise<readonly TreeEntry[]> {
  const found = new Map<string, TreeEntry>();
  for (const { name, version, path, sha256 } of packages) {
    const bytes = await download(`${mirror}/${path}`);
    const digest = createHash("sha256").update(bytes).digest("hex");
    if (digest !== sha256)
      throw new Error(`${name} ${version} has the digest ${digest}; packages.json says ${sha256}`);
    for (const entry of await filesOf(bytes)) found.set(entry.path, entry);
  }
  return [...found.values()];
}

/** Those of now. */
export async function newestPackages(
  architecture: Architecture,
  mirror: string,
  suite: string,
): Promise<readonly DebianPackage[]> {
  const index = gunzipSync(
    await download(`${mirror}/dists/${suite}/main/binary-${architecture}/Packages.gz`),
  ).toString();
  return wanted.map((name) => {
    const entry = index.split("\n\n").find((text) => text.startsWith(`Package: ${name}\n`)) ?? "";
    const field = (key: string): string => new RegExp(`^${key}: (.*)$`, "m").exec(entry)?.[1] ?? "";
    if (entry === "") throw new Error(`${suite} has no package ${name} for ${architecture}`);
    return { name, version: field("Version"), path: field("Filename"), sha256: field("SHA256") };
  });
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

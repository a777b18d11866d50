// `packages.json`: what an image is made of that this project did not make, and with which digests. `npm run image -- --update` writes it.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

export type Architecture = "amd64" | "arm64";

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** Below the mirror. */
  readonly path: string;
  readonly sha256: string;
}

interface Lock {
  readonly suite: string;
  /** Node's program as npm has it: a version, and a digest of each tarball in npm's own form. */
  readonly node: { readonly version: string } & Readonly<Record<Architecture, string>>;
  readonly packages: Readonly<Record<Architecture, readonly DebianPackage[]>>;
}

const file = join(import.meta.dirname, "packages.json");

export async function readLock(): Promise<Lock> {
  return JSON.parse(await readFile(file, "utf8")) as Lock;
}

export async function writeLock(lock: Lock): Promise<void> {
  await writeFile(file, `${JSON.stringify(lock, undefined, 2)}\n`);
}

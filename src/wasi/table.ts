import type { Limits } from "../limits/mod.ts";
import { Errno } from "./errno.ts";
import { directoryRights, outputRights, stdinRights, type Rights } from "./rights.ts";
import type { DirectoryNode, FileNode, Node, Tree } from "./tree.ts";

interface Open {
  rights: Rights;
}

interface OpenStream extends Open {
  readonly kind: "stdin" | "stdout" | "stderr";
  /** Of stdin alone. */
  position: number;
}

export interface OpenDirectory extends Open {
  readonly kind: "directory";
  readonly node: DirectoryNode;
  readonly preopen?: string;
  /** The names to read, since reading began. */
  names?: readonly string[];
}

export interface OpenFile extends Open {
  readonly kind: "file";
  readonly node: FileNode;
  position: number;
  flags: number;
  /** How it was opened: what it may less is in its rights. */
  readonly write: boolean;
  readonly read: boolean;
}

export type Descriptor = OpenStream | OpenDirectory | OpenFile;

/** Entries that the listings of all open directories hold together; one alone may be larger. */
const listedEntries = 1_000_000;

/** The open descriptors of one guest. */
export class Table {
  readonly #open: Map<number, Descriptor> = new Map<number, Descriptor>([
    [0, { kind: "stdin", position: 0, rights: stdinRights }],
    [1, { kind: "stdout", position: 0, rights: outputRights }],
    [2, { kind: "stderr", position: 0, rights: outputRights }],
  ]);
  readonly #tree: Tree;
  readonly #limits: Pick<Limits, "descriptors">;
  /** No number from 3 on that is below this one is free. */
  #lowest = 3;

  constructor(tree: Tree, limits: Pick<Limits, "descriptors">) {
    this.#tree = tree;
    this.#limits = limits;
  }

  /** Hands a directory over under the next number. */
  preopen(node: DirectoryNode, path: string): void {
    this.#open.set(this.#open.size, {
      kind: "directory",
      node,
      preopen: path,
      rights: directoryRights,
    });
  }

  get(fd: number): Descriptor | undefined {
    return this.#open.get(fd >>> 0);
  }

  find(fd: number): Descriptor {
    const found = this.get(fd);
    if (!found) throw new Errno("badf");
    return found;
  }

  /** An open file that may do what is asked. */
  file(fd: number, needed: number): OpenFile {
    const found = this.find(fd);
    if (found.kind !== "file") throw new Errno("badf");
    demand(found, needed);
    return found;
  }

  /** An open directory that may do what is asked. */
  directory(fd: number, needed: number): OpenDirectory {
    const found = this.find(fd);
    if (found.kind !== "directory") throw new Errno("badf");
    demand(found, needed);
    return found;
  }

  /** Throws when one more would be too many. */
  makeRoom(): void {
    if (this.#open.size >= this.#limits.descriptors) throw new Errno("mfile", "descriptors");
  }

  add(descriptor: Descriptor): number {
    this.makeRoom();
    // The lowest free number, as in POSIX, without asking for all below it each time.
    while (this.#open.has(this.#lowest)) this.#lowest++;
    this.#open.set(this.#lowest, descriptor);
    return this.#lowest++;
  }

  close(fd: number): void {
    const found = this.find(fd);
    this.#free(fd >>> 0);
    if (found.kind === "file" && found.node.links === 0) this.#releaseUnlessOpen(found.node);
  }

  /** Closes `to` and lets `from` have its number. */
  renumber(from: number, to: number): void {
    const found = this.find(from);
    this.find(to);
    if (from === to) return;
    this.close(to);
    this.#free(from >>> 0);
    this.#open.set(to >>> 0, found);
  }

  #free(fd: number): void {
    this.#open.delete(fd);
    if (fd >= 3) this.#lowest = Math.min(this.#lowest, fd);
  }

  /** A name of the node is gone; its content goes with the last name and the last descriptor. */
  unlinked(node: Node): void {
    node.links--;
    if (node.kind === "file" && node.links === 0) this.#releaseUnlessOpen(node);
  }

  #releaseUnlessOpen(node: FileNode): void {
    for (const open of this.#open.values()) if (open.kind === "file" && open.node === node) return;
    this.#tree.release(node);
  }

  /** Each open directory keeps a listing of its own, and a guest can open one directory many times. */
  mayList(asked: OpenDirectory): boolean {
    let held = 0;
    for (const open of this.#open.values()) {
      if (open.kind === "directory" && open !== asked) held += open.names?.length ?? 0;
    }
    return held === 0 || held + asked.node.children.size <= listedEntries;
  }
}

/** Throws when the descriptor has lost a right that is needed. */
export function demand({ rights }: Descriptor, needed: number): void {
  if ((rights.base & needed) !== needed) throw new Errno("notcapable");
}

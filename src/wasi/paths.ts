import { Errno } from "./errno.ts";
import { resolvePath, type Resolved } from "./resolve.ts";
import type { Sandbox } from "./sandbox.ts";
import type { DirectoryNode, Node } from "./tree.ts";

const followLink = 1;

/** A path as a guest gave it, and the directory it begins at. */
interface Given {
  readonly from: DirectoryNode;
  readonly path: string;
}

/** The paths of one guest, each from an open directory that may do what is asked. */
export interface Paths {
  readonly given: (fd: number, pointer: number, length: number, needed: number) => Given;
  /** Where it leads for a look; `flags` are `lookupflags`. */
  readonly look: (given: Given, flags: number) => Resolved;
  /** Where it leads for a change of the name: a link at the end is itself what is meant, whatever follows it. */
  readonly change: (given: Given) => Resolved;
}

export function pathsOf({ memory, table, world: { limits } }: Sandbox): Paths {
  return {
    given(fd, pointer, length, needed) {
      const { node } = table.directory(fd, needed);
      return { from: node, path: memory.text(pointer, length) };
    },
    look: ({ from, path }, flags) => resolvePath(from, path, { follow: follows(flags), limits }),
    change: ({ from, path }) =>
      resolvePath(from, path, { follow: false, followSlash: false, limits }),
  };
}

/** Whether `lookupflags` say to follow a link at the end. */
export function follows(flags: number): boolean {
  if ((flags & ~followLink) !== 0) throw new Errno("inval");
  return flags === followLink;
}

/** What a path must lead to. */
export function existing({ node, directory }: Resolved): Node {
  if (!node) throw new Errno("noent");
  if (directory && node.kind !== "directory") throw new Errno("notdir");
  return node;
}

/** Throws unless names of a directory may change; a read-only mount in it stays where it is. */
export function changeable(parent: DirectoryNode, node?: Node): void {
  if (parent.readOnly || node?.readOnly) throw new Errno("rofs");
}

/** Throws unless a name may come into a directory; one that was removed while it was open takes none. */
export function takesNames(parent: DirectoryNode): void {
  if (parent.links === 0) throw new Errno("noent");
  changeable(parent);
}

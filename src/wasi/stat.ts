import { nanoseconds } from "./clock.ts";
import { Errno } from "./errno.ts";
import type { GuestMemory } from "./memory.ts";
import type { Node, Time } from "./tree.ts";

/** A standard stream is of no known type, as in wasmtime: it is no terminal. */
export const filetypes = { stream: 0, directory: 3, file: 4, symlink: 7 } as const;

/** Writes a `filestat` of 64 bytes; without a node that of a standard stream. */
export function putStat(memory: GuestMemory, pointer: number, node: Node | undefined): void {
  const at = memory.at(pointer, 64);
  memory.bytes.fill(0, at, at + 64);
  if (!node) return;
  memory.put64(at, 1n);
  memory.put64(at + 8, BigInt(node.id));
  memory.view.setUint8(at + 16, filetypes[node.kind]);
  memory.put64(at + 24, BigInt(node.links));
  memory.put64(at + 32, BigInt(node.size));
  for (const [index, time] of [node.accessed, node.modified, node.changed].entries()) {
    memory.put64(at + 40 + index * 8, nanoseconds(time));
  }
}

const fstflags = { accessed: 1, accessedNow: 2, modified: 4, modifiedNow: 8, all: 15 } as const;

/** What `fstflags` say to do with the two times that a guest may set; undefined leaves one as it is. */
export function askedTimes(
  accessed: bigint,
  modified: bigint,
  flags: number,
): { readonly accessed: Time | undefined; readonly modified: Time | undefined } {
  const pick = (given: bigint, exact: number, now: number): Time | undefined => {
    if ((flags & exact) !== 0 && (flags & now) !== 0) throw new Errno("inval");
    if ((flags & exact) !== 0) return BigInt.asUintN(64, given);
    return (flags & now) !== 0 ? Date.now() : undefined;
  };
  if ((flags & ~fstflags.all) !== 0) throw new Errno("inval");
  return {
    accessed: pick(accessed, fstflags.accessed, fstflags.accessedNow),
    modified: pick(modified, fstflags.modified, fstflags.modifiedNow),
  };
}

export function setTimes(node: Node, asked: ReturnType<typeof askedTimes>): void {
  if (node.readOnly) throw new Errno("rofs");
  node.accessed = asked.accessed ?? node.accessed;
  node.modified = asked.modified ?? node.modified;
  node.changed = Date.now();
}

import { nanoseconds } from "./clock.ts";
import { Errno } from "./errno.ts";
import type { GuestMemory } from "./memory.ts";
import type { Node } from "./tree.ts";

export const filetypes = { directory: 3, file: 4, symlink: 7, character: 2 } as const;

/** Writes a `filestat` of 64 bytes; without a node that of a standard stream. */
export function putStat(memory: GuestMemory, pointer: number, node: Node | undefined): void {
  const at = memory.at(pointer, 64);
  memory.bytes.fill(0, at, at + 64);
  memory.put64(at, 1n);
  memory.put64(at + 8, BigInt(node?.id ?? 0));
  memory.view.setUint8(at + 16, filetypes[node?.kind ?? "character"]);
  memory.put64(at + 24, BigInt(node?.links ?? 1));
  memory.put64(at + 32, BigInt(node?.size ?? 0));
  const time = nanoseconds(node?.timeMs ?? 0);
  for (const field of [40, 48, 56]) memory.put64(at + field, time);
}

/** Sets times as `fstflags` say. */
export function setTimes(node: Node, modified: bigint, flags: number): void {
  if (flags & ~15 || (flags & 3) === 3 || (flags & 12) === 12) throw new Errno("inval");
  if (node.readOnly) throw new Errno("rofs");
  if (flags & 4) node.timeMs = Number(BigInt.asUintN(64, modified) / 1000n) / 1000;
  if (flags & 8) node.timeMs = Date.now();
}

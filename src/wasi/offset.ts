import { Errno } from "./errno.ts";

/** A place in a file, or a size, as a number that is exact. */
export function fileOffset(value: bigint): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Errno("inval");
  return Number(value);
}

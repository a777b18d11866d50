import { Errno } from "./errno.ts";

/** No file is larger, whatever its ceiling: beyond this a number is not exact. */
export const largestFile: number = Number.MAX_SAFE_INTEGER;
const most = BigInt(largestFile);

/** A place in a file, or a size; one that no file can have is `tooLarge`. */
export function fileOffset(value: bigint, tooLarge: "inval" | "fbig" = "inval"): number {
  if (value < 0n) throw new Errno("inval");
  if (value > most) throw new Errno(tooLarge);
  return Number(value);
}

/** A place to read at: beyond the largest file there is only its end. */
export function readOffset(value: bigint): number {
  return fileOffset(value > most ? most : value);
}

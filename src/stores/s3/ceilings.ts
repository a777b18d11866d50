import { tooLarge } from "../objects/ceilings.ts";

const mebi = 1024 * 1024;
/** What S3 takes of one object. */
const mostParts = 10_000;
const mostBytes = 5 * 1024 ** 4;
/** A part of 16 MiB is large enough for a long line and small enough to go again. */
const leastPart = 16 * mebi;

/** Sizes of parts: all the same where the size is known; where it is not, they double every thousand parts. */
export function partSizes(size = 0): {
  readonly first: number;
  readonly of: (index: number) => number;
} {
  const first = Math.max(leastPart, Math.ceil(size / mostParts / mebi) * mebi);
  return { first, of: (index) => first * 2 ** Math.floor(index / 1000) };
}

/** Refuses what the store cannot take or we shall not send. */
export function checkUpload(bytes: number, ceiling: number): void {
  if (bytes > Math.min(ceiling, mostBytes))
    throw tooLarge("would have more bytes", Math.min(ceiling, mostBytes));
}

import { Errno } from "./errno.ts";

/** Nanoseconds of a time in milliseconds; a number that large is exact to a microsecond at best. */
export function nanoseconds(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n;
}

/** The time of one of the four clocks, in nanoseconds. */
export function readClock(id: number): bigint {
  if (id === 0) return nanoseconds(performance.timeOrigin + performance.now());
  if (id >= 1 && id <= 3) return process.hrtime.bigint();
  throw new Errno("inval");
}

import { Errno } from "./errno.ts";
import type { World } from "./sandbox.ts";
import type { Time } from "./tree.ts";

/** Nanoseconds of a time in milliseconds, of which a number holds microseconds at best; or as they were given. */
export function nanoseconds(time: Time): bigint {
  return typeof time === "bigint" ? time : BigInt(Math.round(time * 1000)) * 1000n;
}

/** The time of a clock, in nanoseconds: the day's, one that never goes back, and the guest's own two of processor time. */
export function readClock(id: number, { cpuTimeNs }: Pick<World, "cpuTimeNs">): bigint {
  if (id === 0) return nanoseconds(performance.timeOrigin + performance.now());
  if (id === 1) return process.hrtime.bigint();
  if (id !== 2 && id !== 3) throw new Errno("inval");
  if (!cpuTimeNs) throw new Errno("badf");
  return cpuTimeNs();
}

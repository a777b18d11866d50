import type { LimitKey } from "../limits/mod.ts";

/** Error numbers of WASI preview 1 (`errno` in its witx description). */
export const errno = {
  success: 0,
  acces: 2,
  badf: 8,
  busy: 10,
  exist: 20,
  fault: 21,
  fbig: 22,
  ilseq: 25,
  inval: 28,
  io: 29,
  isdir: 31,
  loop: 32,
  mfile: 33,
  msgsize: 35,
  nametoolong: 37,
  noent: 44,
  nomem: 48,
  nospc: 51,
  notdir: 54,
  notempty: 55,
  notsock: 57,
  notsup: 58,
  overflow: 61,
  perm: 63,
  rofs: 69,
  spipe: 70,
  timedout: 73,
  xdev: 75,
  notcapable: 76,
} as const;

/** Thrown inside the host and answered to the guest as a number. */
export class Errno extends Error {
  readonly number: number;
  /** The ceiling that stood in the way, for whoever reads how the guest ended. */
  readonly limit: LimitKey | undefined;
  constructor(name: keyof typeof errno, limit?: LimitKey) {
    // A guest may run into thousands of these, and nobody reads where they come from.
    const kept = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(name);
    Error.stackTraceLimit = kept;
    this.number = errno[name];
    this.limit = limit;
  }
}

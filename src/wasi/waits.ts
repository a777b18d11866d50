import { readClock } from "./clock.ts";
import { Errno, errno } from "./errno.ts";

/** What a guest waits for in one `poll_oneoff`. */
export type Subscription =
  | { readonly kind: "clock"; readonly userdata: bigint; readonly waitNs: bigint }
  | { readonly kind: "read" | "write"; readonly userdata: bigint; readonly fd: number };

interface Event {
  readonly userdata: bigint;
  readonly kind: Subscription["kind"];
  readonly error: number;
  /** Bytes that can be read or written at once. */
  readonly count: number;
  /** Nothing will ever come there any more. */
  readonly hangup: boolean;
}

const numbers = { clock: 0, read: 1, write: 2 } as const;

/** Reads subscriptions of 48 bytes each; deadlines become times from now. */
export function readSubscriptions(view: DataView): Subscription[] {
  return Array.from({ length: view.byteLength / 48 }, (_, index): Subscription => {
    const at = index * 48;
    const userdata = view.getBigUint64(at, true);
    const tag = view.getUint8(at + 8);
    if (tag === 1 || tag === 2) {
      return { kind: tag === 1 ? "read" : "write", userdata, fd: view.getUint32(at + 16, true) };
    }
    if (tag !== 0) throw new Errno("inval");
    const id = view.getUint32(at + 16, true);
    const timeout = view.getBigUint64(at + 24, true);
    const flags = view.getUint16(at + 40, true);
    // Nobody can say when a guest will have used so much of the processor.
    if (id > 1 || (flags & ~1) !== 0) throw new Errno("inval");
    const absolute = flags === 1;
    const now = absolute ? readClock(id, {}) : 0n;
    return { kind: "clock", userdata, waitNs: absolute ? timeout - now : timeout };
  });
}

/** A poll under way: what is due, and how long until something is. */
export interface Poll {
  /** What is due at this moment; empty when it is too early. */
  readonly due: () => Event[];
  /** Time until the nearest deadline; not above zero when something is due. */
  readonly leftNs: () => bigint;
}

/** What a descriptor is good for at this moment. */
export type Readiness = Pick<Event, "error" | "count" | "hangup">;

/** Looks what is due. Files and standard streams always are: none of ours ever blocks. */
export function beginPoll(
  subscriptions: readonly Subscription[],
  readiness: (kind: "read" | "write", fd: number) => Readiness,
): Poll {
  const start = process.hrtime.bigint();
  const ready: Event[] = [];
  for (const { userdata, ...wanted } of subscriptions) {
    if (wanted.kind === "clock") continue;
    ready.push({ userdata, kind: wanted.kind, ...readiness(wanted.kind, wanted.fd) });
  }
  const clocks = subscriptions.filter((wanted) => wanted.kind === "clock");
  const waits = clocks.map(({ waitNs }) => waitNs);
  const nearest = waits.reduce((least, wait) => (wait < least ? wait : least), waits[0] ?? 0n);
  const passed = (): bigint => process.hrtime.bigint() - start;
  return {
    leftNs: () => (ready.length > 0 ? 0n : nearest - passed()),
    due() {
      const now = passed();
      const rung = clocks.filter(({ waitNs }) => waitNs <= now);
      return [
        ...ready,
        ...rung.map(({ userdata }): Event => ({
          userdata,
          kind: "clock",
          error: errno.success,
          count: 0,
          hangup: false,
        })),
      ];
    },
  };
}

export function writeEvent(view: DataView, event: Event): void {
  for (let at = 0; at < 32; at += 8) view.setBigUint64(at, 0n, true);
  view.setBigUint64(0, event.userdata, true);
  view.setUint16(8, event.error, true);
  view.setUint8(10, numbers[event.kind]);
  view.setBigUint64(16, BigInt(event.count), true);
  view.setUint16(24, event.hangup ? 1 : 0, true);
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));
const longestMs = 2 ** 31 - 1;

/** Stops this thread for a time; the engine ends the thread when the guest's time is up. */
export function block(ns: bigint): void {
  Atomics.wait(sleeper, 0, 0, Math.min(longestMs, Number(ns) / 1e6));
}

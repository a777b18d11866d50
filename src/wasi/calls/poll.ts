import { Errno, errno } from "../errno.ts";
import { right } from "../rights.ts";
import type { Sandbox } from "../sandbox.ts";
import { beginPoll, block, readSubscriptions, writeEvent, type Readiness } from "../waits.ts";

/** Putting a stack aside and going round by the event loop takes about as long as this. */
const shortestParkNs = 2_000_000n;
/** More than the descriptors that one guest may have open, each to read and to write, and some clocks. */
const subscriptionCount = 16_384;

const writable: Readiness = { error: errno.success, count: 1, hangup: false };
const failed = (name: "badf" | "notcapable"): Readiness => ({
  error: errno[name],
  count: 0,
  hangup: false,
});
const left = (bytes: number): Readiness => ({
  error: errno.success,
  count: Math.max(0, bytes),
  hangup: bytes <= 0,
});

/** `poll_oneoff`: a promise while the guest's stack is put aside. */
export function pollCall({
  memory,
  table,
  world,
}: Sandbox): (
  pointer: number,
  events: number,
  count: number,
  done: number,
) => number | Promise<number> {
  const readiness = (kind: "read" | "write", fd: number): Readiness => {
    const found = table.get(fd);
    if (!found || found.kind === "directory") return failed("badf");
    if (found.kind === "file") {
      if ((found.rights.base & right.poll) === 0) return failed("notcapable");
      return kind === "read" ? left(found.node.size - found.position) : writable;
    }
    if ((found.kind === "stdin") !== (kind === "read")) return failed("badf");
    if (kind === "write") return writable;
    // What comes later is waited for by the read itself.
    return left(world.more ? 1 : world.stdin.length - found.position);
  };
  return (pointer, events, count, done) => {
    const total = count >>> 0;
    if (total === 0 || total > subscriptionCount) throw new Errno("inval");
    const from = memory.at(pointer, total * 48);
    const to = memory.at(events, total * 32);
    memory.at(done, 4);
    const subscriptions = readSubscriptions(new DataView(memory.view.buffer, from, total * 48));
    const poll = beginPoll(subscriptions, readiness);
    const finish = (): number => {
      memory.refresh();
      const ready = poll.due();
      for (const [slot, event] of ready.entries()) {
        writeEvent(new DataView(memory.view.buffer, to + slot * 32, 32), event);
      }
      memory.put32(done, ready.length);
      return errno.success;
    };
    // The host may wake us a little early, and a guest must not see a sleep that was too short.
    const go = (): number | Promise<number> => {
      for (let left = poll.leftNs(); left > 0n; left = poll.leftNs()) {
        const parked = left >= shortestParkNs ? world.park?.(Number(left) / 1e6) : undefined;
        if (parked) return parked.then(go);
        block(left);
      }
      return finish();
    };
    return go();
  };
}

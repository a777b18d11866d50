import { readClock } from "../clock.ts";
import { Errno, errno } from "../errno.ts";
import type { Sandbox } from "../sandbox.ts";
import { beginPoll, block, readSubscriptions, writeEvent } from "../waits.ts";

/** Putting a stack aside and going round by the event loop takes about as long as this. */
const shortestParkNs = 2_000_000n;
const subscriptionCount = 1024;

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
  return (pointer, events, count, done) => {
    const total = count >>> 0;
    if (total === 0 || total > subscriptionCount) throw new Errno("inval");
    const from = memory.at(pointer, total * 48);
    const to = memory.at(events, total * 32);
    memory.at(done, 4);
    const subscriptions = readSubscriptions(
      new DataView(memory.view.buffer, from, total * 48),
      readClock,
    );
    const poll = beginPoll(subscriptions, (fd) => {
      const found = table.get(fd);
      if (!found) return undefined;
      if (found.kind === "stdin") return world.stdin.length - found.position;
      return found.kind === "file" ? Math.max(0, found.node.size - found.position) : 0;
    });
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

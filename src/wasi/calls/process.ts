import { randomFillSync } from "node:crypto";
import { readClock } from "../clock.ts";
import { limitFailure } from "../../limits/mod.ts";
import { Errno } from "../errno.ts";
import { stepBytes } from "../memory.ts";
import type { Calls, Sandbox } from "../sandbox.ts";

const lastSignal = 30;

/** Arguments, environment, clocks, randomness, signals. `proc_exit` and `poll_oneoff` are the wrapping's own. */
export function processCalls({ world, memory }: Sandbox): Calls {
  const args = world.arguments.map((text) => Buffer.from(`${text}\0`));
  const environment = [...world.environment].map(([name, value]) =>
    Buffer.from(`${name}=${value}\0`),
  );
  let randomBytes = 0;
  const list = (pointer: number, buffer: number, items: readonly Buffer[]): void => {
    let to = buffer;
    for (const [index, item] of items.entries()) {
      memory.put32(pointer + index * 4, to);
      memory.slice(to, item.length).set(item);
      to += item.length;
    }
  };
  const sizes = (count: number, size: number, items: readonly Buffer[]): void => {
    memory.put32(count, items.length);
    memory.put32(
      size,
      items.reduce((sum, item) => sum + item.length, 0),
    );
  };
  return {
    args_get: (pointer: number, buffer: number) => list(pointer, buffer, args),
    args_sizes_get: (count: number, size: number) => sizes(count, size, args),
    environ_get: (pointer: number, buffer: number) => list(pointer, buffer, environment),
    environ_sizes_get: (count: number, size: number) => sizes(count, size, environment),
    clock_res_get(id: number, pointer: number) {
      readClock(id, world);
      memory.put64(pointer, id === 0 ? 1000n : 1n);
    },
    clock_time_get(id: number, _precision: bigint, pointer: number) {
      memory.put64(pointer, readClock(id, world));
    },
    random_get(pointer: number, length: number) {
      const bytes = memory.slice(pointer, length);
      randomBytes += bytes.length;
      // No program expects an error here: most would end without a word that helps.
      if (randomBytes > world.limits.randomBytes) {
        const asked = `The guest asked for ${randomBytes} random bytes`;
        throw limitFailure("random", world.limits, asked);
      }
      for (let at = 0; at < bytes.length; at += stepBytes) {
        randomFillSync(bytes.subarray(at, at + stepBytes));
      }
    },
    proc_raise(signal: number) {
      if (signal >>> 0 > lastSignal) throw new Errno("inval");
      throw new Errno("notsup");
    },
    sched_yield() {},
  };
}

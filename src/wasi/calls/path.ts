import { Errno } from "../errno.ts";
import { existing, pathsOf } from "../paths.ts";
import { right } from "../rights.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import { askedTimes, putStat, setTimes } from "../stat.ts";

/** Looking at what lies at a path. */
export function pathCalls(sandbox: Sandbox): Calls {
  const { memory } = sandbox;
  const { look } = pathsOf(sandbox);
  return {
    path_filestat_get(fd: number, flags: number, pointer: number, length: number, stat: number) {
      putStat(memory, stat, existing(look(fd, flags, pointer, length, right.pathFilestatGet)));
    },
    path_filestat_set_times(
      fd: number,
      lookup: number,
      pointer: number,
      length: number,
      accessed: bigint,
      modified: bigint,
      flags: number,
    ) {
      const times = askedTimes(accessed, modified, flags);
      setTimes(existing(look(fd, lookup, pointer, length, right.pathSetTimes)), times);
    },
    path_readlink(
      fd: number,
      pointer: number,
      length: number,
      buffer: number,
      room: number,
      done: number,
    ) {
      const node = existing(look(fd, 0, pointer, length, right.readlink));
      if (node.kind !== "symlink") throw new Errno("inval");
      const target = Buffer.from(node.target).subarray(0, room >>> 0);
      memory.at(done, 4);
      memory.slice(buffer, target.length).set(target);
      memory.put32(done, target.length);
    },
  };
}

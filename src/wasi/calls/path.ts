import { Errno } from "../errno.ts";
import { existing, pathsOf } from "../paths.ts";
import { right } from "../rights.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import { askedTimes, putStat, setTimes } from "../stat.ts";

/** Looking at what lies at a path. */
export function pathCalls(sandbox: Sandbox): Calls {
  const { memory } = sandbox;
  const { given, look } = pathsOf(sandbox);
  return {
    path_filestat_get(fd: number, flags: number, pointer: number, length: number, stat: number) {
      const path = given(fd, pointer, length, right.pathFilestatGet);
      putStat(memory, stat, existing(look(path, flags)));
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
      const path = given(fd, pointer, length, right.pathSetTimes);
      setTimes(existing(look(path, lookup)), times);
    },
    path_readlink(
      fd: number,
      pointer: number,
      length: number,
      buffer: number,
      room: number,
      done: number,
    ) {
      const node = existing(look(given(fd, pointer, length, right.readlink), 0));
      if (node.kind !== "symlink") throw new Errno("inval");
      const target = Buffer.from(node.target).subarray(0, room >>> 0);
      memory.at(done, 4);
      memory.slice(buffer, target.length).set(target);
      memory.put32(done, target.length);
    },
  };
}

import { Errno } from "../errno.ts";
import { fileOffset } from "../offset.ts";
import { asRights, right } from "../rights.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import { askedTimes, filetypes, putStat, setTimes } from "../stat.ts";
import { demand, type Descriptor, type OpenDirectory, type OpenFile } from "../table.ts";
import { touch } from "../tree.ts";

const allFlags = 31;
const lastAdvice = 5;

/** What a descriptor is and may, and its place in the table. */
export function descriptorCalls({ memory, table, world: { tree } }: Sandbox): Calls {
  /** A file or directory: what has a node. */
  const noded = (fd: number, needed: number): OpenFile | OpenDirectory => {
    const found = table.find(fd);
    if (found.kind !== "file" && found.kind !== "directory") throw new Errno("badf");
    demand(found, needed);
    return found;
  };
  /** Whether it is a preopen is asked of a descriptor by its number going up, until one is `badf`. */
  const preopenOf = (found: Descriptor): string | undefined =>
    found.kind === "directory" ? found.preopen : undefined;
  return {
    fd_advise(fd: number, _start: bigint, length: bigint, advice: number) {
      table.file(fd, right.advise);
      if (advice >>> 0 > lastAdvice || length < 0n) throw new Errno("inval");
    },
    fd_allocate(fd: number, start: bigint, length: bigint) {
      const { node, write } = table.file(fd, right.allocate);
      if (!write) throw new Errno("badf");
      if (length <= 0n || start < 0n) throw new Errno("inval");
      const end = fileOffset(start + length, "fbig");
      if (end <= node.size) return;
      tree.resize(node, end);
      touch(node);
    },
    fd_close: (fd: number) => table.close(fd),
    // What is written is there for every reader at once, and nothing outlives the sandbox.
    fd_datasync(fd: number) {
      if (noded(fd, 0).kind === "file") table.file(fd, right.datasync);
    },
    fd_sync(fd: number) {
      if (noded(fd, 0).kind === "file") table.file(fd, right.sync);
    },
    fd_fdstat_get(fd: number, pointer: number) {
      const found = table.find(fd);
      const at = memory.at(pointer, 24);
      memory.bytes.fill(0, at, at + 24);
      const named = found.kind === "file" || found.kind === "directory";
      memory.view.setUint8(at, filetypes[named ? found.kind : "stream"]);
      memory.view.setUint16(at + 2, found.kind === "file" ? found.flags : 0, true);
      let { base } = found.rights;
      if (found.kind === "file" && !found.read) base &= ~right.read;
      if (found.kind === "file" && !found.write) base &= ~right.write;
      memory.put64(at + 8, BigInt(base));
      memory.put64(at + 16, BigInt(found.rights.inheriting));
    },
    fd_fdstat_set_flags(fd: number, flags: number) {
      const found = table.find(fd);
      if (found.kind === "directory") throw new Errno("badf");
      if (flags & ~allFlags) throw new Errno("inval");
      // A standard stream never blocks and always appends, so every flag holds already.
      if (found.kind !== "file") return;
      demand(found, right.setFlags);
      found.flags = flags;
    },
    fd_fdstat_set_rights(fd: number, base: bigint, inheriting: bigint) {
      const found = table.find(fd);
      const asked = { base: asRights(base), inheriting: asRights(inheriting) };
      const { rights } = found;
      if (asked.base & ~rights.base || asked.inheriting & ~rights.inheriting) {
        throw new Errno("notcapable");
      }
      found.rights = asked;
    },
    fd_filestat_get(fd: number, pointer: number) {
      const found = table.find(fd);
      const named = found.kind === "file" || found.kind === "directory";
      if (named) demand(found, right.filestatGet);
      putStat(memory, pointer, named ? found.node : undefined);
    },
    fd_filestat_set_size(fd: number, size: bigint) {
      const { node, write } = table.file(fd, right.setSize);
      if (!write) throw new Errno("inval");
      tree.resize(node, fileOffset(size, "fbig"));
      touch(node);
    },
    fd_filestat_set_times(fd: number, accessed: bigint, modified: bigint, flags: number) {
      const times = askedTimes(accessed, modified, flags);
      setTimes(noded(fd, right.setTimes).node, times);
    },
    fd_prestat_get(fd: number, pointer: number) {
      const preopen = preopenOf(table.find(fd));
      if (preopen === undefined) throw new Errno("badf");
      memory.put32(pointer, 0);
      memory.put32(pointer + 4, Buffer.byteLength(preopen));
    },
    fd_prestat_dir_name(fd: number, pointer: number, length: number) {
      const preopen = preopenOf(table.find(fd));
      if (preopen === undefined) throw new Errno("notdir");
      const name = Buffer.from(preopen);
      if (name.length > length >>> 0) throw new Errno("nametoolong");
      memory.slice(pointer, name.length).set(name);
    },
    fd_renumber: (from: number, to: number) => table.renumber(from, to),
  };
}

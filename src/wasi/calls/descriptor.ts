import { Errno } from "../errno.ts";
import { fileOffset } from "../offset.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import { filetypes, putStat, setTimes } from "../stat.ts";
import type { OpenDirectory } from "../table.ts";

const allFlags = 31;
const allRights = 0x1fffffffn;
const writeRights = (1n << 6n) | (1n << 8n) | (1n << 22n);
const readRight = 1n << 1n;

/** What a descriptor is and may, and its place in the table. */
export function descriptorCalls({ memory, table, world: { tree } }: Sandbox): Calls {
  const preopened = (fd: number): OpenDirectory & { readonly preopen: string } => {
    const found = table.find(fd);
    if (found.kind !== "directory" || found.preopen === undefined) throw new Errno("badf");
    return { ...found, preopen: found.preopen };
  };
  return {
    fd_advise(fd: number, start: bigint, length: bigint, advice: number) {
      table.file(fd);
      if (advice >>> 0 > 5 || start < 0n || length < 0n) throw new Errno("inval");
    },
    fd_allocate(fd: number, start: bigint, length: bigint) {
      const { node, write: mayWrite } = table.file(fd);
      if (!mayWrite) throw new Errno("badf");
      const end = fileOffset(start) + fileOffset(length);
      if (end > node.size) tree.resize(node, end);
    },
    fd_close: (fd: number) => table.close(fd),
    fd_datasync(fd: number) {
      table.find(fd);
    },
    fd_sync(fd: number) {
      table.find(fd);
    },
    fd_fdstat_get(fd: number, pointer: number) {
      const found = table.find(fd);
      const at = memory.at(pointer, 24);
      memory.bytes.fill(0, at, at + 24);
      const kind = found.kind === "file" || found.kind === "directory" ? found.kind : "character";
      memory.view.setUint8(at, filetypes[kind]);
      memory.view.setUint16(at + 2, found.kind === "file" ? found.flags : 0, true);
      let rights = allRights;
      if (kind === "character") rights &= ~((1n << 2n) | (1n << 5n));
      if (found.kind === "file" && !found.write) rights &= ~writeRights;
      if (found.kind === "file" && !found.read) rights &= ~readRight;
      memory.put64(at + 8, rights);
      memory.put64(at + 16, allRights);
    },
    fd_fdstat_set_flags(fd: number, flags: number) {
      const found = table.find(fd);
      if (flags & ~allFlags) throw new Errno("inval");
      if (found.kind === "directory") throw new Errno("isdir");
      // A standard stream never blocks and always appends, so every flag holds already.
      if (found.kind === "file") found.flags = flags;
    },
    fd_fdstat_set_rights(fd: number) {
      table.find(fd);
      throw new Errno("notsup");
    },
    fd_filestat_get(fd: number, pointer: number) {
      const found = table.find(fd);
      const named = found.kind === "file" || found.kind === "directory";
      putStat(memory, pointer, named ? found.node : undefined);
    },
    fd_filestat_set_size(fd: number, size: bigint) {
      const { node, write: mayWrite } = table.file(fd);
      if (!mayWrite) throw new Errno("badf");
      if (node.readOnly) throw new Errno("rofs");
      tree.resize(node, fileOffset(size));
    },
    fd_filestat_set_times(fd: number, _access: bigint, modified: bigint, flags: number) {
      const found = table.find(fd);
      if (found.kind !== "file" && found.kind !== "directory") throw new Errno("badf");
      setTimes(found.node, modified, flags);
    },
    fd_prestat_get(fd: number, pointer: number) {
      const { preopen } = preopened(fd);
      memory.put32(pointer, 0);
      memory.put32(pointer + 4, Buffer.byteLength(preopen));
    },
    fd_prestat_dir_name(fd: number, pointer: number, length: number) {
      const name = Buffer.from(preopened(fd).preopen);
      if (name.length > length >>> 0) throw new Errno("nametoolong");
      memory.slice(pointer, name.length).set(name);
    },
    fd_renumber: (from: number, to: number) => table.renumber(from, to),
  };
}

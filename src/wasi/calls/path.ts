import { Errno } from "../errno.ts";
import { resolvePath, type Resolved } from "../resolve.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import { putStat, setTimes } from "../stat.ts";
import type { DirectoryNode, Node } from "../tree.ts";

const readRight = 1n << 1n;
const writeRight = 1n << 6n;

/** Everything that begins at an open directory and a path. */
export function pathCalls({ memory, table, world: { tree, limits } }: Sandbox): Calls {
  const path = (fd: number, pointer: number, length: number, follow: boolean): Resolved =>
    resolvePath(table.directory(fd).node, memory.text(pointer, length), { follow, limits });
  /** Whether names of a directory may change; a read-only mount in it stays where it is. */
  const changeable = (parent: DirectoryNode, node?: Node): void => {
    if (parent.readOnly || node?.readOnly) throw new Errno("rofs");
  };
  return {
    path_create_directory(fd: number, pointer: number, length: number) {
      const { parent, name, node } = path(fd, pointer, length, false);
      if (node) throw new Errno("exist");
      changeable(parent);
      tree.createDirectory(parent, name);
    },
    path_filestat_get(fd: number, follow: number, pointer: number, length: number, stat: number) {
      const { node, directory: mustBe } = path(fd, pointer, length, (follow & 1) !== 0);
      if (!node) throw new Errno("noent");
      if (mustBe && node.kind !== "directory") throw new Errno("notdir");
      putStat(memory, stat, node);
    },
    path_filestat_set_times(
      fd: number,
      follow: number,
      pointer: number,
      length: number,
      _access: bigint,
      modified: bigint,
      flags: number,
    ) {
      const { node } = path(fd, pointer, length, (follow & 1) !== 0);
      if (!node) throw new Errno("noent");
      setTimes(node, modified, flags);
    },
    path_link(
      fd: number,
      follow: number,
      pointer: number,
      length: number,
      newFd: number,
      newPointer: number,
      newLength: number,
    ) {
      const from = path(fd, pointer, length, (follow & 1) !== 0);
      const to = path(newFd, newPointer, newLength, false);
      if (!from.node) throw new Errno("noent");
      if (from.node.kind === "directory") throw new Errno("perm");
      if (from.directory) throw new Errno("notdir");
      if (to.node) throw new Errno("exist");
      if (to.directory) throw new Errno("noent");
      changeable(to.parent);
      tree.link(to.parent, to.name, from.node);
    },
    path_open(
      fd: number,
      follow: number,
      pointer: number,
      length: number,
      oflags: number,
      rights: bigint,
      _inheriting: bigint,
      flags: number,
      opened: number,
    ) {
      memory.at(opened, 4);
      const [create, mustBeDirectory, exclusive, truncate] = [1, 2, 4, 8].map(
        (bit) => (oflags & bit) !== 0,
      );
      const found = path(fd, pointer, length, (follow & 1) !== 0 && !(create && exclusive));
      let { node } = found;
      if (node && create && exclusive) throw new Errno("exist");
      if (node?.kind === "symlink") throw new Errno("loop");
      // Go and Zig ask for the right to set a size also of files that they only read, so that alone does not make a writer.
      const mayWrite = (rights & writeRight) !== 0n;
      if (!node) {
        if (!create || mustBeDirectory) throw new Errno("noent");
        if (found.directory) throw new Errno("isdir");
        changeable(found.parent);
        table.makeRoom();
        node = tree.createFile(found.parent, found.name);
      }
      if (node.kind === "directory") {
        if (truncate || (mayWrite && !mustBeDirectory)) throw new Errno("isdir");
        memory.put32(opened, table.add({ kind: "directory", node }));
        return;
      }
      if (mustBeDirectory || found.directory) throw new Errno("notdir");
      if (node.readOnly && (mayWrite || truncate)) throw new Errno("rofs");
      const descriptor = {
        kind: "file",
        node,
        position: 0,
        flags,
        write: mayWrite,
        read: (rights & readRight) !== 0n,
      } as const;
      memory.put32(opened, table.add({ ...descriptor }));
      if (truncate) tree.resize(node, 0);
    },
    path_readlink(
      fd: number,
      pointer: number,
      length: number,
      buffer: number,
      room: number,
      done: number,
    ) {
      const { node } = path(fd, pointer, length, false);
      if (!node) throw new Errno("noent");
      if (node.kind !== "symlink") throw new Errno("inval");
      const target = Buffer.from(node.target).subarray(0, room >>> 0);
      memory.slice(buffer, target.length).set(target);
      memory.put32(done, target.length);
    },
    path_remove_directory(fd: number, pointer: number, length: number) {
      const { parent, name, node } = path(fd, pointer, length, false);
      if (!node) throw new Errno("noent");
      if (node.kind !== "directory") throw new Errno("notdir");
      if (name === ".") throw new Errno("inval");
      changeable(parent, node);
      if (node.children.size > 0) throw new Errno("notempty");
      parent.children.delete(name);
      parent.timeMs = Date.now();
    },
    path_rename(
      fd: number,
      pointer: number,
      length: number,
      newFd: number,
      newPointer: number,
      newLength: number,
    ) {
      const from = path(fd, pointer, length, false);
      const to = path(newFd, newPointer, newLength, false);
      const { node } = from;
      if (!node) throw new Errno("noent");
      if (node === to.node) return;
      if (from.name === "." || to.name === ".") throw new Errno("inval");
      if (from.directory && node.kind !== "directory") throw new Errno("notdir");
      changeable(from.parent, node);
      changeable(to.parent, to.node);
      if (node.kind === "directory") {
        for (let up = to.parent; ; up = up.parent) {
          if (up === node) throw new Errno("inval");
          if (up === up.parent) break;
        }
        if (to.node && to.node.kind !== "directory") throw new Errno("notdir");
        if (to.node?.kind === "directory" && to.node.children.size > 0) throw new Errno("notempty");
        tree.moveTo(node, to.parent);
      } else {
        if (to.node?.kind === "directory") throw new Errno("isdir");
        if (to.directory) throw new Errno("notdir");
      }
      from.parent.children.delete(from.name);
      to.parent.children.set(to.name, node);
      from.parent.timeMs = to.parent.timeMs = Date.now();
      if (to.node) table.unlinked(to.node);
    },
    path_symlink(
      pointer: number,
      length: number,
      fd: number,
      newPointer: number,
      newLength: number,
    ) {
      const target = memory.text(pointer, length);
      const { parent, name, node, directory: trailing } = path(fd, newPointer, newLength, false);
      if (node) throw new Errno("exist");
      if (trailing || target === "") throw new Errno("noent");
      if (target.startsWith("/")) throw new Errno("perm");
      if (length >>> 0 > limits.pathBytes) throw new Errno("nametoolong", "pathLength");
      changeable(parent);
      tree.createLink(parent, name, target);
    },
    path_unlink_file(fd: number, pointer: number, length: number) {
      const { parent, name, node, directory: trailing } = path(fd, pointer, length, false);
      if (!node) throw new Errno("noent");
      if (node.kind === "directory") throw new Errno("isdir");
      if (trailing) throw new Errno("notdir");
      changeable(parent, node);
      parent.children.delete(name);
      parent.timeMs = Date.now();
      table.unlinked(node);
    },
  };
}

import { Errno } from "../errno.ts";
import { fileOffset } from "../offset.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import type { FileNode } from "../tree.ts";

const append = 1;

/** Reading, writing and the place where that happens. */
export function dataCalls({ memory, table, world }: Sandbox): Calls {
  const { tree } = world;
  const write = (node: FileNode, from: Uint8Array, position: number): void => {
    if (node.readOnly) throw new Errno("rofs");
    tree.write(node, from, position);
  };
  return {
    fd_pread(fd: number, pointer: number, count: number, position: bigint, done: number) {
      const { node, read: mayRead } = table.file(fd);
      if (!mayRead) throw new Errno("badf");
      memory.at(done, 4);
      let read = 0;
      for (const into of memory.vectors(pointer, count))
        read += tree.read(node, into, fileOffset(position) + read);
      memory.put32(done, read);
    },
    fd_pwrite(fd: number, pointer: number, count: number, position: bigint, done: number) {
      const open = table.file(fd);
      if (!open.write) throw new Errno("badf");
      memory.at(done, 4);
      let written = 0;
      for (const from of memory.vectors(pointer, count)) {
        write(open.node, from, fileOffset(position) + written);
        written += from.length;
      }
      memory.put32(done, written);
    },
    fd_read(fd: number, pointer: number, count: number, done: number) {
      const found = table.find(fd);
      memory.at(done, 4);
      let read = 0;
      for (const into of memory.vectors(pointer, count)) {
        if (found.kind === "file") {
          if (!found.read) throw new Errno("badf");
          const got = tree.read(found.node, into, found.position);
          found.position += got;
          read += got;
        } else if (found.kind === "stdin") {
          const part = world.stdin.subarray(found.position, found.position + into.length);
          into.set(part);
          found.position += part.length;
          read += part.length;
        } else throw new Errno(found.kind === "directory" ? "isdir" : "badf");
      }
      memory.put32(done, read);
    },
    fd_write(fd: number, pointer: number, count: number, done: number) {
      const found = table.find(fd);
      memory.at(done, 4);
      let written = 0;
      for (const from of memory.vectors(pointer, count)) {
        if (found.kind === "file") {
          if (!found.write) throw new Errno("badf");
          if (found.flags & append) found.position = found.node.size;
          write(found.node, from, found.position);
          found.position += from.length;
        } else if (found.kind === "stdout" || found.kind === "stderr") {
          if (from.length > 0) world.output(found.kind, from);
        } else throw new Errno("badf");
        written += from.length;
      }
      memory.put32(done, written);
    },
    fd_seek(fd: number, delta: bigint, whence: number, pointer: number) {
      const open = table.file(fd);
      memory.at(pointer, 8);
      const bases = [0n, BigInt(open.position), BigInt(open.node.size)];
      const base = bases[whence];
      if (base === undefined) throw new Errno("inval");
      open.position = fileOffset(base + delta);
      memory.put64(pointer, BigInt(open.position));
    },
    fd_tell: (fd: number, pointer: number) =>
      memory.put64(pointer, BigInt(table.file(fd).position)),
  };
}

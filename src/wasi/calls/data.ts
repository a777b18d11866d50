import { Errno } from "../errno.ts";
import { fileOffset } from "../offset.ts";
import type { Vector } from "../memory.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import type { FileNode } from "../tree.ts";

const append = 1;

/** Reading, writing and the place where that happens. */
export function dataCalls({ memory, table, world }: Sandbox): Calls {
  const { tree } = world;
  const read = (node: FileNode, vectors: readonly Vector[], position: number): number => {
    let done = 0;
    for (const { start, length } of vectors) {
      done += tree.read(node, position + done, memory.bytes, start, length);
    }
    return done;
  };
  const write = (node: FileNode, vectors: readonly Vector[], position: number): number => {
    let done = 0;
    if (node.readOnly) throw new Errno("rofs");
    for (const { start, length } of vectors) {
      try {
        tree.write(node, position + done, memory.bytes, start, length);
      } catch (thrown) {
        // As on any system, what went in counts, and the next call meets the ceiling.
        if (done > 0 && thrown instanceof Errno) return done;
        throw thrown;
      }
      done += length;
    }
    return done;
  };
  return {
    fd_pread(fd: number, pointer: number, count: number, position: bigint, done: number) {
      const open = table.file(fd);
      if (!open.read) throw new Errno("badf");
      memory.at(done, 4);
      const vectors = memory.vectors(pointer, count);
      memory.put32(done, read(open.node, vectors, fileOffset(position)));
    },
    fd_pwrite(fd: number, pointer: number, count: number, position: bigint, done: number) {
      const open = table.file(fd);
      if (!open.write) throw new Errno("badf");
      memory.at(done, 4);
      const vectors = memory.vectors(pointer, count);
      memory.put32(done, write(open.node, vectors, fileOffset(position)));
    },
    fd_read(fd: number, pointer: number, count: number, done: number) {
      const found = table.find(fd);
      memory.at(done, 4);
      const vectors = memory.vectors(pointer, count);
      let got = 0;
      if (found.kind === "file") {
        if (!found.read) throw new Errno("badf");
        got = read(found.node, vectors, found.position);
        found.position += got;
      } else if (found.kind === "stdin") {
        for (const { start, length } of vectors) {
          const part = world.stdin.subarray(found.position, found.position + length);
          memory.bytes.set(part, start);
          found.position += part.length;
          got += part.length;
        }
      } else throw new Errno(found.kind === "directory" ? "isdir" : "badf");
      memory.put32(done, got);
    },
    fd_write(fd: number, pointer: number, count: number, done: number) {
      const found = table.find(fd);
      memory.at(done, 4);
      const vectors = memory.vectors(pointer, count);
      let put = 0;
      if (found.kind === "file") {
        if (!found.write) throw new Errno("badf");
        if (found.flags & append) found.position = found.node.size;
        put = write(found.node, vectors, found.position);
        found.position += put;
      } else if (found.kind === "stdout" || found.kind === "stderr") {
        for (const { start, length } of vectors) {
          if (length > 0) world.output(found.kind, memory.bytes.subarray(start, start + length));
          put += length;
        }
      } else throw new Errno("badf");
      memory.put32(done, put);
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

import { Errno } from "../errno.ts";
import { fileOffset, largestFile, readOffset } from "../offset.ts";
import { right } from "../rights.ts";
import type { Calls, Sandbox } from "../sandbox.ts";
import { demand, type OpenFile } from "../table.ts";

const append = 1;

/** Reading, writing and the place where that happens. */
export function dataCalls({ memory, table, world }: Sandbox): Calls {
  const { tree } = world;
  const readable = (file: OpenFile, needed: number): OpenFile => {
    if (!file.read) throw new Errno("badf");
    demand(file, needed);
    return file;
  };
  const writable = (file: OpenFile, needed: number): OpenFile => {
    if (!file.write) throw new Errno("badf");
    demand(file, needed);
    return file;
  };
  /** An open file for a call that has a place of its own: a stream that goes the same way has none. */
  const placed = (fd: number, way: "stdin" | "output"): OpenFile => {
    const found = table.find(fd);
    if (found.kind === "file") return found;
    const stream = found.kind === "directory" ? undefined : found.kind;
    throw new Errno(stream && (stream === "stdin") === (way === "stdin") ? "spipe" : "badf");
  };
  const seekable = (fd: number): OpenFile => {
    const found = table.find(fd);
    if (found.kind === "file") return found;
    throw new Errno(found.kind === "directory" ? "badf" : "spipe");
  };
  const readFile = (file: OpenFile, parts: readonly Uint8Array[], position: number): number => {
    let read = 0;
    for (const into of parts) read += tree.read(file.node, into, position + read);
    return read;
  };
  /** What was written before a ceiling was met stays written. */
  const writeFile = (file: OpenFile, parts: readonly Uint8Array[], position: number): number => {
    let written = 0;
    for (const from of parts) {
      if (from.length === 0) continue;
      try {
        if (position + written + from.length > largestFile) throw new Errno("fbig");
        tree.write(file.node, from, position + written);
      } catch (thrown) {
        if (written > 0 && thrown instanceof Errno) break;
        throw thrown;
      }
      written += from.length;
    }
    return written;
  };
  return {
    fd_pread(fd: number, pointer: number, count: number, position: bigint, done: number) {
      const file = readable(placed(fd, "stdin"), right.read | right.seek);
      memory.at(done, 4);
      const parts = memory.vectors(pointer, count);
      memory.put32(done, readFile(file, parts, readOffset(position)));
    },
    fd_pwrite(fd: number, pointer: number, count: number, position: bigint, done: number) {
      const file = writable(placed(fd, "output"), right.write | right.seek);
      memory.at(done, 4);
      const parts = memory.vectors(pointer, count);
      memory.put32(done, writeFile(file, parts, fileOffset(position, "fbig")));
    },
    fd_read(fd: number, pointer: number, count: number, done: number) {
      const found = table.find(fd);
      memory.at(done, 4);
      let read = 0;
      if (found.kind === "file") {
        readable(found, right.read);
        read = readFile(found, memory.vectors(pointer, count), found.position);
        found.position += read;
      } else if (found.kind === "stdin") {
        demand(found, right.read);
        for (const into of memory.vectors(pointer, count)) {
          const part = world.stdin.subarray(found.position, found.position + into.length);
          into.set(part);
          found.position += part.length;
          read += part.length;
        }
      } else throw new Errno("badf");
      memory.put32(done, read);
    },
    fd_write(fd: number, pointer: number, count: number, done: number) {
      const found = table.find(fd);
      memory.at(done, 4);
      let written = 0;
      if (found.kind === "file") {
        writable(found, right.write);
        const parts = memory.vectors(pointer, count);
        if (found.flags & append) found.position = found.node.size;
        written = writeFile(found, parts, found.position);
        found.position += written;
      } else if (found.kind === "stdout" || found.kind === "stderr") {
        demand(found, right.write);
        for (const from of memory.vectors(pointer, count)) {
          if (from.length > 0) world.output(found.kind, from);
          written += from.length;
        }
      } else throw new Errno("badf");
      memory.put32(done, written);
    },
    fd_seek(fd: number, delta: bigint, whence: number, pointer: number) {
      const file = seekable(fd);
      // To ask where one is takes only the right to tell.
      demand(file, delta === 0n && whence === 1 ? right.tell : right.seek);
      memory.at(pointer, 8);
      const bases = [0n, BigInt(file.position), BigInt(file.node.size)];
      const base = bases[whence];
      if (base === undefined) throw new Errno("inval");
      file.position = fileOffset(base + delta);
      memory.put64(pointer, BigInt(file.position));
    },
    fd_tell(fd: number, pointer: number) {
      const file = seekable(fd);
      demand(file, right.tell);
      memory.put64(pointer, BigInt(file.position));
    },
  };
}

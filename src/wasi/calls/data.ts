import { Errno } from "../errno.ts";
import type { Vector } from "../memory.ts";
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
  const read = ({ node }: OpenFile, vectors: readonly Vector[], position: number): number => {
    let done = 0;
    for (const { start, length } of vectors) {
      done += tree.read(node, position + done, memory.bytes, start, length);
    }
    return done;
  };
  const write = ({ node }: OpenFile, vectors: readonly Vector[], position: number): number => {
    let done = 0;
    for (const { start, length } of vectors) {
      // Nothing at all may be written anywhere, and makes no file longer.
      if (length === 0) continue;
      try {
        if (position + done + length > largestFile) throw new Errno("fbig");
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
  /** Of stdin that comes in pieces: what is left of the last one. */
  let rest = world.stdin;
  let atEnd = world.more === undefined;
  const takeRest = (vectors: readonly Vector[]): number => {
    let got = 0;
    for (const { start, length } of vectors) {
      const part = rest.subarray(0, length);
      memory.bytes.set(part, start);
      rest = rest.subarray(part.length);
      got += part.length;
    }
    return got;
  };
  const readOn = async (vectors: readonly Vector[], done: number): Promise<void> => {
    const piece = await world.more?.();
    atEnd = piece === undefined;
    rest = piece ?? new Uint8Array(0);
    memory.refresh();
    memory.put32(done, takeRest(vectors));
  };
  return {
    fd_pread(fd: number, pointer: number, count: number, position: bigint, done: number) {
      const file = readable(placed(fd, "stdin"), right.read | right.seek);
      memory.at(done, 4);
      const vectors = memory.vectors(pointer, count);
      memory.put32(done, read(file, vectors, readOffset(position)));
    },
    fd_pwrite(fd: number, pointer: number, count: number, position: bigint, done: number) {
      const file = writable(placed(fd, "output"), right.write | right.seek);
      memory.at(done, 4);
      const vectors = memory.vectors(pointer, count);
      memory.put32(done, write(file, vectors, fileOffset(position, "fbig")));
    },
    fd_read(fd: number, pointer: number, count: number, done: number) {
      const found = table.find(fd);
      memory.at(done, 4);
      const vectors = memory.vectors(pointer, count);
      let got = 0;
      if (found.kind === "file") {
        got = read(readable(found, right.read), vectors, found.position);
        found.position += got;
      } else if (found.kind === "stdin") {
        demand(found, right.read);
        const wanted = vectors.some(({ length }) => length > 0);
        if (rest.length === 0 && !atEnd && wanted) return readOn(vectors, done);
        got = takeRest(vectors);
        found.position += got;
      } else throw new Errno("badf");
      memory.put32(done, got);
      return undefined;
    },
    fd_write(fd: number, pointer: number, count: number, done: number) {
      const found = table.find(fd);
      memory.at(done, 4);
      const vectors = memory.vectors(pointer, count);
      let put = 0;
      if (found.kind === "file") {
        writable(found, right.write);
        if (found.flags & append) found.position = found.node.size;
        put = write(found, vectors, found.position);
        found.position += put;
      } else if (found.kind === "stdout" || found.kind === "stderr") {
        demand(found, right.write);
        let room: Promise<void> | undefined;
        for (const { start, length } of vectors) {
          if (length === 0) continue;
          room = world.output(found.kind, memory.bytes.subarray(start, start + length)) ?? room;
          put += length;
        }
        memory.put32(done, put);
        return room;
      } else throw new Errno("badf");
      memory.put32(done, put);
      return undefined;
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
